// Which tile products with weights in tiles take, by the number of tokens; bits do not depend on
// it.
#pragma once

#include "kernels/experts.cuh"
#include "kernels/matmul_launch.cuh"
#include "kernels/packed_launch.h"

namespace octavo::device {

// <kind, warps along N, along M, 16-row tiles of a warp, 8-token tiles of a warp, stages>
template <class Kind>
using PackedFew = PackedTile<Kind, 4, 1, 1, 2, 6>;
template <class Kind>
using PackedSome = PackedTile<Kind, 4, 1, 1, 8, 4>;
template <class Kind>
using PackedMany = PackedTile<Kind, 4, 2, 2, 8, 3>;

template <class T, class Kind>
void launch_packed_as(const PackedProduct& p) {
  const MatmulArgs& a = p.args;
  if (a.m <= PackedFew<Kind>::kCols) {
    return launch_tile<T, PackedFew<Kind>>(a, p.limits, p.stream);
  }
  if (a.num_k_parts > 1) {
    if (launch_warpgroup<T, PackedWarpgroupTile<Kind, 128, true>>(a, p.limits, p.stream)) return;
  } else if (launch_warpgroup<T, PackedWarpgroupTile<Kind, 256, false>>(a, p.limits, p.stream)) {
    return;
  }
  if (a.m > PackedSome<Kind>::kCols && is_worth<PackedMany<Kind>>(a, p.limits)) {
    return launch_tile<T, PackedMany<Kind>>(a, p.limits, p.stream);
  }
  launch_tile<T, PackedSome<Kind>>(a, p.limits, p.stream);
}

template <class Kind>
void launch_packed(const PackedProduct& p) {
  p.activation == DType::kF16 ? launch_packed_as<F16, Kind>(p) : launch_packed_as<Bf16, Kind>(p);
}

template <class T, class Kind>
void launch_packed_experts_as(const ExpertArgs& a, cudaStream_t stream) {
  static_assert(PackedFew<Kind>::kCols == kFewRows && PackedSome<Kind>::kCols == kManyRows);
  expert_tile_rows(a.product.m, a.routing.num_experts) == kFewRows
      ? launch_expert_tile<T, PackedFew<Kind>>(a, stream)
      : launch_expert_tile<T, PackedSome<Kind>>(a, stream);
}

template <class Kind>
void launch_packed_experts(const ExpertArgs& a, DType activation, cudaStream_t stream) {
  activation == DType::kF16 ? launch_packed_experts_as<F16, Kind>(a, stream)
                            : launch_packed_experts_as<Bf16, Kind>(a, stream);
}

}  // namespace octavo::device
