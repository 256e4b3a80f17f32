#include "kernels/attention_launch.cuh"

namespace octavo::device {
OCTAVO_ATTENTION(112)
}  // namespace octavo::device
