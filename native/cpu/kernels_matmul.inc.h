// out = x · weightᵀ. Every output is the same computation whatever stands around it: sixteen lane
// accumulators over k in order, then the fixed tree. Register tiles, panels and depth blocks only
// decide which outputs are computed next to each other and where accumulators wait.
#pragma once

#include "cpu/kernels.h"
#include "cpu/kernels_pointwise.inc.h"
#include "cpu/simd.h"

namespace octavo {
namespace OCTAVO_ISA {

// A tile of x rows × weight rows over depth [begin, begin + depth) of each.
struct Tile {
  const float* x;
  int64_t x_stride;  // floats
  const char* w;
  int64_t w_stride;  // bytes
  int64_t depth;
  float* partial;  // [rows · cols][16] lane accumulators, or null
  bool resume;     // start from partial instead of zero
  bool suspend;    // leave the accumulators in partial instead of finishing
  const float* bias;
  float* out;
  int64_t out_stride;
};

template <int Rows, int Cols>
OCTAVO_INLINE void finish_tile(const Tile& t, const F32x16 (&acc)[Rows][Cols]) {
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
    hsum_each<Cols>(acc[r], t.out + r * t.out_stride);
  }
  if (t.bias == nullptr) return;
  for (int r = 0; r < Rows; r++) {
    float* out = t.out + r * t.out_stride;
    for (int c = 0; c < Cols; c++) out[c] += t.bias[c];
  }
}

constexpr int64_t kShortRow = 2048;  // bytes

// Direct: over weights in stored form, each read once, from memory as a rule.
template <class Widen, bool Direct, int Rows, int Cols>
static void run_tile(const Tile& t) {
  F32x16 acc[Rows][Cols];
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
    OCTAVO_UNROLL for (int c = 0; c < Cols; c++) {
      acc[r][c] = t.resume ? load(t.partial + (r * Cols + c) * 16) : zero();
    }
  }
  const int64_t whole = t.depth & ~int64_t{15};
  const bool fetch = t.w_stride < kShortRow;
  OCTAVO_UNROLL_TWICE for (int64_t k = 0; k < whole; k += 16) {
    F32x16 w[Cols];
    // The weight rows of the next tile, from front to back: where rows are short, processors do not
    // follow the Cols streams that this tile reads.
    if (Direct && fetch) {
      const char* ahead = t.w + Cols * (t.w_stride + Widen::kBytes * k);
      OCTAVO_UNROLL for (int i = 0; i < Cols * Widen::kBytes * 16; i += 64) {
        __builtin_prefetch(ahead + i, 0, 3);
      }
    }
    OCTAVO_UNROLL for (int c = 0; c < Cols; c++) {
      w[c] = Widen::load_step(t.w + c * t.w_stride, k);
    }
    OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
      const F32x16 x = load(t.x + r * t.x_stride + k);
      OCTAVO_UNROLL for (int c = 0; c < Cols; c++) acc[r][c] = fma(x, w[c], acc[r][c]);
    }
  }
  if (whole != t.depth) {
    const int64_t n = t.depth - whole;
    F32x16 w[Cols];
    OCTAVO_UNROLL for (int c = 0; c < Cols; c++) {
      w[c] = Widen::load_tail(t.w + c * t.w_stride, whole, n);
    }
    OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
      const F32x16 x = load_n(t.x + r * t.x_stride + whole, n);
      OCTAVO_UNROLL for (int c = 0; c < Cols; c++) acc[r][c] = fma(x, w[c], acc[r][c]);
    }
  }
  if (!t.suspend) return finish_tile<Rows, Cols>(t, acc);
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
    OCTAVO_UNROLL for (int c = 0; c < Cols; c++) store(t.partial + (r * Cols + c) * 16, acc[r][c]);
  }
}

// Picks the instance for `rows`.
template <class Widen, bool Direct, int Cols, int Rows = kTileRows>
OCTAVO_INLINE void run_tile_rows(int64_t rows, const Tile& t) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return run_tile_rows<Widen, Direct, Cols, Rows - 1>(rows, t);
  }
  run_tile<Widen, Direct, Rows, Cols>(t);
}

// Few rows: one pass over the weights in their stored form, widened in registers.
constexpr int kVectorCols = 2 * kTileCols;  // a single row leaves registers for more weight rows

template <class Widen>
static void matmul_direct(const MatmulPanel& p) {
  Tile t = {p.x,   p.depth, p.weight, p.weight_stride, p.depth,     nullptr,
            false, false,   p.bias,   p.out,           p.out_stride};
  const auto advance = [&](int64_t cols) {
    t.w += cols * p.weight_stride;
    t.out += cols;
    if (t.bias != nullptr) t.bias += cols;
  };
  int64_t n = 0;
  if (p.num_rows == 1) {
    for (; n + kVectorCols <= p.num_cols; n += kVectorCols) {
      run_tile<Widen, true, 1, kVectorCols>(t);
      advance(kVectorCols);
    }
  }
  for (; n + kTileCols <= p.num_cols; n += kTileCols) {
    run_tile_rows<Widen, true, kTileCols>(p.num_rows, t);
    advance(kTileCols);
  }
  for (; n < p.num_cols; n++) {
    run_tile_rows<Widen, true, 1>(p.num_rows, t);
    advance(1);
  }
}

// Many rows: blocks of depth, so that a panel of widened weights and a tile of x share L1.
constexpr int64_t kMaxDepthBlock = 640;

OCTAVO_INLINE int64_t depth_block(int64_t depth) {
  const int64_t blocks = (depth + kMaxDepthBlock - 1) / kMaxDepthBlock;
  const int64_t block = (depth + blocks - 1) / blocks;
  return (block + 15) & ~int64_t{15};
}

static int64_t matmul_scratch(int64_t num_rows, int64_t num_cols, int64_t depth) {
  const int64_t block = depth_block(depth);
  return num_cols * block + (block < depth ? num_rows * num_cols * 16 : 0);
}

// One depth block of all tiles; `widened` holds its weights, padded to whole vectors.
static void matmul_block(const MatmulPanel& p, const float* widened, int64_t stride, Tile t) {
  float* const partial = t.partial;
  for (int64_t m = 0; m < p.num_rows; m += kTileRows) {
    const int64_t left = p.num_rows - m;
    const int64_t rows = left < kTileRows ? left : kTileRows;
    for (int64_t n = 0; n < p.num_cols;) {
      const bool wide = n + kTileCols <= p.num_cols;
      t.w = reinterpret_cast<const char*>(widened + n * stride);
      t.bias = p.bias != nullptr ? p.bias + n : nullptr;
      t.out = p.out + m * p.out_stride + n;
      if (partial != nullptr) t.partial = partial + (m * p.num_cols + n * rows) * 16;
      if (wide) {
        run_tile_rows<WidenF32, false, kTileCols>(rows, t);
      } else {
        run_tile_rows<WidenF32, false, 1>(rows, t);
      }
      n += wide ? kTileCols : 1;
    }
    t.x += kTileRows * t.x_stride;
  }
}

static void matmul_blocked(const MatmulPanel& p) {
  const int64_t block = depth_block(p.depth);
  float* widened = p.scratch;
  float* partial = block < p.depth ? widened + p.num_cols * block : nullptr;
  for (int64_t k = 0; k < p.depth; k += block) {
    const int64_t left = p.depth - k;
    const int64_t depth = left < block ? left : block;
    for (int64_t n = 0; n < p.num_cols; n++) {
      widen_dtype(p.dtype, p.weight + n * p.weight_stride, k, depth, true, widened + n * block);
    }
    const bool suspend = depth < left;
    matmul_block(p, widened, block,
                 {p.x + k, p.depth, nullptr, block * int64_t{4}, depth, partial, k > 0, suspend,
                  nullptr, nullptr, p.out_stride});
  }
}

static void matmul(const MatmulPanel& p) {
  if (p.num_rows > kTileRows) return matmul_blocked(p);
  switch (p.dtype) {
    case DType::kF32:
      return matmul_direct<WidenF32>(p);
    case DType::kF16:
      return matmul_direct<WidenF16>(p);
    case DType::kBF16:
      return matmul_direct<WidenBF16>(p);
    default:  // quantised weights are panels.h's
      return;
  }
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
