#include "kernels/packed_launch.cuh"

namespace octavo::device {

template void launch_packed<Int4>(const PackedProduct&);
template void launch_packed_experts<Int4>(const ExpertArgs&, DType, cudaStream_t);

}  // namespace octavo::device
