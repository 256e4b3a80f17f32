// Weights in the order that the CPU's matmuls read them. Sixteen weight rows make a panel, one
// behind the other in memory, so that a thread reads one stream. Of plain types a panel is
// [depth][16] values, or of BF16 in pairs [depth / 2][16][2]. Of quantised ones it is cut into
// blocks of 32 values of each row; a block has planes of 64-byte vectors:
//
//   a vector of codes is [16 weight rows][4 values]: what a dot product of bytes adds to 16 sums.
//   8 bits: vector g holds values 4g .. 4g+3, signed, or with 128 added where dot products take
//   unsigned ones.
//   4 bits: vector j of 4 holds values 4j .. in its low halves, 16 + 4j .. in its high halves.
//   2 bits: vector h of 2 holds values 16h + 4f .. in bits 2f, 2f+1.
//   1 bit:  bit g of the one vector belongs to values 4g ..
//   Codes of 3, 5 and 6 bits are a plane of the low 2 or 4 bits and one of what is above.
//
// Behind the planes of all blocks come the scales of all blocks, each for sixteen rows:
//   small types: float16 (MXFP4: bfloat16) scale[16], float16 min[16] if any, per block of 32;
//   K types: per 256 values float16 d[16] (and dmin[16]), then per block of 32: one or two groups
//   of scales[16] as bytes, then mins[16] as bytes if any (Q2_K: both in one byte, min high).
// Rows past the last are zeros.
#pragma once

#include <cstdint>

#include "base/quants.h"
#include "base/tensor.h"

namespace octavo {

constexpr int64_t kPanelRows = 16;    // weight rows = output columns
constexpr int64_t kPanelBlock = 32;   // values
constexpr int64_t kPanelVector = 64;  // bytes

struct PackedFormat {
  int32_t low_bits, high_bits;  // planes; 8 = signed bytes
  int32_t groups;               // scales per block of 32: 1 or 2
  bool has_min, is_super;
  int32_t block_bytes;  // of the planes of a block
  int32_t scale_bytes;  // of its scales, without those of 256
  int32_t super_bytes;  // of those
};

constexpr PackedFormat packed_format(DType t) {
  const QuantFormat f = quant_format(t);
  const int32_t low = f.bits == 8 ? 8 : f.bits >= 4 ? 4 : 2;
  const int32_t high = f.bits - low;
  const int32_t groups = 32 / f.group;
  const int32_t mins = f.has_min ? 2 : 1;
  const int32_t bytes = t == DType::kQ2_K ? 1 : mins;
  return {low,
          high,
          groups,
          f.has_min,
          f.is_super,
          64 * (low + high),
          f.is_super ? 16 * groups * bytes : 32 * mins,
          f.is_super ? 32 * mins : 0};
}

constexpr int64_t panel_scales_offset(DType t, int64_t depth) {
  return depth / kPanelBlock * packed_format(t).block_bytes;
}
// Where the scales of a block start, from those of the first one.
constexpr int64_t block_scales_offset(const PackedFormat& f, int64_t block) {
  if (!f.is_super) return block * f.scale_bytes;
  return block / 8 * (f.super_bytes + 8 * f.scale_bytes) + f.super_bytes +
         block % 8 * f.scale_bytes;
}
constexpr int64_t panel_bytes(DType t, int64_t depth) {
  if (!is_quantised(t)) return (depth * kPanelRows * block_bytes(t) + 63) / 64 * 64;
  const PackedFormat f = packed_format(t);
  const int64_t blocks = depth / kPanelBlock;
  const int64_t scales =
      f.is_super ? blocks / 8 * (f.super_bytes + 8 * f.scale_bytes) : blocks * f.scale_bytes;
  return (panel_scales_offset(t, depth) + scales + 63) / 64 * 64;
}
constexpr int64_t num_panels(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }

// Bytes of a whole packed matrix [rows, cols].
constexpr int64_t packed_bytes(DType t, int64_t rows, int64_t cols) {
  return num_panels(rows) * panel_bytes(t, cols);
}

// What is done otherwise in panels of some types, for the kernels that read them.
struct PanelLayout {
  bool cut_bf16 = false;        // BF16 without what products of BF16 count as 0 (kLeastBF16)
  bool bf16_pairs = false;      // and in pairs
  bool unsigned_bytes = false;  // codes of 8 bits have 128 added
};

// Panel `index` of a stored matrix into `panel`, panel_bytes() long.
void pack_panel(const Tensor& stored, int64_t index, const PanelLayout& layout, char* panel);

// Row `row` of a packed matrix as F32; of quantised types scale · code exactly, then the min,
// rounded once.
void unpack_row(const Tensor& packed, int64_t row, const PanelLayout& layout, float* out);

}  // namespace octavo
