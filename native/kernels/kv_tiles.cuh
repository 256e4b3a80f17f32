// The KV side of paged attention: tiles of 64 tokens, gathered page by page with cp.async into a
// ring of stages; 8-bit caches come as raw bytes and are widened before use.
#pragma once

#include "kernels/attention.h"
#include "kernels/launch.cuh"
#include "kernels/mma.cuh"

namespace octavo::device {

constexpr int kAttentionThreads = 128;

template <int kHead, bool kKv8>
struct KvTileBytes {
  using Rows = SharedRows<kHead / 8>;
  static constexpr int kTileBytes = kTileTokens * Rows::kRowBytes;  // of K or of V
  static constexpr int kRawBytes = kTileTokens * kHead;
  // K and V; of an 8-bit cache with a scale for each token.
  static constexpr int kStageBytes = 2 * (kKv8 ? kRawBytes + kTileTokens * 4 : kTileBytes);
  static constexpr int kWidenedBytes = kKv8 ? 2 * kTileBytes : 0;
};

template <class T, int kHead, bool kKv8>
struct KvTiles {
  using Bytes = KvTileBytes<kHead, kKv8>;
  using Rows = typename Bytes::Rows;

  const AttentionArgs& a;
  unsigned char *stages, *widened;
  int kv_head;
  const int32_t* table;
  int first_token, last_token;  // tokens that a row may see: [first, last)

  OCTAVO_DEVICE KvTiles(const AttentionArgs& args, unsigned char* memory)
      : a(args), stages(memory), widened(memory + args.stages * Bytes::kStageBytes) {}

  // Starts the copies of a tile into a stage; past the end it commits an empty group, so that the
  // number of groups under way stays what async_wait counts on.
  OCTAVO_DEVICE void load_tile(int tile, int tile_end, int stage) {
    if (tile < tile_end) {
      if constexpr (kKv8) {
        load_raw(tile, stages + stage * Bytes::kStageBytes);
      } else {
        load_plain(tile, stages + stage * Bytes::kStageBytes);
      }
    }
    async_commit();
  }

  // Tokens that no row may see are zeros, and their block-table entries are not read: what lies
  // behind a window or past the end may be NaN or another sequence's.
  OCTAVO_DEVICE void load_plain(int tile, unsigned char* stage) {
    constexpr int kChunks = kHead / 8;
    const T* base = static_cast<const T*>(a.kv.base);
    for (int i = threadIdx.x; i < kTileTokens * kChunks; i += kAttentionThreads) {
      const int r = i / kChunks, chunk = i % kChunks, token = tile * kTileTokens + r;
      const bool seen = token >= first_token && token < last_token;
      const int64_t at = seen ? page_of(token) + chunk * 8 : 0;
      unsigned char* target = stage + Rows::offset(r, chunk);
      async_copy16(target, base + at, seen);
      async_copy16(target + Bytes::kTileBytes, base + at + (seen ? a.kv.v_offset : 0), seen);
    }
  }

  OCTAVO_DEVICE void load_raw(int tile, unsigned char* stage) {
    constexpr int kChunks = kHead / 16;
    const uint8_t* base = static_cast<const uint8_t*>(a.kv.base);
    for (int i = threadIdx.x; i < kTileTokens * kChunks; i += kAttentionThreads) {
      const int r = i / kChunks, chunk = i % kChunks, token = tile * kTileTokens + r;
      const bool seen = token >= first_token && token < last_token;
      const int64_t at = seen ? page_of(token) + chunk * 16 : 0;
      async_copy16(stage + i * 16, base + at, seen);
      async_copy16(stage + Bytes::kRawBytes + i * 16, base + at + (seen ? a.kv.v_offset : 0), seen);
    }
    float* scales = reinterpret_cast<float*>(stage + 2 * Bytes::kRawBytes);
    for (int i = threadIdx.x; i < 2 * kTileTokens; i += kAttentionThreads) {
      const int r = i % kTileTokens, token = tile * kTileTokens + r;
      float scale = 0.0f;
      if (token >= first_token && token < last_token) {
        const int64_t at =
            a.kv.scale(table[token >> a.block_shift], kv_head, token & (a.kv.block_size - 1));
        scale = a.kv.scales[at + (i < kTileTokens ? 0 : a.kv.scale_v_offset)];
      }
      scales[i] = scale;
    }
  }

  OCTAVO_DEVICE int64_t page_of(int token) const {
    return a.kv.page(table[token >> a.block_shift], kv_head, token & (a.kv.block_size - 1));
  }

  OCTAVO_DEVICE void wait_for_tile(int tile, int tile_end, int stage) {
    if (a.stages == 1) {
      __syncthreads();  // everybody has read the tile before
      load_tile(tile, tile_end, 0);
      async_wait<0>();
      __syncthreads();
    } else {
      if (a.stages == 2) {
        async_wait<0>();
      } else {
        async_wait<1>();  // three stages
      }
      __syncthreads();  // the tile is there for all, and all have read the one before it
      load_tile(tile + a.stages - 1, tile_end, (stage + a.stages - 1) % a.stages);
    }
    if constexpr (kKv8) {
      widen_tile(stages + stage * Bytes::kStageBytes);
      __syncthreads();
    }
  }

  // 8-bit K and V to T, without their scales: those multiply columns of S and of P.
  OCTAVO_DEVICE void widen_tile(const unsigned char* stage) {
    constexpr int kChunks = kHead / 16;
    const bool f8 = a.kv.dtype == DType::kF8E4M3;
    for (int i = threadIdx.x; i < 2 * kTileTokens * kChunks; i += kAttentionThreads) {
      const int kv = i / (kTileTokens * kChunks), j = i % (kTileTokens * kChunks);
      const uint4 raw = *reinterpret_cast<const uint4*>(stage + kv * Bytes::kRawBytes + j * 16);
      const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
      uint32_t out[8];
#pragma unroll
      for (int w = 0; w < 8; w++) {
        const uint32_t pair = words[w / 2] >> (w % 2 * 16);
        out[w] = f8 ? pack2<T>(widen_f8(pair), widen_f8(pair >> 8))
                    : pack2<T>(widen_i8(pair), widen_i8(pair >> 8));
      }
      const int row = j / kChunks, chunk = j % kChunks * 2;
      unsigned char* tile = widened + kv * Bytes::kTileBytes;
      *reinterpret_cast<uint4*>(tile + Rows::offset(row, chunk)) = {out[0], out[1], out[2], out[3]};
      *reinterpret_cast<uint4*>(tile + Rows::offset(row, chunk + 1)) = {out[4], out[5], out[6],
                                                                        out[7]};
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
