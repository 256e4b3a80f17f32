#include "kernels/attention_launch.cuh"

namespace octavo::device {
OCTAVO_ATTENTION(256)
}  // namespace octavo::device
