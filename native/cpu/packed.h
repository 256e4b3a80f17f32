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
//   of scales[16] as bytes, then mins[16] as bytes if any (Q2_K: both in one byte, min high);
//   wide types: per 32 or 128 values (NVFP4: 64) float32 scale[16], then zeros[16] as bytes, less
//   the offset, if any, or of NVFP4 per block of 32 two groups of scales[16] in E4M3.
// Types that keeps_blocks() lie as they are stored: of each sixteen rows one block, one behind the
// other.
// Rows past the last are zeros.
#pragma once

#include <cstdint>

#include "base/quants.h"
#include "base/tensor.h"
#include "base/whole_blocks.h"

namespace octavo {

constexpr int64_t kPanelRows = 16;    // weight rows = output columns
constexpr int64_t kPanelBlock = 32;   // values
constexpr int64_t kPanelVector = 64;  // bytes

struct PackedFormat {
  int32_t low_bits, high_bits;  // planes; 8 = signed bytes
  int32_t groups;               // scales per block of 32: 1 or 2
  bool has_min, is_super, is_wide;
  int32_t block_bytes;  // of the planes of a block
  int32_t scale_bytes;  // of its scales, without those of several blocks
  int32_t super_bytes;  // of those, which stand in front of
  int32_t span;         // so many blocks
};

static constexpr PackedFormat packed_format(DType t) {
  const QuantFormat f = quant_format(t);
  PackedFormat p = {};
  if (keeps_blocks(t)) {
    p.groups = num_scales(t);
    p.block_bytes = static_cast<int32_t>(kPanelRows * block_bytes(t) / (block_values(t) / 32));
    p.span = 1;
    return p;
  }
  p.low_bits = f.bits == 8 ? 8 : f.bits >= 4 ? 4 : 2;
  p.high_bits = f.bits - p.low_bits;
  p.groups = 32 / f.group;
  p.has_min = f.has_min;
  p.is_super = f.is_super;
  p.is_wide = f.is_wide;
  p.block_bytes = 64 * (p.low_bits + p.high_bits);
  p.span = f.is_super || f.is_wide ? static_cast<int32_t>(block_values(t) / kPanelBlock) : 1;
  const int32_t mins = f.has_min ? 2 : 1;
  if (f.is_wide) {
    p.super_bytes = f.has_min ? 80 : 64;
    p.scale_bytes = t == DType::kNVFP4 ? 32 : 0;
  } else if (f.is_super) {
    p.super_bytes = 32 * mins;
    p.scale_bytes = 16 * p.groups * (t == DType::kQ2_K ? 1 : mins);
  } else {
    p.scale_bytes = 32 * mins;
  }
  return p;
}

static constexpr int64_t panel_scales_offset(DType t, int64_t depth) {
  return depth / kPanelBlock * packed_format(t).block_bytes;
}
// Where what the span of a block has in common starts, and where the scales of the block itself,
// from those of the first one.
static constexpr int64_t span_scales_offset(const PackedFormat& f, int64_t block) {
  return block / f.span * (f.super_bytes + f.span * f.scale_bytes);
}
static constexpr int64_t block_scales_offset(const PackedFormat& f, int64_t block) {
  return span_scales_offset(f, block) + f.super_bytes + block % f.span * f.scale_bytes;
}
static constexpr int64_t panel_bytes(DType t, int64_t depth) {
  if (!is_quantised(t)) return (depth * kPanelRows * block_bytes(t) + 63) / 64 * 64;
  if (keeps_blocks(t)) {
    return (depth / block_values(t) * kPanelRows * block_bytes(t) + 63) / 64 * 64;
  }
  const int64_t scales = span_scales_offset(packed_format(t), depth / kPanelBlock);
  return (panel_scales_offset(t, depth) + scales + 63) / 64 * 64;
}
static constexpr int64_t num_panels(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }

// Bytes of a whole packed matrix [rows, cols].
static constexpr int64_t packed_bytes(DType t, int64_t rows, int64_t cols) {
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

// Blocks [first, first + n) of 32 values of a panel of a type that keeps_blocks(): values with
// `flip` on them as [n][8][16 rows][4], scales as [n][num_scales(t)][16 rows].
void take_panel_apart(DType t, const char* panel, int64_t first, int64_t n, uint32_t flip,
                      char* values, float* scales);

}  // namespace octavo
