#include "kernels/packed_layout.h"

#include <array>
#include <cstring>

#include "base/quants.h"

namespace octavo::device {
namespace {

// What a block's codes have in common, to a record of its row's tile.
void put_scales(DType t, const PackedLayout& layout, const QuantBlock& b, const char* stored,
                int64_t block, int64_t row, unsigned char* records) {
  const int64_t blocks =
      (int64_t{1} << layout.span_shift) / block_values(t);  // of a record: 1 or 2
  unsigned char* const to = records + block / (blocks > 1 ? 2 : 1) * layout.record_bytes();
  const int64_t half = blocks > 1 ? block % 2 : 0;
  const auto biased = [](int value) { return static_cast<unsigned char>(value + 128); };
  if (t == DType::kMXFP4) {
    to[row * 2 + half] = static_cast<unsigned char>(stored[0]);
  } else if (quant_format(t).is_wide) {
    std::memcpy(to + (half * kTileRows + row) * 4, &b.wide, 4);
    const int64_t zeros = (blocks > 1 ? 2 : 1) * kTileRows * 4;
    if (quant_format(t).has_min) to[zeros + half * kTileRows + row] = biased(b.scales[0]);
  } else if (t == DType::kQ6_K) {
    std::memcpy(to + row * 2, &b.d, 2);
    for (int g = 0; g < 16; g++) to[32 + g / 4 * 64 + row * 4 + g % 4] = biased(b.scales[g]);
  } else {
    std::memcpy(to + row * 4, &b.d, 2);
    std::memcpy(to + row * 4 + 2, &b.dmin, 2);
    for (int g = 0; g < 8; g++) {
      unsigned char* const at = to + 64 + g / 2 * 64 + row * 4 + g % 2 * 2;
      at[0] = static_cast<unsigned char>(b.scales[g]);
      at[1] = b.mins[g];
    }
  }
}

using Places = std::array<CodePlace, kTileRows * kTileK>;
Places places_of(const PackedLayout& layout) {
  Places out;
  for (int i = 0; i < kTileRows * kTileK; i++) {
    out[static_cast<size_t>(i)] = code_place(layout, i / kTileK, i % kTileK);
  }
  return out;
}

}  // namespace

void pack_rows(DType t, const char* stored, int64_t rows, int64_t cols, PackedRows* out) {
  const PackedPlanes planes(t, rows, cols);
  const PackedLayout& layout = planes.layout;
  out->codes.assign(static_cast<size_t>(planes.high_at()), 0);
  out->high.assign(static_cast<size_t>(planes.scales_at() - planes.high_at()), 0);
  out->scales.assign(static_cast<size_t>(planes.bytes() - planes.scales_at()), 0);
  const Places places = places_of(layout);
  const int64_t values = block_values(t), blocks = cols / values;
  QuantBlock b;
  for (int64_t row = 0; row < rows; row++) {
    unsigned char* const codes = out->codes.data() + planes.codes_before(row);
    unsigned char* const high = out->high.data() + planes.high_before(row);
    unsigned char* const scales = out->scales.data() + planes.scales_before(row);
    const CodePlace* const of_row = &places[static_cast<size_t>(row % kTileRows * kTileK)];
    for (int64_t block = 0; block < blocks; block++, stored += block_bytes(t)) {
      split_block(t, stored, &b);
      put_scales(t, layout, b, stored, block, row % kTileRows, scales);
      for (int64_t i = 0; i < values; i++) {
        const int64_t k = block * values + i, tile = k / kTileK;
        const CodePlace& at = of_row[k % kTileK];
        const uint8_t code = b.codes[i];
        const int low = layout.low_bits == 8 ? code : code & 15;
        codes[tile * layout.code_bytes() + at.byte] |= static_cast<unsigned char>(low << at.shift);
        if (layout.high_bits == 0) continue;
        const int bits = code >> 4 << at.high_bit % 8;  // two stand at an even place: in one byte
        high[tile * layout.high_bytes() + at.high_bit / 8] |= static_cast<unsigned char>(bits);
      }
    }
  }
}

}  // namespace octavo::device
