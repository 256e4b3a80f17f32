// The loops of sampling that pass over a whole vocabulary. Sums run in blocks of 512 values,
// sixteen lanes and the fixed tree inside, doubles across: the same bits in every instruction set.
#pragma once

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace octavo {
namespace OCTAVO_ISA {

OCTAVO_INLINE F32x16 load_or(const float* x, int64_t left, float other) {
  if (left >= 16) return load(x);
  float lanes[16];
  for (int i = 0; i < 16; i++) lanes[i] = i < left ? x[i] : other;
  return load(lanes);
}

// The largest value; NaN if one is NaN or +∞.
static float row_max(const float* x, int64_t n) {
  F32x16 largest = splat(kNegativeInfinity), bad = zero();
  for (int64_t i = 0; i < n; i += 16) {
    const F32x16 v = load_or(x + i, n - i, kNegativeInfinity);
    largest = max(v, largest);
    // 0 · v is NaN for NaN and both infinities; −∞ is clipped away before. (max and min return
    // their second operand when one is NaN.)
    bad = add(bad, mul(max(splat(-3e38f), v), zero()));
  }
  return hmax(largest) + hsum(bad);
}

// Σ e^(x − max)
static double exp_sum(const float* x, int64_t n, float max_value) {
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kSampleBlock) {
    const int64_t end = n - begin < kSampleBlock ? n : begin + kSampleBlock;
    F32x16 sum = zero();
    for (int64_t i = begin; i < end; i += 16) {
      const F32x16 v = load_or(x + i, end - i, kNegativeInfinity);
      sum = add(sum, exp(sub(v, splat(max_value))));
    }
    total += static_cast<double>(hsum(sum));
  }
  return total;
}

// weight = e^((x − max) · inverse)
static void exp_weights(const float* x, int64_t n, float max_value, float inverse, float* weight) {
  int64_t i = 0;
  const auto of = [&](F32x16 v) { return exp(mul(sub(v, splat(max_value)), splat(inverse))); };
  for (; i + 16 <= n; i += 16) store(weight + i, of(load(x + i)));
  if (i < n) store_n(weight + i, of(load_n(x + i, n - i)), n - i);
}

// Σ x of at most kSampleBlock values
static float block_sum(const float* x, int64_t n) {
  F32x16 sum = zero();
  for (int64_t i = 0; i < n; i += 16) sum = add(sum, load_or(x + i, n - i, 0.0f));
  return hsum(sum);
}

// out [n] = x where its bit is set, else −∞. Words of 32 lanes without a branch: compilers have
// vectors for that.
static void apply_mask(const float* x, int64_t n, const uint32_t* mask, float* out) {
  const auto lanes = [&](int64_t begin, int64_t count, uint32_t word) OCTAVO_INLINE_LAMBDA {
    for (int64_t i = 0; i < count; i++) {
      const float value = x[begin + i];
      out[begin + i] = (word & (1u << i)) != 0 ? value : kNegativeInfinity;
    }
  };
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) lanes(i, 32, mask[i / 32]);
  if (i < n) lanes(i, n - i, mask[i / 32]);
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
