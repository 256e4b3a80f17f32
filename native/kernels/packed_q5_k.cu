#include "kernels/packed_launch.cuh"

namespace octavo::device {

template void launch_packed<Q5K>(const PackedProduct&);
template void launch_packed_experts<Q5K>(const ExpertArgs&, DType, cudaStream_t);

}  // namespace octavo::device
