// Which tile products for experts take.
#include "kernels/experts.cuh"
#include "kernels/packed_launch.h"

namespace octavo::device {
namespace {

// <bits, warps along N, along M, 16-row tiles of a warp, 8-token tiles of a warp, stages>
template <int kBits>
using Few = MatmulTile<kBits, 4, 1, 1, 2, 4>;
using Many = MatmulTile<16, 4, 1, 1, 8, 4>;
template <int kBits>
using ManyOf = MatmulTile<kBits, 4, 2, 1, 4, 3>;
static_assert(Few<16>::kCols == kFewRows && Many::kCols == kManyRows);
static_assert(ManyOf<8>::kCols == kManyRows && ManyOf<4>::kCols == kManyRows);

template <class T>
void launch_as(const ExpertArgs& a, DType weight, cudaStream_t stream) {
  const bool few = expert_tile_rows(a.product.m, a.routing.num_experts) == kFewRows;
  if (weight == DType::kQ8_0) {
    return few ? launch_expert_tile<T, Few<8>>(a, stream)
               : launch_expert_tile<T, ManyOf<8>>(a, stream);
  }
  if (weight == DType::kQ4_0) {
    return few ? launch_expert_tile<T, Few<4>>(a, stream)
               : launch_expert_tile<T, ManyOf<4>>(a, stream);
  }
  few ? launch_expert_tile<T, Few<16>>(a, stream) : launch_expert_tile<T, Many>(a, stream);
}

}  // namespace

void launch_expert_matmul(const ExpertArgs& args, DType activation, DType weight,
                          cudaStream_t stream) {
  ExpertArgs a = args;
  a.product.k_part = ceil_div(a.product.k, int64_t{kStepK}) * kStepK;
  a.product.layout = packed_layout(weight);
  if (has_tiles(weight)) {
    return with_kind(weight, [&](auto kind) {
      launch_packed_experts<typename decltype(kind)::type>(a, activation, stream);
    });
  }
  if (activation == DType::kF16) {
    launch_as<F16>(a, weight, stream);
  } else {
    launch_as<Bf16>(a, weight, stream);
  }
}

}  // namespace octavo::device
