// F32x16 in one AVX-512 register (F, BW, DQ, VL). See simd.h.
#pragma once

#include <immintrin.h>

namespace octavo {
namespace OCTAVO_ISA {

struct F32x16 {
  __m512 v;
};

constexpr int kTileRows = 6;  // rows × weight rows of a matmul tile: 24 accumulators of 32
constexpr int kTileCols = 4;
constexpr int kScoreRows = 6;  // query rows × vectors of 16 tokens of a score tile
constexpr int kScoreVecs = 4;

OCTAVO_INLINE F32x16 zero() { return {_mm512_setzero_ps()}; }
OCTAVO_INLINE F32x16 splat(float x) { return {_mm512_set1_ps(x)}; }
OCTAVO_INLINE F32x16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
OCTAVO_INLINE void store(float* p, F32x16 a) { _mm512_storeu_ps(p, a.v); }
OCTAVO_INLINE float first_lane(F32x16 a) { return _mm512_cvtss_f32(a.v); }

OCTAVO_INLINE __mmask16 first_lanes(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }

// n < 16 lanes; the others are 0 and their memory is not touched.
OCTAVO_INLINE F32x16 load_n(const float* p, int64_t n) {
  return {_mm512_maskz_loadu_ps(first_lanes(n), p)};
}
OCTAVO_INLINE void store_n(float* p, F32x16 a, int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), a.v);
}

OCTAVO_INLINE F32x16 widen_f16(__m256i h) { return {_mm512_cvtph_ps(h)}; }
OCTAVO_INLINE F32x16 widen_bf16(__m256i h) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16))};
}
OCTAVO_INLINE __m256i load_halves(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
OCTAVO_INLINE __m256i load_halves_n(const void* p, int64_t n) {
  return _mm256_maskz_loadu_epi16(first_lanes(n), p);
}
OCTAVO_INLINE F32x16 load_f16(const void* p) { return widen_f16(load_halves(p)); }
OCTAVO_INLINE F32x16 load_f16_n(const void* p, int64_t n) { return widen_f16(load_halves_n(p, n)); }
OCTAVO_INLINE F32x16 load_bf16(const void* p) { return widen_bf16(load_halves(p)); }
OCTAVO_INLINE F32x16 load_bf16_n(const void* p, int64_t n) {
  return widen_bf16(load_halves_n(p, n));
}
OCTAVO_INLINE F32x16 load_i8(const void* p) {
  const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
}
// Of words with the byte on top.
OCTAVO_INLINE F32x16 widen_e4m3(__m512i top) {
  const __m512i sign = _mm512_and_si512(top, _mm512_set1_epi32(static_cast<int>(0x80000000u)));
  const __m512i rest = _mm512_and_si512(_mm512_srli_epi32(top, 4), _mm512_set1_epi32(0x07f00000));
  const __m512 bits = _mm512_castsi512_ps(_mm512_or_si512(sign, rest));
  return {_mm512_mul_ps(bits, _mm512_set1_ps(0x1p120f))};
}
OCTAVO_INLINE F32x16 load_e4m3(const void* p) {
  const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(p));
  return widen_e4m3(_mm512_slli_epi32(_mm512_cvtepu8_epi32(bytes), 24));
}

// Rounded to the nearest, ties to even.
OCTAVO_INLINE void store_halves(void* p, __m256i h) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), h);
}
OCTAVO_INLINE void store_f16(void* p, F32x16 a) {
  store_halves(p, _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
OCTAVO_INLINE void store_bf16(void* p, F32x16 a) {
  const __m512i bits = _mm512_castps_si512(a.v), top = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(top, _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  const __m512i quiet = _mm512_or_si512(top, _mm512_set1_epi32(0x40));
  const __m512i half = _mm512_mask_mov_epi32(_mm512_srli_epi32(up, 16), nan, quiet);
  store_halves(p, _mm512_cvtepi32_epi16(half));
}

OCTAVO_INLINE F32x16 add(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
OCTAVO_INLINE F32x16 sub(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
OCTAVO_INLINE F32x16 mul(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
OCTAVO_INLINE F32x16 div(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
OCTAVO_INLINE F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// a > b ? a : b, and a < b ? a : b: the second operand when one is NaN.
OCTAVO_INLINE F32x16 max(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
OCTAVO_INLINE F32x16 min(F32x16 a, F32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
// x < limit ? 0 : a
OCTAVO_INLINE F32x16 zero_if_less(F32x16 a, F32x16 x, F32x16 limit) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, limit.v, _CMP_NLT_UQ), a.v)};
}
// 2ⁿ for the sum n + 1.5·2²³ that exp makes.
OCTAVO_INLINE F32x16 pow2_of_shifted(F32x16 a) {
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(a.v), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(exponent, _mm512_set1_epi32(0x3f800000)))};
}

// The tree of all reductions: lane i + lane i+8, then i+4, i+2, i+1.
OCTAVO_INLINE float hsum(F32x16 a) {
  const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
OCTAVO_INLINE float hmax(F32x16 a) { return _mm512_reduce_max_ps(a.v); }

// out[d · stride + t] = rows[t][d] for t, d < 16.
OCTAVO_INLINE void transpose16(const float* const* rows, int64_t first, float* out,
                               int64_t stride) {
  __m512 r[16], t[16];
  OCTAVO_UNROLL for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_ps(rows[i] + first);
  // Pairs of rows, then fours, each inside lanes of 128 bits.
  OCTAVO_UNROLL for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  OCTAVO_UNROLL for (int i = 0; i < 16; i += 4) {
    const auto pd = [](__m512 x) { return _mm512_castps_pd(x); };
    r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(t[i]), pd(t[i + 2])));
    r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(t[i]), pd(t[i + 2])));
    r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(t[i + 1]), pd(t[i + 3])));
    r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(t[i + 1]), pd(t[i + 3])));
  }
  // r[4j+i] now holds columns i, i+4, i+8, i+12 of rows 4j..4j+3.
  OCTAVO_UNROLL for (int i = 0; i < 4; i++) {
    const __m512 a = _mm512_shuffle_f32x4(r[i], r[4 + i], 0x88);
    const __m512 b = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0x88);
    const __m512 c = _mm512_shuffle_f32x4(r[i], r[4 + i], 0xdd);
    const __m512 d = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0xdd);
    _mm512_storeu_ps(out + (i + 0) * stride, _mm512_shuffle_f32x4(a, b, 0x88));
    _mm512_storeu_ps(out + (i + 4) * stride, _mm512_shuffle_f32x4(c, d, 0x88));
    _mm512_storeu_ps(out + (i + 8) * stride, _mm512_shuffle_f32x4(a, b, 0xdd));
    _mm512_storeu_ps(out + (i + 12) * stride, _mm512_shuffle_f32x4(c, d, 0xdd));
  }
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
