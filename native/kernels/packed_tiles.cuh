// What a matrix multiply reads of weights in tiles (packed_layout.h): which a block takes, and how
// they come to shared memory.
#pragma once

#include "kernels/launch.cuh"
#include "kernels/matmul.h"
#include "kernels/packed.cuh"

namespace octavo::device {

// As MatmulTile, of weights that lie in tiles. Where several warps multiply the same
// weights, those of a step become T in shared memory, of which there are two buffers; else in
// registers.
template <class WeightKind, int kWarpsN, int kWarpsM, int kRowTiles, int kColTiles, int kStages>
struct PackedTile {
  using Kind = WeightKind;
  static constexpr bool kQuantised = false, kPacked = true, kThroughShared = kWarpsM > 1;
  static constexpr int kNumWarpsN = kWarpsN, kNumRowTiles = kRowTiles, kNumColTiles = kColTiles;
  static constexpr int kNumStages = kStages;
  static constexpr int kThreads = kWarpsN * kWarpsM * 32;
  static constexpr int kRows = kWarpsN * kRowTiles * kTileRows;
  static constexpr int kCols = kWarpsM * kColTiles * 8;
  using XRows = SharedRows<kTileK / 8>;
  static constexpr int kTiles = kRows / kTileRows;
  static constexpr int kWeightBytes = kTiles * Kind::kTileBytes;
  static constexpr int kStageBytes = kWeightBytes + kCols * XRows::kRowBytes;
  static constexpr int kWideBytes = kThroughShared ? kRows * XRows::kRowBytes : 0;  // a buffer
  static constexpr int kSharedBytes = 2 * kWideBytes + kStages * kStageBytes + 16;
  // Left to itself the compiler spills to have more.
  static constexpr int kMinBlocks = kThroughShared ? 1 : kColTiles > 2 ? 2 : 4;
  static_assert(kThroughShared || kRowTiles == 1);
};

// Copies steps along K of kTiles tiles of 16 rows to shared memory, tile by tile, each tile codes,
// high bits, scales; tiles past the matrix are zeros.
template <class Kind, int kTiles, int kThreads>
struct PackedTilesLoader {
  static constexpr int kCodePieces = Kind::kCodeBytes / 16, kHighPieces = Kind::kHighBytes / 16;
  static constexpr int kPasses = kTiles * kCodePieces / kThreads;
  static constexpr int kTilesAtOnce = kThreads / kCodePieces;
  static_assert(kTiles * kCodePieces % kThreads == 0 && kThreads % kCodePieces == 0);
  static_assert(kTiles * kHighPieces <= kThreads && kTiles * Kind::kScaleBytes / 16 <= kThreads);

  const char *codes, *high, *scales;
  int64_t codes_stride;  // from a pass' tile to the next pass'
  int tiles;             // there are so many
  int scale_tile, scale_piece;
  const PackedLayout& layout;

  OCTAVO_DEVICE PackedTilesLoader(const MatmulArgs& a, const MatmulArgs::Part& part, int64_t row0)
      : layout(a.layout) {
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t k_tiles = (a.k + kTileK - 1) / kTileK, first = row0 / kTileRows;
    tiles = static_cast<int>(
        min((part.n + kTileRows - 1) / kTileRows - first, static_cast<int64_t>(kTiles)));
    codes_stride = kTilesAtOnce * k_tiles * Kind::kCodeBytes;
    codes = static_cast<const char*>(part.weight) +
            (first + thread / kCodePieces) * k_tiles * Kind::kCodeBytes + thread % kCodePieces * 16;
    if constexpr (kHighPieces > 0) {
      high = static_cast<const char*>(part.high) +
             (first + thread / kHighPieces) * k_tiles * Kind::kHighBytes +
             thread % kHighPieces * 16;
    }
    const int pieces = (layout.span_bytes + layout.step_bytes) / 16;
    scale_tile = thread / pieces;
    scale_piece = thread % pieces;
    const int64_t records = (a.k + (int64_t{1} << layout.span_shift) - 1) >> layout.span_shift;
    scales = static_cast<const char*>(part.scales) +
             (first + scale_tile) * records * layout.record_bytes() + scale_piece * 16;
  }

  OCTAVO_DEVICE void load(unsigned char* stage, int k0, int) const {
    const int thread = static_cast<int>(threadIdx.x), tile = k0 / kTileK;
    const char* at = codes + static_cast<int64_t>(tile) * Kind::kCodeBytes;
#pragma unroll
    for (int i = 0; i < kPasses; i++) {
      const int own = thread / kCodePieces + i * kTilesAtOnce;
      async_copy16(stage + own * Kind::kTileBytes + thread % kCodePieces * 16, at, own < tiles);
      at += codes_stride;
    }
    if constexpr (kHighPieces > 0) {
      if (thread < kTiles * kHighPieces) {
        unsigned char* to = stage + thread / kHighPieces * Kind::kTileBytes + Kind::kCodeBytes;
        async_copy16(to + thread % kHighPieces * 16,
                     high + static_cast<int64_t>(tile) * Kind::kHighBytes,
                     thread / kHighPieces < tiles);
      }
    }
    if (scale_tile < kTiles) {
      const int in_span = (k0 & ((1 << layout.span_shift) - 1)) / kTileK;
      int64_t skip = static_cast<int64_t>(k0 >> layout.span_shift) * layout.record_bytes();
      if (scale_piece * 16 >= layout.span_bytes) skip += in_span * layout.step_bytes;
      async_copy16(stage + scale_tile * Kind::kTileBytes + Kind::kCodeBytes + Kind::kHighBytes +
                       scale_piece * 16,
                   scales + skip, scale_tile < tiles);
    }
  }
};

}  // namespace octavo::device
