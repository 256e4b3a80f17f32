// Plain arrays. See simd_bytes.h.
#pragma once

namespace octavo {
namespace OCTAVO_ISA {

constexpr bool kSignedDots = true;
constexpr int kDotRows = 1;
constexpr int kStreamRows = 1;
constexpr int kStreamPanels = 1;
constexpr int kStreamGroupRows = 1;
constexpr int64_t kStreamedRows = 1;
constexpr int kFloatRows = 2;
constexpr int kFloatPanels = 1;

struct Bytes64 {
  uint8_t v[64];
};
struct I32x16 {
  int32_t v[16];
};

template <class Fn>
OCTAVO_INLINE Bytes64 each_byte(Fn fn) {
  Bytes64 out;
  for (int i = 0; i < 64; i++) out.v[i] = static_cast<uint8_t>(fn(i));
  return out;
}

OCTAVO_INLINE Bytes64 load_bytes(const void* p) {
  Bytes64 out;
  __builtin_memcpy(out.v, p, 64);
  return out;
}
OCTAVO_INLINE void store_bytes(void* p, const Bytes64& x) { __builtin_memcpy(p, x.v, 64); }
OCTAVO_INLINE Bytes64 splat_bytes(int byte) {
  return each_byte([&](int) { return byte; });
}
OCTAVO_INLINE Bytes64 and_bytes(const Bytes64& x, const Bytes64& y) {
  return each_byte([&](int i) { return x.v[i] & y.v[i]; });
}
OCTAVO_INLINE Bytes64 or_bytes(const Bytes64& x, const Bytes64& y) {
  return each_byte([&](int i) { return x.v[i] | y.v[i]; });
}
OCTAVO_INLINE Bytes64 xor_bytes(const Bytes64& x, const Bytes64& y) {
  return each_byte([&](int i) { return x.v[i] ^ y.v[i]; });
}
OCTAVO_INLINE Bytes64 sub_bytes(const Bytes64& x, const Bytes64& y) {
  return each_byte([&](int i) { return x.v[i] - y.v[i]; });
}
OCTAVO_INLINE Bytes64 shift_left(const Bytes64& x, int n) {
  return each_byte([&](int i) { return x.v[i] << n; });
}
OCTAVO_INLINE Bytes64 shift_right(const Bytes64& x, int n) {
  return each_byte([&](int i) { return x.v[i] >> n; });
}
OCTAVO_INLINE Bytes64 lookup(const int8_t* table, int plus, const Bytes64& codes) {
  return each_byte([&](int i) { return table[codes.v[i]] + plus; });
}

OCTAVO_INLINE I32x16 splat_i32(int32_t x) {
  I32x16 out;
  for (int i = 0; i < 16; i++) out.v[i] = x;
  return out;
}
template <int32_t Factor>
OCTAVO_INLINE I32x16 splat_times(int32_t x) {
  return splat_i32(x * Factor);
}
OCTAVO_INLINE I32x16 sub_i32(I32x16 x, const I32x16& y) {
  for (int i = 0; i < 16; i++) x.v[i] -= y.v[i];
  return x;
}
OCTAVO_INLINE F32x16 bits_f32(const I32x16& x) {
  return each([&](int i) { return bits_to_f32(static_cast<uint32_t>(x.v[i])); });
}
OCTAVO_INLINE I32x16 dot4(I32x16 acc, const Bytes64& w, const int8_t* x) {
  for (int i = 0; i < 64; i++) acc.v[i / 4] += static_cast<int8_t>(w.v[i]) * x[i % 4];
  return acc;
}
OCTAVO_INLINE F32x16 widen_byte(const Bytes64& x, int i) {
  return each([&](int c) { return static_cast<float>(static_cast<int8_t>(x.v[4 * c + i])); });
}
OCTAVO_INLINE F32x16 widen_e4m3(const Bytes64& x, int i) {
  return each([&](int c) { return e4m3_to_f32(x.v[4 * c + i]); });
}
OCTAVO_INLINE void load_nibbles(const void* p, F32x16& low, F32x16& high) {
  const uint8_t* b = static_cast<const uint8_t*>(p);
  low = each([&](int i) { return static_cast<float>(b[i] & 15); });
  high = each([&](int i) { return static_cast<float>(b[i] >> 4); });
}
OCTAVO_INLINE void store_low_bytes(int8_t* p, const F32x16& x) {
  for (int i = 0; i < 16; i++) p[i] = static_cast<int8_t>(f32_to_bits(x.r[i]));
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
