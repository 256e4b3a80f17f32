// Which tile a matrix multiply takes, by the number of tokens; bits do not depend on it.
#include "kernels/launchers.h"
#include "kernels/matmul.cuh"
#include "kernels/matmul_warpgroup.cuh"

namespace octavo::device {
namespace {

// Gives each weight its tiles of so many rows; how many there are.
int64_t deal_rows(MatmulArgs& a, int64_t rows) {
  int64_t tiles = 0;
  for (int p = 0; p < a.num_parts; p++) {
    a.parts[p].tile_begin = tiles;
    tiles += ceil_div(a.parts[p].n, rows);
  }
  return tiles;
}

template <class T, class Tile>
void launch_tile(MatmulArgs a, const DeviceLimits& d, cudaStream_t stream) {
  const int64_t tiles_n = deal_rows(a, Tile::kRows);
  const int64_t tiles_m = ceil_div(a.m, Tile::kCols);
  const int64_t floats = tiles_n * tiles_m * a.num_k_parts * Tile::kRows * Tile::kCols;
  a.spread = a.num_k_parts > 1 && tiles_n * tiles_m < 2 * d.multiprocessors &&
             floats <= kMatmulPartialFloats && tiles_n * tiles_m <= kMatmulCounters;
  const dim3 grid(static_cast<uint32_t>(tiles_n), static_cast<uint32_t>(tiles_m),
                  static_cast<uint32_t>(a.spread ? a.num_k_parts : 1));
  launch(matmul_kernel<T, Tile>, grid, dim3(Tile::kThreads), Tile::kSharedBytes, stream, a);
}

// Whether it was worth it: a short grid leaves processors idle. Parts of K on blocks of their own
// lengthen it.
template <class T, class Tile>
bool launch_warpgroup(MatmulArgs a, const DeviceLimits& d, cudaStream_t stream) {
  if (!d.wgmma || Tile::kSharedBytes > d.shared_per_block || a.m <= kWgmmaRows) return false;
  const int64_t tiles = deal_rows(a, Tile::kCols) * ceil_div(a.m, Tile::kTokens);
  const auto fills = [&](int64_t blocks) { return blocks * 4 >= d.multiprocessors * 3; };
  a.spread = Tile::kParts && !fills(tiles) && tiles <= kMatmulCounters &&
             tiles * a.num_k_parts * Tile::kTokens * Tile::kCols <= kMatmulPartialFloats;
  if (!fills(a.spread ? tiles * a.num_k_parts : tiles)) return false;
  const dim3 grid(static_cast<uint32_t>(tiles),
                  static_cast<uint32_t>(a.spread ? a.num_k_parts : 1));
  launch(warpgroup_matmul_kernel<T, Tile>, grid, dim3(Tile::kThreads), Tile::kSharedBytes, stream,
         a);
  return true;
}

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
  // A large tile reads less, but a short grid of them leaves processors idle.
  int64_t rows = 0;
  for (int p = 0; p < a.num_parts; p++) rows += a.parts[p].n;
  const auto worth = [&](auto tile) {
    using Tile = decltype(tile);
    const int64_t tiles = ceil_div(rows, Tile::kRows) * ceil_div(a.m, Tile::kCols);
    return Tile::kSharedBytes <= d.shared_per_block && tiles >= d.multiprocessors;
  };
  if (a.m > Some::kCols && worth(Many{})) return launch_tile<T, Many>(a, d, stream);
  if (worth(SomeLarge{})) return launch_tile<T, SomeLarge>(a, d, stream);
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
  if (activation == DType::kF16) {
    launch_as<F16>(a, weight, limits, stream);
  } else {
    launch_as<Bf16>(a, weight, limits, stream);
  }
}

}  // namespace octavo::device
