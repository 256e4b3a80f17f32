// NEON, with the dot-product extension where OCTAVO_DOTPROD says so. See simd_bytes.h.
#pragma once

#include <arm_neon.h>

namespace octavo {
namespace OCTAVO_ISA {

constexpr bool kSignedDots = true;
constexpr int kDotRows = 3;
constexpr int kStreamRows = 2;
constexpr int kStreamPanels = 1;
constexpr int kStreamGroupRows = 2;
constexpr int64_t kStreamedRows = 2;
constexpr int kFloatRows = 6;
constexpr int kFloatPanels = 1;

struct Bytes64 {
  uint8x16_t r[4];
};
struct I32x16 {
  int32x4_t r[4];
};

template <class Fn>
OCTAVO_INLINE Bytes64 each_bytes(Fn fn) {
  return {{fn(0), fn(1), fn(2), fn(3)}};
}

OCTAVO_INLINE Bytes64 load_bytes(const void* p) {
  const uint8_t* b = static_cast<const uint8_t*>(p);
  return each_bytes([&](int i) { return vld1q_u8(b + 16 * i); });
}
OCTAVO_INLINE void store_bytes(void* p, Bytes64 x) {
  OCTAVO_UNROLL for (int i = 0; i < 4; i++) vst1q_u8(static_cast<uint8_t*>(p) + 16 * i, x.r[i]);
}
OCTAVO_INLINE Bytes64 splat_bytes(int byte) {
  const uint8x16_t v = vdupq_n_u8(static_cast<uint8_t>(byte));
  return {{v, v, v, v}};
}
OCTAVO_INLINE Bytes64 and_bytes(Bytes64 x, Bytes64 y) {
  return each_bytes([&](int i) { return vandq_u8(x.r[i], y.r[i]); });
}
OCTAVO_INLINE Bytes64 or_bytes(Bytes64 x, Bytes64 y) {
  return each_bytes([&](int i) { return vorrq_u8(x.r[i], y.r[i]); });
}
OCTAVO_INLINE Bytes64 xor_bytes(Bytes64 x, Bytes64 y) {
  return each_bytes([&](int i) { return veorq_u8(x.r[i], y.r[i]); });
}
OCTAVO_INLINE Bytes64 sub_bytes(Bytes64 x, Bytes64 y) {
  return each_bytes([&](int i) { return vsubq_u8(x.r[i], y.r[i]); });
}
OCTAVO_INLINE Bytes64 shift_left(Bytes64 x, int n) {
  const int8x16_t by = vdupq_n_s8(static_cast<int8_t>(n));
  return each_bytes([&](int i) { return vshlq_u8(x.r[i], by); });
}
OCTAVO_INLINE Bytes64 shift_right(Bytes64 x, int n) {
  const int8x16_t by = vdupq_n_s8(static_cast<int8_t>(-n));
  return each_bytes([&](int i) { return vshlq_u8(x.r[i], by); });
}
OCTAVO_INLINE Bytes64 lookup(const int8_t* table, int plus, Bytes64 codes) {
  const uint8x16_t one = vreinterpretq_u8_s8(vld1q_s8(table));
  const uint8x16_t moved = vaddq_u8(one, vdupq_n_u8(static_cast<uint8_t>(plus)));
  return each_bytes([&](int i) { return vqtbl1q_u8(moved, codes.r[i]); });
}

OCTAVO_INLINE I32x16 splat_i32(int32_t x) {
  const int32x4_t v = vdupq_n_s32(x);
  return {{v, v, v, v}};
}
template <int32_t Factor>
OCTAVO_INLINE I32x16 splat_times(int32_t x) {
  return splat_i32(x * Factor);
}
OCTAVO_INLINE I32x16 sub_i32(I32x16 x, I32x16 y) {
  OCTAVO_UNROLL for (int i = 0; i < 4; i++) x.r[i] = vsubq_s32(x.r[i], y.r[i]);
  return x;
}
OCTAVO_INLINE F32x16 bits_f32(I32x16 x) {
  return each([&](int i) { return vreinterpretq_f32_s32(x.r[i]); });
}
OCTAVO_INLINE int32x4_t dot4(int32x4_t acc, int8x16_t w, int8x16_t x) {
#if defined(OCTAVO_DOTPROD)
  return vdotq_s32(acc, w, x);
#else
  const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(x)));
  const int32x4_t high = vpaddlq_s16(vmull_s8(vget_high_s8(w), vget_high_s8(x)));
  return vaddq_s32(acc, vpaddq_s32(low, high));
#endif
}
OCTAVO_INLINE I32x16 dot4(I32x16 acc, Bytes64 w, const int8_t* x) {
  int32_t four;
  __builtin_memcpy(&four, x, 4);
  const int8x16_t v = vreinterpretq_s8_s32(vdupq_n_s32(four));
  OCTAVO_UNROLL for (int i = 0; i < 4; i++) {
    acc.r[i] = dot4(acc.r[i], vreinterpretq_s8_u8(w.r[i]), v);
  }
  return acc;
}
OCTAVO_INLINE F32x16 widen_byte(Bytes64 x, int i) {
  const int32x4_t up = vdupq_n_s32(24 - 8 * i);
  return each([&](int j) {
    const int32x4_t top = vshlq_s32(vreinterpretq_s32_u8(x.r[j]), up);
    return vcvtq_f32_s32(vshrq_n_s32(top, 24));
  });
}
OCTAVO_INLINE F32x16 widen_e4m3(Bytes64 x, int i) {
  const int32x4_t up = vdupq_n_s32(24 - 8 * i);
  return each([&](int j) { return widen_e4m3(vshlq_u32(vreinterpretq_u32_u8(x.r[j]), up)); });
}
OCTAVO_INLINE void load_nibbles(const void* p, F32x16& low, F32x16& high) {
  const uint8x16_t bytes = vld1q_u8(static_cast<const uint8_t*>(p));
  low = widen_i8(vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15))));
  high = widen_i8(vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4)));
}
OCTAVO_INLINE void store_low_bytes(int8_t* p, F32x16 x) {
  const auto words = [&](int i) { return vmovn_s32(vreinterpretq_s32_f32(x.r[i])); };
  const int16x8_t a = vcombine_s16(words(0), words(1)), b = vcombine_s16(words(2), words(3));
  vst1q_s8(p, vcombine_s8(vmovn_s16(a), vmovn_s16(b)));
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
