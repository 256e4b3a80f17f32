// F32x16 in two AVX2 registers (with FMA and F16C). See simd.h.
#pragma once

#include <immintrin.h>

namespace octavo {
namespace OCTAVO_ISA {

struct F32x16 {
  __m256 a, b;  // lanes 0-7, 8-15
};

constexpr int kTileRows = 3;  // 3 × 2 vectors of two registers: 12 accumulators of 16
constexpr int kTileCols = 2;
constexpr int kScoreRows = 4;
constexpr int kScoreVecs = 1;

OCTAVO_INLINE F32x16 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
OCTAVO_INLINE F32x16 splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
OCTAVO_INLINE F32x16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
OCTAVO_INLINE void store(float* p, F32x16 x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
OCTAVO_INLINE float first_lane(F32x16 x) { return _mm256_cvtss_f32(x.a); }

// Lanes [from, from + 8) of a mask whose first n lanes are set.
OCTAVO_INLINE __m256i lanes_below(int64_t n, int from) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n) - from), lane);
}
OCTAVO_INLINE F32x16 load_n(const float* p, int64_t n) {
  const __m256 a = _mm256_maskload_ps(p, lanes_below(n, 0));
  if (n <= 8) return {a, _mm256_setzero_ps()};
  return {a, _mm256_maskload_ps(p + 8, lanes_below(n, 8))};
}
OCTAVO_INLINE void store_n(float* p, F32x16 x, int64_t n) {
  _mm256_maskstore_ps(p, lanes_below(n, 0), x.a);
  if (n > 8) _mm256_maskstore_ps(p + 8, lanes_below(n, 8), x.b);
}

OCTAVO_INLINE __m128i load_bytes16(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
OCTAVO_INLINE F32x16 load_f16(const void* p) {
  const char* bytes = static_cast<const char*>(p);
  return {_mm256_cvtph_ps(load_bytes16(bytes)), _mm256_cvtph_ps(load_bytes16(bytes + 16))};
}
OCTAVO_INLINE __m256 widen_bf16(__m128i h) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
OCTAVO_INLINE F32x16 load_bf16(const void* p) {
  const char* bytes = static_cast<const char*>(p);
  return {widen_bf16(load_bytes16(bytes)), widen_bf16(load_bytes16(bytes + 16))};
}
OCTAVO_INLINE F32x16 load_f16_n(const void* p, int64_t n) {
  alignas(32) unsigned short h[16] = {};
  __builtin_memcpy(h, p, static_cast<size_t>(n) * 2);
  return load_f16(h);
}
OCTAVO_INLINE F32x16 load_bf16_n(const void* p, int64_t n) {
  alignas(32) unsigned short h[16] = {};
  __builtin_memcpy(h, p, static_cast<size_t>(n) * 2);
  return load_bf16(h);
}
OCTAVO_INLINE F32x16 widen_i8(__m128i bytes) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
}
OCTAVO_INLINE F32x16 load_i8(const void* p) { return widen_i8(load_bytes16(p)); }
// Of words with the byte on top.
OCTAVO_INLINE __m256 widen_e4m3(__m256i top) {
  const __m256i sign = _mm256_and_si256(top, _mm256_set1_epi32(static_cast<int>(0x80000000u)));
  const __m256i rest = _mm256_and_si256(_mm256_srli_epi32(top, 4), _mm256_set1_epi32(0x07f00000));
  const __m256 bits = _mm256_castsi256_ps(_mm256_or_si256(sign, rest));
  return _mm256_mul_ps(bits, _mm256_set1_ps(0x1p120f));
}
OCTAVO_INLINE F32x16 load_e4m3(const void* p) {
  const __m128i bytes = load_bytes16(p);
  return {widen_e4m3(_mm256_slli_epi32(_mm256_cvtepu8_epi32(bytes), 24)),
          widen_e4m3(_mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)), 24))};
}

// Rounded to the nearest, ties to even.
OCTAVO_INLINE void store_f16(void* p, F32x16 x) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  __m128i* to = static_cast<__m128i*>(p);
  _mm_storeu_si128(to, _mm256_cvtps_ph(x.a, kNearest));
  _mm_storeu_si128(to + 1, _mm256_cvtps_ph(x.b, kNearest));
}
OCTAVO_INLINE __m256i round_bf16(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x), top = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(top, _mm256_set1_epi32(0x40));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(_mm256_srli_epi32(up, 16), quiet, nan);
}
OCTAVO_INLINE void store_bf16(void* p, F32x16 x) {
  const __m256i words = _mm256_packus_epi32(round_bf16(x.a), round_bf16(x.b));
  _mm256_storeu_si256(static_cast<__m256i*>(p), _mm256_permute4x64_epi64(words, 0xd8));
}

OCTAVO_INLINE F32x16 add(F32x16 x, F32x16 y) {
  return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
OCTAVO_INLINE F32x16 sub(F32x16 x, F32x16 y) {
  return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
OCTAVO_INLINE F32x16 mul(F32x16 x, F32x16 y) {
  return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
OCTAVO_INLINE F32x16 div(F32x16 x, F32x16 y) {
  return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
OCTAVO_INLINE F32x16 fma(F32x16 x, F32x16 y, F32x16 z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
OCTAVO_INLINE F32x16 max(F32x16 x, F32x16 y) {
  return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}
OCTAVO_INLINE F32x16 min(F32x16 x, F32x16 y) {
  return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}
OCTAVO_INLINE F32x16 zero_if_less(F32x16 v, F32x16 x, F32x16 limit) {
  return {_mm256_and_ps(_mm256_cmp_ps(x.a, limit.a, _CMP_NLT_UQ), v.a),
          _mm256_and_ps(_mm256_cmp_ps(x.b, limit.b, _CMP_NLT_UQ), v.b)};
}
OCTAVO_INLINE __m256 pow2_of_shifted(__m256 x) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(x), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_set1_epi32(0x3f800000)));
}
OCTAVO_INLINE F32x16 pow2_of_shifted(F32x16 x) {
  return {pow2_of_shifted(x.a), pow2_of_shifted(x.b)};
}

OCTAVO_INLINE float hsum(F32x16 x) {
  const __m256 s8 = _mm256_add_ps(x.a, x.b);
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
OCTAVO_INLINE float hmax(F32x16 x) {
  const __m256 m8 = _mm256_max_ps(x.a, x.b);
  const __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
  const __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
  return _mm_cvtss_f32(_mm_max_ss(m2, _mm_movehdup_ps(m2)));
}

OCTAVO_INLINE void transpose8(const float* const* rows, int64_t first, float* out, int64_t stride) {
  __m256 r[8], t[8];
  OCTAVO_UNROLL for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(rows[i] + first);
  OCTAVO_UNROLL for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  OCTAVO_UNROLL for (int i = 0; i < 8; i += 4) {  // r[i+c] holds columns c and c+4 of rows i..i+3
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  OCTAVO_UNROLL for (int i = 0; i < 4; i++) {
    _mm256_storeu_ps(out + i * stride, _mm256_permute2f128_ps(r[i], r[4 + i], 0x20));
    _mm256_storeu_ps(out + (i + 4) * stride, _mm256_permute2f128_ps(r[i], r[4 + i], 0x31));
  }
}
OCTAVO_INLINE void transpose16(const float* const* rows, int64_t first, float* out,
                               int64_t stride) {
  OCTAVO_UNROLL for (int t = 0; t < 16; t += 8) {
    OCTAVO_UNROLL for (int d = 0; d < 16; d += 8) {
      transpose8(rows + t, first + d, out + d * stride + t, stride);
    }
  }
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
