// F32x16 as a plain array, for machines without a vector unit that we know. See simd.h.
#pragma once

namespace octavo {
namespace OCTAVO_ISA {

struct F32x16 {
  float r[16];
};

constexpr int kTileRows = 2;
constexpr int kTileCols = 2;
constexpr int kScoreRows = 2;
constexpr int kScoreVecs = 1;

template <class Fn>
OCTAVO_INLINE F32x16 each(Fn fn) {
  F32x16 out;
  for (int i = 0; i < 16; i++) out.r[i] = fn(i);
  return out;
}

OCTAVO_INLINE F32x16 splat(float x) {
  return each([&](int) { return x; });
}
OCTAVO_INLINE F32x16 zero() { return splat(0.0f); }
OCTAVO_INLINE float first_lane(const F32x16& x) { return x.r[0]; }
// memcpy: stored weights may lie at any address.
OCTAVO_INLINE F32x16 load_n(const float* p, int64_t n) {
  F32x16 out = zero();
  __builtin_memcpy(out.r, p, static_cast<size_t>(n) * 4);
  return out;
}
OCTAVO_INLINE F32x16 load(const float* p) { return load_n(p, 16); }
OCTAVO_INLINE void store_n(float* p, const F32x16& x, int64_t n) {
  __builtin_memcpy(p, x.r, static_cast<size_t>(n) * 4);
}
OCTAVO_INLINE void store(float* p, const F32x16& x) { store_n(p, x, 16); }

OCTAVO_INLINE float bits_to_f32(uint32_t bits) {
  float f;
  __builtin_memcpy(&f, &bits, 4);
  return f;
}
OCTAVO_INLINE uint32_t f32_to_bits(float f) {
  uint32_t bits;
  __builtin_memcpy(&bits, &f, 4);
  return bits;
}
OCTAVO_INLINE float half_to_f32(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t exponent = (h >> 10) & 0x1fu, mantissa = h & 0x3ffu;
  if (exponent == 31) {  // the hardware makes NaNs quiet, and so do we
    const uint32_t quiet = mantissa != 0 ? 0x400000u : 0u;
    return bits_to_f32(sign | 0x7f800000u | quiet | (mantissa << 13));
  }
  if (exponent != 0) return bits_to_f32(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}
OCTAVO_INLINE F32x16 load_f16_n(const void* p, int64_t n) {
  uint16_t h[16] = {};
  __builtin_memcpy(h, p, static_cast<size_t>(n) * 2);
  return each([&](int i) { return half_to_f32(h[i]); });
}
OCTAVO_INLINE F32x16 load_bf16_n(const void* p, int64_t n) {
  uint16_t h[16] = {};
  __builtin_memcpy(h, p, static_cast<size_t>(n) * 2);
  return each([&](int i) { return bits_to_f32(static_cast<uint32_t>(h[i]) << 16); });
}
OCTAVO_INLINE F32x16 load_f16(const void* p) { return load_f16_n(p, 16); }
OCTAVO_INLINE F32x16 load_bf16(const void* p) { return load_bf16_n(p, 16); }
OCTAVO_INLINE F32x16 load_i8(const void* p) {
  const signed char* q = static_cast<const signed char*>(p);
  return each([&](int i) { return static_cast<float>(q[i]); });
}
OCTAVO_INLINE float e4m3_to_f32(uint8_t b) {
  const uint32_t sign = static_cast<uint32_t>(b & 0x80u) << 24;
  return bits_to_f32(sign | static_cast<uint32_t>(b & 0x7fu) << 20) * 0x1p120f;
}
OCTAVO_INLINE F32x16 load_e4m3(const void* p) {
  const uint8_t* q = static_cast<const uint8_t*>(p);
  return each([&](int i) { return e4m3_to_f32(q[i]); });
}

// Rounded to the nearest, ties to even (as base/half.h, whose functions must not be compiled here).
OCTAVO_INLINE uint16_t f32_to_half(float f) {
  const uint32_t bits = f32_to_bits(f), magnitude = bits & 0x7fffffffu;
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  if (magnitude > 0x7f800000u) {
    return static_cast<uint16_t>(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
  }
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {  // subnormal or zero: float addition rounds
    return static_cast<uint16_t>(sign | (f32_to_bits(bits_to_f32(magnitude) + 0.5f) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}
OCTAVO_INLINE void store_f16(void* p, const F32x16& x) {
  uint16_t h[16];
  for (int i = 0; i < 16; i++) h[i] = f32_to_half(x.r[i]);
  __builtin_memcpy(p, h, sizeof(h));
}
OCTAVO_INLINE void store_bf16(void* p, const F32x16& x) {
  uint16_t h[16];
  for (int i = 0; i < 16; i++) {
    const uint32_t bits = f32_to_bits(x.r[i]);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    const uint32_t up = bits + 0x7fffu + (bits >> 16 & 1u);
    h[i] = static_cast<uint16_t>(nan ? bits >> 16 | 0x40u : up >> 16);
  }
  __builtin_memcpy(p, h, sizeof(h));
}

OCTAVO_INLINE F32x16 add(const F32x16& x, const F32x16& y) {
  return each([&](int i) { return x.r[i] + y.r[i]; });
}
OCTAVO_INLINE F32x16 sub(const F32x16& x, const F32x16& y) {
  return each([&](int i) { return x.r[i] - y.r[i]; });
}
OCTAVO_INLINE F32x16 mul(const F32x16& x, const F32x16& y) {
  return each([&](int i) { return x.r[i] * y.r[i]; });
}
OCTAVO_INLINE F32x16 div(const F32x16& x, const F32x16& y) {
  return each([&](int i) { return x.r[i] / y.r[i]; });
}
OCTAVO_INLINE F32x16 fma(const F32x16& x, const F32x16& y, const F32x16& z) {
  return each([&](int i) { return __builtin_fmaf(x.r[i], y.r[i], z.r[i]); });
}
OCTAVO_INLINE F32x16 max(const F32x16& x, const F32x16& y) {
  return each([&](int i) { return x.r[i] > y.r[i] ? x.r[i] : y.r[i]; });
}
OCTAVO_INLINE F32x16 min(const F32x16& x, const F32x16& y) {
  return each([&](int i) { return x.r[i] < y.r[i] ? x.r[i] : y.r[i]; });
}
OCTAVO_INLINE F32x16 zero_if_less(const F32x16& v, const F32x16& x, const F32x16& limit) {
  return each([&](int i) { return x.r[i] < limit.r[i] ? 0.0f : v.r[i]; });
}
OCTAVO_INLINE F32x16 pow2_of_shifted(const F32x16& x) {
  return each([&](int i) { return bits_to_f32((f32_to_bits(x.r[i]) << 23) + 0x3f800000u); });
}

OCTAVO_INLINE float hsum(F32x16 x) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; i++) x.r[i] += x.r[i + width];
  }
  return x.r[0];
}
OCTAVO_INLINE float hmax(const F32x16& x) {
  float m = x.r[0];
  for (int i = 1; i < 16; i++) m = m > x.r[i] ? m : x.r[i];
  return m;
}
OCTAVO_INLINE void transpose16(const float* const* rows, int64_t first, float* out,
                               int64_t stride) {
  for (int t = 0; t < 16; t++) {
    for (int d = 0; d < 16; d++) out[d * stride + t] = rows[t][first + d];
  }
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
