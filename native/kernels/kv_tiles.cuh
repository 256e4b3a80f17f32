// The KV side of paged attention: tiles of 64 tokens, gathered page by page with cp.async into a
// ring of stages; 8-bit caches come as raw bytes and are widened before use.
#pragma once

#include <type_traits>

#include "kernels/attention.h"
#include "kernels/launch.cuh"
#include "kernels/mma.cuh"
#include "kernels/wgmma.cuh"

namespace octavo::device {

// kForWgmma: in panels, as wgmma reads them.
template <int kHead, bool kKv8, bool kForWgmma>
struct KvTileBytes {
  using Rows = std::conditional_t<kForWgmma, SharedPanels<kHead>, SharedRows<kHead / 8>>;
  static constexpr int kTileBytes = kTileTokens * Rows::kRowBytes;  // of K or of V
  static constexpr int kRawBytes = kTileTokens * kHead;
  // K and V; of an 8-bit cache with a scale for each token.
  static constexpr int kStageBytes = 2 * (kKv8 ? kRawBytes + kTileTokens * 4 : kTileBytes);
  static constexpr int kWidenedBytes = kKv8 ? 2 * kTileBytes : 0;
};

// The largest power of two up to `n`, at most a tile's rows.
constexpr int power_of_two(int n) {
  int p = 1;
  while (p * 2 <= n && p < kTileTokens) p *= 2;
  return p;
}

// A thread copies the same 16 bytes of every kRowsAtOnce-th row, so that its place in a row, and
// where eight rows divide kRowsAtOnce that in shared memory, are computed once.
template <class T, int kHead, int kThreads, bool kKv8, bool kForWgmma>
struct KvTiles {
  using Bytes = KvTileBytes<kHead, kKv8, kForWgmma>;
  using Rows = typename Bytes::Rows;
  static constexpr int kRowBytes = kHead * (kKv8 ? 1 : 2);  // in the cache
  static constexpr int kPieces = kRowBytes / 16;
  static constexpr int kRowsAtOnce = power_of_two(kThreads / kPieces);

  const AttentionArgs& a;
  unsigned char *stages, *widened;
  const int lane, row, piece;
  const bool copies;  // a few threads of a block have nothing to copy for some head sizes
  int kv_head;
  const int32_t* table;
  int first_token, last_token;  // tokens that a row may see: [first, last)
  // Lane i: the block of tokens 8 · (i % 8) … of the tile that is to be loaded next. Read a tile
  // ahead, so that no copy waits for it.
  int32_t next_blocks;

  OCTAVO_DEVICE KvTiles(const AttentionArgs& args, unsigned char* memory)
      : a(args),
        stages(memory + Bytes::kWidenedBytes),
        widened(memory),
        lane(threadIdx.x % 32),
        row(threadIdx.x / kPieces),
        piece(threadIdx.x % kPieces),
        copies(row < kRowsAtOnce) {}

  // Positions [first, last) of a sequence, for one KV head.
  OCTAVO_DEVICE void begin(const int32_t* block_table, int head, int first, int last) {
    table = block_table;
    kv_head = head;
    first_token = first;
    last_token = last;
    look_up(first / kTileTokens);
  }

  // Entries of tokens that no row may see are not read.
  OCTAVO_DEVICE void look_up(int tile) {
    const int token = tile * kTileTokens + (lane & 7) * 8;
    const bool seen = token + 8 > first_token && token < last_token;
    next_blocks = seen ? table[token >> a.block_shift] : 0;
  }

  // Starts the copies of a tile into a stage; past the end it commits an empty group, so that the
  // number of groups under way stays what async_wait counts on.
  OCTAVO_DEVICE void load_tile(int tile, int tile_end, int stage) {
    if (tile < tile_end) {
      unsigned char* target = stages + stage * Bytes::kStageBytes;
      const int begin = tile * kTileTokens;
      if (begin >= first_token && begin + kTileTokens <= last_token) {
        copy_rows<true>(begin, target);
      } else {
        copy_rows<false>(begin, target);
      }
      if constexpr (kKv8) copy_scales(begin, target + 2 * Bytes::kRawBytes);
      look_up(tile + 1);
    }
    async_commit();
  }

  // Tokens that no row may see become zeros: what lies behind a window or past the end may be NaN
  // or another sequence's.
  template <bool kAllSeen>
  OCTAVO_DEVICE void copy_rows(int begin, unsigned char* target) {
    constexpr int64_t kValueBytes = kKv8 ? 1 : sizeof(T);
    const int in_block = a.kv.block_size - 1;
    const int64_t v_bytes = a.kv.v_offset * kValueBytes;
    const auto block_bytes = static_cast<uint32_t>(a.kv.block_stride * kValueBytes);
    // K of this head and piece in block 0, from where the tile begins in its block.
    const char* base = static_cast<const char*>(a.kv.base) +
                       kv_head * a.kv.head_stride * kValueBytes + (begin & in_block) * kRowBytes +
                       piece * 16;
#pragma unroll
    for (int pass = 0; pass < kTileTokens / kRowsAtOnce; pass++) {
      const int r = row + pass * kRowsAtOnce;
      const auto block = static_cast<uint32_t>(__shfl_sync(kAllLanes, next_blocks, r / 8 & 7));
      if (!copies) continue;
      const bool seen = kAllSeen || (begin + r >= first_token && begin + r < last_token);
      const char* k = base + (seen ? static_cast<uint64_t>(block) * block_bytes +
                                         static_cast<uint32_t>((r & in_block) * kRowBytes)
                                   : 0);
      unsigned char* to = target + (kKv8 ? r * kRowBytes + piece * 16 : Rows::offset(r, piece));
      async_copy16(to, k, seen);
      async_copy16(to + (kKv8 ? Bytes::kRawBytes : Bytes::kTileBytes), k + (seen ? v_bytes : 0),
                   seen);
    }
  }

  // [K, V][kTileTokens]
  OCTAVO_DEVICE void copy_scales(int begin, unsigned char* target) {
#pragma unroll
    for (int i = threadIdx.x; i < 2 * kTileTokens; i += kThreads) {
      const int r = i % kTileTokens;
      const int32_t block = __shfl_sync(kAllLanes, next_blocks, r / 8);
      const bool seen = begin + r >= first_token && begin + r < last_token;
      const int64_t at = a.kv.scale(block, kv_head, (begin + r) & (a.kv.block_size - 1)) +
                         (i < kTileTokens ? 0 : a.kv.scale_v_offset);
      async_copy4(target + i * 4, a.kv.scales + (seen ? at : 0), seen);
    }
  }

  OCTAVO_DEVICE void wait_for_tile(int tile, int tile_end, int stage) {
    if (a.stages == 1) {  // never for wgmma
      __syncthreads();    // everybody has read the tile before
      load_tile(tile, tile_end, 0);
      async_wait<0>();
      __syncthreads();
    } else {
      if (a.stages == 2) {
        async_wait<0>();
      } else {
        async_wait<1>();  // three stages
      }
      if constexpr (kForWgmma && !kKv8) wgmma_sees_shared();
      __syncthreads();  // the tile is there for all, and all have read the one before it
      load_tile(tile + a.stages - 1, tile_end, (stage + a.stages - 1) % a.stages);
    }
    if constexpr (kKv8) {
      widen_tile(stages + stage * Bytes::kStageBytes);
      if constexpr (kForWgmma) wgmma_sees_shared();
      __syncthreads();
    }
  }

  // 8-bit K and V to T, without their scales: those multiply columns of S and of P.
  OCTAVO_DEVICE void widen_tile(const unsigned char* stage) {
    if (a.kv.dtype == DType::kF8E4M3) {
      widen_tile_as<true>(stage);
    } else {
      widen_tile_as<false>(stage);
    }
  }
  template <bool kF8>
  OCTAVO_DEVICE void widen_tile_as(const unsigned char* stage) {
#pragma unroll
    for (int pass = 0; pass < kTileTokens / kRowsAtOnce; pass++) {
      const int r = row + pass * kRowsAtOnce;
      if (!copies) continue;
#pragma unroll
      for (int kv = 0; kv < 2; kv++) {
        const uint4 raw = *reinterpret_cast<const uint4*>(stage + kv * Bytes::kRawBytes +
                                                          r * kRowBytes + piece * 16);
        const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
        uint2 out[4];
#pragma unroll
        for (int w = 0; w < 4; w++) out[w] = kF8 ? widen4_f8<T>(words[w]) : widen4_i8<T>(words[w]);
        unsigned char* to = widened + kv * Bytes::kTileBytes;
        // Eight threads have a row of 128 bytes: so that they write to different banks, half of
        // them write their second 16 bytes first.
        const int swapped = kPieces >= 8 ? piece / 4 % 2 : 0;
        const uint4 values[2] = {{out[0].x, out[0].y, out[1].x, out[1].y},
                                 {out[2].x, out[2].y, out[3].x, out[3].y}};
        *reinterpret_cast<uint4*>(to + Rows::offset(r, piece * 2 + swapped)) =
            swapped != 0 ? values[1] : values[0];
        *reinterpret_cast<uint4*>(to + Rows::offset(r, piece * 2 + 1 - swapped)) =
            swapped != 0 ? values[0] : values[1];
      }
    }
  }

  OCTAVO_DEVICE const unsigned char* keys(int stage) const {
    return kKv8 ? widened : stages + stage * Bytes::kStageBytes;
  }
  OCTAVO_DEVICE const unsigned char* values(int stage) const {
    return keys(stage) + Bytes::kTileBytes;
  }
  // [K, V][kTileTokens]
  OCTAVO_DEVICE const float* scales(int stage) const {
    return reinterpret_cast<const float*>(stages + stage * Bytes::kStageBytes +
                                          2 * Bytes::kRawBytes);
  }
};

}  // namespace octavo::device
