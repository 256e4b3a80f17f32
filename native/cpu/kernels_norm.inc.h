// Norms of rows: sixteen running sums and the fixed tree, so a row's bits depend on nothing but the
// row. See kernels.inc.h.
#pragma once

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace octavo {
namespace OCTAVO_ISA {

// out [n] = fn(x [n], weight [n], bias [n])
template <class Fn>
OCTAVO_INLINE void scale_row(Fn fn, float* out, const float* x, const float* weight,
                             const float* bias, int64_t n) {
  const F32x16 one = splat(1.0f);
  const int64_t whole = n & ~int64_t{15}, rest = n - whole;
  for (int64_t i = 0; i < whole; i += 16) {
    const F32x16 w = weight == nullptr ? one : load(weight + i);
    store(out + i, fn(load(x + i), w, bias == nullptr ? zero() : load(bias + i)));
  }
  if (rest == 0) return;
  const F32x16 w = weight == nullptr ? one : load_n(weight + whole, rest);
  const F32x16 b = bias == nullptr ? zero() : load_n(bias + whole, rest);
  store_n(out + whole, fn(load_n(x + whole, rest), w, b), rest);
}

static void rms_norm(float* out, const float* x, const float* weight, float eps, int64_t rows,
                     int64_t cols) {
  const int64_t whole = cols & ~int64_t{15}, rest = cols - whole;
  for (int64_t r = 0; r < rows; r++, x += cols, out += cols) {
    F32x16 squares = zero();
    for (int64_t i = 0; i < whole; i += 16) {
      const F32x16 v = load(x + i);
      squares = fma(v, v, squares);
    }
    if (rest != 0) {
      const F32x16 v = load_n(x + whole, rest);
      squares = fma(v, v, squares);
    }
    const float mean = hsum(squares) / static_cast<float>(cols);
    const F32x16 scale = splat(1.0f / __builtin_sqrtf(mean + eps));
    const auto scaled = [&](const F32x16& v, const F32x16& w, const F32x16&)
                            OCTAVO_INLINE_LAMBDA { return mul(mul(v, scale), w); };
    scale_row(scaled, out, x, weight, nullptr, cols);
  }
}

static void layer_norm(float* out, const float* x, const float* weight, const float* bias,
                       float eps, int64_t rows, int64_t cols) {
  const int64_t whole = cols & ~int64_t{15}, rest = cols - whole;
  const float inverse = 1.0f / static_cast<float>(cols);
  for (int64_t r = 0; r < rows; r++, x += cols, out += cols) {
    F32x16 sum = zero(), squares = zero();
    for (int64_t i = 0; i < whole; i += 16) sum = add(sum, load(x + i));
    if (rest != 0) sum = add(sum, load_n(x + whole, rest));
    const F32x16 mean = splat(hsum(sum) * inverse);
    for (int64_t i = 0; i < whole; i += 16) {
      const F32x16 v = sub(load(x + i), mean);
      squares = fma(v, v, squares);
    }
    if (rest != 0) {
      float means[16];  // lanes past the row are 0 − 0
      store(means, mean);
      const F32x16 v = sub(load_n(x + whole, rest), load_n(means, rest));
      squares = fma(v, v, squares);
    }
    const F32x16 scale = splat(1.0f / __builtin_sqrtf(hsum(squares) * inverse + eps));
    const auto scaled = [&](const F32x16& v, const F32x16& w, const F32x16& b)
                            OCTAVO_INLINE_LAMBDA { return fma(mul(sub(v, mean), scale), w, b); };
    scale_row(scaled, out, x, weight, bias, cols);
  }
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
