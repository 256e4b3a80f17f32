#include "base/quants.h"

#include <cmath>
#include <cstring>

#include "base/half.h"
#include "base/whole_blocks.h"

namespace octavo {
namespace {

uint16_t load_u16(const uint8_t* p) {
  uint16_t v;
  std::memcpy(&v, p, 2);
  return v;
}
uint32_t load_u32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}

// Sixteen bytes: codes 0 to 15 in the low halves, 16 to 31 in the high ones.
void split_nibbles(const uint8_t* q, uint8_t* codes) {
  for (int i = 0; i < 16; i++) {
    codes[i] = q[i] & 15;
    codes[i + 16] = q[i] >> 4;
  }
}

// Types with blocks of 32: float16 scale, float16 min if any, high bits if any, the rest.
void split_small(DType t, const uint8_t* p, QuantBlock* out) {
  const QuantFormat f = quant_format(t);
  out->scales[0] = 1;
  out->mins[0] = f.has_min ? 1 : 0;
  out->d = load_u16(p);
  out->dmin = f.has_min ? load_u16(p + 2) : 0;
  p += f.has_min ? 4 : 2;
  if (f.bits == 8) {
    for (int i = 0; i < 32; i++) out->codes[i] = p[i] ^ 0x80;
    return;
  }
  const uint32_t high = f.bits == 5 ? load_u32(p) : 0;
  split_nibbles(f.bits == 5 ? p + 4 : p, out->codes);
  for (int i = 0; i < 32; i++) out->codes[i] |= static_cast<uint8_t>((high >> i & 1) << 4);
}

// A power of two in a byte, 2^(e − 128): as bfloat16 it is the exponent less one, or below that a
// subnormal.
void split_mxfp4(const uint8_t* p, QuantBlock* out) {
  out->scales[0] = 1;
  out->mins[0] = 0;
  out->d = static_cast<uint16_t>(p[0] >= 2 ? (p[0] - 1) << 7 : 0x20 << p[0]);
  out->dmin = 0;
  split_nibbles(p + 1, out->codes);
}

// Eight scales and eight mins of six bits in twelve bytes.
void split_k_scales(const uint8_t* q, QuantBlock* out) {
  for (int j = 0; j < 4; j++) {
    out->scales[j] = static_cast<int8_t>(q[j] & 63);
    out->mins[j] = q[j + 4] & 63;
    out->scales[j + 4] = static_cast<int8_t>((q[j + 8] & 15) | (q[j] >> 6) << 4);
    out->mins[j + 4] = static_cast<uint8_t>((q[j + 8] >> 4) | (q[j + 4] >> 6) << 4);
  }
}

void split_q2_k(const uint8_t* p, QuantBlock* out) {
  for (int g = 0; g < 16; g++) {
    out->scales[g] = static_cast<int8_t>(p[g] & 15);
    out->mins[g] = p[g] >> 4;
  }
  const uint8_t* q = p + 16;
  for (int i = 0; i < 256; i++) {
    out->codes[i] = q[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3;
  }
  out->d = load_u16(p + 80);
  out->dmin = load_u16(p + 82);
}

void split_q3_k(const uint8_t* p, QuantBlock* out) {
  const uint8_t *high = p, *q = p + 32, *s = p + 96;
  for (int i = 0; i < 256; i++) {
    const int low = q[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3;
    const int bit = high[i % 32] >> (i / 32) & 1;
    out->codes[i] = static_cast<uint8_t>(low | bit << 2);
  }
  for (int g = 0; g < 16; g++) {
    const int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4;
    const int top = s[8 + g % 4] >> (2 * (g / 4)) & 3;
    out->scales[g] = static_cast<int8_t>((low | top << 4) - 32);
  }
  out->d = load_u16(p + 108);
}

// Q4_K, and with `high` Q5_K.
void split_q45_k(const uint8_t* p, const uint8_t* high, const uint8_t* q, QuantBlock* out) {
  out->d = load_u16(p);
  out->dmin = load_u16(p + 2);
  split_k_scales(p + 4, out);
  for (int i = 0; i < 256; i++) {
    const int byte = q[i / 64 * 32 + i % 32];
    const int low = i % 64 < 32 ? byte & 15 : byte >> 4;
    const int bit = high != nullptr ? high[i % 32] >> (i / 32) & 1 : 0;
    out->codes[i] = static_cast<uint8_t>(low | bit << 4);
  }
}

void split_q6_k(const uint8_t* p, QuantBlock* out) {
  const uint8_t *ql = p, *qh = p + 128;
  for (int i = 0; i < 256; i++) {
    const int half = i / 128, quarter = i / 32 % 4, l = i % 32;
    const int byte = ql[half * 64 + quarter % 2 * 32 + l];
    const int low = quarter < 2 ? byte & 15 : byte >> 4;
    const int top = qh[half * 32 + l] >> (2 * quarter) & 3;
    out->codes[i] = static_cast<uint8_t>(low | top << 4);
  }
  std::memcpy(out->scales, p + 192, 16);
  out->d = load_u16(p + 208);
}

void split_iq4_xs(const uint8_t* p, QuantBlock* out) {
  out->d = load_u16(p);
  const int high = load_u16(p + 2);
  for (int g = 0; g < 8; g++) {
    const int low = p[4 + g / 2] >> (4 * (g % 2)) & 15;
    out->scales[g] = static_cast<int8_t>((low | (high >> (2 * g) & 3) << 4) - 32);
    split_nibbles(p + 8 + 16 * g, out->codes + 32 * g);
  }
}

// Codes of a wide block behind its scale, and the zero where it has one.
void split_wide(DType t, const uint8_t* p, QuantBlock* out) {
  std::memcpy(&out->wide, p, 4);
  p += 4;
  if (t == DType::kNVFP4) {
    std::memcpy(out->scales, p, 4);
    for (int g = 0; g < 4; g++) {
      for (int i = 0; i < 8; i++) {
        const uint8_t byte = p[4 + 8 * g + i];
        out->codes[16 * g + i] = byte & 15;
        out->codes[16 * g + 8 + i] = byte >> 4;
      }
    }
    return;
  }
  const QuantFormat f = quant_format(t);
  const size_t values = static_cast<size_t>(block_values(t));
  out->scales[0] = f.has_min ? static_cast<int8_t>(*p++ - f.offset) : 0;
  if (f.bits == 8) {
    std::memcpy(out->codes, p, values);
    return;
  }
  for (size_t i = 0; i < values; i++) out->codes[i] = p[i / 2] >> (4 * (i % 2)) & 15;
}

}  // namespace

float nvfp4_scale(float tensor, uint8_t group) {
  const float scale = 0.5f * e4m3_to_float(group);
  return tensor < 0 ? scale / -tensor : scale * tensor;
}

float widen_scale(DType t, uint16_t d) {
  return t == DType::kMXFP4 ? bf16_to_float(d) : half_to_float(d);
}

void split_block(DType t, const void* block, QuantBlock* out) {
  const uint8_t* p = static_cast<const uint8_t*>(block);
  switch (t) {
    case DType::kQ2_K:
      return split_q2_k(p, out);
    case DType::kQ3_K:
      return split_q3_k(p, out);
    case DType::kQ4_K:
      return split_q45_k(p, nullptr, p + 16, out);
    case DType::kQ5_K:
      return split_q45_k(p, p + 16, p + 48, out);
    case DType::kQ6_K:
      return split_q6_k(p, out);
    case DType::kIQ4_XS:
      return split_iq4_xs(p, out);
    case DType::kMXFP4:
      return split_mxfp4(p, out);
    default:
      return quant_format(t).is_wide ? split_wide(t, p, out) : split_small(t, p, out);
  }
}

namespace {

void dequantise_plain(DType t, const uint8_t* p, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i++) {
    if (t == DType::kF32) std::memcpy(out + i, p + 4 * i, 4);
    if (t == DType::kF16) out[i] = half_to_float(load_u16(p + 2 * i));
    if (t == DType::kBF16) out[i] = bf16_to_float(load_u16(p + 2 * i));
  }
}

void dequantise_whole(DType t, const uint8_t* p, float* out) {
  const int each = 32 / num_scales(t);
  Values32 some;
  for (int group = 0; group < block_values(t) / 32; group++) {
    take_apart(t, p, group, &some);
    for (int i = 0; i < 32; i++) *out++ = some.scale[i / each] * static_cast<float>(some.values[i]);
  }
}

void dequantise_wide(DType t, const QuantBlock& b, float* out) {
  const QuantFormat f = quant_format(t);
  const int64_t values = block_values(t);
  if (is_fp8(t)) {
    for (int64_t i = 0; i < values; i++) out[i] = b.wide * e4m3_to_float(b.codes[i]);
  } else if (t == DType::kNVFP4) {
    for (int64_t i = 0; i < values; i++) {
      const float scale = nvfp4_scale(b.wide, static_cast<uint8_t>(b.scales[i / 16]));
      out[i] = scale * static_cast<float>(kMxfp4Values[b.codes[i]]);
    }
  } else {
    const int zero = f.offset + b.scales[0];
    for (int64_t i = 0; i < values; i++) out[i] = b.wide * static_cast<float>(b.codes[i] - zero);
  }
}

void dequantise_ggml(DType t, const QuantBlock& b, float* out) {
  const QuantFormat f = quant_format(t);
  const float d = widen_scale(t, b.d);
  const float dmin = f.has_min ? half_to_float(b.dmin) * (f.is_super ? -1.0f : 1.0f) : 0.0f;
  for (int64_t i = 0; i < block_values(t); i++) {
    const int64_t g = i / f.group;
    const int code = has_table(t) ? table_of(t)[b.codes[i]] : b.codes[i] - f.offset;
    const float scaled = d * static_cast<float>(b.scales[g]) * static_cast<float>(code);
    out[i] = f.has_min ? scaled + dmin * static_cast<float>(b.mins[g]) : scaled;
  }
}

}  // namespace

void dequantise_row(DType t, const void* row, int64_t n, float* out) {
  const uint8_t* p = static_cast<const uint8_t*>(row);
  if (!is_quantised(t)) return dequantise_plain(t, p, n, out);
  const int64_t values = block_values(t);
  QuantBlock b;
  for (int64_t k = 0; k < n; k += values, p += block_bytes(t)) {
    if (keeps_blocks(t)) {
      dequantise_whole(t, p, out + k);
      continue;
    }
    split_block(t, p, &b);
    quant_format(t).is_wide ? dequantise_wide(t, b, out + k) : dequantise_ggml(t, b, out + k);
  }
}

namespace {

void quantise_q8_0(const float* x, uint8_t* out) {
  float largest = 0;
  for (int i = 0; i < 32; i++) largest = std::fmax(largest, std::fabs(x[i]));
  const float d = largest / 127, inverse = d > 0 ? 1 / d : 0;
  const uint16_t half = float_to_half(d);
  std::memcpy(out, &half, 2);
  for (int i = 0; i < 32; i++) {
    out[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::round(x[i] * inverse)));
  }
}

// The value of the largest magnitude becomes −8.
void quantise_q4_0(const float* x, uint8_t* out) {
  float extreme = 0;
  for (int i = 0; i < 32; i++) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  const float d = extreme / -8, inverse = d != 0 ? 1 / d : 0;
  const uint16_t half = float_to_half(d);
  std::memcpy(out, &half, 2);
  const auto code = [&](float v) {
    const int q = static_cast<int>(static_cast<int8_t>(v * inverse + 8.5f));
    return q > 15 ? 15 : q;
  };
  for (int i = 0; i < 16; i++) {
    out[2 + i] = static_cast<uint8_t>(code(x[i]) | code(x[i + 16]) << 4);
  }
}

}  // namespace

void quantise_row(DType t, const float* values, int64_t n, void* out) {
  uint8_t* p = static_cast<uint8_t*>(out);
  for (int64_t k = 0; k < n; k += 32, p += block_bytes(t)) {
    t == DType::kQ8_0 ? quantise_q8_0(values + k, p) : quantise_q4_0(values + k, p);
  }
}

}  // namespace octavo
