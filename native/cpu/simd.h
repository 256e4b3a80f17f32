// Sixteen floats. The files simd_*.h are the only ones with intrinsics: one implementation of
// F32x16 per instruction set, chosen by the macro that a kernels_*.cc defines before it includes
// this header. Lane structure, reduction trees and the use of fma are the same in all of them, so
// every path gives the same bits.
//
// Everything here lives in a namespace named after the instruction set and no standard library
// template is used: a function compiled with AVX-512 flags must never be the copy that the linker
// keeps for the whole program.
#pragma once

#include <cstddef>
#include <cstdint>

#define OCTAVO_INLINE static inline __attribute__((always_inline))
// Loops over registers: an array of vectors lives in registers only if they are unrolled whole.
#define OCTAVO_INLINE_LAMBDA __attribute__((always_inline))
#if defined(__clang__)
#define OCTAVO_UNROLL _Pragma("unroll")
#define OCTAVO_UNROLL_TWICE _Pragma("unroll 2")
#else
#define OCTAVO_UNROLL _Pragma("GCC unroll 32")
#define OCTAVO_UNROLL_TWICE _Pragma("GCC unroll 2")
#endif

#if defined(OCTAVO_SIMD_AVX512)
#ifndef OCTAVO_ISA
#define OCTAVO_ISA avx512
#endif
#include "cpu/simd_avx512.h"
#elif defined(OCTAVO_SIMD_AVX2)
#ifndef OCTAVO_ISA
#define OCTAVO_ISA avx2
#endif
#include "cpu/simd_avx2.h"
#elif defined(OCTAVO_SIMD_NEON)
#ifndef OCTAVO_ISA
#define OCTAVO_ISA neon
#endif
#include "cpu/simd_neon.h"
#elif defined(OCTAVO_SIMD_SCALAR)
#ifndef OCTAVO_ISA
#define OCTAVO_ISA scalar
#endif
#include "cpu/simd_scalar.h"
#else
#error "define OCTAVO_SIMD_AVX512, _AVX2, _NEON or _SCALAR"
#endif

// What is written once, from the primitives of the files above:
//   zero splat load load_n store store_n load_f16 load_bf16 load_i8 load_e4m3 store_f16 store_bf16
//   add sub mul div fma max min zero_if_less pow2_of_shifted hsum hmax transpose16
namespace octavo {
namespace OCTAVO_ISA {

OCTAVO_INLINE F32x16 load_f32(const void* p) { return load(static_cast<const float*>(p)); }
OCTAVO_INLINE F32x16 load_f32_n(const void* p, int64_t n) {
  return load_n(static_cast<const float*>(p), n);
}

constexpr float kNegativeInfinity = -__builtin_inff();

// eˣ, about 1 ulp. Below −87.3 it is 0, above 88.37 it is ∞; NaN stays.
OCTAVO_INLINE F32x16 exp(F32x16 x) {
  const F32x16 low = splat(-87.3f);
  // max and min return their second operand when one is NaN.
  const F32x16 y = min(splat(88.9f), max(low, x));
  // Adding 1.5·2²³ leaves the nearest integer to y/ln 2 in the low bits of the sum.
  const F32x16 shift = splat(12582912.0f);
  const F32x16 shifted = fma(y, splat(1.44269504f), shift);
  const F32x16 n = sub(shifted, shift);
  F32x16 r = fma(n, splat(-0.693145752f), y);  // ln 2 in two pieces; the first has 16 bits
  r = fma(n, splat(-1.42860677e-6f), r);
  F32x16 p = splat(1.0f / 5040);
  p = fma(p, r, splat(1.0f / 720));
  p = fma(p, r, splat(1.0f / 120));
  p = fma(p, r, splat(1.0f / 24));
  p = fma(p, r, splat(1.0f / 6));
  p = fma(p, r, splat(0.5f));
  p = fma(p, r, splat(1.0f));
  p = fma(p, r, splat(1.0f));
  return zero_if_less(mul(p, pow2_of_shifted(shifted)), x, low);
}

// tanh x, within 3 ulp: its series near 0, (1 − e) / (1 + e) with e = e^(−2|x|) elsewhere. ±∞ give
// ±1; NaN stays.
OCTAVO_INLINE F32x16 tanh(F32x16 x) {
  const F32x16 one = splat(1.0f), minus_one = splat(-1.0f), edge = splat(0.3f);
  const F32x16 y = min(one, max(minus_one, x)), square = mul(y, y);
  F32x16 p = splat(62.0f / 2835);
  p = fma(p, square, splat(-17.0f / 315));
  p = fma(p, square, splat(2.0f / 15));
  p = fma(p, square, splat(-1.0f / 3));
  const F32x16 near = fma(mul(y, square), p, y);
  const F32x16 size = max(x, sub(zero(), x));
  const F32x16 e = exp(mul(size, splat(-2.0f)));
  const F32x16 sign = min(one, max(minus_one, mul(x, splat(1e9f))));
  const F32x16 far = mul(div(sub(one, e), add(one, e)), sign);
  return add(zero_if_less(far, size, edge), sub(near, zero_if_less(near, size, edge)));
}

// x Φ(x), Φ the normal distribution's, within a few ulp. The tail Φ(−|x|) = ½ erfc(|x| / √2) is
// e^(−x²/2) times a polynomial in 1 / (1 + 0.35 |x|), to 4e-8 of itself wherever it is no
// subnormal; taken off max(x, 0) it cancels nowhere. −∞ gives 0, ∞ itself; NaN stays.
OCTAVO_INLINE F32x16 gelu(F32x16 x) {
  const F32x16 one = splat(1.0f), minus_half = splat(-0.5f);
  const F32x16 size = min(splat(20.0f), max(x, sub(zero(), x)));  // e^−200 is 0
  const F32x16 t = div(one, fma(size, splat(0.35f), one));
  F32x16 p = splat(-0.02957654329f);
  p = fma(p, t, splat(0.1460690329f));
  p = fma(p, t, splat(-0.2600329001f));
  p = fma(p, t, splat(0.164063495f));
  p = fma(p, t, splat(-0.02642269503f));
  p = fma(p, t, splat(0.1068764616f));
  p = fma(p, t, splat(0.1194981414f));
  p = fma(p, t, splat(0.1399059745f));
  p = fma(p, t, splat(0.1396190164f));
  // x² rounds; what that leaves out is put back into the power.
  const F32x16 square = mul(size, size), left = fma(size, size, sub(zero(), square));
  F32x16 e = exp(mul(square, minus_half));
  e = fma(e, mul(left, minus_half), e);
  const F32x16 tail = mul(mul(p, t), e);
  return sub(max(x, zero()), mul(size, tail));
}

// 1 / (1 + e⁻ˣ)
OCTAVO_INLINE F32x16 sigmoid(F32x16 x) {
  return div(splat(1.0f), add(splat(1.0f), exp(sub(zero(), x))));
}

// x / (1 + e⁻ˣ)
OCTAVO_INLINE F32x16 silu(F32x16 x) { return div(x, add(splat(1.0f), exp(sub(zero(), x)))); }

// ln(1 + eˣ), within 3 ulp: max(x, 0) + ln(1 + e^(−|x|)), where ln(1 + y) = 2 artanh(y / (2 + y))
// by its series, which needs no more than this up to y = 1. −∞ gives 0, ∞ itself; NaN stays.
OCTAVO_INLINE F32x16 softplus(F32x16 x) {
  const F32x16 e = exp(min(x, sub(zero(), x)));
  const F32x16 s = div(e, add(e, splat(2.0f))), square = mul(s, s);
  F32x16 p = splat(2.0f / 15);
  p = fma(p, square, splat(2.0f / 13));
  p = fma(p, square, splat(2.0f / 11));
  p = fma(p, square, splat(2.0f / 9));
  p = fma(p, square, splat(2.0f / 7));
  p = fma(p, square, splat(2.0f / 5));
  p = fma(p, square, splat(2.0f / 3));
  p = fma(p, square, splat(2.0f));
  return fma(p, s, max(zero(), x));
}

OCTAVO_INLINE float exp(float x) { return first_lane(exp(splat(x))); }

}  // namespace OCTAVO_ISA
}  // namespace octavo
