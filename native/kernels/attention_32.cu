#include "kernels/attention_launch.cuh"

namespace octavo::device {
OCTAVO_ATTENTION(32)
}  // namespace octavo::device
