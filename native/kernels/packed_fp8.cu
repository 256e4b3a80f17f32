#include "kernels/packed_launch.cuh"

namespace octavo::device {

template void launch_packed<Fp8>(const PackedProduct&);
template void launch_packed_experts<Fp8>(const ExpertArgs&, DType, cudaStream_t);

}  // namespace octavo::device
