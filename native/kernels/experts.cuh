// Matrix products for experts: as matmul.cuh computes them, but each tile of tokens is of one
// expert, whose rows of x are gathered on the way. A tile of the grid that the router left empty
// ends at once, so that nothing must be known on the host.
#pragma once

#include "kernels/launchers.h"
#include "kernels/matmul.cuh"

namespace octavo::device {

// As RowLoader, of rows that lie anywhere; those past `count` are zeros.
template <class T, int kCount, int kThreads>
struct GatherLoader {
  using Rows = SharedRows<kStepK / 8>;
  static constexpr int kRowsAtOnce = kThreads / 8,
                       kPasses = (kCount + kRowsAtOnce - 1) / kRowsAtOnce;

  const T* from;
  int64_t k;
  int row[kPasses];  // −1: none
  int offset;

  // Row i is rows[place + i], or where `rows` is null place + i itself.
  OCTAVO_DEVICE GatherLoader(const void* matrix, const int32_t* rows, int64_t place, int count,
                             int64_t columns)
      : k(columns) {
    const int first = threadIdx.x / 8, chunk = threadIdx.x % 8;
    from = static_cast<const T*>(matrix) + chunk * 8;
    offset = Rows::offset(first, chunk);
#pragma unroll
    for (int i = 0; i < kPasses; i++) {
      const int r = first + i * kRowsAtOnce;
      row[i] = -1;
      if (r < count && r < kCount) {
        row[i] = rows != nullptr ? rows[place + r] : static_cast<int>(place + r);
      }
    }
  }

  OCTAVO_DEVICE void load(unsigned char* target, int k0, int k_end) const {
    const bool inside = k0 + static_cast<int>(threadIdx.x) % 8 * 8 < k_end;
#pragma unroll
    for (int i = 0; i < kPasses; i++) {
      if (kCount % kRowsAtOnce == 0 || threadIdx.x / 8 + i * kRowsAtOnce < kCount) {
        const bool copies = inside && row[i] >= 0;
        const T* at = copies ? from + row[i] * k + k0 : from;
        async_copy16(target + offset + i * kRowsAtOnce * Rows::kRowBytes, at, copies);
      }
    }
  }
};

// Grid: [tiles of N over all parts][as many tiles of tokens as there can be]
template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kMinBlocks)
    expert_matmul_kernel(const ExpertArgs a) {
  OCTAVO_SHARED(shared);
  const int32_t* const work = a.routing.work;
  if (static_cast<int32_t>(blockIdx.y) >= work[0]) return;
  const int32_t expert = work[kTilesAt + 2 * blockIdx.y];
  MatmulBlock<T, Tile> block(a.product, shared);
  block.tile_n = blockIdx.x;
  block.part = part_of_tile(a.product, block.tile_n);
  block.n0 = (block.tile_n - block.part.tile_begin) * Tile::kRows;
  block.m0 = work[kTilesAt + 2 * blockIdx.y + 1];
  const int64_t end = a.routing.starts[expert + 1];
  const int64_t skip = expert * a.strides[&part_of_tile(a.product, block.tile_n) - a.product.parts];
  block.part.weight = static_cast<const char*>(block.part.weight) + skip;
  for (const void** plane : {&block.part.scales, &block.part.high}) {
    if (*plane != nullptr) *plane = static_cast<const char*>(*plane) + skip;
  }
  if (block.part.bias != nullptr) block.part.bias += expert * block.part.n;
  const int count = static_cast<int>(min(end - block.m0, static_cast<int64_t>(Tile::kCols)));
  const auto rows = [&] {
    return GatherLoader<T, Tile::kCols, Tile::kThreads>(
        a.product.x, a.by_place ? nullptr : a.routing.rows, block.m0, count, a.product.k);
  };
  block.clear(block.total);
  block.one_k_part(0, rows);
  block.write_output(end);
}

template <class T, class Tile>
void launch_expert_tile(ExpertArgs a, cudaStream_t stream) {
  MatmulArgs& p = a.product;
  int64_t tiles = 0;
  for (int i = 0; i < p.num_parts; i++) {
    p.parts[i].tile_begin = tiles;
    tiles += ceil_div(p.parts[i].n, int64_t{Tile::kRows});
  }
  const dim3 grid(static_cast<uint32_t>(tiles),
                  static_cast<uint32_t>(most_expert_tiles(p.m, a.routing.num_experts)));
  launch(expert_matmul_kernel<T, Tile>, grid, dim3(Tile::kThreads), Tile::kSharedBytes, stream, a);
}

}  // namespace octavo::device
