// One chunk of context against a tile of query rows. Scores put tokens in the lanes: pages of K are
// stored that way round, so a vector of scores is a sum of vectors over the head. Values are added
// token by token. So a row's bits depend on what it sees and on nothing else; blocks that no row of
// the tile may see are not touched, lanes of other tokens are masked, and a value that one row sees
// never meets another row's sum, not even with weight 0 (it may be ∞).
#pragma once

#include "cpu/kernels.h"
#include "cpu/simd.h"
#include "cpu/softmax_state.h"

namespace octavo {
namespace OCTAVO_ISA {

constexpr int32_t kGroupTokens = 16 * kScoreVecs;
// Tokens whose values stay in L1 while all rows of a tile pass over them.
constexpr int32_t kValueTokens = 64;
constexpr int kFewRows = 4;

OCTAVO_INLINE int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }
OCTAVO_INLINE int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

OCTAVO_INLINE int64_t padded_head(int64_t head_size) { return (head_size + 15) & ~int64_t{15}; }

static int64_t attention_scratch(int64_t head_size) {
  return padded_head(head_size) * kGroupTokens + kMaxQueryRows * kChunkTokens;
}

// How sixteen (or n < 16) cached values are read.
template <class T, F32x16 (*Load)(const void*), F32x16 (*LoadN)(const void*, int64_t)>
struct Cached {
  static constexpr int64_t kBytes = sizeof(T);
  OCTAVO_INLINE F32x16 load(const char* p) { return Load(p); }
  OCTAVO_INLINE F32x16 load_n(const char* p, int64_t n) { return LoadN(p, n); }
};
OCTAVO_INLINE F32x16 load_i8_n(const void* p, int64_t n) {
  int8_t bytes[16] = {};
  __builtin_memcpy(bytes, p, static_cast<size_t>(n));
  return load_i8(bytes);
}
using CachedF32 = Cached<float, load_f32, load_f32_n>;
using CachedF16 = Cached<uint16_t, load_f16, load_f16_n>;
using CachedBF16 = Cached<uint16_t, load_bf16, load_bf16_n>;
using CachedI8 = Cached<int8_t, load_i8, load_i8_n>;

// Sixteen tokens each: where value 0 of their K lies, value d `stride` bytes further. As far from
// there as `to_values` lies a piece of their V of the same size.
struct KeyGroup {
  const char* at[kScoreVecs];
  int64_t to_values[kScoreVecs] = {};
  int64_t to_next[kScoreVecs] = {};  // and the K of the group after it
  int64_t stride;
};

OCTAVO_INLINE KeyGroup turned_keys(const float* turned) {
  KeyGroup keys;
  keys.stride = kGroupTokens * 4;
  for (int v = 0; v < kScoreVecs; v++) keys.at[v] = reinterpret_cast<const char*>(turned + 16 * v);
  return keys;
}

// The K of a group's tokens within [first, last) as floats [head][kGroupTokens], other tokens 0.
template <class Kv>
static KeyGroup gather_keys(const AttentionChunk& c, int32_t group, int32_t first, int32_t last,
                            float* turned) {
  const int32_t begin = larger(group, first), end = smaller(group + kGroupTokens, last);
  alignas(64) char raw[kGroupTokens * 4] = {};
  for (int32_t d = 0; d < c.head_size; d++) {
    for (int32_t t = begin; t < end;) {
      const int32_t position = t + c.block_offset, offset = position % c.block_size;
      const int32_t run = smaller(end - t, c.block_size - offset);
      const char* page = c.k_pages[position / c.block_size];
      __builtin_memcpy(raw + (t - group) * Kv::kBytes,
                       page + (static_cast<int64_t>(d) * c.block_size + offset) * Kv::kBytes,
                       static_cast<size_t>(run * Kv::kBytes));
      t += run;
    }
    for (int v = 0; v < kScoreVecs; v++) {
      store(turned + d * kGroupTokens + 16 * v, Kv::load(raw + 16 * v * Kv::kBytes));
    }
  }
  return turned_keys(turned);
}

// The same in the pages themselves. A vector of tokens that nobody sees reads its neighbours'.
template <class Kv>
OCTAVO_INLINE KeyGroup keys_in_pages(const AttentionChunk& c, int32_t group, int32_t first,
                                     int32_t last) {
  KeyGroup keys;
  keys.stride = c.block_size * Kv::kBytes;
  for (int v = 0; v < kScoreVecs; v++) {
    int32_t t = group + 16 * v;
    if (t + 16 <= first) t = first & ~15;
    if (t >= last) t = (last - 1) & ~15;
    const char* const page = c.k_pages[t / c.block_size];
    keys.at[v] = page + t % c.block_size * Kv::kBytes;
    keys.to_values[v] = c.v_pages[t / c.block_size] - page;
    const int32_t next = t + kGroupTokens;
    if (next < last) keys.to_next[v] = c.k_pages[next / c.block_size] - page;
  }
  return keys;
}

// Those as floats.
template <class Kv>
static KeyGroup widen_keys(const KeyGroup& keys, int32_t head_size, float* turned) {
  for (int32_t d = 0; d < head_size; d++) {
    OCTAVO_UNROLL for (int v = 0; v < kScoreVecs; v++) {
      store(turned + d * kGroupTokens + 16 * v, Kv::load(keys.at[v] + d * keys.stride));
    }
  }
  return turned_keys(turned);
}

// scores [rows][kChunkTokens] times the scales of tokens [first, last), from a multiple of 16 on.
static void scale_scores(const AttentionChunk& c, const float* const* token_scales, int32_t first,
                         int32_t last, float* scores) {
  for (int32_t t = first & ~15; t < last; t += 16) {
    float scales[16] = {};
    const int32_t end = smaller(t + 16, last);
    for (int32_t i = larger(t, first); i < end;) {
      const int32_t position = i + c.block_offset, offset = position % c.block_size;
      const int32_t run = smaller(end - i, c.block_size - offset);
      __builtin_memcpy(scales + (i - t), token_scales[position / c.block_size] + offset,
                       static_cast<size_t>(run) * 4);
      i += run;
    }
    const F32x16 by = load(scales);
    for (int32_t r = 0; r < c.num_rows; r++) {
      float* at = scores + r * kChunkTokens + t;
      store(at, mul(load(at), by));
    }
  }
}

// scores [Rows][kChunkTokens], a group of columns = scale · q [Rows][head] · keys [head][group]
template <class Kv, int Rows>
static void score_group(const AttentionChunk& c, int32_t row, const KeyGroup& keys, float* scores) {
  F32x16 acc[Rows][kScoreVecs];
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
    OCTAVO_UNROLL for (int v = 0; v < kScoreVecs; v++) acc[r][v] = zero();
  }
  const float* q[Rows];
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) q[r] = c.q[row + r];
  for (int32_t d = 0; d < c.head_size; d++) {
    F32x16 k[kScoreVecs];
    OCTAVO_UNROLL for (int v = 0; v < kScoreVecs; v++) {
      const char* const at = keys.at[v] + d * keys.stride;
      k[v] = Kv::load(at);
      // Few rows wait for memory more than they compute: V, wanted next, is fetched meanwhile.
      if (Rows <= kFewRows) {
        __builtin_prefetch(at + keys.to_values[v], 0, 2);
        __builtin_prefetch(at + keys.to_next[v], 0, 2);
      }
    }
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

template <class Kv, int Rows = kScoreRows>
OCTAVO_INLINE void score_rows(int32_t rows, const AttentionChunk& c, int32_t row,
                              const KeyGroup& keys, float* scores) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return score_rows<Kv, Rows - 1>(rows, c, row, keys, scores);
  }
  score_group<Kv, Rows>(c, row, keys, scores);
}

template <class Kv>
OCTAVO_INLINE void score_tile(const AttentionChunk& c, const KeyGroup& keys, float* scores) {
  for (int32_t r = 0; r < c.num_rows; r += kScoreRows) {
    const int32_t left = c.num_rows - r;
    score_rows<Kv>(left < kScoreRows ? left : kScoreRows, c, r, keys, scores + r * kChunkTokens);
  }
}

// Scores of all rows for tokens [first, last), in whole groups. K is widened once where many rows
// want it, and where a vector of tokens is no piece of a page.
template <class Kv>
static void score_chunk(const AttentionChunk& c, int32_t first, int32_t last, float* turned,
                        float* scores) {
  const bool whole = c.block_size % 16 == 0 && c.block_offset == 0;
  const bool widen = Kv::kBytes != 4 && c.num_rows > 2 * kScoreRows;
  for (int32_t t = first - first % kGroupTokens; t < last; t += kGroupTokens) {
    if (!whole) {
      score_tile<CachedF32>(c, gather_keys<Kv>(c, t, first, last, turned), scores + t);
    } else if (widen) {
      const KeyGroup keys = keys_in_pages<Kv>(c, t, first, last);
      score_tile<CachedF32>(c, widen_keys<Kv>(keys, c.head_size, turned), scores + t);
    } else {
      score_tile<Kv>(c, keys_in_pages<Kv>(c, t, first, last), scores + t);
    }
  }
  if (Kv::kBytes == 1) scale_scores(c, c.k_scales, first, last, scores);
}

// acc [Rows][head] += p [Rows][kChunkTokens] · v, tokens [first, last) in order, Vecs vectors of
// columns from d. `tail` columns (< 16) instead of whole vectors, if not 0.
template <class Kv, int Rows, int Vecs>
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
  int32_t block = (first + c.block_offset) / c.block_size;
  int32_t offset = (first + c.block_offset) % c.block_size, left = c.block_size - offset;
  for (int32_t t = first; t < last; t++) {
    if (left == 0) {
      block++;
      offset = 0;
      left = c.block_size;
    }
    const char* value = c.v_pages[block] + (int64_t{offset} * c.head_size + d) * Kv::kBytes;
    F32x16 x[Vecs];
    OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) {
      x[v] = tail != 0 ? Kv::load_n(value, tail) : Kv::load(value + 16 * v * Kv::kBytes);
    }
    offset++;
    left--;
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

template <class Kv, int Rows = kTileRows>
OCTAVO_INLINE void add_values_rows(int32_t rows, const AttentionChunk& c, int32_t row,
                                   int32_t first, int32_t last, const float* p) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return add_values_rows<Kv, Rows - 1>(rows, c, row, first, last, p);
  }
  if (first >= last) return;
  int32_t d = 0;
  for (; d + 16 * kTileCols <= c.head_size; d += 16 * kTileCols) {
    add_values<Kv, Rows, kTileCols>(c, row, first, last, d, 0, p);
  }
  for (; d + 16 <= c.head_size; d += 16) add_values<Kv, Rows, 1>(c, row, first, last, d, 0, p);
  if (d < c.head_size) add_values<Kv, Rows, 1>(c, row, first, last, d, c.head_size - d, p);
}

// Values of tokens [begin, end) for rows [row, row + n): together where all of them see, row by
// row at the edges; for each row still in the order of tokens.
template <class Kv>
static void add_values_tile(const AttentionChunk& c, int32_t row, int32_t n, int32_t begin,
                            int32_t end, const float* scores) {
  int32_t common_begin = begin, common_end = end;
  for (int32_t r = row; r < row + n; r++) {
    common_begin = larger(common_begin, c.first[r]);
    common_end = smaller(common_end, c.last[r]);
  }
  if (common_begin >= common_end) common_begin = common_end = end;
  for (int32_t r = row; r < row + n; r++) {
    add_values_rows<Kv, 1>(1, c, r, larger(begin, c.first[r]), smaller(common_begin, c.last[r]),
                           scores + r * kChunkTokens);
  }
  add_values_rows<Kv>(n, c, row, common_begin, common_end, scores + row * kChunkTokens);
  for (int32_t r = row; r < row + n; r++) {
    add_values_rows<Kv, 1>(1, c, r, larger(common_end, c.first[r]), smaller(end, c.last[r]),
                           scores + r * kChunkTokens);
  }
}

// Scores of a row that its softmax is to see otherwise: capped, then less the further a token is.
static void shape_scores(const AttentionChunk& c, int32_t row, float* scores) {
  alignas(64) static constexpr float kLanes[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                   8, 9, 10, 11, 12, 13, 14, 15};
  const F32x16 cap = splat(c.softcap), lanes = load(kLanes);
  for (int32_t t = c.first[row] & ~15; t < c.last[row]; t += 16) {
    F32x16 s = load(scores + t);
    if (c.softcap > 0) s = mul(cap, tanh(div(s, cap)));
    if (c.slopes != nullptr) {
      const F32x16 distance = add(lanes, splat(static_cast<float>(t - c.positions[row])));
      s = fma(splat(c.slopes[row]), distance, s);
    }
    store(scores + t, s);
  }
}

template <class Kv>
static void attend(const AttentionChunk& c) {
  float* turned = c.scratch;
  float* scores = turned + padded_head(c.head_size) * kGroupTokens;
  int32_t first = kChunkTokens, last = 0;
  for (int32_t r = 0; r < c.num_rows; r++) {
    if (c.first[r] >= c.last[r]) continue;
    first = smaller(first, c.first[r]);
    last = larger(last, c.last[r]);
  }
  score_chunk<Kv>(c, first, last, turned, scores);
  const bool shaped = c.softcap > 0 || c.slopes != nullptr;
  for (int32_t r = 0; r < c.num_rows; r++) {
    if (shaped) shape_scores(c, r, scores + r * kChunkTokens);
    c.state[r] = softmax_of_scores(scores + r * kChunkTokens, c.first[r], c.last[r]);
  }
  // A value's scale goes to its weight: once for all columns.
  if (Kv::kBytes == 1) scale_scores(c, c.v_scales, first, last, scores);
  __builtin_memset(c.acc, 0,
                   static_cast<size_t>(c.num_rows) * static_cast<size_t>(c.head_size) * 4);
  for (int32_t t = first - first % kValueTokens; t < last; t += kValueTokens) {
    for (int32_t r = 0; r < c.num_rows; r += kTileRows) {
      const int32_t n = smaller(kTileRows, c.num_rows - r);
      add_values_tile<Kv>(c, r, n, t, smaller(t + kValueTokens, last), scores);
    }
  }
}

static void attend_chunk(const AttentionChunk& c) {
  switch (c.dtype) {
    case DType::kF32:
      return attend<CachedF32>(c);
    case DType::kF16:
      return attend<CachedF16>(c);
    case DType::kBF16:
      return attend<CachedBF16>(c);
    default:
      return attend<CachedI8>(c);
  }
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
