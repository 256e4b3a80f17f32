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

}  // namespace octavo::device
