// Operands of products of BF16 (bf16.h): rounded, and in pairs where an instruction takes two at a
// time (OCTAVO_PAIRS). Without it they are floats that have eight bits.
#pragma once

#include "cpu/bf16.h"
#include "cpu/simd.h"

namespace octavo {
namespace OCTAVO_ISA {

// Below kLeastBF16 a value is 0.
OCTAVO_INLINE F32x16 bf16_or_zero(F32x16 v) {
  return zero_if_less(v, max(v, sub(zero(), v)), splat(kLeastBF16));
}

#if defined(OCTAVO_PAIRS)
// Two BF16 in each of sixteen lanes.
struct Pairs16 {
  __m512i v;
};
OCTAVO_INLINE Pairs16 load_pairs(const void* p) { return {_mm512_loadu_si512(p)}; }
OCTAVO_INLINE void store_pairs(void* p, Pairs16 a) { _mm512_storeu_si512(p, a.v); }
OCTAVO_INLINE Pairs16 splat_pair(const void* p) {
  int32_t two;
  __builtin_memcpy(&two, p, 4);
  return {_mm512_set1_epi32(two)};
}
// Of sixteen values each; null = zeros.
OCTAVO_INLINE Pairs16 pairs_of_halves(__m256i first, __m256i second) {
  const __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(second), 16);
  return {_mm512_or_si512(_mm512_cvtepu16_epi32(first), high)};
}
// total + the products of the second ones, + those of the first.
OCTAVO_INLINE F32x16 add_pairs_of(F32x16 total, Pairs16 a, Pairs16 b) {
  return {
      _mm512_dpbf16_ps(total.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v))};
}

constexpr int64_t kRoundedBytes = 2;
OCTAVO_INLINE void store_rounded(char* out, F32x16 v) { store_bf16(out, v); }
#else
constexpr int64_t kRoundedBytes = 4;
OCTAVO_INLINE void store_rounded(char* out, F32x16 v) {
  uint16_t halves[16];
  store_bf16(halves, v);
  store(reinterpret_cast<float*>(out), load_bf16(halves));
}
#endif

// x [n] as products read it: even_depth(n) values of kRoundedBytes. out may be x.
static void round_bf16(const float* x, int64_t n, void* to) {
  char* out = static_cast<char*>(to);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16, out += 16 * kRoundedBytes) {
    store_rounded(out, bf16_or_zero(load(x + i)));
  }
  if (i == n) return;
  char last[16 * kRoundedBytes];
  store_rounded(last, bf16_or_zero(load_n(x + i, n - i)));
  __builtin_memcpy(out, last, static_cast<size_t>((even_depth(n) - i) * kRoundedBytes));
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
