// Recurrent layers on one chunk, and what goes before that. Values of the state's columns are in
// the lanes, so that every column has its own sums: over the key's values and over tokens, each in
// their order, one rounding a step. A column's bits therefore depend neither on which columns stand
// beside it nor on which of the chunk's tokens are computed together.
#pragma once

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace octavo {
namespace OCTAVO_ISA {

static void convolve(const float* const* rows, int32_t num_rows, const float* weight,
                     int64_t stride, const float* bias, const float* gate, int64_t n, float* out) {
  for (int64_t at = 0; at < n; at += 16) {
    const bool whole = n - at >= 16;
    const auto read = [&](const float* p)
                          OCTAVO_INLINE_LAMBDA { return whole ? load(p) : load_n(p, n - at); };
    F32x16 sum = bias == nullptr ? zero() : read(bias + at);
    for (int32_t i = 0; i < num_rows; i++) {
      sum = fma(read(weight + i * stride + at), read(rows[i] + at), sum);
    }
    sum = gate == nullptr ? silu(sum) : mul(read(gate + at), sum);
    whole ? store(out + at, sum) : store_n(out + at, sum, n - at);
  }
}

static void unit_row(const float* x, float scale, float eps, int64_t n, float* out) {
  const int64_t whole = n & ~int64_t{15}, rest = n - whole;
  F32x16 squares = zero();
  for (int64_t i = 0; i < whole; i += 16) squares = fma(load(x + i), load(x + i), squares);
  if (rest != 0) squares = fma(load_n(x + whole, rest), load_n(x + whole, rest), squares);
  const F32x16 by = splat(scale / __builtin_sqrtf(hsum(squares) + eps));
  for (int64_t i = 0; i < whole; i += 16) store(out + i, mul(load(x + i), by));
  if (rest != 0) store_n(out + whole, mul(load_n(x + whole, rest), by), rest);
}

static void recurrent_gates(const RecurrentGates& g) {
  for (int64_t at = 0; at < g.n; at += 16) {
    const int64_t some = g.n - at < 16 ? g.n - at : 16;
    const size_t bytes = static_cast<size_t>(some) * 4;
    float lanes[16] = {};
    const auto take = [&](const float* from) OCTAVO_INLINE_LAMBDA {
      __builtin_memcpy(lanes, from + at, bytes);
      return load(lanes);
    };
    const auto put = [&](float* to, const F32x16& x) OCTAVO_INLINE_LAMBDA {
      store(lanes, x);
      __builtin_memcpy(to + at, lanes, bytes);
    };
    F32x16 step = softplus(add(take(g.dt), take(g.bias)));
    step = min(splat(g.dt_max), max(splat(g.dt_min), step));
    const F32x16 kept = exp(mul(take(g.decay), step));
    put(g.scale, g.beta == nullptr ? step : sigmoid(take(g.beta)));
    put(g.kept, kept);
  }
}

// Sixteen columns, or the last few of a row.
template <bool Few>
struct Lanes {
  int64_t few;
  F32x16 read(const float* p) const { return Few ? load_n(p, few) : load(p); }
  void write(float* p, const F32x16& x) const { Few ? store_n(p, x, few) : store(p, x); }
};

// out [rows][cols] = scale · start [rows][cols] + x [rows][depth] · w [depth][cols], `start` null =
// zeros. It may be out.
struct ColumnProduct {
  const float* x;
  int64_t x_row, x_depth;  // from a row's value to that of the next row, from a value to the next
  int64_t rows, depth;
  const float* w;
  int64_t w_stride;
  const float* start;
  float scale;
  float* out;
  int64_t stride;  // of start and out
};

template <int Rows, int Vecs, bool Few>
OCTAVO_INLINE void product_tile(const ColumnProduct& p, int64_t row, int64_t col,
                                const Lanes<Few>& lanes) {
  F32x16 sum[Rows][Vecs];
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
    OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) {
      const int64_t at = (row + r) * p.stride + col + 16 * v;
      sum[r][v] = p.start == nullptr ? zero() : mul(splat(p.scale), lanes.read(p.start + at));
    }
  }
  const float* x = p.x + row * p.x_row;
  const float* w = p.w + col;
  for (int64_t d = 0; d < p.depth; d++, x += p.x_depth, w += p.w_stride) {
    F32x16 values[Vecs];
    OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) values[v] = lanes.read(w + 16 * v);
    OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
      const F32x16 by = splat(x[r * p.x_row]);
      OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) sum[r][v] = fma(by, values[v], sum[r][v]);
    }
  }
  OCTAVO_UNROLL for (int r = 0; r < Rows; r++) {
    OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) {
      lanes.write(p.out + (row + r) * p.stride + col + 16 * v, sum[r][v]);
    }
  }
}

// Picks the instance for what is left of the rows.
template <int Vecs, bool Few, int Rows = kTileRows>
OCTAVO_INLINE void product_rows(const ColumnProduct& p, int64_t row, int64_t col,
                                const Lanes<Few>& lanes) {
  if constexpr (Rows > 1) {
    if (p.rows - row < Rows) return product_rows<Vecs, Few, Rows - 1>(p, row, col, lanes);
  }
  product_tile<Rows, Vecs>(p, row, col, lanes);
}

template <int Vecs, bool Few = false>
static void product_columns(const ColumnProduct& p, int64_t col, int64_t few = 0) {
  const Lanes<Few> lanes{few};
  for (int64_t row = 0; row < p.rows; row += kTileRows) {
    product_rows<Vecs>(p, row, col, lanes);
  }
}

static void column_product(const ColumnProduct& p, int64_t cols) {
  constexpr int64_t kWide = 16 * kTileCols;
  int64_t col = 0;
  for (; col + kWide <= cols; col += kWide) product_columns<kTileCols>(p, col);
  for (; col + 16 <= cols; col += 16) product_columns<1>(p, col);
  if (col < cols) product_columns<1, true>(p, col, cols - col);
}

// with_k = a · k, with_q = a · q
OCTAVO_INLINE void dot_both(const float* a, const float* k, const float* q, int64_t n,
                            float* with_k, float* with_q) {
  const int64_t whole = n & ~int64_t{15}, rest = n - whole;
  F32x16 of_k = zero(), of_q = zero();
  for (int64_t i = 0; i < whole; i += 16) {
    const F32x16 x = load(a + i);
    of_k = fma(x, load(k + i), of_k);
    of_q = fma(x, load(q + i), of_q);
  }
  if (rest != 0) {
    const F32x16 x = load_n(a + whole, rest);
    of_k = fma(x, load_n(k + whole, rest), of_k);
    of_q = fma(x, load_n(q + whole, rest), of_q);
  }
  *with_k = hsum(of_k);
  *with_q = hsum(of_q);
}

// weights[j] = what token t sees of what token j has added; returns what it sees of the state.
OCTAVO_INLINE float fade(const float* kept, int32_t t, float* weights) {
  float left = 1;
  for (int32_t j = t; j >= 0; j--) {
    weights[j] = left;
    left *= kept[j];
  }
  return left;
}

// How token t's u and out are made of the state's part and of the chunk's tokens before it.
struct TokenWeights {
  float of_state, scale, own;  // own = k · q
  float k[kRecurrentChunk], q[kRecurrentChunk];
};

// seen: what the state has for k, of delta, and then for q, [num_cols] each.
template <bool Delta, int Vecs, bool Few = false>
OCTAVO_INLINE void token_columns(const RecurrentChunk& c, const TokenWeights& w, int32_t t,
                                 const float* seen, int64_t col, int64_t few = 0) {
  const Lanes<Few> lanes{few};
  const float* const seen_q = seen + (Delta ? c.num_cols : 0) + col;
  F32x16 of_k[Vecs], of_q[Vecs];
  OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) {
    of_k[v] = Delta ? mul(splat(w.of_state), lanes.read(seen + col + 16 * v)) : zero();
    of_q[v] = mul(splat(w.of_state), lanes.read(seen_q + 16 * v));
  }
  for (int32_t j = 0; j < t; j++) {
    OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) {
      const F32x16 u = lanes.read(c.u + j * c.num_cols + col + 16 * v);
      if (Delta) of_k[v] = fma(splat(w.k[j]), u, of_k[v]);
      of_q[v] = fma(splat(w.q[j]), u, of_q[v]);
    }
  }
  const int64_t row = (t - c.first) * c.stride;
  OCTAVO_UNROLL for (int v = 0; v < Vecs; v++) {
    const int64_t at = col + 16 * v;
    const F32x16 value = lanes.read(c.v + row + at);
    const F32x16 u = mul(splat(w.scale), Delta ? sub(value, of_k[v]) : value);
    F32x16 out = fma(splat(w.own), u, of_q[v]);
    if (!Delta) out = fma(splat(c.skip), value, out);
    lanes.write(c.u + t * c.num_cols + at, u);
    lanes.write(c.out + row + at, out);
  }
}

static int64_t recurrent_scratch(int64_t key_size, int64_t num_cols) {
  return kRecurrentChunk * (key_size + 2 * num_cols);
}

template <bool Delta>
static void compute_token(const RecurrentChunk& c, int32_t t, const float* seen) {
  const int64_t size = c.key_size;
  const float* const k = c.kq + 2 * t * size;
  const float* const q = k + size;
  TokenWeights w;
  float weights[kRecurrentChunk], unused;
  w.of_state = fade(c.kept, t, weights);
  w.scale = c.scale[t];
  dot_both(k, k, q, size, &unused, &w.own);
  for (int32_t j = 0; j < t; j++) {
    dot_both(c.kq + 2 * j * size, k, q, size, &w.k[j], &w.q[j]);
    w.k[j] *= weights[j];
    w.q[j] *= weights[j];
  }
  int64_t col = 0;
  for (; col + 32 <= c.num_cols; col += 32) token_columns<Delta, 2>(c, w, t, seen, col);
  for (; col + 16 <= c.num_cols; col += 16) token_columns<Delta, 1>(c, w, t, seen, col);
  const int64_t few = c.num_cols - col;
  if (few > 0) token_columns<Delta, 1, true>(c, w, t, seen, col, few);
}

// The state behind the chunk.
static void compute_border(const RecurrentChunk& c, float* faded) {
  const int64_t size = c.key_size;
  float weights[kRecurrentChunk];
  const float of_state = fade(c.kept, kRecurrentChunk - 1, weights);
  for (int32_t j = 0; j < kRecurrentChunk; j++) {
    const float* const k = c.kq + 2 * j * size;
    for (int64_t d = 0; d < size; d++) faded[j * size + d] = weights[j] * k[d];
  }
  ColumnProduct p = {};
  p.x = faded, p.x_row = 1, p.x_depth = size;
  p.rows = size, p.depth = kRecurrentChunk;
  p.w = c.u, p.w_stride = c.num_cols;
  p.start = c.state, p.scale = of_state;
  p.out = c.next, p.stride = c.state_stride;
  column_product(p, c.num_cols);
}

template <bool Delta>
static void compute_chunk(const RecurrentChunk& c) {
  const int64_t size = c.key_size, seen_rows = Delta ? 2 : 1;
  float* const faded = c.scratch;
  float* const seen = faded + kRecurrentChunk * size;
  ColumnProduct p = {};
  p.x = c.kq + 2 * c.first * size + (Delta ? 0 : size);
  p.x_row = Delta ? size : 2 * size, p.x_depth = 1;
  p.rows = seen_rows * (c.end - c.first), p.depth = size;
  p.w = c.state, p.w_stride = c.state_stride;
  p.out = seen, p.stride = c.num_cols;
  column_product(p, c.num_cols);
  for (int32_t t = c.first; t < c.end; t++) {
    compute_token<Delta>(c, t, seen + seen_rows * (t - c.first) * c.num_cols);
  }
  if (c.next != nullptr) compute_border(c, faded);
}

static void recurrent_chunk(const RecurrentChunk& c) {
  c.delta ? compute_chunk<true>(c) : compute_chunk<false>(c);
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
