// One chunk of context against a tile of query rows. Scores put tokens in the lanes: K is turned
// around sixteen tokens at a time, once for all rows of the tile, and each score is a plain sum
// over the head. Values are added token by token. So a row's bits depend on what it sees and on
// nothing else; memory that no row of the tile may see is not touched, and a value that one row
// sees never meets another row's sum, not even with weight 0 (it may be ∞).
#pragma once

#include "cpu/kernels.h"
#include "cpu/simd.h"
#include "cpu/softmax_state.h"

namespace octavo {
namespace OCTAVO_ISA {

constexpr int32_t kGroupTokens = 16 * kScoreVecs;
// Tokens whose values stay in L1 while all rows of a tile pass over them.
constexpr int32_t kValueTokens = 64;

OCTAVO_INLINE int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }
OCTAVO_INLINE int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

OCTAVO_INLINE int64_t padded_head(int64_t head_size) { return (head_size + 15) & ~int64_t{15}; }

static int64_t attention_scratch(int64_t head_size) {
  return padded_head(head_size) * (kGroupTokens + 1) + kMaxQueryRows * kChunkTokens;
}

// out[d · kGroupTokens + t] = rows[t][d] for the tokens of a group.
static void transpose_group(const float* const* rows, int32_t head_size, float* out) {
  for (int32_t t = 0; t < kGroupTokens; t += 16) {
    int32_t d = 0;
    for (; d + 16 <= head_size; d += 16) {
      transpose16(rows + t, d, out + d * kGroupTokens + t, kGroupTokens);
    }
    for (; d < head_size; d++) {
      for (int32_t i = 0; i < 16; i++) out[d * kGroupTokens + t + i] = rows[t + i][d];
    }
  }
}

// scores [Rows][kChunkTokens], a group of columns = scale · q [Rows][head] · turned [head][group]
template <int Rows>
static void score_group(const AttentionChunk& c, int32_t row, const float* turned, float* scores) {
  F32x16 acc[Rows][kScoreVecs];
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
    OCTAVO_UNROLL for (int v = 0; v < kScoreVecs; v++) acc[r][v] = zero();
  }
  const float* q[Rows];
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) q[r] = c.q[row + r];
  for (int32_t d = 0; d < c.head_size; d++) {
    F32x16 k[kScoreVecs];
    const float* column = turned + d * kGroupTokens;
    OCTAVO_UNROLL for (int v = 0; v < kScoreVecs; v++) k[v] = load(column + 16 * v);
    OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
      const F32x16 x = splat(q[r][d]);
      OCTAVO_UNROLL for (int v = 0; v < kScoreVecs; v++) acc[r][v] = fma(x, k[v], acc[r][v]);
    }
  }
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
    OCTAVO_UNROLL for (int v = 0; v < kScoreVecs; v++) {
      store(scores + r * kChunkTokens + 16 * v, mul(acc[r][v], splat(c.scale)));
    }
  }
}

template <int Rows = kScoreRows>
OCTAVO_INLINE void score_rows(int32_t rows, const AttentionChunk& c, int32_t row,
                              const float* turned, float* scores) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return score_rows<Rows - 1>(rows, c, row, turned, scores);
  }
  score_group<Rows>(c, row, turned, scores);
}

// Scores of all rows for tokens [first, last), in whole groups; a token outside reads zeros.
static void score_chunk(const AttentionChunk& c, int32_t first, int32_t last, float* turned,
                        const float* zeros, float* scores) {
  for (int32_t t = first - first % kGroupTokens; t < last; t += kGroupTokens) {
    const float* rows[kGroupTokens];
    for (int32_t i = 0; i < kGroupTokens; i++) {
      rows[i] = t + i >= first && t + i < last ? c.k_rows[t + i] : zeros;
    }
    transpose_group(rows, c.head_size, turned);
    for (int32_t r = 0; r < c.num_rows; r += kScoreRows) {
      const int32_t left = c.num_rows - r;
      score_rows(left < kScoreRows ? left : kScoreRows, c, r, turned,
                 scores + r * kChunkTokens + t);
    }
  }
}

// acc [Rows][head] += p [Rows][kChunkTokens] · v, tokens [first, last) in order, Vecs vectors of
// columns from d. `tail` columns (< 16) instead of whole vectors, if not 0.
template <int Rows, int Vecs>
static void add_values(const AttentionChunk& c, int32_t row, int32_t first, int32_t last, int32_t d,
                       int32_t tail, const float* p) {
  float* out = c.acc + static_cast<int64_t>(row) * c.head_size + d;
  F32x16 acc[Rows][Vecs];
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
    OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) {
      const float* at = out + r * c.head_size + 16 * v;
      acc[r][v] = tail != 0 ? load_n(at, tail) : load(at);
    }
  }
  for (int32_t t = first; t < last; t++) {
    const float* value = c.v_rows[t] + d;
    F32x16 x[Vecs];
    OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) {
      x[v] = tail != 0 ? load_n(value, tail) : load(value + 16 * v);
    }
    OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
      const F32x16 weight = splat(p[r * kChunkTokens + t]);
      OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) acc[r][v] = fma(weight, x[v], acc[r][v]);
    }
  }
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
    OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) {
      float* at = out + r * c.head_size + 16 * v;
      if (tail != 0) {
        store_n(at, acc[r][v], tail);
      } else {
        store(at, acc[r][v]);
      }
    }
  }
}

template <int Rows = kTileRows>
OCTAVO_INLINE void add_values_rows(int32_t rows, const AttentionChunk& c, int32_t row,
                                   int32_t first, int32_t last, const float* p) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return add_values_rows<Rows - 1>(rows, c, row, first, last, p);
  }
  if (first >= last) return;
  int32_t d = 0;
  for (; d + 16 * kTileCols <= c.head_size; d += 16 * kTileCols) {
    add_values<Rows, kTileCols>(c, row, first, last, d, 0, p);
  }
  for (; d + 16 <= c.head_size; d += 16) add_values<Rows, 1>(c, row, first, last, d, 0, p);
  if (d < c.head_size) add_values<Rows, 1>(c, row, first, last, d, c.head_size - d, p);
}

// Values of tokens [begin, end) for rows [row, row + n): together where all of them see, row by
// row at the edges; for each row still in the order of tokens.
static void add_values_tile(const AttentionChunk& c, int32_t row, int32_t n, int32_t begin,
                            int32_t end, const float* scores) {
  int32_t common_begin = begin, common_end = end;
  for (int32_t r = row; r < row + n; r++) {
    common_begin = larger(common_begin, c.first[r]);
    common_end = smaller(common_end, c.last[r]);
  }
  if (common_begin >= common_end) common_begin = common_end = end;
  for (int32_t r = row; r < row + n; r++) {
    add_values_rows<1>(1, c, r, larger(begin, c.first[r]), smaller(common_begin, c.last[r]),
                       scores + r * kChunkTokens);
  }
  add_values_rows(n, c, row, common_begin, common_end, scores + row * kChunkTokens);
  for (int32_t r = row; r < row + n; r++) {
    add_values_rows<1>(1, c, r, larger(common_end, c.first[r]), smaller(end, c.last[r]),
                       scores + r * kChunkTokens);
  }
}

static void attend_chunk(const AttentionChunk& c) {
  float* turned = c.scratch;
  float* zeros = turned + padded_head(c.head_size) * kGroupTokens;
  float* scores = zeros + padded_head(c.head_size);
  int32_t first = kChunkTokens, last = 0;
  for (int32_t r = 0; r < c.num_rows; r++) {
    if (c.first[r] >= c.last[r]) continue;
    first = smaller(first, c.first[r]);
    last = larger(last, c.last[r]);
  }
  __builtin_memset(zeros, 0, static_cast<size_t>(c.head_size) * sizeof(float));
  score_chunk(c, first, last, turned, zeros, scores);
  for (int32_t r = 0; r < c.num_rows; r++) {
    c.state[r] = softmax_of_scores(scores + r * kChunkTokens, c.first[r], c.last[r]);
  }
  __builtin_memset(c.acc, 0,
                   static_cast<size_t>(c.num_rows) * static_cast<size_t>(c.head_size) * 4);
  for (int32_t t = first - first % kValueTokens; t < last; t += kValueTokens) {
    for (int32_t r = 0; r < c.num_rows; r += kTileRows) {
      const int32_t n = smaller(kTileRows, c.num_rows - r);
      add_values_tile(c, r, n, t, smaller(t + kValueTokens, last), scores);
    }
  }
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
