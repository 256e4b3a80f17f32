// Scores of a chunk of context against a tile of query rows: tokens are in the lanes, since pages
// of K are stored that way round, and a vector of scores is a sum of vectors over the head. See
// kernels_attention.inc.h.
#pragma once

#include "cpu/kernels.h"
#include "cpu/kernels_bf16.inc.h"
#include "cpu/simd.h"

namespace octavo {
namespace OCTAVO_ISA {

constexpr int32_t kGroupTokens = 16 * kScoreVecs;
constexpr int kFewRows = 4;

OCTAVO_INLINE int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }
OCTAVO_INLINE int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

OCTAVO_INLINE int64_t padded_head(int64_t head_size) { return (head_size + 15) & ~int64_t{15}; }

static int64_t attention_scratch(int64_t head_size) {
  return padded_head(head_size) * (kGroupTokens + kMaxQueryRows) + kMaxQueryRows * kChunkTokens;
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

// How scores meet keys, by units of the head's values: here one value and a float of q.
template <class Kv>
struct Floats {
  using Vector = F32x16;
  static constexpr int kValues = 1;
  OCTAVO_INLINE F32x16 keys(const char* at, int64_t stride, int64_t d) {
    return Kv::load(at + d * stride);
  }
  OCTAVO_INLINE F32x16 query(const char* q, int64_t d) {
    float value;
    __builtin_memcpy(&value, q + 4 * d, 4);
    return splat(value);
  }
  OCTAVO_INLINE F32x16 add(F32x16 total, F32x16 k, F32x16 q) { return fma(q, k, total); }
};
#if defined(OCTAVO_PAIRS)
// Two values of a token in a lane: as they were brought together,
struct TurnedPairs {
  using Vector = Pairs16;
  static constexpr int kValues = 2;
  OCTAVO_INLINE Pairs16 keys(const char* at, int64_t stride, int64_t j) {
    return load_pairs(at + j * stride);
  }
  OCTAVO_INLINE Pairs16 query(const char* q, int64_t j) { return splat_pair(q + 4 * j); }
  OCTAVO_INLINE F32x16 add(F32x16 total, Pairs16 k, Pairs16 q) { return add_pairs_of(total, k, q); }
};
// or out of a page.
struct PagePairs : TurnedPairs {
  OCTAVO_INLINE Pairs16 keys(const char* at, int64_t stride, int64_t j) {
    const char* const two = at + 2 * j * stride;
    return pairs_of_halves(load_halves(two), load_halves(two + stride));
  }
};
#else
// In the order of products of BF16.
template <class Kv>
struct FloatsSecondFirst : Floats<Kv> {
  OCTAVO_INLINE F32x16 keys(const char* at, int64_t stride, int64_t d) {
    return Floats<Kv>::keys(at, stride, d ^ 1);
  }
  OCTAVO_INLINE F32x16 query(const char* q, int64_t d) { return Floats<Kv>::query(q, d ^ 1); }
};
using TurnedPairs = FloatsSecondFirst<CachedF32>;
using PagePairs = FloatsSecondFirst<CachedBF16>;
#endif

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

// Value d of the K of a group's tokens within [first, last); nothing is done to other tokens'
// place.
template <class Kv>
OCTAVO_INLINE void gather_value(const AttentionChunk& c, int32_t group, int32_t first, int32_t last,
                                int32_t d, char* raw) {
  const int32_t begin = larger(group, first), end = smaller(group + kGroupTokens, last);
  for (int32_t t = begin; t < end;) {
    const int32_t position = t + c.block_offset, offset = position % c.block_size;
    const int32_t run = smaller(end - t, c.block_size - offset);
    const char* page = c.k_pages[position / c.block_size];
    __builtin_memcpy(raw + (t - group) * Kv::kBytes,
                     page + (static_cast<int64_t>(d) * c.block_size + offset) * Kv::kBytes,
                     static_cast<size_t>(run * Kv::kBytes));
    t += run;
  }
}

// The K of a group's tokens within [first, last) as floats [head][kGroupTokens], other tokens 0.
template <class Kv>
static KeyGroup gather_keys(const AttentionChunk& c, int32_t group, int32_t first, int32_t last,
                            float* turned) {
  alignas(64) char raw[kGroupTokens * 4] = {};
  for (int32_t d = 0; d < c.head_size; d++) {
    gather_value<Kv>(c, group, first, last, d, raw);
    for (int v = 0; v < kScoreVecs; v++) {
      store(turned + d * kGroupTokens + 16 * v, Kv::load(raw + 16 * v * Kv::kBytes));
    }
  }
  return turned_keys(turned);
}

// The K of a latent token.
OCTAVO_INLINE const char* latent_row(const AttentionChunk& c, int32_t token, int64_t bytes) {
  const int32_t position = token + c.block_offset;
  return c.k_pages[position / c.block_size] +
         int64_t{position % c.block_size} * c.head_size * bytes;
}

// As gather_keys, of rows that lie one behind the other: they are turned around here.
template <class Kv>
static KeyGroup turn_latents(const AttentionChunk& c, int32_t group, int32_t first, int32_t last,
                             float* turned) {
  for (int32_t t = group; t < group + kGroupTokens; t++) {
    float* const to = turned + (t - group);
    if (t < first || t >= last) {
      for (int32_t d = 0; d < c.head_size; d++) to[d * kGroupTokens] = 0;
      continue;
    }
    const char* const row = latent_row(c, t, Kv::kBytes);
    for (int32_t d = 0; d < c.head_size; d += 16) {
      const int32_t n = smaller(16, c.head_size - d);
      const char* const at = row + d * Kv::kBytes;
      alignas(64) float values[16];
      store(values, n < 16 ? Kv::load_n(at, n) : Kv::load(at));
      for (int32_t i = 0; i < n; i++) to[(d + i) * kGroupTokens] = values[i];
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

// And as products of BF16 take them.
#if defined(OCTAVO_PAIRS)
static KeyGroup gather_pairs(const AttentionChunk& c, int32_t group, int32_t first, int32_t last,
                             float* turned) {
  alignas(64) uint16_t raw[2][kGroupTokens] = {};
  for (int32_t d = 0; d < c.head_size; d += 2) {
    for (int i = 0; i < 2; i++) {
      gather_value<CachedBF16>(c, group, first, last, d + i, reinterpret_cast<char*>(raw[i]));
    }
    for (int v = 0; v < kScoreVecs; v++) {
      store_pairs(turned + d / 2 * kGroupTokens + 16 * v,
                  pairs_of_halves(load_halves(raw[0] + 16 * v), load_halves(raw[1] + 16 * v)));
    }
  }
  return turned_keys(turned);
}
static KeyGroup turn_latent_pairs(const AttentionChunk& c, int32_t group, int32_t first,
                                  int32_t last, float* turned) {
  for (int32_t t = group; t < group + kGroupTokens; t++) {
    const bool seen = t >= first && t < last;
    const char* const row = seen ? latent_row(c, t, 2) : nullptr;
    for (int32_t j = 0; j < c.head_size / 2; j++) {
      uint32_t pair = 0;
      if (seen) __builtin_memcpy(&pair, row + 4 * j, 4);
      __builtin_memcpy(turned + j * kGroupTokens + (t - group), &pair, 4);
    }
  }
  return turned_keys(turned);
}
static KeyGroup turn_pairs(const KeyGroup& keys, int32_t head_size, float* turned) {
  for (int32_t j = 0; j < head_size / 2; j++) {
    OCTAVO_UNROLL for (int v = 0; v < kScoreVecs; v++) {
      store_pairs(turned + j * kGroupTokens + 16 * v, PagePairs::keys(keys.at[v], keys.stride, j));
    }
  }
  return turned_keys(turned);
}
#else
static KeyGroup gather_pairs(const AttentionChunk& c, int32_t group, int32_t first, int32_t last,
                             float* turned) {
  return gather_keys<CachedBF16>(c, group, first, last, turned);
}
static KeyGroup turn_latent_pairs(const AttentionChunk& c, int32_t group, int32_t first,
                                  int32_t last, float* turned) {
  return turn_latents<CachedBF16>(c, group, first, last, turned);
}
static KeyGroup turn_pairs(const KeyGroup& keys, int32_t head_size, float* turned) {
  return widen_keys<CachedBF16>(keys, head_size, turned);
}
#endif

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
template <class M, int Rows>
static void score_group(const AttentionChunk& c, const char* const* rows, const KeyGroup& keys,
                        float* scores) {
  F32x16 acc[Rows][kScoreVecs];
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
    OCTAVO_UNROLL for (int v = 0; v < kScoreVecs; v++) acc[r][v] = zero();
  }
  const char* q[Rows];
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) q[r] = rows[r];
  const int64_t units = c.head_size / M::kValues;
  for (int64_t d = 0; d < units; d++) {
    typename M::Vector k[kScoreVecs];
    OCTAVO_UNROLL for (int v = 0; v < kScoreVecs; v++) {
      k[v] = M::keys(keys.at[v], keys.stride, d);
      // Few rows wait for memory more than they compute: V, wanted next, is fetched meanwhile.
      if (Rows <= kFewRows) {
        const char* const at = keys.at[v] + d * M::kValues * keys.stride;
        __builtin_prefetch(at + keys.to_values[v], 0, 2);
        __builtin_prefetch(at + keys.to_next[v], 0, 2);
      }
    }
    OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
      const auto x = M::query(q[r], d);
      OCTAVO_UNROLL for (int v = 0; v < kScoreVecs; v++) acc[r][v] = M::add(acc[r][v], k[v], x);
    }
  }
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
    OCTAVO_UNROLL for (int v = 0; v < kScoreVecs; v++) {
      store(scores + r * kChunkTokens + 16 * v, mul(acc[r][v], splat(c.scale)));
    }
  }
}

template <class M, int Rows = kScoreRows>
OCTAVO_INLINE void score_rows(int32_t rows, const AttentionChunk& c, const char* const* q,
                              const KeyGroup& keys, float* scores) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return score_rows<M, Rows - 1>(rows, c, q, keys, scores);
  }
  score_group<M, Rows>(c, q, keys, scores);
}

template <class M>
OCTAVO_INLINE void score_tile(const AttentionChunk& c, const char* const* q, const KeyGroup& keys,
                              float* scores) {
  for (int32_t r = 0; r < c.num_rows; r += kScoreRows) {
    const int32_t left = c.num_rows - r;
    score_rows<M>(left < kScoreRows ? left : kScoreRows, c, q + r, keys, scores + r * kChunkTokens);
  }
}

// Scores of all rows for tokens [first, last), in whole groups. K is widened, or its pairs brought
// together, once where many rows want it, and where a vector of tokens is no piece of a page.
template <class Kv>
static void score_chunk(const AttentionChunk& c, int32_t first, int32_t last, float* turned,
                        float* scores) {
  const bool whole = c.block_size % 16 == 0 && c.block_offset == 0;
  const bool widen = Kv::kBytes != 4 && c.num_rows > 2 * kScoreRows;
  const char* q[kMaxQueryRows];
  for (int32_t r = 0; r < c.num_rows; r++) q[r] = reinterpret_cast<const char*>(c.q[r]);
  for (int32_t t = first - first % kGroupTokens; t < last; t += kGroupTokens) {
    if (c.latent) {
      score_tile<Floats<CachedF32>>(c, q, turn_latents<Kv>(c, t, first, last, turned), scores + t);
    } else if (!whole) {
      score_tile<Floats<CachedF32>>(c, q, gather_keys<Kv>(c, t, first, last, turned), scores + t);
    } else if (widen) {
      const KeyGroup keys = keys_in_pages<Kv>(c, t, first, last);
      score_tile<Floats<CachedF32>>(c, q, widen_keys<Kv>(keys, c.head_size, turned), scores + t);
    } else {
      score_tile<Floats<Kv>>(c, q, keys_in_pages<Kv>(c, t, first, last), scores + t);
    }
  }
  if (Kv::kBytes == 1) scale_scores(c, c.k_scales, first, last, scores);
}

// The same in products of BF16, of q rounded.
static void score_chunk_rounded(const AttentionChunk& c, int32_t first, int32_t last, float* turned,
                                float* queries, float* scores) {
  const bool whole = c.block_size % 16 == 0 && c.block_offset == 0;
  const char* q[kMaxQueryRows];
  for (int32_t r = 0; r < c.num_rows; r++) {
    float* const own = queries + r * padded_head(c.head_size);
    round_bf16(c.q[r], c.head_size, own);
    q[r] = reinterpret_cast<const char*>(own);
  }
  for (int32_t t = first - first % kGroupTokens; t < last; t += kGroupTokens) {
    if (c.latent) {
      score_tile<TurnedPairs>(c, q, turn_latent_pairs(c, t, first, last, turned), scores + t);
    } else if (!whole) {
      score_tile<TurnedPairs>(c, q, gather_pairs(c, t, first, last, turned), scores + t);
    } else if (c.num_rows > 2 * kScoreRows) {
      const KeyGroup keys = keys_in_pages<CachedBF16>(c, t, first, last);
      score_tile<TurnedPairs>(c, q, turn_pairs(keys, c.head_size, turned), scores + t);
    } else {
      score_tile<PagePairs>(c, q, keys_in_pages<CachedBF16>(c, t, first, last), scores + t);
    }
  }
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
