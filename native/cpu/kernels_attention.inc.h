// One chunk of context against a tile of query rows. Scores put tokens in the lanes: pages of K are
// stored that way round, so a vector of scores is a sum of vectors over the head. Values are added
// token by token. So a row's bits depend on what it sees and on nothing else; blocks that no row of
// the tile may see are not touched, lanes of other tokens are masked, and a value that one row sees
// never meets another row's sum, not even with weight 0 (it may be ∞).
#pragma once

#include "cpu/kernels.h"
#include "cpu/kernels_scores.inc.h"
#include "cpu/simd.h"
#include "cpu/softmax_state.h"

namespace octavo {
namespace OCTAVO_ISA {

// Tokens whose values stay in L1 while all rows of a tile pass over them.
constexpr int32_t kValueTokens = 64;

// Vecs vectors of columns of Rows rows of acc, or `tail` columns (< 16) if that is not 0.
template <int Rows, int Vecs>
OCTAVO_INLINE void load_acc(const float* out, int64_t stride, int32_t tail,
                            F32x16 (&acc)[Rows][Vecs]) {
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
    OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) {
      const float* at = out + r * stride + 16 * v;
      acc[r][v] = tail != 0 ? load_n(at, tail) : load(at);
    }
  }
}
template <int Rows, int Vecs>
OCTAVO_INLINE void store_acc(const F32x16 (&acc)[Rows][Vecs], int64_t stride, int32_t tail,
                             float* out) {
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
    OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) {
      float* at = out + r * stride + 16 * v;
      tail != 0 ? store_n(at, acc[r][v], tail) : store(at, acc[r][v]);
    }
  }
}

// Where values of tokens lie, one after the other.
struct ValuePlace {
  const AttentionChunk& c;
  int32_t block, offset;

  ValuePlace(const AttentionChunk& chunk, int32_t token)
      : c(chunk),
        block((token + chunk.block_offset) / chunk.block_size),
        offset((token + chunk.block_offset) % chunk.block_size) {}
  template <int64_t Bytes>
  OCTAVO_INLINE_LAMBDA const char* next(int32_t d) {
    if (offset == c.block_size) {
      block++;
      offset = 0;
    }
    return c.v_pages[block] + (int64_t{offset++} * c.head_size + d) * Bytes;
  }
};

// acc [Rows][head] += p [Rows][kChunkTokens] · v, tokens [first, last) in order, Vecs vectors of
// columns from d. `tail` columns (< 16) instead of whole vectors, if not 0.
template <class Kv>
struct ExactValues {
  template <int Rows, int Vecs>
  static void add(const AttentionChunk& c, int32_t row, int32_t first, int32_t last, int32_t d,
                  int32_t tail, const float* p) {
    float* out = c.acc + static_cast<int64_t>(row) * c.value_size + d;
    F32x16 acc[Rows][Vecs];
    load_acc(out, c.value_size, tail, acc);
    ValuePlace place(c, first);
    for (int32_t t = first; t < last; t++) {
      const char* value = place.next<Kv::kBytes>(d);
      F32x16 x[Vecs];
      OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) {
        x[v] = tail != 0 ? Kv::load_n(value, tail) : Kv::load(value + 16 * v * Kv::kBytes);
      }
      OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
        const F32x16 weight = splat(p[r * kChunkTokens + t]);
        OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) acc[r][v] = fma(weight, x[v], acc[r][v]);
      }
    }
    store_acc(acc, c.value_size, tail, out);
  }
};

// The same in products of BF16: pairs are tokens of even positions and those behind them. p is
// rounded; of a pair that is seen by half the other value is not touched, and counts as 0.
struct RoundedValues {
  template <int Rows, int Vecs>
  static void add(const AttentionChunk& c, int32_t row, int32_t first, int32_t last, int32_t d,
                  int32_t tail, const float* p) {
    float* out = c.acc + static_cast<int64_t>(row) * c.value_size + d;
    F32x16 acc[Rows][Vecs];
    load_acc(out, c.value_size, tail, acc);
    ValuePlace place(c, first);
    for (int32_t t = first & ~1; t < last; t += 2) {
      const char* const one = t >= first ? place.next<2>(d) : nullptr;
      const char* const two = t + 1 < last ? place.next<2>(d) : nullptr;
      add_pair(one, two, tail, reinterpret_cast<const char*>(p) + t * kRoundedBytes, acc);
    }
    store_acc(acc, c.value_size, tail, out);
  }

 private:
  // p: of the first row; others lie kChunkTokens floats further each.
#if defined(OCTAVO_PAIRS)
  template <int Rows, int Vecs>
  OCTAVO_INLINE void add_pair(const char* one, const char* two, int32_t tail, const char* p,
                              F32x16 (&acc)[Rows][Vecs]) {
    const auto halves = [&](const char* at, int v) OCTAVO_INLINE_LAMBDA {
      if (at == nullptr) return _mm256_setzero_si256();
      return tail != 0 ? load_halves_n(at, tail) : load_halves(at + 32 * v);
    };
    Pairs16 x[Vecs];
    OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) {
      x[v] = pairs_of_halves(halves(one, v), halves(two, v));
    }
    OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
      const Pairs16 weight = splat_pair(p + r * kChunkTokens * 4);
      OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) {
        acc[r][v] = add_pairs_of(acc[r][v], x[v], weight);
      }
    }
  }
#else
  template <int Rows, int Vecs>
  OCTAVO_INLINE void add_pair(const char* one, const char* two, int32_t tail, const char* p,
                              F32x16 (&acc)[Rows][Vecs]) {
    for (int i = 1; i >= 0; i--) {
      const char* const at = i == 1 ? two : one;
      if (at == nullptr) continue;
      F32x16 x[Vecs];
      OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) {
        x[v] = tail != 0 ? load_bf16_n(at, tail) : load_bf16(at + 32 * v);
      }
      OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
        float value;
        __builtin_memcpy(&value, p + r * kChunkTokens * 4 + 4 * i, 4);
        const F32x16 weight = splat(value);
        OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) acc[r][v] = fma(weight, x[v], acc[r][v]);
      }
    }
  }
#endif
};

template <class Values, int Rows = kTileRows>
OCTAVO_INLINE void add_values_rows(int32_t rows, const AttentionChunk& c, int32_t row,
                                   int32_t first, int32_t last, const float* p) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return add_values_rows<Values, Rows - 1>(rows, c, row, first, last, p);
  }
  if (first >= last) return;
  int32_t d = 0;
  for (; d + 16 * kTileCols <= c.value_size; d += 16 * kTileCols) {
    Values::template add<Rows, kTileCols>(c, row, first, last, d, 0, p);
  }
  for (; d + 16 <= c.value_size; d += 16) {
    Values::template add<Rows, 1>(c, row, first, last, d, 0, p);
  }
  if (d < c.value_size) {
    Values::template add<Rows, 1>(c, row, first, last, d, c.value_size - d, p);
  }
}

// Values of tokens [begin, end) for rows [row, row + n): together where all of them see (pairs of
// tokens, where there are such), row by row at the edges; for each row still in the order of
// tokens.
template <class Values, int Together>
static void add_values_tile(const AttentionChunk& c, int32_t row, int32_t n, int32_t begin,
                            int32_t end, const float* scores) {
  int32_t common_begin = begin, common_end = end;
  for (int32_t r = row; r < row + n; r++) {
    common_begin = larger(common_begin, c.first[r]);
    common_end = smaller(common_end, c.last[r]);
  }
  common_begin = smaller((common_begin + Together - 1) / Together * Together, end);
  if (common_end < end) common_end = common_end / Together * Together;
  if (common_begin >= common_end) common_begin = common_end = end;
  for (int32_t r = row; r < row + n; r++) {
    add_values_rows<Values, 1>(1, c, r, larger(begin, c.first[r]), smaller(common_begin, c.last[r]),
                               scores + r * kChunkTokens);
  }
  add_values_rows<Values>(n, c, row, common_begin, common_end, scores + row * kChunkTokens);
  for (int32_t r = row; r < row + n; r++) {
    add_values_rows<Values, 1>(1, c, r, larger(common_end, c.first[r]), smaller(end, c.last[r]),
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

template <class Values, int Together>
OCTAVO_INLINE void add_all_values(const AttentionChunk& c, int32_t first, int32_t last,
                                  const float* scores) {
  __builtin_memset(c.acc, 0,
                   static_cast<size_t>(c.num_rows) * static_cast<size_t>(c.value_size) * 4);
  for (int32_t t = first - first % kValueTokens; t < last; t += kValueTokens) {
    for (int32_t r = 0; r < c.num_rows; r += kTileRows) {
      const int32_t n = smaller(kTileRows, c.num_rows - r);
      add_values_tile<Values, Together>(c, r, n, t, smaller(t + kValueTokens, last), scores);
    }
  }
}

template <class Kv, bool Rounds = false>
static void attend(const AttentionChunk& c) {
  float* turned = c.scratch;
  float* queries = turned + padded_head(c.head_size) * kGroupTokens;
  float* scores = queries + padded_head(c.head_size) * kMaxQueryRows;
  int32_t first = kChunkTokens, last = 0;
  for (int32_t r = 0; r < c.num_rows; r++) {
    if (c.first[r] >= c.last[r]) continue;
    first = smaller(first, c.first[r]);
    last = larger(last, c.last[r]);
  }
  if constexpr (Rounds) {
    score_chunk_rounded(c, first, last, turned, queries, scores);
  } else {
    score_chunk<Kv>(c, first, last, turned, scores);
  }
  const bool shaped = c.softcap > 0 || c.slopes != nullptr;
  for (int32_t r = 0; r < c.num_rows; r++) {
    float* const own = scores + r * kChunkTokens;
    if (shaped) shape_scores(c, r, own);
    c.state[r] = softmax_of_scores(own, c.first[r], c.last[r]);
    // From the vector on that the row begins in.
    const int32_t from = c.first[r] & ~15, n = ((c.last[r] + 15) & ~15) - from;
    if (Rounds && c.first[r] < c.last[r]) {
      round_bf16(own + from, n, reinterpret_cast<char*>(own) + from * kRoundedBytes);
    }
  }
  if constexpr (Rounds) return add_all_values<RoundedValues, 2>(c, first, last, scores);
  // A value's scale goes to its weight: once for all columns.
  if (Kv::kBytes == 1) scale_scores(c, c.v_scales, first, last, scores);
  add_all_values<ExactValues<Kv>, 1>(c, first, last, scores);
}

static void attend_chunk(const AttentionChunk& c) {
  switch (c.dtype) {
    case DType::kF32:
      return attend<CachedF32>(c);
    case DType::kF16:
      return attend<CachedF16>(c);
    case DType::kBF16:
      return c.rounds ? attend<CachedBF16, true>(c) : attend<CachedBF16>(c);
    default:
      return attend<CachedI8>(c);
  }
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
