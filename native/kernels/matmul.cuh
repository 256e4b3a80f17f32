// Matrix multiply on tensor cores, weights streamed through shared memory with cp.async. Weights
// are the 16-row side of the mma, tokens its 8-column side, whatever M: every output is summed over
// K in ascending steps of 16 inside a part of K, and parts are added in order. Q8_0 and Q4_0
// weights stay packed in shared memory, become T exactly in registers, and each block of 32 is
// summed on its own before its scale is applied in float. Weights in tiles (packed_layout.h) are
// rounded to T on the way and summed as those of T are: the bits are theirs.
#pragma once

#include <type_traits>

#include "kernels/launch.cuh"
#include "kernels/matmul.h"
#include "kernels/mma.cuh"
#include "kernels/packed_tiles.cuh"
#include "kernels/partial_sums.cuh"

namespace octavo::device {

constexpr int kStepK = kTileK;

// A block computes kRows outputs (rows of the weight) of kCols tokens; a warp kRowTiles · 16 of
// them times kColTiles · 8.
template <int kBits, int kWarpsN, int kWarpsM, int kRowTiles, int kColTiles, int kStages>
struct MatmulTile {
  static constexpr int kWeightBits = kBits;  // 16, or 8 and 4 of quantised weights
  static constexpr bool kQuantised = kBits < 16, kPacked = false;
  static constexpr int kNumWarpsN = kWarpsN, kNumRowTiles = kRowTiles, kNumColTiles = kColTiles;
  static constexpr int kNumStages = kStages;
  static constexpr int kThreads = kWarpsN * kWarpsM * 32;
  static constexpr int kRows = kWarpsN * kRowTiles * 16;
  static constexpr int kCols = kWarpsM * kColTiles * 8;
  using XRows = SharedRows<kStepK / 8>;
  // A row of weights in a step: 128 bytes, or 64 or 32 and 16 more against bank conflicts.
  static constexpr int kWeightPitch = kQuantised ? kStepK * kBits / 8 + 16 : XRows::kRowBytes;
  static constexpr int kWeightBytes = kRows * kWeightPitch;
  static constexpr int kXBytes = kCols * XRows::kRowBytes;
  static constexpr int kScaleBytes = kQuantised ? kRows * 4 : 0;  // two float16 a row
  static constexpr int kStageBytes = kWeightBytes + kXBytes + kScaleBytes;
  static constexpr int kWideBytes = 0;
  static constexpr int kSharedBytes = kStages * kStageBytes + 16;
  // For the compiler; 0 = as it likes. It would spill to have more of the 4-bit tiles.
  static constexpr int kMinBlocks = kBits == 4 ? (kWarpsM > 1 ? 1 : 4) : 0;
};

OCTAVO_DEVICE const MatmulArgs::Part& part_of_tile(const MatmulArgs& a, int64_t tile_n) {
  int p = 0;
  while (p + 1 < a.num_parts && tile_n >= a.parts[p + 1].tile_begin) p++;
  return a.parts[p];
}

// Copies steps along K of kCount rows of [rows][k] to shared memory; what lies past the ends are
// zeros. A thread's rows and its place in them are found once.
template <class T, int kCount, int kThreads>
struct RowLoader {
  using Rows = SharedRows<kStepK / 8>;
  static constexpr int kRowsAtOnce = kThreads / 8,
                       kPasses = (kCount + kRowsAtOnce - 1) / kRowsAtOnce;
  static_assert(kRowsAtOnce % 8 == 0 && kPasses <= 32);

  const T* from;    // this thread's piece of its first row
  int stride;       // values to its next row
  int offset;       // in shared memory
  uint32_t inside;  // bit i: its i-th row is one of the matrix

  OCTAVO_DEVICE RowLoader(const MatmulArgs::Part& part, int64_t row0, int64_t k)
      : RowLoader(part.weight, row0, part.n, k) {}
  OCTAVO_DEVICE RowLoader(const void* matrix, int64_t row0, int64_t rows, int64_t k) {
    const int row = threadIdx.x / 8, chunk = threadIdx.x % 8;
    from = static_cast<const T*>(matrix) + (row0 + row) * k + chunk * 8;
    stride = kRowsAtOnce * static_cast<int>(k);
    offset = Rows::offset(row, chunk);
    inside = 0;
#pragma unroll
    for (int i = 0; i < kPasses; i++) {
      const int r = row + i * kRowsAtOnce;
      if (r < kCount && row0 + r < rows) inside |= 1u << i;
    }
  }

  // Starts the copies of values k0 … k0 + kStepK − 1, as far as k_end.
  OCTAVO_DEVICE void load(unsigned char* target, int k0, int k_end) const {
    const uint32_t copied = k0 + static_cast<int>(threadIdx.x) % 8 * 8 < k_end ? inside : 0;
    const T* at = from + k0;
#pragma unroll
    for (int i = 0; i < kPasses; i++) {
      if (kCount % kRowsAtOnce == 0 || threadIdx.x / 8 + i * kRowsAtOnce < kCount) {
        const bool copies = (copied >> i & 1) != 0;
        async_copy16(target + offset + i * kRowsAtOnce * Rows::kRowBytes, at, copies);
      }
      at += stride;
    }
  }
};

// The same for packed weights and their scales.
template <class Tile>
struct PackedLoader {
  static constexpr int kValues = 128 / Tile::kWeightBits;  // of 16 bytes
  static constexpr int kPieces = kStepK / kValues, kRowsAtOnce = Tile::kThreads / kPieces;
  static constexpr int kPasses = (Tile::kRows + kRowsAtOnce - 1) / kRowsAtOnce;
  static_assert(Tile::kRows <= Tile::kThreads);  // a thread has one row's scales

  const char* from;
  const F16* scales;
  int stride, row_count, k;

  OCTAVO_DEVICE PackedLoader(const MatmulArgs::Part& part, int64_t row0, int64_t columns) {
    const int row = threadIdx.x / kPieces;
    k = static_cast<int>(columns);
    row_count = static_cast<int>(min(part.n - row0, static_cast<int64_t>(Tile::kRows)));
    from = static_cast<const char*>(part.weight) + (row0 + row) * columns / kValues * 16 +
           threadIdx.x % kPieces * 16;
    scales = static_cast<const F16*>(part.scales) + (row0 + threadIdx.x) * (columns / 32);
    stride = kRowsAtOnce * (k / kValues * 16);
  }

  OCTAVO_DEVICE void load(unsigned char* stage, int k0, int k_end) const {
    const int row = threadIdx.x / kPieces, piece = threadIdx.x % kPieces;
    const char* at = from + k0 / kValues * 16;
    unsigned char* to = stage + row * Tile::kWeightPitch + piece * 16;
#pragma unroll
    for (int i = 0; i < kPasses; i++) {
      const int r = row + i * kRowsAtOnce;
      if (Tile::kRows % kRowsAtOnce == 0 || r < Tile::kRows) {
        async_copy16(to + i * kRowsAtOnce * Tile::kWeightPitch, at,
                     r < row_count && k0 + piece * kValues < k_end);
      }
      at += stride;
    }
    if (static_cast<int>(threadIdx.x) >= Tile::kRows) return;
    const bool inside = static_cast<int>(threadIdx.x) < row_count;
    F16* own = reinterpret_cast<F16*>(stage + Tile::kWeightBytes + Tile::kXBytes) + threadIdx.x * 2;
    if (k % kStepK == 0) {  // both of a step in one aligned word
      async_copy4(own, scales + k0 / 32, inside);
    } else {
      own[0] = inside ? scales[k0 / 32] : F16{0};
      own[1] = inside && k0 + 32 < k_end ? scales[k0 / 32 + 1] : F16{0};
    }
  }
};

template <class T, class Tile>
struct MatmulBlock {
  static constexpr int kRowTiles = Tile::kNumRowTiles, kColTiles = Tile::kNumColTiles;
  using XRows = typename Tile::XRows;

  const MatmulArgs& a;
  unsigned char* const shared;
  const int lane, warp_n, warp_m, g, t;
  MatmulArgs::Part part;
  int64_t tile_n, n0, m0;  // first output and first token of the block
  float total[kRowTiles][kColTiles][4];
  float sum[kRowTiles][kColTiles][4];

  OCTAVO_DEVICE MatmulBlock(const MatmulArgs& args, unsigned char* memory)
      : a(args),
        shared(memory),
        lane(threadIdx.x % 32),
        warp_n(threadIdx.x / 32 % Tile::kNumWarpsN),
        warp_m(threadIdx.x / 32 / Tile::kNumWarpsN),
        g(lane / 4),
        t(lane % 4) {}

  OCTAVO_DEVICE void run() {
    tile_n = blockIdx.x;
    part = part_of_tile(a, tile_n);
    n0 = (tile_n - part.tile_begin) * Tile::kRows;
    m0 = static_cast<int64_t>(blockIdx.y) * Tile::kCols;
    clear(total);
    const auto tokens = [&] { return Tokens(a.x, m0, a.m, a.k); };
    const int first = a.spread ? blockIdx.z : 0, parts = a.spread ? 1 : a.num_k_parts;
    for (int k = first; k < first + parts; k++) one_k_part(k, tokens);
    if (!a.spread) {
      write_output(a.m);
      return;
    }
    PartialSums<kRowTiles * kColTiles * 4, Tile::kThreads> partial(
        a, tile_n * gridDim.y + blockIdx.y, blockIdx.z);
    float(&values)[kRowTiles * kColTiles * 4] =
        reinterpret_cast<float(&)[kRowTiles * kColTiles * 4]>(total);
    partial.store(values);
    int* const flag = reinterpret_cast<int*>(shared + Tile::kSharedBytes - 16);
    if (!partial.last_to_arrive(flag)) return;
    partial.load(values);
    write_output(a.m);
  }

  using Tokens = RowLoader<T, Tile::kCols, Tile::kThreads>;

  OCTAVO_DEVICE auto make_weights() const {
    if constexpr (Tile::kPacked) {
      return PackedTilesLoader<typename Tile::Kind, Tile::kTiles, Tile::kThreads>(a, part, n0);
    } else if constexpr (Tile::kQuantised) {
      return PackedLoader<Tile>(part, n0, a.k);
    } else {
      return RowLoader<T, Tile::kRows, Tile::kThreads>(part, n0, a.k);
    }
  }
  OCTAVO_DEVICE unsigned char* stage_of(int step) const {
    return shared + 2 * Tile::kWideBytes + step % Tile::kNumStages * Tile::kStageBytes;
  }

  // total += the sum over one part of K; make_tokens() gives what loads their rows.
  template <class MakeTokens>
  OCTAVO_DEVICE void one_k_part(int k_index, const MakeTokens& make_tokens) {
    const int begin = k_index * static_cast<int>(a.k_part);
    const int end = min(static_cast<int>(a.k), begin + static_cast<int>(a.k_part));
    const int steps = (end - begin + kStepK - 1) / kStepK;
    const auto weights = make_weights();
    const auto tokens = make_tokens();
    const auto load_step = [&](int step) {
      if (step < steps) {
        const int k0 = begin + step * kStepK;
        unsigned char* stage = stage_of(step);
        weights.load(stage, k0, end);
        tokens.load(stage + Tile::kWeightBytes, k0, end);
      }
      async_commit();
    };
    clear(sum);
    __syncthreads();  // the part before has left shared memory
    for (int s = 0; s < Tile::kNumStages - 1; s++) load_step(s);
    if constexpr (Tile::kWideBytes > 0) {
      multiply_wide(steps, load_step);
    } else {
      for (int s = 0; s < steps; s++) {
        async_wait<Tile::kNumStages - 2>();
        __syncthreads();
        load_step(s + Tile::kNumStages - 1);
        const unsigned char* stage = stage_of(s);
        if constexpr (Tile::kPacked) {
          multiply_packed(stage);
        } else if constexpr (Tile::kQuantised) {
          multiply_quantised(stage);
        } else {
          multiply(stage, stage + Tile::kWeightBytes);
        }
      }
    }
#pragma unroll
    for (int r = 0; r < kRowTiles; r++) {
#pragma unroll
      for (int c = 0; c < kColTiles * 4; c++) total[r][c / 4][c % 4] += sum[r][c / 4][c % 4];
    }
  }

  // A step's weights become T while the step before is multiplied.
  template <class LoadStep>
  OCTAVO_DEVICE void multiply_wide(int steps, const LoadStep& load_step) {
    const auto widen_step = [&](int step) {
      for (int tile = threadIdx.x / 32; tile < Tile::kTiles; tile += Tile::kThreads / 32) {
        const PackedLane<T, typename Tile::Kind> own(stage_of(step) + tile * Tile::Kind::kTileBytes,
                                                     lane,
                                                     is_coarse<typename Tile::Kind>(a.layout));
        own.spread(shared + step % 2 * Tile::kWideBytes, tile * kTileRows);
      }
    };
    async_wait<Tile::kNumStages - 2>();
    __syncthreads();
    widen_step(0);
    for (int s = 0; s < steps; s++) {
      async_wait<Tile::kNumStages - 3>();
      __syncthreads();
      load_step(s + Tile::kNumStages - 1);
      if (s + 1 < steps) widen_step(s + 1);
      multiply(shared + s % 2 * Tile::kWideBytes, stage_of(s) + Tile::kWeightBytes);
    }
  }

  OCTAVO_DEVICE void multiply_packed(const unsigned char* stage) {
    const unsigned char* x = stage + Tile::kWeightBytes;
    const PackedLane<T, typename Tile::Kind> own(stage + warp_n * Tile::Kind::kTileBytes, lane,
                                                 is_coarse<typename Tile::Kind>(a.layout));
#pragma unroll
    for (int q = 0; q < 2; q++) {
      uint32_t w[2][4];
      own.left_sides(q, w);
#pragma unroll
      for (int c = 0; c < kColTiles; c++) {
        uint32_t b[4];
        const int token = (warp_m * kColTiles + c) * 8 + (lane & 7);
        ldmatrix(b, x + XRows::offset(token, q * 4 + (lane >> 3)));
        mma<T>(sum[0][c], w[0], b[0], b[1]);
        mma<T>(sum[0][c], w[1], b[2], b[3]);
      }
    }
  }

  OCTAVO_DEVICE void multiply(const unsigned char* weights, const unsigned char* x) {
    const int low = (lane & 7) + (lane >> 3 & 1) * 8;
    const int high = (lane & 7) + (lane >> 4) * 8;
#pragma unroll
    for (int k = 0; k < kStepK / 16; k++) {
      uint32_t w[kRowTiles][4];
#pragma unroll
      for (int r = 0; r < kRowTiles; r++) {
        const int row = (warp_n * kRowTiles + r) * 16 + low;
        ldmatrix(w[r], weights + XRows::offset(row, k * 2 + (lane >> 4)));
      }
#pragma unroll
      for (int c = 0; c < kColTiles; c += 2) {
        uint32_t b[4];
        const int token = (warp_m * kColTiles + c) * 8 + high;
        ldmatrix(b, x + XRows::offset(token, k * 2 + (lane >> 3 & 1)));
#pragma unroll
        for (int r = 0; r < kRowTiles; r++) {
          mma<T>(sum[r][c], w[r], b[0], b[1]);
          mma<T>(sum[r][c + 1], w[r], b[2], b[3]);
        }
      }
    }
  }

  // ldmatrix on bytes gives a lane four neighbours of K, 4t … 4t+3, where the mma expects 2t, 2t+1,
  // 2t+8, 2t+9: the tokens are read in the same permuted order, so the products match.
  // w: the left sides of two products, of the first and of the other 16 of a block of K.
  OCTAVO_DEVICE void quantised_weights(const unsigned char* stage, int row0, int block,
                                       uint32_t (&w)[2][4]) {
    const int row = row0 + (lane & 7) + (lane >> 3 & 1) * 8;
    const unsigned char* from = stage + row * Tile::kWeightPitch;
    uint32_t bytes[4];
    if constexpr (Tile::kWeightBits == 8) {  // [half · 2 + 0, 1]: rows g, g+8
      ldmatrix(bytes, from + block * 32 + (lane >> 4) * 16);
    } else {  // [0], [1]: rows g, g+8, both halves; the others are the same again
      ldmatrix(bytes, from + block * 16);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int half = i / 2, side = i % 2;
      const uint2 pairs =
          Tile::kWeightBits == 8 ? widen4_i8<T>(bytes[i]) : widen4_i4<T>(bytes[side] >> (half * 4));
      w[half][side] = pairs.x;
      w[half][side + 2] = pairs.y;
    }
  }

  OCTAVO_DEVICE void multiply_quantised(const unsigned char* stage) {
    const unsigned char* x = stage + Tile::kWeightBytes;
    const F16* scales = reinterpret_cast<const F16*>(x + Tile::kXBytes);
#pragma unroll
    for (int block = 0; block < kStepK / 32; block++) {
#pragma unroll
      for (int r = 0; r < kRowTiles; r++) {
        const int row0 = (warp_n * kRowTiles + r) * 16;
        uint32_t w[2][4];
        quantised_weights(stage, row0, block, w);
        const float scale[2] = {widen(scales[(row0 + g) * 2 + block]),
                                widen(scales[(row0 + g + 8) * 2 + block])};
#pragma unroll
        for (int c = 0; c < kColTiles; c++) {
          const int token = (warp_m * kColTiles + c) * 8 + g;
          float product[4] = {};
#pragma unroll
          for (int half = 0; half < 2; half++) {
            const int chunk = block * 4 + half * 2 + t / 2;
            const uint2 b =
                *reinterpret_cast<const uint2*>(x + XRows::offset(token, chunk) + t % 2 * 8);
            mma<T>(product, w[half], b.x, b.y);
          }
#pragma unroll
          for (int i = 0; i < 4; i++) sum[r][c][i] = fmaf(product[i], scale[i / 2], sum[r][c][i]);
        }
      }
    }
  }

  OCTAVO_DEVICE static void clear(float (&x)[kRowTiles][kColTiles][4]) {
#pragma unroll
    for (int r = 0; r < kRowTiles; r++) {
#pragma unroll
      for (int c = 0; c < kColTiles * 4; c++) x[r][c / 4][c % 4] = 0.0f;
    }
  }

  // Of the tokens before m_end.
  OCTAVO_DEVICE void write_output(int64_t m_end) {
#pragma unroll
    for (int r = 0; r < kRowTiles; r++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int64_t n = n0 + (warp_n * kRowTiles + r) * 16 + half * 8 + g;
        if (n >= part.n) continue;
        const float bias = part.bias != nullptr ? part.bias[n] : 0.0f;
#pragma unroll
        for (int c = 0; c < kColTiles * 2; c++) {
          const int64_t m = m0 + (warp_m * kColTiles + c / 2) * 8 + t * 2 + c % 2;
          if (m >= m_end) continue;
          const float value = total[r][c / 2][half * 2 + c % 2] + bias;
          if (part.float_out) {
            static_cast<float*>(part.out)[m * part.n + n] = value;
          } else {
            static_cast<T*>(part.out)[m * part.n + n] = narrow<T>(value);
          }
        }
      }
    }
  }
};

// Grid: [tiles of N over all parts][tiles of M][parts of K if spread]
template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kMinBlocks)
    matmul_kernel(const MatmulArgs a) {
  OCTAVO_SHARED(shared);
  MatmulBlock<T, Tile> block(a, shared);
  block.run();
}

}  // namespace octavo::device
