// How weights of few bits lie in a device's memory. Tiles of 16 rows times 64 values of K, what a
// warp multiplies in a step, stand one behind the other, those of 16 rows first; rows and values
// past the last are zeros. A tile has codes in the order in which lanes multiply them: lane 4g + t
// the values 16s + 2t, + 1, + 8, + 9 of rows g and g + 8, s = 0 … 3. In three planes, each from a
// multiple of 16 bytes:
//
//   codes   of 4 bits (or the lower 4): 16 bytes a lane, four words: two of row g, of values below
//           32 and above, then two of row g + 8; a word is two s of four codes, the first lowest.
//           Of 8 bits: twice 16 bytes a lane, all lanes' row g first; a word is one s.
//   high    of 5 bits: a word a lane, bit 4i + w of the i-th code of word w; of 6 bits: two words,
//           of row g and g + 8, bits 4i, 4i + 1 of the i-th code of its first word, 4i + 2 and
//           4i + 3 of its second
//   scales  of 16 rows, one record behind the other, each for `span` values of K:
//           Q4_K, Q5_K  256: float16 [16][d, dmin], then for each 64 bytes [16][scale, min, …]
//           Q6_K        256: float16 d[16], then for each 64 bytes scales[16][4], 128 added
//           MXFP4       64: bytes [16][2], the exponents
//           G32, G128   64 or 128: float32 scales [2 or 1][16], then of INT4 and INT8 bytes
//                       zeros[2 or 1][16], less the type's offset, 128 added
//
// A weight is what it would be in the activations' type: dequantise_row's float32 (base/quants.h),
// rounded to nearest even. So products have the bits that they have with the matrix widened at
// load, and no others.
#pragma once

#include <vector>

#include "base/dtype.h"
#include "base/tensor.h"

namespace octavo::device {

constexpr int kTileRows = 16, kTileK = 64;

struct PackedLayout {
  int32_t low_bits = 0;    // 4 or 8; 0 = the type does not stay packed so
  int32_t high_bits = 0;   // 0, 1 or 2
  int32_t span_shift = 6;  // 2^this values share a record
  int32_t span_bytes = 0;  // of it, for all of them
  int32_t step_bytes = 0;  // then for each 64

  OCTAVO_HD constexpr int64_t code_bytes() const { return 128 * low_bits; }   // of a tile
  OCTAVO_HD constexpr int64_t high_bytes() const { return 128 * high_bits; }  // of a tile
  OCTAVO_HD constexpr int64_t record_bytes() const {
    return span_bytes + (int64_t{step_bytes} << (span_shift - 6));
  }
};

OCTAVO_HD static constexpr PackedLayout packed_layout(DType t) {
  switch (t) {
    case DType::kQ4_K:
      return {4, 0, 8, 64, 64};
    case DType::kQ5_K:
      return {4, 1, 8, 64, 64};
    case DType::kQ6_K:
      return {4, 2, 8, 32, 64};
    case DType::kMXFP4:
      return {4, 0, 6, 0, 32};
    case DType::kINT4_G32:
      return {4, 0, 6, 0, 160};
    case DType::kINT4_G128:
      return {4, 0, 7, 80, 0};
    case DType::kINT8_G32:
      return {8, 0, 6, 0, 160};
    case DType::kINT8_G128:
      return {8, 0, 7, 80, 0};
    case DType::kFP8_G32:
      return {8, 0, 6, 0, 128};
    case DType::kFP8_G128:
      return {8, 0, 7, 64, 0};
    default:
      return {};
  }
}
OCTAVO_HD static constexpr bool has_tiles(DType t) { return packed_layout(t).low_bits > 0; }

// Sizes of a matrix' planes, and what its rows [row, …), a multiple of 16, have before them.
struct PackedPlanes {
  PackedLayout layout;
  int64_t rows, k_tiles, records;

  OCTAVO_HD constexpr PackedPlanes(DType t, int64_t num_rows, int64_t cols)
      : layout(packed_layout(t)),
        rows(num_rows),
        k_tiles((cols + kTileK - 1) / kTileK),
        records((cols + (int64_t{1} << layout.span_shift) - 1) >> layout.span_shift) {}
  OCTAVO_HD constexpr int64_t row_tiles() const { return (rows + kTileRows - 1) / kTileRows; }
  OCTAVO_HD constexpr int64_t codes_before(int64_t row) const {
    return row / kTileRows * k_tiles * layout.code_bytes();
  }
  OCTAVO_HD constexpr int64_t high_before(int64_t row) const {
    return row / kTileRows * k_tiles * layout.high_bytes();
  }
  OCTAVO_HD constexpr int64_t scales_before(int64_t row) const {
    return row / kTileRows * records * layout.record_bytes();
  }
  // Where planes begin.
  OCTAVO_HD constexpr int64_t high_at() const { return codes_before(row_tiles() * kTileRows); }
  OCTAVO_HD constexpr int64_t scales_at() const {
    return high_at() + high_before(row_tiles() * kTileRows);
  }
  OCTAVO_HD constexpr int64_t bytes() const {
    return scales_at() + scales_before(row_tiles() * kTileRows);
  }
};

// Where the code of a value of a tile is: a byte of the codes' plane and bits to shift it by; of
// the high bits' plane a bit of the tile.
struct CodePlace {
  int32_t byte, shift, high_bit;
};
OCTAVO_HD static constexpr CodePlace code_place(const PackedLayout& layout, int row, int k) {
  const int g = row % 8, half = row / 8, s = k / 16, t = k % 8 / 2;
  const int lane = 4 * g + t, i = k % 16 / 8 * 2 + k % 2;  // of the four of s
  if (layout.low_bits == 8) return {half * 512 + lane * 16 + s * 4 + i, 0, 0};
  const int word = 2 * half + s / 2, code = s % 2 * 4 + i;
  const int high = layout.high_bits == 1 ? lane * 32 + 4 * code + word
                                         : (lane * 2 + half) * 32 + 4 * code + s / 2 * 2;
  return {lane * 16 + word * 4 + code / 2, code % 2 * 4, high};
}

// The planes of some rows.
struct PackedRows {
  std::vector<unsigned char> codes, high, scales;
};
// `rows` stored rows of `cols` values.
void pack_rows(DType t, const char* stored, int64_t rows, int64_t cols, PackedRows* out);

}  // namespace octavo::device
