// AVX-512 with VNNI. See simd_bytes.h.
#pragma once

#include <immintrin.h>

namespace octavo {
namespace OCTAVO_ISA {

constexpr bool kSignedDots = false;
constexpr int kDotRows = 8;
constexpr int kStreamRows = 8;
constexpr int kStreamPanels = 3;
constexpr int kStreamGroupRows = 4;
constexpr int64_t kStreamedRows = 24;
constexpr int kFloatRows = 8;
constexpr int kFloatPanels = 3;

struct Bytes64 {
  __m512i v;
};
struct I32x16 {
  __m512i v;
};

OCTAVO_INLINE Bytes64 load_bytes(const void* p) { return {_mm512_loadu_si512(p)}; }
OCTAVO_INLINE void store_bytes(void* p, Bytes64 a) { _mm512_storeu_si512(p, a.v); }
OCTAVO_INLINE Bytes64 splat_bytes(int b) { return {_mm512_set1_epi8(static_cast<char>(b))}; }
OCTAVO_INLINE Bytes64 and_bytes(Bytes64 a, Bytes64 b) { return {_mm512_and_si512(a.v, b.v)}; }
OCTAVO_INLINE Bytes64 or_bytes(Bytes64 a, Bytes64 b) { return {_mm512_or_si512(a.v, b.v)}; }
OCTAVO_INLINE Bytes64 xor_bytes(Bytes64 a, Bytes64 b) { return {_mm512_xor_si512(a.v, b.v)}; }
OCTAVO_INLINE Bytes64 sub_bytes(Bytes64 a, Bytes64 b) { return {_mm512_sub_epi8(a.v, b.v)}; }
OCTAVO_INLINE Bytes64 shift_left(Bytes64 a, int n) {
  return {_mm512_slli_epi16(a.v, static_cast<unsigned>(n))};
}
OCTAVO_INLINE Bytes64 shift_right(Bytes64 a, int n) {
  return {_mm512_srli_epi16(a.v, static_cast<unsigned>(n))};
}
OCTAVO_INLINE Bytes64 lookup(const int8_t* table, int plus, Bytes64 codes) {
  const __m128i one = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  const __m128i moved = _mm_add_epi8(one, _mm_set1_epi8(static_cast<char>(plus)));
  return {_mm512_shuffle_epi8(_mm512_broadcast_i32x4(moved), codes.v)};
}

OCTAVO_INLINE I32x16 splat_i32(int32_t x) { return {_mm512_set1_epi32(x)}; }
template <int32_t Factor>
OCTAVO_INLINE I32x16 splat_times(int32_t x) {
  return {_mm512_slli_epi32(_mm512_set1_epi32(x), __builtin_ctz(Factor))};
}
OCTAVO_INLINE I32x16 sub_i32(I32x16 a, I32x16 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
OCTAVO_INLINE F32x16 bits_f32(I32x16 a) { return {_mm512_castsi512_ps(a.v)}; }
OCTAVO_INLINE I32x16 dot4(I32x16 acc, Bytes64 w, const int8_t* x) {
  int32_t four;
  __builtin_memcpy(&four, x, 4);
  return {_mm512_dpbusd_epi32(acc.v, w.v, _mm512_set1_epi32(four))};
}
OCTAVO_INLINE F32x16 widen_byte(Bytes64 a, int i) {
  const __m512i top = _mm512_slli_epi32(a.v, static_cast<unsigned>(24 - 8 * i));
  return {_mm512_cvtepi32_ps(_mm512_srai_epi32(top, 24))};
}
OCTAVO_INLINE F32x16 widen_e4m3(Bytes64 a, int i) {
  return widen_e4m3(_mm512_slli_epi32(a.v, static_cast<unsigned>(24 - 8 * i)));
}
OCTAVO_INLINE void load_nibbles(const void* p, F32x16& low, F32x16& high) {
  const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  low = {_mm512_cvtepi32_ps(_mm512_and_si512(bytes, _mm512_set1_epi32(15)))};
  high = {_mm512_cvtepi32_ps(_mm512_srli_epi32(bytes, 4))};
}
OCTAVO_INLINE void store_low_bytes(int8_t* p, F32x16 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_castps_si512(a.v)));
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
