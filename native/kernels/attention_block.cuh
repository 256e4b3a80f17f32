// Paged attention, one kernel for decode, chunked prefill, prefix hits and shared prefixes: packed
// rows (query token × head of a GQA group) against a tile of 64 KV tokens at a time, gathered page
// by page with cp.async. The four warps split the tile's tokens for S = Q·Kᵀ and the head's columns
// for O += P·V; P goes through shared memory. So a row's sums have one order, whatever the number
// of rows beside it: that is what makes prefill and decode agree in bits, and it keeps a narrow
// block's registers few. Numerics: S and O in float, softmax base 2, P rounded to T.
#pragma once

#include "kernels/kv_tiles.cuh"
#include "kernels/softmax_state.cuh"

namespace octavo::device {

constexpr int kWarps = 4;

// Shared memory of a block, in order: Q, P, maxima and sums of the warps' parts, each row's state
// over the chunks so far and what it may see, then the KV stages.
template <int kHead, int kTiles, bool kKv8>
struct AttentionShared {
  static constexpr int kRows = kTiles * 16;
  using Kv = KvTileBytes<kHead, kKv8>;
  using Rows = typename Kv::Rows;
  using PRows = SharedRows<kTileTokens / 8>;
  static constexpr int kQBytes = kRows * Rows::kRowBytes;
  static constexpr int kPBytes = kRows * PRows::kRowBytes;
  static constexpr int kPartBytes = 2 * kWarps * kRows * 4;
  static constexpr int kRowsBytes = kRows * (4 + sizeof(SoftmaxState));  // limits and totals
  static constexpr int kFixedBytes = kQBytes + kPBytes + kPartBytes + kRowsBytes;
  static constexpr int bytes(int stages) {
    return kFixedBytes + stages * Kv::kStageBytes + Kv::kWidenedBytes;
  }
};

template <class T, int kHead, int kTiles, bool kKv8>
struct AttentionBlock {
  using Shared = AttentionShared<kHead, kTiles, kKv8>;
  using Rows = typename Shared::Rows;
  using PRows = typename Shared::PRows;
  static constexpr int kPairs = kHead / 16;                         // 16 columns each
  static constexpr int kOwnPairs = (kPairs + kWarps - 1) / kWarps;  // of a warp, at most

  const AttentionArgs& a;
  const int lane, warp, g, t, group;
  unsigned char *q_rows, *p_rows;
  float *part_max, *part_sum;
  SoftmaxState* totals;  // [rows] over the chunks so far
  int32_t* limits;       // [rows] positions below it are seen
  KvTiles<T, kHead, kKv8> kv;
  AttentionItem item;

  float o[kTiles][kOwnPairs][2][4];
  float total_o[kTiles][kOwnPairs][2][4];
  float row_max[kTiles][2], row_sum[kTiles][2];

  OCTAVO_DEVICE AttentionBlock(const AttentionArgs& args, unsigned char* shared)
      : a(args),
        lane(threadIdx.x % 32),
        warp(threadIdx.x / 32),
        g(lane / 4),
        t(lane % 4),
        group(args.num_heads / args.kv.num_kv_heads),
        q_rows(shared),
        p_rows(q_rows + Shared::kQBytes),
        part_max(reinterpret_cast<float*>(p_rows + Shared::kPBytes)),
        part_sum(part_max + kWarps * Shared::kRows),
        totals(reinterpret_cast<SoftmaxState*>(part_sum + kWarps * Shared::kRows)),
        limits(reinterpret_cast<int32_t*>(totals + Shared::kRows)),
        kv(args, shared + Shared::kFixedBytes) {}

  OCTAVO_DEVICE int token_of(int row) const {
    return a.plan.token_list[item.token_first + (item.row_begin + row) / group];
  }
  OCTAVO_DEVICE int head_of(int row) const {
    return kv.kv_head * group + (item.row_begin + row) % group;
  }
  OCTAVO_DEVICE int row_of(int m, int half) const { return m * 16 + half * 8 + g; }
  OCTAVO_DEVICE int window_begin(int row_limit) const {
    return a.window > 0 ? max(0, row_limit - a.window) : 0;
  }

  OCTAVO_DEVICE void run(const AttentionItem& it, int head) {
    item = it;
    kv.kv_head = head;
    kv.table = a.block_tables + static_cast<int64_t>(it.table_row) * a.plan.header[3];
    kv.first_token = max(it.chunk_begin * kChunkTokens, window_begin(it.min_limit));
    kv.last_token = min(it.chunk_end * kChunkTokens, it.max_limit);
    __syncthreads();  // the item before has left shared memory
    load_queries();
    reset_chunk();
#pragma unroll
    for (int m = 0; m < kTiles; m++) clear(total_o[m]);
    const int tile_begin = kv.first_token / kTileTokens;
    const int tile_end = (kv.last_token + kTileTokens - 1) / kTileTokens;
    for (int s = 0; s < a.stages - 1; s++) kv.load_tile(tile_begin + s, tile_end, s);
    for (int tile = tile_begin; tile < tile_end; tile++) {
      const int stage = (tile - tile_begin) % a.stages;
      kv.wait_for_tile(tile, tile_end, stage);
      one_tile(tile, stage);
      const int next = (tile + 1) * kTileTokens;
      if (next % kChunkTokens == 0 || tile + 1 == tile_end)
        end_chunk(tile * kTileTokens / kChunkTokens);
    }
    __syncthreads();  // the totals are there for all
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
    for (int row = threadIdx.x; row < Shared::kRows; row += kAttentionThreads) {
      limits[row] = row < item.num_rows ? a.positions[token_of(row)] + 1 : 0;
      totals[row] = SoftmaxState{};
    }
  }

  OCTAVO_DEVICE void one_tile(int tile, int stage) {
    const float* scales = kKv8 ? kv.scales(stage) : nullptr;
    float s[kTiles][2][4];
    scores(kv.keys(stage), s);
    mask(tile * kTileTokens + warp * 16, s, scales);
    share_maxima(s);
    __syncthreads();
    probabilities(s, scales);
    __syncthreads();
    weigh(kv.values(stage));
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
      const int ends[2] = {limits[row_of(m, 0)], limits[row_of(m, 1)]};
#pragma unroll
      for (int i = 0; i < 8; i++) {
        const int column = i / 4 * 8 + t * 2 + (i & 1), half = i >> 1 & 1;
        const int token = first + column, end = ends[half];
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

  // The chunk joins the row, or goes to storage.
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
        const int row = row_of(m, half);
        const SoftmaxState state = chunk_state(row, row_max[m][half]);
        if (item.store == kPerChunk) {
          // Chunks that a row does not see have no storage: the merge does not ask for them.
          if (row >= item.num_rows || chunk * kChunkTokens >= limits[row]) continue;
          const int index = chunk - a.plan.folded_chunks[token_of(row)] + 1;
          write_partial(o[m], half, row, index, state);
        } else {
          SoftmaxState total = totals[row];
          const auto f = total.merge(state);
#pragma unroll
          for (int j = 0; j < kOwnPairs * 4; j++) {
            float& mine = total_o[m][j / 4][j / 2 % 2][half * 2 + j % 2];
            mine = SoftmaxState::merged(mine, o[m][j / 4][j / 2 % 2][half * 2 + j % 2], f);
          }
        }
      }
    }
    if (item.store != kPerChunk) add_to_totals();
    reset_chunk();
  }

  // Every lane has read the totals by now; one of each row's writes the new one.
  OCTAVO_DEVICE void add_to_totals() {
    __syncthreads();
    if (warp != 0 || t != 0) return;
#pragma unroll
    for (int i = 0; i < kTiles * 2; i++) {
      const int row = row_of(i / 2, i % 2);
      totals[row].merge(chunk_state(row, row_max[i / 2][i % 2]));
    }
  }
  // The sums of the warps' parts, in fixed order.
  OCTAVO_DEVICE SoftmaxState chunk_state(int row, float largest) const {
    constexpr int kRows = Shared::kRows;
    const float* part = part_sum + row;
    SoftmaxState state;
    state.max = largest;
    state.sum = (part[0] + part[kRows]) + (part[2 * kRows] + part[3 * kRows]);
    return state;
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
        if (row < item.num_rows) write_partial(total_o[m], half, row, 0, totals[row]);
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
        const SoftmaxState state = totals[row];
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

}  // namespace octavo::device
