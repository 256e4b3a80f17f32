#include "kernels/attention_launch.cuh"

namespace octavo::device {
OCTAVO_ATTENTION(128)
}  // namespace octavo::device
