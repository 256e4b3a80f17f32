// F32x16 in four NEON registers (AArch64). See simd.h.
#pragma once

#include <arm_neon.h>

namespace octavo {
namespace OCTAVO_ISA {

struct F32x16 {
  float32x4_t r[4];  // lanes 0-3, 4-7, 8-11, 12-15
};

constexpr int kTileRows = 3;  // 3 × 2 vectors of four registers: 24 accumulators of 32
constexpr int kTileCols = 2;
constexpr int kScoreRows = 4;
constexpr int kScoreVecs = 1;

template <class Fn>
OCTAVO_INLINE F32x16 each(Fn fn) {
  return {{fn(0), fn(1), fn(2), fn(3)}};
}

OCTAVO_INLINE F32x16 splat(float x) {
  const float32x4_t v = vdupq_n_f32(x);
  return {{v, v, v, v}};
}
OCTAVO_INLINE F32x16 zero() { return splat(0.0f); }
OCTAVO_INLINE F32x16 load(const float* p) {
  return {{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}
OCTAVO_INLINE void store(float* p, F32x16 x) {
  OCTAVO_UNROLL for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, x.r[i]);
}
OCTAVO_INLINE float first_lane(F32x16 x) { return vgetq_lane_f32(x.r[0], 0); }
OCTAVO_INLINE F32x16 load_n(const float* p, int64_t n) {
  float lanes[16] = {};
  __builtin_memcpy(lanes, p, static_cast<size_t>(n) * 4);
  return load(lanes);
}
OCTAVO_INLINE void store_n(float* p, F32x16 x, int64_t n) {
  float lanes[16];
  store(lanes, x);
  __builtin_memcpy(p, lanes, static_cast<size_t>(n) * 4);
}

// Byte loads: stored weights may lie at any address.
OCTAVO_INLINE uint16x8_t load_halves(const void* p) {
  return vreinterpretq_u16_u8(vld1q_u8(static_cast<const uint8_t*>(p)));
}
OCTAVO_INLINE F32x16 load_f16(const void* p) {
  const float16x8_t a = vreinterpretq_f16_u16(load_halves(p));
  const float16x8_t b = vreinterpretq_f16_u16(load_halves(static_cast<const char*>(p) + 16));
  return {{vcvt_f32_f16(vget_low_f16(a)), vcvt_f32_f16(vget_high_f16(a)),
           vcvt_f32_f16(vget_low_f16(b)), vcvt_f32_f16(vget_high_f16(b))}};
}
OCTAVO_INLINE F32x16 load_bf16(const void* p) {
  const uint16x8_t a = load_halves(p), b = load_halves(static_cast<const char*>(p) + 16);
  const auto widen = [](uint16x4_t h) { return vreinterpretq_f32_u32(vshll_n_u16(h, 16)); };
  return {{widen(vget_low_u16(a)), widen(vget_high_u16(a)), widen(vget_low_u16(b)),
           widen(vget_high_u16(b))}};
}
OCTAVO_INLINE F32x16 load_f16_n(const void* p, int64_t n) {
  uint16_t h[16] = {};
  __builtin_memcpy(h, p, static_cast<size_t>(n) * 2);
  return load_f16(h);
}
OCTAVO_INLINE F32x16 load_bf16_n(const void* p, int64_t n) {
  uint16_t h[16] = {};
  __builtin_memcpy(h, p, static_cast<size_t>(n) * 2);
  return load_bf16(h);
}
OCTAVO_INLINE F32x16 widen_i8(int8x16_t bytes) {
  const int16x8_t a = vmovl_s8(vget_low_s8(bytes)), b = vmovl_s8(vget_high_s8(bytes));
  return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(a))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(a))),
           vcvtq_f32_s32(vmovl_s16(vget_low_s16(b))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(b)))}};
}
OCTAVO_INLINE F32x16 load_i8(const void* p) {
  return widen_i8(vld1q_s8(static_cast<const int8_t*>(p)));
}
// Of words with the byte on top.
OCTAVO_INLINE float32x4_t widen_e4m3(uint32x4_t top) {
  const uint32x4_t sign = vandq_u32(top, vdupq_n_u32(0x80000000u));
  const uint32x4_t rest = vandq_u32(vshrq_n_u32(top, 4), vdupq_n_u32(0x07f00000u));
  return vmulq_f32(vreinterpretq_f32_u32(vorrq_u32(sign, rest)), vdupq_n_f32(0x1p120f));
}
OCTAVO_INLINE F32x16 load_e4m3(const void* p) {
  const uint8x16_t bytes = vld1q_u8(static_cast<const uint8_t*>(p));
  const uint16x8_t a = vmovl_u8(vget_low_u8(bytes)), b = vmovl_u8(vget_high_u8(bytes));
  const auto widen = [](uint16x4_t h) { return widen_e4m3(vshlq_n_u32(vmovl_u16(h), 24)); };
  return {{widen(vget_low_u16(a)), widen(vget_high_u16(a)), widen(vget_low_u16(b)),
           widen(vget_high_u16(b))}};
}

// Rounded to the nearest, ties to even.
OCTAVO_INLINE void store_f16(void* p, F32x16 x) {
  uint8_t* to = static_cast<uint8_t*>(p);
  OCTAVO_UNROLL for (int i = 0; i < 4; i++) {
    vst1_u8(to + 8 * i, vreinterpret_u8_f16(vcvt_f16_f32(x.r[i])));
  }
}
OCTAVO_INLINE void store_bf16(void* p, F32x16 x) {
  uint8_t* to = static_cast<uint8_t*>(p);
  OCTAVO_UNROLL for (int i = 0; i < 4; i++) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x.r[i]), top = vshrq_n_u32(bits, 16);
    const uint32x4_t odd = vandq_u32(top, vdupq_n_u32(1));
    const uint32x4_t up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const uint32x4_t quiet = vorrq_u32(top, vdupq_n_u32(0x40));
    const uint32x4_t half = vbslq_u32(vceqq_f32(x.r[i], x.r[i]), vshrq_n_u32(up, 16), quiet);
    vst1_u8(to + 8 * i, vreinterpret_u8_u16(vmovn_u32(half)));
  }
}

OCTAVO_INLINE F32x16 add(F32x16 x, F32x16 y) {
  return each([&](int i) { return vaddq_f32(x.r[i], y.r[i]); });
}
OCTAVO_INLINE F32x16 sub(F32x16 x, F32x16 y) {
  return each([&](int i) { return vsubq_f32(x.r[i], y.r[i]); });
}
OCTAVO_INLINE F32x16 mul(F32x16 x, F32x16 y) {
  return each([&](int i) { return vmulq_f32(x.r[i], y.r[i]); });
}
OCTAVO_INLINE F32x16 div(F32x16 x, F32x16 y) {
  return each([&](int i) { return vdivq_f32(x.r[i], y.r[i]); });
}
OCTAVO_INLINE F32x16 fma(F32x16 x, F32x16 y, F32x16 z) {
  return each([&](int i) { return vfmaq_f32(z.r[i], x.r[i], y.r[i]); });
}
// By comparison, not fmax: x86's rule for NaN and for zeros of two signs.
OCTAVO_INLINE F32x16 max(F32x16 x, F32x16 y) {
  return each([&](int i) { return vbslq_f32(vcgtq_f32(x.r[i], y.r[i]), x.r[i], y.r[i]); });
}
OCTAVO_INLINE F32x16 min(F32x16 x, F32x16 y) {
  return each([&](int i) { return vbslq_f32(vcltq_f32(x.r[i], y.r[i]), x.r[i], y.r[i]); });
}
OCTAVO_INLINE F32x16 zero_if_less(F32x16 v, F32x16 x, F32x16 limit) {
  return each(
      [&](int i) { return vbslq_f32(vcltq_f32(x.r[i], limit.r[i]), vdupq_n_f32(0.0f), v.r[i]); });
}
OCTAVO_INLINE F32x16 pow2_of_shifted(F32x16 x) {
  return each([&](int i) {
    const int32x4_t exponent = vshlq_n_s32(vreinterpretq_s32_f32(x.r[i]), 23);
    return vreinterpretq_f32_s32(vaddq_s32(exponent, vdupq_n_s32(0x3f800000)));
  });
}

OCTAVO_INLINE float hsum(F32x16 x) {
  const float32x4_t s4 = vaddq_f32(vaddq_f32(x.r[0], x.r[2]), vaddq_f32(x.r[1], x.r[3]));
  const float32x2_t s2 = vadd_f32(vget_low_f32(s4), vget_high_f32(s4));
  return vget_lane_f32(s2, 0) + vget_lane_f32(s2, 1);
}
OCTAVO_INLINE float hmax(F32x16 x) {
  const F32x16 m8 = max(x, {{x.r[2], x.r[3], x.r[2], x.r[3]}});
  const F32x16 m4 = max(m8, {{m8.r[1], m8.r[1], m8.r[1], m8.r[1]}});
  float lanes[4];
  vst1q_f32(lanes, m4.r[0]);
  const float a = lanes[0] > lanes[2] ? lanes[0] : lanes[2];
  const float b = lanes[1] > lanes[3] ? lanes[1] : lanes[3];
  return a > b ? a : b;
}

OCTAVO_INLINE void transpose4(const float* const* rows, int64_t first, float* out, int64_t stride) {
  const float32x4_t a = vld1q_f32(rows[0] + first), b = vld1q_f32(rows[1] + first);
  const float32x4_t c = vld1q_f32(rows[2] + first), d = vld1q_f32(rows[3] + first);
  const float32x4_t ab0 = vtrn1q_f32(a, b), ab1 = vtrn2q_f32(a, b);
  const float32x4_t cd0 = vtrn1q_f32(c, d), cd1 = vtrn2q_f32(c, d);
  const auto low = [](float32x4_t x, float32x4_t y) {
    return vcombine_f32(vget_low_f32(x), vget_low_f32(y));
  };
  const auto high = [](float32x4_t x, float32x4_t y) {
    return vcombine_f32(vget_high_f32(x), vget_high_f32(y));
  };
  vst1q_f32(out, low(ab0, cd0));
  vst1q_f32(out + stride, low(ab1, cd1));
  vst1q_f32(out + 2 * stride, high(ab0, cd0));
  vst1q_f32(out + 3 * stride, high(ab1, cd1));
}
OCTAVO_INLINE void transpose16(const float* const* rows, int64_t first, float* out,
                               int64_t stride) {
  OCTAVO_UNROLL for (int t = 0; t < 16; t += 4) {
    OCTAVO_UNROLL for (int d = 0; d < 16; d += 4) {
      transpose4(rows + t, first + d, out + d * stride + t, stride);
    }
  }
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
