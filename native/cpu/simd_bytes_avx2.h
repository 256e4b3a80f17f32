// AVX2, with AVX-VNNI where OCTAVO_AVX_VNNI says so. See simd_bytes.h.
#pragma once

#include <immintrin.h>

namespace octavo {
namespace OCTAVO_ISA {

#if defined(OCTAVO_AVX_VNNI)
constexpr bool kSignedDots = false;
#else
constexpr bool kSignedDots = true;
#endif
constexpr int kDotRows = 2;
constexpr int kStreamRows = 2;
constexpr int kStreamPanels = 1;
constexpr int kStreamGroupRows = 2;
constexpr int64_t kStreamedRows = 2;
constexpr int kFloatRows = 6;
constexpr int kFloatPanels = 1;

struct Bytes64 {
  __m256i a, b;
};
struct I32x16 {
  __m256i a, b;
};

OCTAVO_INLINE Bytes64 load_bytes(const void* p) {
  const __m256i* v = static_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
}
OCTAVO_INLINE void store_bytes(void* p, Bytes64 x) {
  __m256i* v = static_cast<__m256i*>(p);
  _mm256_storeu_si256(v, x.a);
  _mm256_storeu_si256(v + 1, x.b);
}
OCTAVO_INLINE Bytes64 splat_bytes(int byte) {
  const __m256i v = _mm256_set1_epi8(static_cast<char>(byte));
  return {v, v};
}
OCTAVO_INLINE Bytes64 and_bytes(Bytes64 x, Bytes64 y) {
  return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)};
}
OCTAVO_INLINE Bytes64 or_bytes(Bytes64 x, Bytes64 y) {
  return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}
OCTAVO_INLINE Bytes64 xor_bytes(Bytes64 x, Bytes64 y) {
  return {_mm256_xor_si256(x.a, y.a), _mm256_xor_si256(x.b, y.b)};
}
OCTAVO_INLINE Bytes64 sub_bytes(Bytes64 x, Bytes64 y) {
  return {_mm256_sub_epi8(x.a, y.a), _mm256_sub_epi8(x.b, y.b)};
}
OCTAVO_INLINE Bytes64 shift_left(Bytes64 x, int n) {
  return {_mm256_slli_epi16(x.a, n), _mm256_slli_epi16(x.b, n)};
}
OCTAVO_INLINE Bytes64 shift_right(Bytes64 x, int n) {
  return {_mm256_srli_epi16(x.a, n), _mm256_srli_epi16(x.b, n)};
}
OCTAVO_INLINE Bytes64 lookup(const int8_t* table, int plus, Bytes64 codes) {
  const __m128i one = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  const __m128i moved = _mm_add_epi8(one, _mm_set1_epi8(static_cast<char>(plus)));
  const __m256i both = _mm256_broadcastsi128_si256(moved);
  return {_mm256_shuffle_epi8(both, codes.a), _mm256_shuffle_epi8(both, codes.b)};
}

OCTAVO_INLINE I32x16 splat_i32(int32_t x) {
  const __m256i v = _mm256_set1_epi32(x);
  return {v, v};
}
template <int32_t Factor>
OCTAVO_INLINE I32x16 splat_times(int32_t x) {
  const __m256i v = _mm256_slli_epi32(_mm256_set1_epi32(x), __builtin_ctz(Factor));
  return {v, v};
}
OCTAVO_INLINE I32x16 sub_i32(I32x16 x, I32x16 y) {
  return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)};
}
OCTAVO_INLINE F32x16 bits_f32(I32x16 x) {
  return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)};
}
#if defined(OCTAVO_AVX_VNNI)
OCTAVO_INLINE __m256i dot4(__m256i acc, __m256i w, __m256i x) {
  return _mm256_dpbusd_avx_epi32(acc, w, x);
}
#else
// |w| · (x with w's sign): pairs of products fit 16 bits, 2 · 128 · 127 < 2¹⁵.
OCTAVO_INLINE __m256i dot4(__m256i acc, __m256i w, __m256i x) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#endif
OCTAVO_INLINE I32x16 dot4(I32x16 acc, Bytes64 w, const int8_t* x) {
  int32_t four;
  __builtin_memcpy(&four, x, 4);
  const __m256i v = _mm256_set1_epi32(four);
  return {dot4(acc.a, w.a, v), dot4(acc.b, w.b, v)};
}
#if defined(OCTAVO_PAIR_DOTS)
// Sums of two products each, of unsigned weights and x, in 16 bits; lane c of an I32x16 takes two.
struct PairSums {
  __m256i a, b;
};
OCTAVO_INLINE PairSums pair_sums(Bytes64 w, const int8_t* x) {
  int32_t four;
  __builtin_memcpy(&four, x, 4);
  const __m256i v = _mm256_set1_epi32(four);
  return {_mm256_maddubs_epi16(w.a, v), _mm256_maddubs_epi16(w.b, v)};
}
OCTAVO_INLINE PairSums add_pairs(PairSums x, PairSums y) {
  return {_mm256_add_epi16(x.a, y.a), _mm256_add_epi16(x.b, y.b)};
}
OCTAVO_INLINE I32x16 widen_pairs(I32x16 acc, PairSums x) {
  const __m256i ones = _mm256_set1_epi16(1);
  return {_mm256_add_epi32(acc.a, _mm256_madd_epi16(x.a, ones)),
          _mm256_add_epi32(acc.b, _mm256_madd_epi16(x.b, ones))};
}
#endif
OCTAVO_INLINE __m256 widen_byte(__m256i x, int i) {
  return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(x, 24 - 8 * i), 24));
}
OCTAVO_INLINE F32x16 widen_byte(Bytes64 x, int i) {
  return {widen_byte(x.a, i), widen_byte(x.b, i)};
}
OCTAVO_INLINE F32x16 widen_e4m3(Bytes64 x, int i) {
  return {widen_e4m3(_mm256_slli_epi32(x.a, 24 - 8 * i)),
          widen_e4m3(_mm256_slli_epi32(x.b, 24 - 8 * i))};
}
OCTAVO_INLINE void load_nibbles(const void* p, F32x16& low, F32x16& high) {
  const __m128i bytes = load_bytes16(p), mask = _mm_set1_epi8(15);
  low = widen_i8(_mm_and_si128(bytes, mask));
  high = widen_i8(_mm_and_si128(_mm_srli_epi16(bytes, 4), mask));
}
OCTAVO_INLINE void store_low_bytes(int8_t* p, F32x16 x) {
  const __m256i low = _mm256_set1_epi32(255);
  const __m256i a = _mm256_and_si256(_mm256_castps_si256(x.a), low);
  const __m256i b = _mm256_and_si256(_mm256_castps_si256(x.b), low);
  // Packing works in halves of 128 bits: put them in order again.
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8);
  const __m128i bytes =
      _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
