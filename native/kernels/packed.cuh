// Weights of few bits (packed_layout.h) become T in registers: eight of a lane at a time, exactly
// as the CPU takes them apart, rounded once more to T.
#pragma once

#include "kernels/mma.cuh"
#include "kernels/packed_layout.h"

namespace octavo::device {

// Kinds of types that are read alike: groups of 32 and of 128 values differ in where scales lie.
template <DType kDType>
struct PackedKind {
  static constexpr DType kType = kDType;
  static constexpr PackedLayout kLayout = packed_layout(kDType);
  static constexpr int kLowBits = kLayout.low_bits, kHighBits = kLayout.high_bits;
  static constexpr int kCodeBytes = 128 * kLowBits, kHighBytes = 128 * kHighBits;
  // Of scales what a step needs, at most: of INT and FP8 that of groups of 32.
  static constexpr int kScaleBytes = kLayout.span_bytes + kLayout.step_bytes;
  static constexpr int kTileBytes = kCodeBytes + kHighBytes + kScaleBytes;
  static constexpr bool kSuper = kLayout.span_bytes > 0;
};
struct Q4K : PackedKind<DType::kQ4_K> {};
struct Q5K : PackedKind<DType::kQ5_K> {};
struct Q6K : PackedKind<DType::kQ6_K> {};
struct Mxfp4 : PackedKind<DType::kMXFP4> {};
struct Int4 : PackedKind<DType::kINT4_G32> {};
struct Int8 : PackedKind<DType::kINT8_G32> {};
struct Fp8 : PackedKind<DType::kFP8_G32> {};

// Groups of 128 values, not of 32, share a scale: of INT and FP8.
template <class Kind>
OCTAVO_DEVICE bool is_coarse(const PackedLayout& layout) {
  return !Kind::kSuper && layout.span_shift == 7;
}

// Whole numbers below 2^23 as floats, without a conversion instruction: in the mantissa of 2^23.
constexpr uint32_t kWholeBits = 0x4b000000;
constexpr float kWhole = 8388608.0f;
OCTAVO_DEVICE float whole_number(uint32_t n) { return as_float(n | kWholeBits) - kWhole; }

// What eight codes of a row have in common: value = scale · code + min, of INT4 and INT8
// scale · (code − min). The scale of Q6_K is another for the second four.
struct CodeScale {
  float scale[2], min;
};

// Of row `row` of a tile and the 32 values `q`. `at`: the record, `step`: what of it is the tile's
// own; `coarse`: of groups of 128.
template <class Kind>
OCTAVO_DEVICE CodeScale code_scale(const unsigned char* at, const unsigned char* step, int row,
                                   int q, bool coarse) {
  CodeScale out;
  if constexpr (Kind::kType == DType::kQ6_K) {
    const float d = widen(reinterpret_cast<const F16*>(at)[row]);
    const uint32_t two = reinterpret_cast<const uint16_t*>(step)[row * 2 + q];
    out.scale[0] = d * (whole_number(two & 0xffu) - 128.0f);
    out.scale[1] = d * (whole_number(two >> 8) - 128.0f);
    out.min = 0.0f;
    return out;
  } else if constexpr (Kind::kSuper) {
    const float2 d = unpack2<F16>(reinterpret_cast<const uint32_t*>(at)[row]);
    const uint32_t pair = reinterpret_cast<const uint16_t*>(step)[row * 2 + q];
    out.scale[0] = d.x * whole_number(pair & 0xffu);
    out.min = -d.y * whole_number(pair >> 8);
  } else if constexpr (Kind::kType == DType::kMXFP4) {
    // 2^(e − 128): the values that it multiplies are twice what they are.
    const uint32_t e = at[row * 2 + q];
    out.scale[0] = as_float(e >= 2 ? (e - 1) << 23 : 0x00200000u << e);
    out.min = 0.0f;
  } else {
    const int group = coarse ? 0 : q * kTileRows;
    out.scale[0] = reinterpret_cast<const float*>(at)[group + row];
    out.min = 0.0f;
    if constexpr (Kind::kType == DType::kINT4_G32 || Kind::kType == DType::kINT8_G32) {
      const int offset = Kind::kLowBits == 4 ? 8 : 128;
      const uint32_t zero = at[(coarse ? 64 : 128) + group + row];
      out.min = whole_number(zero) - static_cast<float>(128 - offset);
    }
  }
  out.scale[1] = out.scale[0];
  return out;
}

// `second`: of the second four of eight codes.
template <class Kind>
OCTAVO_DEVICE float value_of(float code, const CodeScale& by, int second) {
  const float scale = by.scale[second];
  if constexpr (Kind::kType == DType::kQ4_K || Kind::kType == DType::kQ5_K) {
    return fmaf(scale, code, by.min);
  } else if constexpr (Kind::kType == DType::kQ6_K) {
    return scale * (code - 32.0f);
  } else {
    return scale * (code - by.min);
  }
}

// Eight codes as exact floats: of 4 bits those of `word`, the first lowest, with bits above from
// `high`, that of the first from bit `high_at` on, every other four bits on.
template <int kHighBits>
OCTAVO_DEVICE void codes_of_4(uint32_t word, uint32_t high, int high_at, float (&codes)[8]) {
  constexpr uint32_t kMask = (1u << kHighBits) - 1;
  // Five where they are, times powers of 16; then three.
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const int at = i < 5 ? 4 * i : 4 * i - 20;
    uint32_t bits = ((i < 5 ? word : word >> 20) & 15u << at) | kWholeBits;
    if constexpr (kHighBits > 0) {
      const uint32_t above = i < 5 ? high << (4 - high_at) : high >> (16 + high_at);
      bits |= above & kMask << (at + 4);
    }
    const float unit = 1.0f / static_cast<float>(1 << at);
    codes[i] = fmaf(as_float(bits), unit, -kWhole * unit);
  }
}

// Of MXFP4 twice the values: sign, and two bits of the exponent and one of the mantissa, where a
// float has them, are the value times 2^−126.
OCTAVO_DEVICE void codes_of_e2m1(uint32_t word, float (&codes)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const uint32_t sign = word << (28 - 4 * i) & 0x80000000u;
    const uint32_t rest = 4 * i <= 22 ? word << (22 - 4 * i) : word >> (4 * i - 22);
    codes[i] = as_float(sign | (rest & 0x01c00000u)) * 0x1p127f;
  }
}

template <class Kind>
OCTAVO_DEVICE void codes_of_8(uint32_t first, uint32_t second, float (&codes)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const uint32_t byte = (i < 4 ? first : second) >> (i % 4 * 8) & 0xffu;
    codes[i] = is_fp8(Kind::kType) ? widen_f8(byte) : whole_number(byte);
  }
}

// What a lane has of a tile of 16 rows and 64 values in shared memory.
template <class T, class Kind>
struct PackedLane {
  const unsigned char* const tile;
  const int lane;
  const bool coarse;
  uint32_t words[Kind::kLowBits];  // [half of the rows][…]
  uint32_t high[2];

  OCTAVO_DEVICE PackedLane(const unsigned char* shared, int which, bool coarse_scales)
      : tile(shared), lane(which), coarse(coarse_scales) {
#pragma unroll
    for (int i = 0; i < Kind::kLowBits / 4; i++) {
      const uint4 four = *reinterpret_cast<const uint4*>(tile + i * 512 + lane * 16);
      words[4 * i] = four.x, words[4 * i + 1] = four.y;
      words[4 * i + 2] = four.z, words[4 * i + 3] = four.w;
    }
    if constexpr (Kind::kHighBits == 1) {
      high[0] = reinterpret_cast<const uint32_t*>(tile + Kind::kCodeBytes)[lane];
    } else if constexpr (Kind::kHighBits == 2) {
      const uint2 two = reinterpret_cast<const uint2*>(tile + Kind::kCodeBytes)[lane];
      high[0] = two.x, high[1] = two.y;
    }
  }

  // The values of row lane / 4 + 8 · half among the 32 values q: pairs[s · 2 + i] stands at
  // 32q + 16s + 8i + 2 · (lane % 4).
  OCTAVO_DEVICE void pairs(int half, int q, uint32_t (&out)[4]) const {
    const unsigned char* const scales = tile + Kind::kCodeBytes + Kind::kHighBytes;
    const CodeScale by =
        code_scale<Kind>(scales, scales + Kind::kLayout.span_bytes, lane / 4 + 8 * half, q, coarse);
    float codes[8];
    if constexpr (Kind::kLowBits == 8) {
      codes_of_8<Kind>(words[half * 4 + q * 2], words[half * 4 + q * 2 + 1], codes);
    } else if constexpr (Kind::kType == DType::kMXFP4) {
      codes_of_e2m1(words[half * 2 + q], codes);
    } else {
      const int word = half * 2 + q;
      codes_of_4<Kind::kHighBits>(words[word], high[Kind::kHighBits == 2 ? half : 0],
                                  Kind::kHighBits == 2 ? q * 2 : word, codes);
    }
#pragma unroll
    for (int i = 0; i < 8; i += 2) {
      out[i / 2] =
          pack2<T>(value_of<Kind>(codes[i], by, i / 4), value_of<Kind>(codes[i + 1], by, i / 4));
    }
  }
  // The left sides of the two products of 16 along K in the 32 values q.
  OCTAVO_DEVICE void left_sides(int q, uint32_t (&w)[2][4]) const {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      uint32_t four[4];
      pairs(half, q, four);
#pragma unroll
      for (int i = 0; i < 4; i++) w[i / 2][i % 2 * 2 + half] = four[i];
    }
  }

  // All to rows of 64 values of T, in SharedRows<8>'s order, the tile's first at `row0`.
  OCTAVO_DEVICE void spread(unsigned char* rows, int row0) const {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int half = i / 2, q = i % 2;
      uint32_t four[4];
      pairs(half, q, four);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const int offset = SharedRows<8>::offset(row0 + lane / 4 + 8 * half, q * 4 + j);
        *reinterpret_cast<uint32_t*>(rows + offset + lane % 4 * 4) = four[j];
      }
    }
  }
};

// One value of a matrix, as float32.
template <class Kind>
OCTAVO_DEVICE float packed_value(const unsigned char* matrix, const PackedPlanes& planes,
                                 int64_t row, int64_t k) {
  const int in_row = static_cast<int>(row % kTileRows), in_k = static_cast<int>(k % kTileK);
  const int64_t tile = k / kTileK, record = k >> planes.layout.span_shift;
  const CodePlace place = code_place(planes.layout, in_row, in_k);
  uint32_t code = matrix[planes.codes_before(row) + tile * Kind::kCodeBytes + place.byte];
  if constexpr (Kind::kLowBits == 4) code = code >> place.shift & 15u;
  if constexpr (Kind::kHighBits > 0) {
    const uint32_t high = matrix[planes.high_at() + planes.high_before(row) +
                                 tile * Kind::kHighBytes + place.high_bit / 8];
    code |= (high >> place.high_bit % 8 & ((1u << Kind::kHighBits) - 1)) << 4;
  }
  const unsigned char* const at = matrix + planes.scales_at() + planes.scales_before(row) +
                                  record * planes.layout.record_bytes();
  const int64_t in_span = k % (int64_t{1} << planes.layout.span_shift) / kTileK;
  const unsigned char* const step =
      at + planes.layout.span_bytes + in_span * planes.layout.step_bytes;
  const CodeScale by =
      code_scale<Kind>(at, step, in_row, in_k / 32, is_coarse<Kind>(planes.layout));
  float value = whole_number(code);
  if constexpr (Kind::kType == DType::kMXFP4) {
    float codes[8];
    codes_of_e2m1(code, codes);
    value = codes[0];
  } else if constexpr (is_fp8(Kind::kType)) {
    value = widen_f8(code);
  }
  return value_of<Kind>(value, by, in_k % 32 / 16);
}

}  // namespace octavo::device
