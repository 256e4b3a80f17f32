#include "base/whole_blocks.h"

#include <cstring>

#include "base/grids.h"
#include "base/half.h"

namespace octavo {
namespace {

uint32_t load_u16(const uint8_t* p) {
  uint16_t v;
  std::memcpy(&v, p, 2);
  return v;
}
uint32_t load_u32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}
float load_half(const uint8_t* p) { return half_to_float(static_cast<uint16_t>(load_u16(p))); }

// Eight magnitudes and the signs of their values; none is 0, so no byte carries into the next.
uint64_t with_signs(const Grids& g, uint64_t magnitudes, uint32_t signs) {
  const uint64_t negative = g.negative[signs];
  return (magnitudes ^ negative) + (negative & 0x0101010101010101u);
}
// Of eight signs seven are stored: the number of negative ones is even.
uint32_t eight_signs(uint32_t seven) {
  return seven | static_cast<uint32_t>(__builtin_parity(seven)) << 7;
}
void put(Values32* out, int quarter, uint64_t values) {
  std::memcpy(out->values + 8 * quarter, &values, 8);
}
uint64_t two_points(const uint32_t* grid, uint32_t first, uint32_t second) {
  return grid[first] | static_cast<uint64_t>(grid[second]) << 32;
}

// d · (2s + 1) · unit, by halves a half byte each.
void set_scales(float d, float unit, uint32_t scales, Values32* out) {
  for (int h = 0; h < 2; h++) {
    out->scale[h] = d * unit * static_cast<float>(2 * (scales >> (4 * h) & 15) + 1);
  }
}

// float16 d; of each group four bytes of points, then four times seven signs and a scale.
void iq2_xxs(const uint8_t* p, int group, Values32* out) {
  const Grids& g = grids();
  const uint8_t* q = p + 2 + 8 * group;
  const uint32_t rest = load_u32(q + 4);
  for (int i = 0; i < 4; i++) {
    put(out, i, with_signs(g, g.iq2_xxs[q[i]], eight_signs(rest >> (7 * i) & 127)));
  }
  set_scales(load_half(p), 0.125f, rest >> 28, out);
}

// float16 d; points of nine bits with seven signs above; then the scales.
void iq2_xs(const uint8_t* p, int group, Values32* out) {
  const Grids& g = grids();
  for (int i = 0; i < 4; i++) {
    const uint32_t q = load_u16(p + 2 + 8 * group + 2 * i);
    put(out, i, with_signs(g, g.iq2_xs[q & 511], eight_signs(q >> 9)));
  }
  set_scales(load_half(p), 0.125f, p[66 + group], out);
}

// float16 d; points' low bytes, signs, points' two high bits, scales.
void iq2_s(const uint8_t* p, int group, Values32* out) {
  const Grids& g = grids();
  const uint8_t *q = p + 2 + 4 * group, *signs = q + 32;
  const uint32_t high = p[66 + group];
  for (int i = 0; i < 4; i++) {
    const uint32_t point = q[i] | (high >> (2 * i) & 3) << 8;
    put(out, i, with_signs(g, g.iq2_s[point], signs[i]));
  }
  set_scales(load_half(p), 0.125f, p[74 + group], out);
}

// float16 d; of all groups eight points, then of each four times seven signs and a scale.
void iq3_xxs(const uint8_t* p, int group, Values32* out) {
  const Grids& g = grids();
  const uint8_t* q = p + 2 + 8 * group;
  const uint32_t rest = load_u32(p + 66 + 4 * group);
  for (int i = 0; i < 4; i++) {
    const uint64_t magnitudes = two_points(g.iq3_xxs, q[2 * i], q[2 * i + 1]);
    put(out, i, with_signs(g, magnitudes, eight_signs(rest >> (7 * i) & 127)));
  }
  set_scales(load_half(p), 0.25f, rest >> 28, out);
}

// float16 d; points' low bytes, their ninth bits, signs, scales.
void iq3_s(const uint8_t* p, int group, Values32* out) {
  const Grids& g = grids();
  const uint8_t *q = p + 2 + 8 * group, *signs = p + 74 + 4 * group;
  const uint32_t high = p[66 + group];
  for (int i = 0; i < 4; i++) {
    const uint32_t first = q[2 * i] | (high >> (2 * i) & 1) << 8;
    const uint32_t second = q[2 * i + 1] | (high >> (2 * i + 1) & 1) << 8;
    put(out, i, with_signs(g, two_points(g.iq3_s, first, second), signs[i]));
  }
  set_scales(load_half(p), 1.0f, p[106 + group / 2] >> (4 * (group % 2)), out);
}

// float16 d; points' low bytes; of each group four times three high bits, a scale, a shift.
void iq1_s(const uint8_t* p, int group, Values32* out) {
  const Grids& g = grids();
  const uint8_t* q = p + 2 + 4 * group;
  const uint32_t high = load_u16(p + 34 + 2 * group);
  for (int i = 0; i < 4; i++) {
    put(out, i, g.iq1[high >> 15][q[i] | (high >> (3 * i) & 7) << 8]);
  }
  set_scales(load_half(p), 0.125f, high >> 12 & 7, out);
}

// Points' low bytes; of each two their three high bits and shifts; then sixteen scales of three
// bits, four in each of four words whose highest bits make up the float16 d.
void iq1_m(const uint8_t* p, int group, Values32* out) {
  const Grids& g = grids();
  const uint8_t *q = p + 4 * group, *high = p + 32 + 2 * group, *words = p + 48;
  for (int i = 0; i < 4; i++) {
    const uint32_t bits = high[i / 2] >> (4 * (i % 2)) & 15;
    put(out, i, g.iq1[bits >> 3][q[i] | (bits & 7) << 8]);
  }
  uint32_t d = 0;
  for (int i = 0; i < 4; i++) d |= load_u16(words + 2 * i) >> 12 << (4 * i);
  const uint32_t scales = load_u16(words + 2 * (group / 2)) >> (6 * (group % 2));
  set_scales(half_to_float(static_cast<uint16_t>(d)), 0.125f, (scales & 7) | (scales >> 3 & 7) << 4,
             out);
}

// A byte holds five digits to base 3 as a fraction: times 3 the next one stands above it. Digit n
// of each of `count` bytes.
void digits_of(const uint8_t* p, int count, int n, int8_t* out) {
  constexpr uint8_t kPowers[] = {1, 3, 9, 27, 81};
  for (int i = 0; i < count; i++) {
    const uint8_t rest = static_cast<uint8_t>(p[i] * kPowers[n]);
    out[i] = static_cast<int8_t>((rest * 3 >> 8) - 1);
  }
}

// 32 bytes with the first digits of 32 values, then the second …; sixteen bytes likewise; four with
// four digits; float16 d.
void tq1_0(const uint8_t* p, int group, Values32* out) {
  if (group < 5) {
    digits_of(p, 32, group, out->values);
  } else if (group < 7) {
    digits_of(p + 32, 16, 2 * group - 10, out->values);
    digits_of(p + 32, 16, 2 * group - 9, out->values + 16);
  } else {
    digits_of(p + 32, 16, 4, out->values);
    for (int n = 0; n < 4; n++) digits_of(p + 48, 4, n, out->values + 16 + 4 * n);
  }
  out->scale[0] = load_half(p + 52);
}

// Two bits less one: 32 bytes hold 128 values, float16 d.
void tq2_0(const uint8_t* p, int group, Values32* out) {
  const uint8_t* q = p + 32 * (group / 4);
  for (int i = 0; i < 32; i++) {
    out->values[i] = static_cast<int8_t>((q[i] >> (2 * (group % 4)) & 3) - 1);
  }
  out->scale[0] = load_half(p + 64);
}

// float16 d, then a bit for each value: −1 or 1.
void q1_0(const uint8_t* p, int group, Values32* out) {
  for (int i = 0; i < 4; i++) {
    const uint64_t positive = grids().negative[p[2 + 4 * group + i]];
    put(out, i, ~positive | (positive & 0x0101010101010101u));
  }
  out->scale[0] = load_half(p);
}

// float16 d, then two bits less one, in order.
void q2_0(const uint8_t* p, int group, Values32* out) {
  const uint8_t* q = p + 2 + 8 * group;
  for (int i = 0; i < 4; i++)
    put(out, i, two_points(grids().pairs_less_one, q[2 * i], q[2 * i + 1]));
  out->scale[0] = load_half(p);
}

}  // namespace

void take_apart(DType t, const void* block, int group, Values32* out) {
  const uint8_t* p = static_cast<const uint8_t*>(block);
  switch (t) {
    case DType::kIQ2_XXS:
      return iq2_xxs(p, group, out);
    case DType::kIQ2_XS:
      return iq2_xs(p, group, out);
    case DType::kIQ2_S:
      return iq2_s(p, group, out);
    case DType::kIQ3_XXS:
      return iq3_xxs(p, group, out);
    case DType::kIQ3_S:
      return iq3_s(p, group, out);
    case DType::kIQ1_S:
      return iq1_s(p, group, out);
    case DType::kIQ1_M:
      return iq1_m(p, group, out);
    case DType::kTQ1_0:
      return tq1_0(p, group, out);
    case DType::kTQ2_0:
      return tq2_0(p, group, out);
    case DType::kQ1_0:
      return q1_0(p, group, out);
    default:
      return q2_0(p, group, out);
  }
}

}  // namespace octavo
