#include "kernels/packed_launch.cuh"

namespace octavo::device {

template void launch_packed<Int8>(const PackedProduct&);
template void launch_packed_experts<Int8>(const ExpertArgs&, DType, cudaStream_t);

}  // namespace octavo::device
