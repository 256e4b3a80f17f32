// How grids of matrix multiplies are sized, and whether a large tile is worth it; bits do not
// depend on it.
#pragma once

#include "kernels/launchers.h"
#include "kernels/matmul.cuh"
#include "kernels/matmul_warpgroup.cuh"

namespace octavo::device {

// Gives each weight its tiles of so many rows; how many there are.
inline int64_t deal_rows(MatmulArgs& a, int64_t rows) {
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

// A large tile reads less, but a short grid of them leaves processors idle.
template <class Tile>
bool is_worth(const MatmulArgs& a, const DeviceLimits& d) {
  int64_t rows = 0;
  for (int p = 0; p < a.num_parts; p++) rows += a.parts[p].n;
  const int64_t tiles = ceil_div(rows, int64_t{Tile::kRows}) * ceil_div(a.m, int64_t{Tile::kCols});
  return Tile::kSharedBytes <= d.shared_per_block && tiles >= d.multiprocessors;
}

}  // namespace octavo::device
