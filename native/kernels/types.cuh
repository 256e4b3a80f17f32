// 16- and 8-bit numbers on the device: storage, exact widening, round-to-nearest-even narrowing.
#pragma once

#include "base/dtype.h"
#include "kernels/runtime.h"
#ifdef OCTAVO_SIMT
#include "base/half.h"
#endif

namespace octavo::device {

struct Bf16 {
  static constexpr DType kDType = DType::kBF16;
  uint16_t bits;
};
struct F16 {
  static constexpr DType kDType = DType::kF16;
  uint16_t bits;
};

OCTAVO_DEVICE float as_float(uint32_t bits) {
#ifdef OCTAVO_SIMT
  return bits_to_float(bits);
#else
  return __uint_as_float(bits);
#endif
}
OCTAVO_DEVICE uint32_t as_bits(float x) {
#ifdef OCTAVO_SIMT
  return float_to_bits(x);
#else
  return __float_as_uint(x);
#endif
}

OCTAVO_DEVICE float widen(float x) { return x; }
OCTAVO_DEVICE float widen(Bf16 x) { return as_float(static_cast<uint32_t>(x.bits) << 16); }
OCTAVO_DEVICE float widen(F16 x) {
#ifdef OCTAVO_SIMT
  return half_to_float(x.bits);
#else
  float out;
  asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(x.bits));
  return out;
#endif
}

template <class T>
OCTAVO_DEVICE T narrow(float x);
template <>
OCTAVO_DEVICE float narrow<float>(float x) {
  return x;
}
template <>
OCTAVO_DEVICE Bf16 narrow<Bf16>(float x) {
#ifdef OCTAVO_SIMT
  return Bf16{float_to_bf16(x)};
#else
  Bf16 out;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(x));
  return out;
#endif
}
template <>
OCTAVO_DEVICE F16 narrow<F16>(float x) {
#ifdef OCTAVO_SIMT
  return F16{float_to_half(x)};
#else
  F16 out;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(x));
  return out;
#endif
}

// Two values in one register, the first in the lower half.
template <class T>
OCTAVO_DEVICE uint32_t pack2(float low, float high) {
  return narrow<T>(low).bits | static_cast<uint32_t>(narrow<T>(high).bits) << 16;
}
#ifndef OCTAVO_SIMT
template <>
OCTAVO_DEVICE uint32_t pack2<Bf16>(float low, float high) {
  uint32_t out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}
template <>
OCTAVO_DEVICE uint32_t pack2<F16>(float low, float high) {
  uint32_t out;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}
#endif
template <class T>
OCTAVO_DEVICE float2 unpack2(uint32_t pair) {
  return {widen(T{static_cast<uint16_t>(pair)}), widen(T{static_cast<uint16_t>(pair >> 16)})};
}

// fp8 e4m3: sign, 4 exponent bits of bias 7, 3 mantissa bits; at most 448. Its exponent and
// mantissa put where a float has them are the value times 2^−120, subnormals too.
constexpr float kF8Max = 448.0f;
OCTAVO_DEVICE float widen_f8(uint32_t byte) {
  return as_float((byte & 0x80u) << 24 | (byte & 0x7fu) << 20) * 0x1p120f;
}
OCTAVO_DEVICE uint32_t narrow_f8(float x) {
  const float clipped = fminf(fabsf(x), kF8Max) * 0x1p-120f;
  const uint32_t bits = as_bits(clipped);
  const uint32_t rounded = (bits + 0x7ffffu + (bits >> 20 & 1u)) >> 20;
  return rounded | (as_bits(x) >> 24 & 0x80u);
}

// int8, symmetric: value = byte · scale.
constexpr float kI8Max = 127.0f;
OCTAVO_DEVICE float widen_i8(uint32_t byte) {
  return static_cast<float>(static_cast<int8_t>(byte & 0xffu));
}
OCTAVO_DEVICE uint32_t narrow_i8(float x) {
  const float clipped = fminf(fmaxf(rintf(x), -kI8Max), kI8Max);
  return static_cast<uint32_t>(static_cast<int32_t>(clipped)) & 0xffu;
}

// Four bytes to two pairs of T, all exact. On the device without a conversion instruction, of which
// a multiprocessor does few: bits are put where they make a number of T, and one operation on pairs
// moves it to its value.
#ifdef OCTAVO_SIMT
template <class T>
uint2 widen4_f8(uint32_t four) {
  return {pack2<T>(widen_f8(four), widen_f8(four >> 8)),
          pack2<T>(widen_f8(four >> 16), widen_f8(four >> 24))};
}
template <class T>
uint2 widen4_i8(uint32_t four) {
  return {pack2<T>(widen_i8(four), widen_i8(four >> 8)),
          pack2<T>(widen_i8(four >> 16), widen_i8(four >> 24))};
}
// Of each byte the lower four bits, less 8.
template <class T>
uint2 widen4_i4(uint32_t four) {
  const auto value = [&](int i) {
    return static_cast<float>(static_cast<int>(four >> (i * 8) & 0xfu) - 8);
  };
  return {pack2<T>(value(0), value(1)), pack2<T>(value(2), value(3))};
}
#else
// x · factor + add, on pairs
template <class T>
OCTAVO_DEVICE uint32_t fma2(uint32_t x, uint32_t factor, uint32_t add);
template <>
OCTAVO_DEVICE uint32_t fma2<Bf16>(uint32_t x, uint32_t factor, uint32_t add) {
  uint32_t out;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(x), "r"(factor), "r"(add));
  return out;
}
template <>
OCTAVO_DEVICE uint32_t fma2<F16>(uint32_t x, uint32_t factor, uint32_t add) {
  uint32_t out;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(x), "r"(factor), "r"(add));
  return out;
}

// The bytes in the upper halves: sign, and the rest shifted to T's exponent and mantissa, is the
// value times 2^(7 − T's bias).
template <class T>
OCTAVO_DEVICE uint32_t widen2_f8(uint32_t upper) {
  constexpr bool kBf16 = T::kDType == DType::kBF16;
  const uint32_t bits = (upper & 0x80008000u) | (upper & 0x7f007f00u) >> (kBf16 ? 4 : 1);
  return fma2<T>(bits, kBf16 ? 0x7b807b80u : 0x5c005c00u, 0x80008000u);  // · 2^120, · 2^8, + −0
}
template <class T>
OCTAVO_DEVICE uint2 widen4_f8(uint32_t four) {
  return {widen2_f8<T>(__byte_perm(four, 0, 0x1404)), widen2_f8<T>(__byte_perm(four, 0, 0x3424))};
}

// The bytes in the lower halves. bfloat16 has 8 bits: 128 + the lower seven, less 128 or, where
// the sign bit is set, 256. float16 has 11: 1024 + (x + 128), less 1152.
template <class T>
OCTAVO_DEVICE uint32_t widen2_i8(uint32_t lower) {
  if constexpr (T::kDType == DType::kBF16) {
    const uint32_t large = (lower & 0x007f007fu) | 0x43004300u;
    const uint32_t base = (lower & 0x00800080u) | 0x43004300u;
    return fma2<T>(base, 0xbf80bf80u, large);
  } else {
    return fma2<T>((lower ^ 0x00800080u) | 0x64006400u, 0x3c003c00u, 0xe480e480u);
  }
}
template <class T>
OCTAVO_DEVICE uint2 widen4_i8(uint32_t four) {
  return {widen2_i8<T>(__byte_perm(four, 0, 0x4140)), widen2_i8<T>(__byte_perm(four, 0, 0x4342))};
}

// 128 + n, less 136; 1024 + n, less 1032.
template <class T>
OCTAVO_DEVICE uint2 widen4_i4(uint32_t four) {
  constexpr bool kBf16 = T::kDType == DType::kBF16;
  constexpr uint32_t kLarge = kBf16 ? 0x43434343u : 0x64646464u;
  constexpr uint32_t kOne = kBf16 ? 0x3f803f80u : 0x3c003c00u;
  constexpr uint32_t kLess = kBf16 ? 0xc308c308u : 0xe408e408u;
  const uint32_t n = four & 0x0f0f0f0fu;
  return {fma2<T>(__byte_perm(n, kLarge, 0x4140), kOne, kLess),
          fma2<T>(__byte_perm(n, kLarge, 0x4342), kOne, kLess)};
}
#endif

}  // namespace octavo::device
