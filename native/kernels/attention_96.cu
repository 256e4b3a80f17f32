#include "kernels/attention_launch.cuh"

namespace octavo::device {
OCTAVO_ATTENTION(96)
}  // namespace octavo::device
