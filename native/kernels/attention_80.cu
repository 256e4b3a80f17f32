#include "kernels/attention_launch.cuh"

namespace octavo::device {
OCTAVO_ATTENTION(80)
}  // namespace octavo::device
