// How the warps of an attention block share its rows and columns, and what it keeps in shared
// memory.
#pragma once

#include "kernels/kv_tiles.cuh"

namespace octavo::device {

// What the rows that go together see, all or some of them: positions from here to below there.
struct alignas(16) SeenByRows {
  int32_t all_begin, all_limit;
  int32_t some_begin, some_limit;
};

// A block's warps: along rows, 16 each, and along columns of the head.
template <int kHeadSize, int kWarpsOfRows, int kWarpsOfColumns, bool k8Bit, bool kHopper = false>
struct AttentionShape {
  static constexpr int kHead = kHeadSize, kRowWarps = kWarpsOfRows, kColWarps = kWarpsOfColumns;
  static constexpr bool kKv8 = k8Bit, kWgmma = kHopper;
  static constexpr int kRows = kRowWarps * 16;
  static constexpr int kThreads = kRowWarps * kColWarps * 32;
  static constexpr int kPairs = kHead / 16;                               // 16 columns each
  static constexpr int kOwnPairs = (kPairs + kColWarps - 1) / kColWarps;  // of a warp, at most
  static constexpr bool kKeepsQ = kRowWarps == 1;  // in registers: a warp has few columns then
  // Rows that go through the tiles together.
  static constexpr int kUnit = kWgmma ? kWgmmaRows : 16;
  static_assert(!kWgmma || (kRows % kWgmmaRows == 0 && kColWarps == 1));
  using Kv = KvTileBytes<kHead, kKv8, kWgmma>;
  using Rows = typename Kv::Rows;
  // Shared memory, in order: Q, the KV stages, what the rows of each warp may see, and each of
  // them, where its Q and output are.
  static constexpr int kQBytes = kRows * Rows::kRowBytes;
  OCTAVO_HD static constexpr int seen_at(int stages) {
    return kQBytes + Kv::kWidenedBytes + stages * Kv::kStageBytes;
  }
  OCTAVO_HD static constexpr int rows_at(int stages) {
    return seen_at(stages) + kThreads / 32 * static_cast<int>(sizeof(SeenByRows));
  }
  OCTAVO_HD static constexpr int bytes(int stages) { return rows_at(stages) + kRows * 12; }
};

}  // namespace octavo::device
