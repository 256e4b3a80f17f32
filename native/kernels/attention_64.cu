#include "kernels/attention_launch.cuh"

namespace octavo::device {
OCTAVO_ATTENTION(64)
}  // namespace octavo::device
