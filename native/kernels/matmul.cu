// Which tile a matrix multiply takes, by the number of tokens; bits do not depend on it.
#include "kernels/launchers.h"
#include "kernels/matmul.cuh"

namespace octavo::device {
namespace {

template <class T, class Tile>
void launch_tile(MatmulArgs a, const DeviceLimits& d, cudaStream_t stream) {
  int64_t tiles_n = 0;
  for (int p = 0; p < a.num_parts; p++) {
    a.parts[p].tile_begin = tiles_n;
    tiles_n += ceil_div(a.parts[p].n, Tile::kRows);
  }
  const int64_t tiles_m = ceil_div(a.m, Tile::kCols);
  const int64_t floats = tiles_n * tiles_m * a.num_k_parts * Tile::kRows * Tile::kCols;
  a.spread = a.num_k_parts > 1 && tiles_n * tiles_m < 2 * d.multiprocessors &&
             floats <= kMatmulPartialFloats && tiles_n * tiles_m <= kMatmulCounters;
  const dim3 grid(static_cast<uint32_t>(tiles_n), static_cast<uint32_t>(tiles_m),
                  static_cast<uint32_t>(a.spread ? a.num_k_parts : 1));
  launch(matmul_kernel<T, Tile>, grid, dim3(Tile::kThreads), Tile::kSharedBytes, stream, a);
}

// <bits, warps along N, along M, 16-row tiles of a warp, 8-token tiles of a warp, stages>
using Few = MatmulTile<16, 4, 1, 1, 2, 4>;
using Some = MatmulTile<16, 4, 1, 1, 8, 4>;
using Many = MatmulTile<16, 4, 2, 2, 8, 3>;
template <int kBits>
using FewOf = MatmulTile<kBits, 4, 1, 1, 2, 4>;
template <int kBits>
using SomeOf = MatmulTile<kBits, 4, 2, 1, 4, 3>;

template <class T, int kBits>
void launch_quantised(const MatmulArgs& a, const DeviceLimits& d, cudaStream_t stream) {
  if (a.m <= FewOf<kBits>::kCols) return launch_tile<T, FewOf<kBits>>(a, d, stream);
  launch_tile<T, SomeOf<kBits>>(a, d, stream);
}

template <class T>
void launch_as(const MatmulArgs& a, DType weight, const DeviceLimits& d, cudaStream_t stream) {
  if (weight == DType::kQ8_0) return launch_quantised<T, 8>(a, d, stream);
  if (weight == DType::kQ4_0) return launch_quantised<T, 4>(a, d, stream);
  if (a.m <= Few::kCols) return launch_tile<T, Few>(a, d, stream);
  // A large tile reads less, but a short grid of them leaves processors idle.
  const bool fits_large = Many::kSharedBytes <= d.shared_per_block;
  int64_t rows = 0;
  for (int p = 0; p < a.num_parts; p++) rows += a.parts[p].n;
  const int64_t large = ceil_div(rows, Many::kRows) * ceil_div(a.m, Many::kCols);
  if (a.m > Some::kCols && fits_large && large >= d.multiprocessors) {
    return launch_tile<T, Many>(a, d, stream);
  }
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
