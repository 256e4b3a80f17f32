// Which tile a matrix multiply takes, by the number of tokens; bits do not depend on it.
#include "kernels/packed_launch.h"
#include "kernels/matmul_launch.cuh"

namespace octavo::device {
namespace {

// <bits, warps along N, along M, 16-row tiles of a warp, 8-token tiles of a warp, stages>
using Few = MatmulTile<16, 4, 1, 1, 2, 4>;
using Some = MatmulTile<16, 4, 1, 1, 8, 4>;
using SomeLarge = MatmulTile<16, 8, 1, 1, 8, 4>;
using Many = MatmulTile<16, 4, 2, 2, 8, 3>;
template <int kBits>
using OneOf = MatmulTile<kBits, 4, 1, 1, 1, 4>;
template <int kBits>
using FewOf = MatmulTile<kBits, 4, 1, 1, 2, 4>;
template <int kBits>
using SomeOf = MatmulTile<kBits, 4, 2, 1, 4, 3>;

template <class T, int kBits>
void launch_quantised(const MatmulArgs& a, const DeviceLimits& d, cudaStream_t stream) {
  if (a.m <= OneOf<kBits>::kCols) return launch_tile<T, OneOf<kBits>>(a, d, stream);
  if (a.m <= FewOf<kBits>::kCols) return launch_tile<T, FewOf<kBits>>(a, d, stream);
  launch_tile<T, SomeOf<kBits>>(a, d, stream);
}

template <class T>
void launch_as(const MatmulArgs& a, DType weight, const DeviceLimits& d, cudaStream_t stream) {
  if (weight == DType::kQ8_0) return launch_quantised<T, 8>(a, d, stream);
  if (weight == DType::kQ4_0) return launch_quantised<T, 4>(a, d, stream);
  if (a.m <= Few::kCols) return launch_tile<T, Few>(a, d, stream);
  if (a.num_k_parts > 1) {
    if (launch_warpgroup<T, WarpgroupTile<128, true>>(a, d, stream)) return;
  } else {
    if (launch_warpgroup<T, WarpgroupTile<256, false>>(a, d, stream)) return;
    if (launch_warpgroup<T, WarpgroupTile<128, false>>(a, d, stream)) return;
  }
  if (a.m > Some::kCols && is_worth<Many>(a, d)) return launch_tile<T, Many>(a, d, stream);
  if (is_worth<SomeLarge>(a, d)) return launch_tile<T, SomeLarge>(a, d, stream);
  launch_tile<T, Some>(a, d, stream);
}

}  // namespace

void launch_matmul(MatmulArgs a, DType activation, DType weight, const DeviceLimits& limits,
                   cudaStream_t stream) {
  int64_t rows = 0;
  for (int p = 0; p < a.num_parts; p++) rows += a.parts[p].n;
  const int32_t parts = num_k_parts(rows, a.k);
  a.k_part = ceil_div(ceil_div(a.k, parts), kStepK) * kStepK;
  a.num_k_parts = static_cast<int32_t>(ceil_div(a.k, a.k_part));
  a.layout = packed_layout(weight);
  if (has_tiles(weight)) {
    const PackedProduct product{a, activation, limits, stream};
    return with_kind(weight,
                     [&](auto kind) { launch_packed<typename decltype(kind)::type>(product); });
  }
  if (activation == DType::kF16) {
    launch_as<F16>(a, weight, limits, stream);
  } else {
    launch_as<Bf16>(a, weight, limits, stream);
  }
}

}  // namespace octavo::device
