#include "cpu/packed.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"

namespace octavo {
namespace {

// Sixteen rows of one block of 256 or 32 values, taken apart.
struct Slice {
  QuantBlock rows[kPanelRows];
};

// Four codes at a time: shifts stay inside each byte.
void pack_planes(const PackedFormat& f, const Slice& s, int64_t first, uint32_t flip, char* out) {
  uint32_t planes[8 * kPanelRows] = {};
  uint32_t* const high = planes + kPanelRows * f.low_bits;
  for (int64_t c = 0; c < kPanelRows; c++) {
    for (int g = 0; g < 8; g++) {
      uint32_t codes;
      std::memcpy(&codes, s.rows[c].codes + first + 4 * g, 4);
      if (f.low_bits == 8) {
        planes[16 * g + c] = codes ^ flip;
        continue;
      }
      const uint32_t below = codes & (f.low_bits == 4 ? 0x0f0f0f0fu : 0x03030303u);
      if (f.low_bits == 4) planes[16 * (g & 3) + c] |= below << (g < 4 ? 0 : 4);
      if (f.low_bits == 2) planes[16 * (g >> 2) + c] |= below << (2 * (g & 3));
      const uint32_t top = (codes ^ below) >> f.low_bits;
      if (f.high_bits == 1) high[c] |= top << g;
      if (f.high_bits == 2) high[16 * (g >> 2) + c] |= top << (2 * (g & 3));
    }
  }
  std::memcpy(out, planes, static_cast<size_t>(f.block_bytes));
}

void store_u16(char* p, uint16_t v) { std::memcpy(p, &v, 2); }

// What blocks in the span of the slice have in common.
void pack_super(const PackedFormat& f, const Slice& s, char* out) {
  for (int64_t c = 0; c < kPanelRows; c++) {
    const QuantBlock& b = s.rows[c];
    if (f.is_wide) {
      std::memcpy(out + 4 * c, &b.wide, 4);
      if (f.has_min) out[64 + c] = static_cast<char>(b.scales[0]);
    } else {
      store_u16(out + 2 * c, b.d);
      if (f.has_min) store_u16(out + 32 + 2 * c, b.dmin);
    }
  }
}

// Scales of the block whose first group is `group` of the slice.
void pack_scales(DType t, const PackedFormat& f, const Slice& s, int group, char* out) {
  for (int64_t c = 0; c < kPanelRows && f.scale_bytes > 0; c++) {
    const QuantBlock& b = s.rows[c];
    if (!f.is_super && !f.is_wide) {
      store_u16(out + 2 * c, b.d);
      if (f.has_min) store_u16(out + 32 + 2 * c, b.dmin);
      continue;
    }
    for (int g = 0; g < f.groups; g++) {
      const int scale = b.scales[group + g], min = f.has_min ? b.mins[group + g] : 0;
      out[16 * g + c] = static_cast<char>(t == DType::kQ2_K ? scale | min << 4 : scale);
      if (f.has_min && t != DType::kQ2_K) {
        out[16 * (f.groups + g) + c] = static_cast<char>(min);
      }
    }
  }
}

// Pieces of depth, so that what is written stays near while the rows pass.
template <class V, class Place, class Change>
void pack_plain(const Tensor& stored, int64_t index, char* panel, Place place, Change change) {
  constexpr int64_t kPiece = 64;
  const int64_t left = stored.rows - index * kPanelRows, rows = std::min(left, kPanelRows);
  const int64_t size = static_cast<int64_t>(sizeof(V));
  const char* const first =
      static_cast<const char*>(stored.data) + index * kPanelRows * stored.stride_bytes();
  V* const out = reinterpret_cast<V*>(panel);
  for (int64_t k = 0; k < stored.cols; k += kPiece) {
    const int64_t n = std::min(kPiece, stored.cols - k);
    for (int64_t c = 0; c < rows; c++) {
      V values[kPiece];
      std::memcpy(values, first + c * stored.stride_bytes() + k * size,
                  static_cast<size_t>(n * size));
      for (int64_t i = 0; i < n; i++) out[place(k + i, c)] = change(values[i]);
    }
  }
}

int64_t in_order(int64_t k, int64_t c) { return k * kPanelRows + c; }
int64_t in_pairs(int64_t k, int64_t c) { return (k / 2 * kPanelRows + c) * 2 + k % 2; }

// Bits of a BF16 without those of numbers below kLeastBF16.
uint16_t cut_bf16(uint16_t bits) {
  constexpr uint16_t kLeast = (127 - 56) << 7;
  return (bits & 0x7fff) < kLeast ? 0 : bits;
}

}  // namespace

namespace {

// Blocks as they are; rows past the last are zeros, whose scale is 0.
void pack_whole(const Tensor& stored, int64_t index, char* panel) {
  const int64_t bytes = block_bytes(stored.dtype),
                blocks = stored.cols / block_values(stored.dtype);
  const int64_t first = index * kPanelRows, rows = std::min(stored.rows - first, kPanelRows);
  const char* const from = static_cast<const char*>(stored.data) + first * stored.stride_bytes();
  for (int64_t c = 0; c < rows; c++) {
    for (int64_t b = 0; b < blocks; b++) {
      std::memcpy(panel + (b * kPanelRows + c) * bytes, from + (c * blocks + b) * bytes,
                  static_cast<size_t>(bytes));
    }
  }
}

}  // namespace

void pack_panel(const Tensor& stored, int64_t index, const PanelLayout& layout, char* panel) {
  const DType t = stored.dtype;
  if (!is_quantised(t)) {
    const auto as_is = [](auto value) { return value; };
    std::memset(panel, 0, static_cast<size_t>(panel_bytes(t, stored.cols)));
    const bool bf16 = t == DType::kBF16;
    if (bf16 && layout.bf16_pairs) {
      return pack_plain<uint16_t>(stored, index, panel, in_pairs, cut_bf16);
    }
    if (bf16 && layout.cut_bf16) {
      return pack_plain<uint16_t>(stored, index, panel, in_order, cut_bf16);
    }
    return block_bytes(t) == 4 ? pack_plain<uint32_t>(stored, index, panel, in_order, as_is)
                               : pack_plain<uint16_t>(stored, index, panel, in_order, as_is);
  }
  const PackedFormat f = packed_format(t);
  const int64_t values = block_values(t), stride = stored.stride_bytes();
  const char* rows = static_cast<const char*>(stored.data);
  char* const scales = panel + panel_scales_offset(t, stored.cols);
  std::memset(panel, 0, static_cast<size_t>(panel_bytes(t, stored.cols)));
  if (keeps_blocks(t)) return pack_whole(stored, index, panel);
  Slice s;
  std::memset(&s, 0, sizeof(s));
  if (quant_format(t).offset == 128) {  // what stands for 0
    for (QuantBlock& b : s.rows) std::memset(b.codes, 0x80, sizeof(b.codes));
  }
  const uint32_t flip = is_fp8(t) || layout.unsigned_bytes ? 0 : 0x80808080u;
  for (int64_t k = 0; k < stored.cols; k += values) {
    for (int64_t c = 0; c < kPanelRows; c++) {
      const int64_t row = index * kPanelRows + c;
      if (row >= stored.rows) break;
      split_block(t, rows + row * stride + k / values * block_bytes(t), &s.rows[c]);
    }
    for (int64_t i = 0; i < values; i += kPanelBlock) {
      const int64_t block = (k + i) / kPanelBlock;
      pack_planes(f, s, i, flip, panel + block * f.block_bytes);
      char* const at = scales + block_scales_offset(f, block);
      pack_scales(t, f, s, static_cast<int>(i / 32 * f.groups), at);
      if (f.super_bytes > 0 && i == 0) pack_super(f, s, at - f.super_bytes);
    }
  }
}

namespace {

float half_at(const char* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return half_to_float(h);
}

int code_at(const PackedFormat& f, const uint8_t* planes, int64_t c, int k, int flip) {
  const int g = k / 4;
  const int64_t at = 4 * c + k % 4;
  const uint8_t* high = planes + 64 * f.low_bits;
  int code;
  if (f.low_bits == 8) return planes[64 * g + at] ^ flip;
  if (f.low_bits == 4) {
    code = planes[64 * (g & 3) + at] >> (g < 4 ? 0 : 4) & 15;
  } else {
    code = planes[64 * (g >> 2) + at] >> (2 * (g & 3)) & 3;
  }
  if (f.high_bits == 1) code |= (high[at] >> g & 1) << f.low_bits;
  if (f.high_bits == 2) code |= (high[64 * (g >> 2) + at] >> (2 * (g & 3)) & 3) << f.low_bits;
  return code;
}

// scale and min of group g of a block of row c.
void scale_at(DType t, const PackedFormat& f, const char* scales, int64_t block, int64_t c, int g,
              float* scale, float* min) {
  const char* at = scales + block_scales_offset(f, block);
  *min = 0;
  const char* head = scales + span_scales_offset(f, block);
  if (f.is_wide) {
    std::memcpy(scale, head + 4 * c, 4);
    if (t == DType::kNVFP4) *scale = nvfp4_scale(*scale, static_cast<uint8_t>(at[16 * g + c]));
    if (f.has_min) *min = -*scale * static_cast<float>(static_cast<signed char>(head[64 + c]));
    return;
  }
  if (!f.is_super) {
    uint16_t bits;
    std::memcpy(&bits, at + 2 * c, 2);
    *scale = widen_scale(t, bits);
    if (f.has_min) *min = half_at(at + 32 + 2 * c);
    return;
  }
  const float d = half_at(head + 2 * c);
  const int byte = static_cast<signed char>(at[16 * g + c]);
  if (t == DType::kQ2_K) {
    *scale = d * static_cast<float>(byte & 15);
    *min = -half_at(head + 32 + 2 * c) * static_cast<float>(byte >> 4 & 15);
    return;
  }
  *scale = d * static_cast<float>(byte);
  if (f.has_min) {
    *min = -half_at(head + 32 + 2 * c) * static_cast<float>(at[16 * (f.groups + g) + c]);
  }
}

}  // namespace

namespace {

void unpack_plain(DType t, const char* panel, int64_t c, int64_t depth, bool pairs, float* out) {
  for (int64_t k = 0; k < depth; k++) {
    const char* at = panel + (pairs ? in_pairs(k, c) : in_order(k, c)) * block_bytes(t);
    if (t == DType::kF32) {
      std::memcpy(out + k, at, 4);
    } else {
      uint16_t bits;
      std::memcpy(&bits, at, 2);
      out[k] = t == DType::kF16 ? half_to_float(bits) : bf16_to_float(bits);
    }
  }
}

void unpack_whole(DType t, const char* panel, int64_t c, int64_t depth, float* out) {
  const int64_t bytes = block_bytes(t), blocks = depth / block_values(t);
  for (int64_t b = 0; b < blocks; b++, out += block_values(t)) {
    dequantise_row(t, panel + (b * kPanelRows + c) * bytes, block_values(t), out);
  }
}

}  // namespace

void take_panel_apart(DType t, const char* panel, int64_t first, int64_t n, uint32_t flip,
                      char* values, float* scales) {
  const int64_t groups = block_values(t) / 32, bytes = block_bytes(t), num = num_scales(t);
  Values32 some;
  for (int64_t b = first; b < first + n; b++, values += 512, scales += 16 * num) {
    const char* const blocks = panel + b / groups * kPanelRows * bytes;
    for (int64_t c = 0; c < kPanelRows; c++) {
      take_apart(t, blocks + c * bytes, static_cast<int>(b % groups), &some);
      for (int64_t i = 0; i < num; i++) scales[16 * i + c] = some.scale[i];
      for (int64_t g = 0; g < 8; g++) {
        uint32_t four;
        std::memcpy(&four, some.values + 4 * g, 4);
        four ^= flip;
        std::memcpy(values + 64 * g + 4 * c, &four, 4);
      }
    }
  }
}

void unpack_row(const Tensor& packed, int64_t row, const PanelLayout& layout, float* out) {
  const DType t = packed.dtype;
  const char* panel =
      static_cast<const char*>(packed.data) + row / kPanelRows * panel_bytes(t, packed.cols);
  const int64_t c = row % kPanelRows;
  if (!is_quantised(t)) {
    const bool pairs = t == DType::kBF16 && layout.bf16_pairs;
    return unpack_plain(t, panel, c, packed.cols, pairs, out);
  }
  if (keeps_blocks(t)) return unpack_whole(t, panel, c, packed.cols, out);
  const PackedFormat f = packed_format(t);
  const int offset = quant_format(t).offset, flip = is_fp8(t) || layout.unsigned_bytes ? 0 : 0x80;
  const char* scales = panel + panel_scales_offset(t, packed.cols);
  for (int64_t block = 0; block < packed.cols / kPanelBlock; block++) {
    const uint8_t* planes = reinterpret_cast<const uint8_t*>(panel) + block * f.block_bytes;
    for (int g = 0; g < f.groups; g++) {
      float scale, min;
      scale_at(t, f, scales, block, c, g, &scale, &min);
      const int group = 32 / f.groups;
      for (int k = g * group; k < (g + 1) * group; k++) {
        const int code = code_at(f, planes, c, k, flip);
        float value = static_cast<float>(has_table(t) ? table_of(t)[code] : code - offset);
        if (is_fp8(t)) value = e4m3_to_float(static_cast<uint8_t>(code));
        out[block * kPanelBlock + k] = std::fma(value, scale, min);
      }
    }
  }
}

}  // namespace octavo
