// Paged attention, one kernel for decode, chunked prefill, prefix hits and shared prefixes: packed
// rows (query token × head of a GQA group) against a tile of 64 KV tokens at a time, gathered page
// by page with cp.async. The four warps split the tile's tokens for S = Q·Kᵀ and the head's columns
// for O += P·V; P goes through shared memory. So a row's sums have one order, whatever the number
// of rows beside it: that is what makes prefill and decode agree in bits, and it keeps a narrow
// block's registers few. Numerics: S and O in float, softmax base 2, P rounded to T.
#pragma once

#include "kernels/attention.h"
#include "kernels/launch.cuh"
#include "kernels/mma.cuh"
#include "kernels/softmax_state.cuh"

namespace octavo::device {

constexpr int kAttentionThreads = 128;
constexpr int kWarps = 4;

// Shared memory of a block, in order: Q, KV tiles of each stage, P, maxima and sums of the warps'
// parts; for 8-bit caches the stages are raw bytes with their scales, and one widened tile follows.
template <int kHead, int kTiles, bool kKv8>
struct AttentionShared {
  static constexpr int kRows = kTiles * 16;
  using Rows = SharedRows<kHead / 8>;
  using PRows = SharedRows<kTileTokens / 8>;
  static constexpr int kQBytes = kRows * Rows::kRowBytes;
  static constexpr int kTileBytes = kTileTokens * Rows::kRowBytes;  // of K or of V
  static constexpr int kRawBytes = kTileTokens * kHead;
  static constexpr int kStageBytes = 2 * (kKv8 ? kRawBytes + kTileTokens * 4 : kTileBytes);
  static constexpr int kPBytes = kRows * PRows::kRowBytes;
  static constexpr int kPartBytes = 2 * kWarps * kRows * 4;
  static constexpr int bytes(int stages) {
    return kQBytes + stages * kStageBytes + (kKv8 ? 2 * kTileBytes : 0) + kPBytes + kPartBytes;
  }
};

template <class T, int kHead, int kTiles, bool kKv8>
struct AttentionBlock {
  using Shared = AttentionShared<kHead, kTiles, kKv8>;
  using Rows = typename Shared::Rows;
  using PRows = typename Shared::PRows;
  static constexpr int kPairs = kHead / 16;                       // 16 columns each
  static constexpr int kOwnPairs = (kPairs + kWarps - 1) / kWarps;  // of a warp, at most

  const AttentionArgs& a;
  const int lane, warp, g, t, group;
  unsigned char *q_rows, *stages, *widened, *p_rows;
  float *part_max, *part_sum;

  AttentionItem item;
  int kv_head;
  const int32_t* table;
  int first_token, last_token;  // tokens of the item that a row may see: [first, last)
  int limit[kTiles][2];         // of this lane's rows: positions below it are seen

  float o[kTiles][kOwnPairs][2][4];
  float total_o[kTiles][kOwnPairs][2][4];
  SoftmaxState total[kTiles][2];
  float row_max[kTiles][2], row_sum[kTiles][2];

  OCTAVO_DEVICE AttentionBlock(const AttentionArgs& args, unsigned char* shared)
      : a(args),
        lane(threadIdx.x % 32),
        warp(threadIdx.x / 32),
        g(lane / 4),
        t(lane % 4),
        group(args.num_heads / args.kv.num_kv_heads),
        q_rows(shared),
        stages(q_rows + Shared::kQBytes),
        widened(stages + args.stages * Shared::kStageBytes),
        p_rows(widened + (kKv8 ? 2 * Shared::kTileBytes : 0)),
        part_max(reinterpret_cast<float*>(p_rows + Shared::kPBytes)),
        part_sum(part_max + kWarps * Shared::kRows) {}

  OCTAVO_DEVICE int token_of(int row) const {
    return a.plan.token_list[item.token_first + (item.row_begin + row) / group];
  }
  OCTAVO_DEVICE int head_of(int row) const {
    return kv_head * group + (item.row_begin + row) % group;
  }
  OCTAVO_DEVICE int row_of(int m, int half) const { return m * 16 + half * 8 + g; }
  OCTAVO_DEVICE int window_begin(int row_limit) const {
    return a.window > 0 ? max(0, row_limit - a.window) : 0;
  }

  OCTAVO_DEVICE void run(const AttentionItem& it, int head) {
    item = it;
    kv_head = head;
    table = a.block_tables + static_cast<int64_t>(it.table_row) * a.plan.header[3];
    first_token = max(it.chunk_begin * kChunkTokens, window_begin(it.min_limit));
    last_token = min(it.chunk_end * kChunkTokens, it.max_limit);
    __syncthreads();  // the item before has left shared memory
    load_queries();
    reset_chunk();
#pragma unroll
    for (int m = 0; m < kTiles; m++) {
      total[m][0] = total[m][1] = SoftmaxState{};
      clear(total_o[m]);
    }
    const int tile_begin = first_token / kTileTokens;
    const int tile_end = (last_token + kTileTokens - 1) / kTileTokens;
    for (int s = 0; s < a.stages - 1; s++) load_tile(tile_begin + s, tile_end, s);
    for (int tile = tile_begin; tile < tile_end; tile++) {
      const int stage = (tile - tile_begin) % a.stages;
      wait_for_tile(tile, tile_end, stage);
      one_tile(tile, stage);
      const int next = (tile + 1) * kTileTokens;
      if (next % kChunkTokens == 0 || tile + 1 == tile_end) end_chunk(tile * kTileTokens / kChunkTokens);
    }
    async_wait<0>();
    if (item.store == kToOutput) write_output();
    if (item.store == kFolded) write_folded();
  }

  OCTAVO_DEVICE void load_queries() {
    const T* q = static_cast<const T*>(a.q);
    constexpr int kChunks = kHead / 8;
    for (int i = threadIdx.x; i < Shared::kRows * kChunks; i += kAttentionThreads) {
      const int row = i / kChunks, chunk = i % kChunks;
      uint4 value{0, 0, 0, 0};
      if (row < item.num_rows) {
        const int64_t at = static_cast<int64_t>(token_of(row)) * a.num_heads + head_of(row);
        value = *reinterpret_cast<const uint4*>(q + at * kHead + chunk * 8);
      }
      *reinterpret_cast<uint4*>(q_rows + Rows::offset(row, chunk)) = value;
    }
#pragma unroll
    for (int m = 0; m < kTiles; m++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int row = row_of(m, half);
        limit[m][half] = row < item.num_rows ? a.positions[token_of(row)] + 1 : 0;
      }
    }
  }

  // Starts the copies of a tile into a stage; past the end it commits an empty group, so that the
  // number of groups under way stays what async_wait counts on.
  OCTAVO_DEVICE void load_tile(int tile, int tile_end, int stage) {
    if (tile < tile_end) {
      if constexpr (kKv8) {
        load_raw(tile, stages + stage * Shared::kStageBytes);
      } else {
        load_plain(tile, stages + stage * Shared::kStageBytes);
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
      async_copy16(target + Shared::kTileBytes, base + at + (seen ? a.kv.v_offset : 0), seen);
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
      async_copy16(stage + Shared::kRawBytes + i * 16, base + at + (seen ? a.kv.v_offset : 0),
                   seen);
    }
    float* scales = reinterpret_cast<float*>(stage + 2 * Shared::kRawBytes);
    for (int i = threadIdx.x; i < 2 * kTileTokens; i += kAttentionThreads) {
      const int r = i % kTileTokens, token = tile * kTileTokens + r;
      float scale = 0.0f;
      if (token >= first_token && token < last_token) {
        const int64_t at = a.kv.scale(table[token >> a.block_shift], kv_head,
                                      token & (a.kv.block_size - 1));
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
      widen_tile(stages + stage * Shared::kStageBytes);
      __syncthreads();
    }
  }

  // 8-bit K and V to T, without their scales: those multiply columns of S and of P.
  OCTAVO_DEVICE void widen_tile(const unsigned char* stage) {
    constexpr int kChunks = kHead / 16;
    const bool f8 = a.kv.dtype == DType::kF8E4M3;
    for (int i = threadIdx.x; i < 2 * kTileTokens * kChunks; i += kAttentionThreads) {
      const int kv = i / (kTileTokens * kChunks), j = i % (kTileTokens * kChunks);
      const uint4 raw = *reinterpret_cast<const uint4*>(stage + kv * Shared::kRawBytes + j * 16);
      const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
      uint32_t out[8];
#pragma unroll
      for (int w = 0; w < 8; w++) {
        const uint32_t pair = words[w / 2] >> (w % 2 * 16);
        out[w] = f8 ? pack2<T>(widen_f8(pair), widen_f8(pair >> 8))
                    : pack2<T>(widen_i8(pair), widen_i8(pair >> 8));
      }
      const int row = j / kChunks, chunk = j % kChunks * 2;
      unsigned char* tile = widened + kv * Shared::kTileBytes;
      *reinterpret_cast<uint4*>(tile + Rows::offset(row, chunk)) = {out[0], out[1], out[2], out[3]};
      *reinterpret_cast<uint4*>(tile + Rows::offset(row, chunk + 1)) = {out[4], out[5], out[6],
                                                                        out[7]};
    }
  }

  OCTAVO_DEVICE void one_tile(int tile, int stage) {
    unsigned char* const raw = stages + stage * Shared::kStageBytes;
    const unsigned char* k_rows = kKv8 ? widened : raw;
    const float* scales = reinterpret_cast<const float*>(raw + 2 * Shared::kRawBytes);
    float s[kTiles][2][4];
    scores(k_rows, s);
    mask(tile * kTileTokens + warp * 16, s, scales);
    share_maxima(s);
    __syncthreads();
    probabilities(s, scales);
    __syncthreads();
    weigh(k_rows + Shared::kTileBytes);
  }

  // This warp's 16 tokens of the tile: S = Q·Kᵀ.
  OCTAVO_DEVICE void scores(const unsigned char* k_rows, float (&s)[kTiles][2][4]) {
#pragma unroll
    for (int m = 0; m < kTiles; m++) {
#pragma unroll
      for (int i = 0; i < 8; i++) s[m][i / 4][i % 4] = 0.0f;
    }
    const int token = warp * 16 + (lane & 7) + (lane >> 4) * 8;
    const int q_row = (lane & 7) + (lane >> 3 & 1) * 8;
#pragma unroll
    for (int k = 0; k < kPairs; k++) {
      uint32_t b[4];
      ldmatrix(b, k_rows + Rows::offset(token, k * 2 + (lane >> 3 & 1)));
#pragma unroll
      for (int m = 0; m < kTiles; m++) {
        uint32_t q[4];
        ldmatrix(q, q_rows + Rows::offset(m * 16 + q_row, k * 2 + (lane >> 4)));
        mma<T>(s[m][0], q, b[0], b[1]);
        mma<T>(s[m][1], q, b[2], b[3]);
      }
    }
  }

  OCTAVO_DEVICE void mask(int first, float (&s)[kTiles][2][4], const float* scales) {
    constexpr float kLog2E = 1.4426950408889634f;
#pragma unroll
    for (int m = 0; m < kTiles; m++) {
#pragma unroll
      for (int i = 0; i < 8; i++) {
        const int column = i / 4 * 8 + t * 2 + (i & 1), half = i >> 1 & 1;
        const int token = first + column, end = limit[m][half];
        float x = s[m][i / 4][i % 4];
        if constexpr (kKv8) x *= scales[warp * 16 + column];
        x *= a.scale_log2;
        if (a.softcap > 0) {
          const float cap = a.softcap * kLog2E;
          x = cap * tanhf(x / cap);
        }
        if (a.alibi != nullptr && row_of(m, half) < item.num_rows) {
          x += a.alibi[head_of(row_of(m, half))] * kLog2E * static_cast<float>(token - end + 1);
        }
        s[m][i / 4][i % 4] = token < end && token >= window_begin(end) ? x : -INFINITY;
      }
    }
  }

  // The four lanes of a quad hold a row's 16 tokens of this warp.
  OCTAVO_DEVICE void share_maxima(const float (&s)[kTiles][2][4]) {
#pragma unroll
    for (int m = 0; m < kTiles; m++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float x = fmaxf(fmaxf(s[m][0][half * 2], s[m][0][half * 2 + 1]),
                        fmaxf(s[m][1][half * 2], s[m][1][half * 2 + 1]));
        x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, 1));
        x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, 2));
        if (t == 0) part_max[warp * Shared::kRows + row_of(m, half)] = x;
      }
    }
  }

  // The new maximum of each row; rescales what was summed before, writes P.
  OCTAVO_DEVICE void probabilities(const float (&s)[kTiles][2][4], const float* scales) {
#pragma unroll
    for (int m = 0; m < kTiles; m++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int row = row_of(m, half);
        float top = row_max[m][half];
#pragma unroll
        for (int w = 0; w < kWarps; w++) top = fmaxf(top, part_max[w * Shared::kRows + row]);
        const bool none = top == -INFINITY;
        const float factor = none ? 1.0f : exp2f(row_max[m][half] - top);
        row_max[m][half] = top;
#pragma unroll
        for (int j = 0; j < kOwnPairs * 2; j++) {
          o[m][j / 2][j % 2][half * 2] *= factor;
          o[m][j / 2][j % 2][half * 2 + 1] *= factor;
        }
        float sum = 0.0f;
#pragma unroll
        for (int n = 0; n < 2; n++) {
          float p[2];
#pragma unroll
          for (int i = 0; i < 2; i++) {
            p[i] = none ? 0.0f : exp2f(s[m][n][half * 2 + i] - top);
            sum += p[i];
            if constexpr (kKv8) p[i] *= scales[kTileTokens + warp * 16 + n * 8 + t * 2 + i];
          }
          unsigned char* at = p_rows + PRows::offset(row, warp * 2 + n) + t * 4;
          *reinterpret_cast<uint32_t*>(at) = pack2<T>(p[0], p[1]);
        }
        row_sum[m][half] = fmaf(row_sum[m][half], factor, sum);
      }
    }
  }

  // This warp's columns of the head: O += P·V.
  OCTAVO_DEVICE void weigh(const unsigned char* v_rows) {
    const int row = (lane & 7) + (lane >> 3 & 1) * 8;
#pragma unroll
    for (int k = 0; k < kTileTokens / 16; k++) {
      uint32_t p[kTiles][4];
#pragma unroll
      for (int m = 0; m < kTiles; m++) {
        ldmatrix(p[m], p_rows + PRows::offset(m * 16 + row, k * 2 + (lane >> 4)));
      }
#pragma unroll
      for (int j = 0; j < kOwnPairs; j++) {
        const int pair = warp + j * kWarps;
        if (pair >= kPairs) continue;  // the same for the whole warp
        uint32_t b[4];
        ldmatrix_transposed(b, v_rows + Rows::offset(k * 16 + row, pair * 2 + (lane >> 4)));
#pragma unroll
        for (int m = 0; m < kTiles; m++) {
          mma<T>(o[m][j][0], p[m], b[0], b[1]);
          mma<T>(o[m][j][1], p[m], b[2], b[3]);
        }
      }
    }
  }

  // Sums of the warps' tokens in fixed order; then the chunk joins the row, or goes to storage.
  OCTAVO_DEVICE void end_chunk(int chunk) {
#pragma unroll
    for (int m = 0; m < kTiles; m++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float x = row_sum[m][half];
        x += __shfl_xor_sync(kAllLanes, x, 1);
        x += __shfl_xor_sync(kAllLanes, x, 2);
        if (t == 0) part_sum[warp * Shared::kRows + row_of(m, half)] = x;
      }
    }
    __syncthreads();
#pragma unroll
    for (int m = 0; m < kTiles; m++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const float* part = part_sum + row_of(m, half);
        constexpr int kRows = Shared::kRows;
        SoftmaxState state;
        state.max = row_max[m][half];
        state.sum = (part[0] + part[kRows]) + (part[2 * kRows] + part[3 * kRows]);
        if (item.store == kPerChunk) {
          const int row = row_of(m, half);
          // Chunks that a row does not see have no storage: the merge does not ask for them.
          if (row >= item.num_rows || chunk * kChunkTokens >= limit[m][half]) continue;
          const int token = token_of(row);
          write_partial(o[m], half, row, chunk - a.plan.folded_chunks[token] + 1, state);
        } else {
          const auto f = total[m][half].merge(state);
#pragma unroll
          for (int j = 0; j < kOwnPairs * 4; j++) {
            float& mine = total_o[m][j / 4][j / 2 % 2][half * 2 + j % 2];
            mine = SoftmaxState::merged(mine, o[m][j / 4][j / 2 % 2][half * 2 + j % 2], f);
          }
        }
      }
    }
    reset_chunk();
  }

  OCTAVO_DEVICE void reset_chunk() {
#pragma unroll
    for (int m = 0; m < kTiles; m++) {
      row_max[m][0] = row_max[m][1] = -INFINITY;
      row_sum[m][0] = row_sum[m][1] = 0.0f;
      clear(o[m]);
    }
  }
  OCTAVO_DEVICE static void clear(float (&x)[kOwnPairs][2][4]) {
#pragma unroll
    for (int j = 0; j < kOwnPairs * 8; j++) x[j / 8][j / 4 % 2][j % 4] = 0.0f;
  }

  OCTAVO_DEVICE void write_partial(const float (&w)[kOwnPairs][2][4], int half, int row, int index,
                                   const SoftmaxState& state) {
    const int64_t partial_row = static_cast<int64_t>(a.plan.partial_base[token_of(row)]) + index;
    const int64_t at = partial_row * a.num_heads + head_of(row);
    if (warp == 0 && t == 0) {
      a.partial_state[at * 2] = state.max;
      a.partial_state[at * 2 + 1] = state.sum;
    }
    float* out = a.partial_out + at * kHead;
    for_own_columns([&](int j, int n, int column) {
      out[column] = w[j][n][half * 2];
      out[column + 1] = w[j][n][half * 2 + 1];
    });
  }

  OCTAVO_DEVICE void write_folded() {
#pragma unroll
    for (int m = 0; m < kTiles; m++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int row = row_of(m, half);
        if (row < item.num_rows) write_partial(total_o[m], half, row, 0, total[m][half]);
      }
    }
  }

  OCTAVO_DEVICE void write_output() {
    T* out = static_cast<T*>(a.out);
#pragma unroll
    for (int m = 0; m < kTiles; m++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int row = row_of(m, half);
        if (row >= item.num_rows) continue;
        const int64_t at = static_cast<int64_t>(token_of(row)) * a.num_heads + head_of(row);
        const SoftmaxState& state = total[m][half];
        for_own_columns([&](int j, int n, int column) {
          const float* w = &total_o[m][j][n][half * 2];
          *reinterpret_cast<uint32_t*>(out + at * kHead + column) =
              pack2<T>(state.normalised(w[0]), state.normalised(w[1]));
        });
      }
    }
  }

  // fn(j, n, column): the pairs of columns that this lane holds.
  template <class Fn>
  OCTAVO_DEVICE void for_own_columns(Fn fn) {
#pragma unroll
    for (int j = 0; j < kOwnPairs; j++) {
      const int pair = warp + j * kWarps;
      if (pair >= kPairs) continue;
#pragma unroll
      for (int n = 0; n < 2; n++) fn(j, n, pair * 16 + n * 8 + t * 2);
    }
  }
};

// Grid: persistent, any number of blocks; block b takes (item, KV head) b, b + grid, …
template <class T, int kHead, int kTiles, bool kKv8>
__global__ void __launch_bounds__(kAttentionThreads)
    paged_attention_kernel(const AttentionArgs a) {
  OCTAVO_SHARED(shared);
  AttentionBlock<T, kHead, kTiles, kKv8> block(a, shared);
  const bool wide = kTiles > 1;
  const AttentionItem* items = wide ? a.plan.wide : a.plan.narrow;
  const int64_t work = static_cast<int64_t>(a.plan.header[wide ? 1 : 0]) * a.kv.num_kv_heads;
  for (int64_t w = blockIdx.x; w < work; w += gridDim.x) {
    block.run(items[w / a.kv.num_kv_heads], static_cast<int>(w % a.kv.num_kv_heads));
  }
}

// Merges the chunks of split rows in order. Grid: persistent; one warp per (token, head).
template <class T, int kHead>
__global__ void __launch_bounds__(128) merge_chunks_kernel(const AttentionArgs a) {
  constexpr int kOwn = (kHead + 31) / 32;
  const int lane = threadIdx.x % 32;
  const int64_t work = static_cast<int64_t>(a.plan.header[2]) * a.num_heads;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * 4;
  for (int64_t w = static_cast<int64_t>(blockIdx.x) * 4 + threadIdx.x / 32; w < work; w += warps) {
    const int token = a.plan.merge_tokens[w / a.num_heads];
    const int head = static_cast<int>(w % a.num_heads);
    const int end = a.positions[token] + 1;
    const int begin = a.window > 0 ? max(0, end - a.window) : 0;
    const int folded = a.plan.folded_chunks[token];
    const int first = begin / kChunkTokens < folded ? 0 : begin / kChunkTokens - folded + 1;
    const int last = (end - 1) / kChunkTokens - folded + 1;
    SoftmaxState state;
    float sums[kOwn] = {};
    for (int index = first; index <= last; index++) {
      const int64_t partial_row = static_cast<int64_t>(a.plan.partial_base[token]) + index;
      const int64_t at = partial_row * a.num_heads + head;
      SoftmaxState part;
      part.max = a.partial_state[at * 2];
      part.sum = a.partial_state[at * 2 + 1];
      const auto f = state.merge(part);
#pragma unroll
      for (int i = 0; i < kOwn; i++) {
        const int column = i * 32 + lane;
        if (column < kHead) {
          sums[i] = SoftmaxState::merged(sums[i], a.partial_out[at * kHead + column], f);
        }
      }
    }
    T* out = static_cast<T*>(a.out) + (static_cast<int64_t>(token) * a.num_heads + head) * kHead;
#pragma unroll
    for (int i = 0; i < kOwn; i++) {
      const int column = i * 32 + lane;
      if (column < kHead) out[column] = narrow<T>(state.normalised(sums[i]));
    }
  }
}

}  // namespace octavo::device
