#include "kernels/packed_launch.cuh"

namespace octavo::device {

template void launch_packed<Q6K>(const PackedProduct&);
template void launch_packed_experts<Q6K>(const ExpertArgs&, DType, cudaStream_t);

}  // namespace octavo::device
