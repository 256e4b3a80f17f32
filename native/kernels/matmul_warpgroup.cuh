// Matrix multiply of many tokens on Hopper: two warpgroups of 64 tokens each against kCols outputs,
// both sides streamed through shared memory with cp.async. It sums as matmul.cuh does, in steps of
// 16 along K inside a part of K, and parts in order: where wgmma adds as mma.sync does, and on an
// H200 it does, the bits are the same. Weights in tiles become T in shared memory, a step while the
// one before is multiplied.
#pragma once

#include "kernels/matmul.cuh"
#include "kernels/wgmma.cuh"

namespace octavo::device {

// A shape whose K has several parts needs room for a second sum: fewer columns.
template <int kNumCols, bool kSeveralParts>
struct WarpgroupTile {
  static constexpr int kCols = kNumCols;  // outputs: rows of the weight
  static constexpr bool kParts = kSeveralParts;
  static constexpr bool kPacked = false;
  static constexpr int kTokens = 2 * kWgmmaRows;
  static constexpr int kThreads = 256, kStages = 4;
  static constexpr int kTokenBytes = kTokens * kStepK * 2;
  static constexpr int kStageBytes = kTokenBytes + kCols * kStepK * 2;
  static constexpr int kSharedBytes = kStages * kStageBytes;
};

// Of weights in tiles: behind the stages two buffers of T. Matrices begin at multiples of 1,024.
template <class WeightKind, int kNumCols, bool kSeveralParts>
struct PackedWarpgroupTile : WarpgroupTile<kNumCols, kSeveralParts> {
  using Base = WarpgroupTile<kNumCols, kSeveralParts>;
  using Kind = WeightKind;
  static constexpr bool kPacked = true;
  static constexpr int kTiles = kNumCols / kTileRows, kStages = 4;
  static constexpr int kStageBytes =
      (Base::kTokenBytes + kTiles * Kind::kTileBytes + 1023) / 1024 * 1024;
  static constexpr int kWideBytes = kNumCols * kStepK * 2;
  static constexpr int kSharedBytes = kStages * kStageBytes + 2 * kWideBytes;
};

template <class T, class Tile>
struct WarpgroupMatmul {
  static constexpr int kCols = Tile::kCols, kSums = kCols / 2;

  const MatmulArgs& a;
  unsigned char* const shared;
  const int lane, warp;
  MatmulArgs::Part part;
  int64_t n0, m0;  // first output and first token of the block
  float sum[kSums];
  float total[Tile::kParts ? kSums : 1];

  OCTAVO_DEVICE WarpgroupMatmul(const MatmulArgs& args, unsigned char* memory)
      : a(args), shared(memory), lane(threadIdx.x % 32), warp(threadIdx.x / 32) {}

  OCTAVO_DEVICE void run() {
    find_tile();
    if constexpr (Tile::kParts) {
#pragma unroll
      for (int i = 0; i < kSums; i++) total[i] = 0.0f;
    }
    const int first = a.spread ? blockIdx.y : 0, parts = a.spread ? 1 : a.num_k_parts;
    for (int p = first; p < first + parts; p++) {
      if constexpr (Tile::kPacked) {
        one_packed_k_part(p);
      } else {
        one_k_part(p);
      }
#pragma unroll
      for (int i = 0; i < kSums; i++) {
        if constexpr (Tile::kParts) {
          total[i] += sum[i];
        } else {
          sum[i] += 0.0f;  // as if added to a total: −0 becomes 0
        }
      }
    }
    if constexpr (Tile::kParts) {
      if (a.spread && !sum_of_parts()) return;
#pragma unroll
      for (int i = 0; i < kSums; i++) sum[i] = total[i];
    }
    if (part.float_out) {
      write_output<float>();
    } else {
      write_output<T>();
    }
  }

  // Blocks that run at a time share up to eight tiles of tokens, and with them few weights: each
  // weight is then read from memory once for all of those.
  OCTAVO_DEVICE void find_tile() {
    constexpr int64_t kTogether = 8;
    const int64_t tiles_m = (a.m + Tile::kTokens - 1) / Tile::kTokens;
    const int64_t tiles_n = gridDim.x / tiles_m;
    const int64_t first = blockIdx.x / (kTogether * tiles_n) * kTogether;
    const int64_t count = min(kTogether, tiles_m - first);
    const int64_t index = blockIdx.x % (kTogether * tiles_n);
    const int64_t tile_n = index / count;
    part = part_of_tile(a, tile_n);
    n0 = (tile_n - part.tile_begin) * kCols;
    m0 = (first + index % count) * Tile::kTokens;
  }

  OCTAVO_DEVICE void one_k_part(int k_index) {
    const int begin = k_index * static_cast<int>(a.k_part);
    const int end = min(static_cast<int>(a.k), begin + static_cast<int>(a.k_part));
    const int steps = (end - begin + kStepK - 1) / kStepK;
    const RowLoader<T, Tile::kTokens, Tile::kThreads> token_rows(a.x, m0, a.m, a.k);
    const RowLoader<T, kCols, Tile::kThreads> weight_rows(part, n0, a.k);
    const auto load_step = [&](int step) {
      if (step < steps) {
        const int k0 = begin + step * kStepK;
        unsigned char* stage = shared + step % Tile::kStages * Tile::kStageBytes;
        token_rows.load(stage, k0, end);
        weight_rows.load(stage + Tile::kTokenBytes, k0, end);
      }
      async_commit();
    };
#pragma unroll
    for (int i = 0; i < kSums; i++) sum[i] = 0.0f;
    __syncthreads();  // the part before has left shared memory
    for (int s = 0; s < Tile::kStages - 2; s++) load_step(s);
    for (int s = 0; s < steps; s++) {
      async_wait<Tile::kStages - 3>();
      wgmma_sees_shared();
      __syncthreads();
      const unsigned char* stage = shared + s % Tile::kStages * Tile::kStageBytes;
      const SharedMatrix tokens =
          shared_matrix(stage + warp / 4 * kWgmmaRows * SharedRows<kStepK / 8>::kRowBytes);
      const SharedMatrix weights = shared_matrix(stage + Tile::kTokenBytes);
      wgmma_begin();
#pragma unroll
      for (int k = 0; k < kStepK; k += kWgmmaK) {
        wgmma<T, kCols>(sum, from_k(tokens, k), from_k(weights, k));
      }
      wgmma_commit();
      // The step before is done, and by the barrier the one before it in all warps: its stage is
      // free.
      wgmma_wait<1>();
      load_step(s + Tile::kStages - 2);
    }
    wgmma_wait<0>();
  }

  OCTAVO_DEVICE void one_packed_k_part(int k_index) {
    using Kind = typename Tile::Kind;
    const int begin = k_index * static_cast<int>(a.k_part);
    const int end = min(static_cast<int>(a.k), begin + static_cast<int>(a.k_part));
    const int steps = (end - begin + kStepK - 1) / kStepK;
    const RowLoader<T, Tile::kTokens, Tile::kThreads> token_rows(a.x, m0, a.m, a.k);
    const PackedTilesLoader<Kind, Tile::kTiles, Tile::kThreads> weight_tiles(a, part, n0);
    unsigned char* const wide = shared + Tile::kStages * Tile::kStageBytes;
    const auto stage_of = [&](int step) {
      return shared + step % Tile::kStages * Tile::kStageBytes;
    };
    const auto load_step = [&](int step) {
      if (step < steps) {
        const int k0 = begin + step * kStepK;
        token_rows.load(stage_of(step), k0, end);
        weight_tiles.load(stage_of(step) + Tile::kTokenBytes, k0, end);
      }
      async_commit();
    };
    const auto widen_step = [&](int step) {
      for (int tile = warp; tile < Tile::kTiles; tile += Tile::kThreads / 32) {
        const PackedLane<T, Kind> own(stage_of(step) + Tile::kTokenBytes + tile * Kind::kTileBytes,
                                      lane, is_coarse<Kind>(a.layout));
        own.spread(wide + step % 2 * Tile::kWideBytes, tile * kTileRows);
      }
    };
#pragma unroll
    for (int i = 0; i < kSums; i++) sum[i] = 0.0f;
    __syncthreads();  // the part before has left shared memory
    for (int s = 0; s < Tile::kStages - 1; s++) load_step(s);
    async_wait<Tile::kStages - 2>();
    __syncthreads();
    widen_step(0);
    for (int s = 0; s < steps; s++) {
      async_wait<Tile::kStages - 3>();  // the step after this one is there
      wgmma_sees_shared();
      __syncthreads();
      const SharedMatrix tokens =
          shared_matrix(stage_of(s) + warp / 4 * kWgmmaRows * SharedRows<kStepK / 8>::kRowBytes);
      const SharedMatrix weights = shared_matrix(wide + s % 2 * Tile::kWideBytes);
      wgmma_begin();
#pragma unroll
      for (int k = 0; k < kStepK; k += kWgmmaK) {
        wgmma<T, kCols>(sum, from_k(tokens, k), from_k(weights, k));
      }
      wgmma_commit();
      load_step(s + Tile::kStages - 1);
      if (s + 1 < steps) widen_step(s + 1);
      wgmma_wait<0>();
    }
  }

  // The part to storage; the last block of the tile to come adds all in order, the others are done.
  OCTAVO_DEVICE bool sum_of_parts() {
    PartialSums<kSums, Tile::kThreads> partial(a, blockIdx.x, blockIdx.y);
    partial.store(total);
    if (!partial.last_to_arrive(reinterpret_cast<int*>(shared))) return false;
    partial.load(total);
    return true;
  }

  // Through shared memory, so that whole rows of the tile are written. Rows are padded by 16 bytes:
  // the eight rows that a warp writes at once lie in different banks.
  template <class Out>
  OCTAVO_DEVICE void write_output() {
    constexpr int kPitch = kCols * static_cast<int>(sizeof(Out)) + 16;
    static_assert(Tile::kTokens * kPitch <= Tile::kSharedBytes);
    __syncthreads();  // the last step has been read
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < kSums; i += 2) {
      const int row = warp * 16 + i / 2 % 2 * 8 + g, column = i / 4 * 8 + t * 2;
      unsigned char* to = shared + row * kPitch + column * sizeof(Out);
      float bias[2] = {0.0f, 0.0f};
      if (part.bias != nullptr) {
        if (n0 + column < part.n) bias[0] = part.bias[n0 + column];
        if (n0 + column + 1 < part.n) bias[1] = part.bias[n0 + column + 1];
      }
      if constexpr (sizeof(Out) == 4) {
        *reinterpret_cast<float2*>(to) = {sum[i] + bias[0], sum[i + 1] + bias[1]};
      } else {
        *reinterpret_cast<uint32_t*>(to) = pack2<T>(sum[i] + bias[0], sum[i + 1] + bias[1]);
      }
    }
    __syncthreads();
    Out* out = static_cast<Out*>(part.out);
    constexpr int kOnce = 16 / sizeof(Out), kPieces = kCols / kOnce;
    const bool aligned = part.n % kOnce == 0;  // then rows begin at multiples of 16 bytes
    for (int i = threadIdx.x; i < Tile::kTokens * kPieces; i += Tile::kThreads) {
      const int row = i / kPieces, column = i % kPieces * kOnce;
      const int64_t m = m0 + row, n = n0 + column;
      if (m >= a.m || n >= part.n) continue;
      const unsigned char* from = shared + row * kPitch + column * sizeof(Out);
      if (aligned) {
        *reinterpret_cast<uint4*>(out + m * part.n + n) = *reinterpret_cast<const uint4*>(from);
      } else {
        for (int64_t j = 0; j < min(static_cast<int64_t>(kOnce), part.n - n); j++) {
          out[m * part.n + n + j] = reinterpret_cast<const Out*>(from)[j];
        }
      }
    }
  }
};

// Grid: [tiles of N over all parts · tiles of M][parts of K if spread]
template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1) warpgroup_matmul_kernel(const MatmulArgs a) {
  if constexpr (kWgmmaHere && sizeof(T) == 2) {  // T: so that it is not even compiled elsewhere
    OCTAVO_SHARED(shared);
    WarpgroupMatmul<T, Tile> block(a, shared);
    block.run();
  }
}

}  // namespace octavo::device
