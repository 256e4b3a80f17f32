// Paged attention for heads of any size up to 576, of a multiple of eight: those that the kernels
// of attention.cuh have not been made for, and rows that hold K and V at once (PagedKV::latent).
// The plan is theirs, and so are chunks, the order of merging, and the numerics. Sizes are no
// template's, so that one kernel serves all: each of four warps finds S for eight of a tile's 32
// tokens, over the whole head, and they exchange it through shared memory; then each has all rows'
// weights and sums its columns of V. Which rows stand beside a row changes nothing of its sums.
#pragma once

#include "kernels/attention.h"
#include "kernels/launch.cuh"
#include "kernels/mma.cuh"
#include "kernels/softmax_state.cuh"

namespace octavo::device {

constexpr int kAnyTile = 32;                   // tokens of one pass through shared memory
constexpr int kAnyWarps = 4;                   // of 16 rows; each has a quarter of the columns
constexpr int kAnyMostHead = 576;              // values of a row of K,
constexpr int kAnyMostValue = 512;             // and of V
constexpr int kAnyPairs = kAnyMostValue / 64;  // 16 columns each, of a warp at most
constexpr int kAnyScorePitch = kAnyTile + 4;   // floats from a row of S to the next

// What a block of 16 · row_warps rows keeps in shared memory. Rows of K, V and Q are padded to an
// odd number of 16-byte chunks, so that those of a matrix load lie in different banks.
struct AnyLayout {
  int head, value, latent, row_warps, stages;

  OCTAVO_HD static int pitch_of(int size) { return ((size + 15) / 16 * 2 | 1) * 16; }
  OCTAVO_HD int rows() const { return 16 * row_warps; }
  OCTAVO_HD int k_pitch() const { return pitch_of(head); }
  OCTAVO_HD int v_pitch() const { return latent > 0 ? k_pitch() : pitch_of(value); }
  OCTAVO_HD int k_bytes() const { return kAnyTile * k_pitch(); }
  OCTAVO_HD int stage_bytes() const { return k_bytes() + (latent > 0 ? 0 : kAnyTile * v_pitch()); }
  OCTAVO_HD int stages_at() const { return rows() * k_pitch(); }
  OCTAVO_HD int scores_at() const { return stages_at() + stages * stage_bytes(); }
  OCTAVO_HD int limits_at() const { return scores_at() + rows() * kAnyScorePitch * 4; }
  OCTAVO_HD int bytes() const { return limits_at() + rows() * 12; }
};

template <class T, int kRowWarps>
struct AnyAttentionBlock {
  static constexpr int kThreads = kRowWarps * kAnyWarps * 32;
  static constexpr int kRows = 16 * kRowWarps;

  const AttentionArgs& a;
  const AnyLayout l;
  const int lane, g, t, row0, warp, group;
  unsigned char *q_rows, *stages;
  float* scores;
  int32_t *limits, *begins, *sources;  // as AttentionBlock has them
  const AttentionItem* item;
  const int32_t* table;
  int kv_head, first_token, last_token;

  float o[kAnyPairs][2][4], total_o[kAnyPairs][2][4];
  float row_max[2], row_sum[2];
  SoftmaxState total[2];

  OCTAVO_DEVICE AnyAttentionBlock(const AttentionArgs& args, const AnyLayout& layout,
                                  unsigned char* shared)
      : a(args),
        l(layout),
        lane(threadIdx.x % 32),
        g(lane / 4),
        t(lane % 4),
        row0(static_cast<int>(threadIdx.x) / 32 / kAnyWarps * 16),
        warp(threadIdx.x / 32 % kAnyWarps),
        group(args.num_heads / args.kv.num_kv_heads),
        q_rows(shared),
        stages(shared + l.stages_at()),
        scores(reinterpret_cast<float*>(shared + l.scores_at())),
        limits(reinterpret_cast<int32_t*>(shared + l.limits_at())),
        begins(limits + kRows),
        sources(begins + kRows) {}

  OCTAVO_DEVICE int token_of(int row) const {
    return a.plan.token_list[item->token_first + (item->row_begin + row) / group];
  }
  OCTAVO_DEVICE int head_of(int row) const {
    return kv_head * group + (item->row_begin + row) % group;
  }
  OCTAVO_DEVICE int row_of(int half) const { return row0 + half * 8 + g; }
  OCTAVO_DEVICE int end_seen(int row_limit) const {
    if (!a.reach.both || row_limit == 0) return row_limit;
    return a.reach.end_seen(row_limit, item->context);
  }

  OCTAVO_DEVICE void run(const AttentionItem& it, int head) {
    item = &it;
    kv_head = head;
    table = a.block_tables + it.table_start;
    first_token = max(it.chunk_begin * kChunkTokens, a.reach.first_seen(it.min_limit));
    last_token = min(it.chunk_end * kChunkTokens, it.max_end);
    __syncthreads();  // the item before has left shared memory
    find_rows();
    const int tile_begin = first_token / kAnyTile;
    const int tile_end = (last_token + kAnyTile - 1) / kAnyTile;
    for (int s = 0; s < l.stages - 1; s++) load_tile(tile_begin + s, tile_end, s);
    __syncthreads();
    load_queries();
    total[0] = total[1] = SoftmaxState{};
    clear(total_o);
    reset_chunk();
    int stage = 0;
    for (int tile = tile_begin; tile < tile_end; tile++) {
      wait_for_tile(tile, tile_end, stage);
      one_tile(tile * kAnyTile, stages + stage * l.stage_bytes());
      const int next = (tile + 1) * kAnyTile;
      if (next % kChunkTokens == 0 || tile + 1 == tile_end) end_chunk((next - 1) / kChunkTokens);
      if (++stage == l.stages) stage = 0;
    }
    if (item->store == kToOutput) write_output();
    if (item->store == kFolded) write_folded();
  }

  OCTAVO_DEVICE void find_rows() {
    for (int row = threadIdx.x; row < kRows; row += kThreads) {
      const bool has = row < item->num_rows;
      const int token = has ? token_of(row) : 0;
      limits[row] = has ? a.positions[token] + 1 : 0;
      begins[row] = a.reach.first_seen(limits[row]);
      sources[row] = has ? token * a.num_heads + head_of(row) : -1;
    }
  }

  // Chunks of 16 bytes; those past the head, up to a whole step of the product, are zeros.
  OCTAVO_DEVICE void load_queries() {
    const T* from = static_cast<const T*>(a.q);
    const int chunks = (l.head + 15) / 16 * 2, real = l.head / 8;
    for (int i = threadIdx.x; i < kRows * chunks; i += kThreads) {
      const int row = i / chunks, chunk = i % chunks, source = sources[row];
      uint4 value{0, 0, 0, 0};
      if (source >= 0 && chunk < real) {
        value = *reinterpret_cast<const uint4*>(from + static_cast<int64_t>(source) * l.head +
                                                chunk * 8);
      }
      *reinterpret_cast<uint4*>(q_rows + row * l.k_pitch() + chunk * 16) = value;
    }
  }

  // As KvTiles: tokens that no row may see become zeros, and an empty group keeps count.
  OCTAVO_DEVICE void load_tile(int tile, int tile_end, int stage) {
    if (tile < tile_end) {
      unsigned char* const target = stages + stage * l.stage_bytes();
      copy_rows(tile * kAnyTile, target, l.head, l.k_pitch(), 0);
      if (l.latent == 0) {
        copy_rows(tile * kAnyTile, target + l.k_bytes(), l.value, l.v_pitch(), a.kv.v_offset);
      }
    }
    async_commit();
  }
  OCTAVO_DEVICE void copy_rows(int begin, unsigned char* target, int size, int pitch,
                               int64_t skipped) {
    const T* const base = static_cast<const T*>(a.kv.base) + skipped;
    const int chunks = (size + 15) / 16 * 2, real = size / 8;
    for (int i = threadIdx.x; i < kAnyTile * chunks; i += kThreads) {
      const int r = i / chunks, chunk = i % chunks, token = begin + r;
      const bool seen = token >= first_token && token < last_token && chunk < real;
      const T* from = base;
      if (seen) {
        const int32_t block = table[token >> a.block_shift];
        from += a.kv.page(block, kv_head, token & (a.kv.block_size - 1)) + chunk * 8;
      }
      async_copy16(target + r * pitch + chunk * 16, from, seen);
    }
  }
  OCTAVO_DEVICE void wait_for_tile(int tile, int tile_end, int stage) {
    if (l.stages == 1) {
      __syncthreads();  // everybody has read the tile before
      load_tile(tile, tile_end, 0);
      async_wait<0>();
      __syncthreads();
      return;
    }
    async_wait<0>();
    __syncthreads();  // the tile is there for all, and all have read the one before it
    load_tile(tile + 1, tile_end, stage ^ 1);
  }

  OCTAVO_DEVICE void one_tile(int begin, const unsigned char* k_rows) {
    share_scores(k_rows);
    float s[4][4];  // of 8 tokens each, in it the accumulator of an mma
    __syncthreads();
#pragma unroll
    for (int n = 0; n < 4; n++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const float2 pair = *reinterpret_cast<const float2*>(
            scores + row_of(half) * kAnyScorePitch + n * 8 + t * 2);
        s[n][half * 2] = pair.x;
        s[n][half * 2 + 1] = pair.y;
      }
    }
    shape_scores(begin, s);
    uint32_t p[2][4];
    probabilities(s, p);
    const bool latent = l.latent > 0;
    weigh(latent ? k_rows : k_rows + l.k_bytes(), latent ? l.k_pitch() : l.v_pitch(), p);
  }

  // This warp's eight tokens of S = Q·Kᵀ, for its 16 rows.
  OCTAVO_DEVICE void share_scores(const unsigned char* k_rows) {
    float s[4] = {};
    const unsigned char* const q_from = q_rows + (row0 + (lane & 15)) * l.k_pitch();
    const unsigned char* const k_from = k_rows + (warp * 8 + (lane & 7)) * l.k_pitch();
    const int steps = (l.head + 15) / 16;
    int k = 0;
    for (; k + 2 <= steps; k += 2) {
      uint32_t rows[4], b[4];  // of two steps: lanes 8 · i … give the chunks 2 · k + i
      ldmatrix(b, k_from + (k * 2 + (lane >> 3)) * 16);
      ldmatrix(rows, q_from + (k * 2 + (lane >> 4)) * 16);
      mma<T>(s, rows, b[0], b[1]);
      ldmatrix(rows, q_from + (k * 2 + 2 + (lane >> 4)) * 16);
      mma<T>(s, rows, b[2], b[3]);
    }
    if (k < steps) {
      uint32_t rows[4], b[4];
      ldmatrix(b, k_from + (k * 2 + (lane >> 3 & 1)) * 16);
      ldmatrix(rows, q_from + (k * 2 + (lane >> 4)) * 16);
      mma<T>(s, rows, b[0], b[1]);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
      *reinterpret_cast<float2*>(scores + row_of(half) * kAnyScorePitch + warp * 8 + t * 2) = {
          s[half * 2], s[half * 2 + 1]};
    }
  }

  // To units of log2: scaled, capped, less by distance; −∞ where a row does not see.
  OCTAVO_DEVICE void shape_scores(int begin, float (&s)[4][4]) {
    constexpr float kLog2E = 1.4426950408889634f;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = row_of(half), limit = limits[row], end = end_seen(limit);
      const bool slopes = a.alibi != nullptr && row < item->num_rows;
      const float slope = slopes ? a.alibi[head_of(row)] * kLog2E : 0.0f;
#pragma unroll
      for (int i = 0; i < 8; i++) {
        const int token = begin + i / 2 * 8 + t * 2 + i % 2;
        float x = s[i / 2][half * 2 + i % 2] * a.scale_log2;
        if (a.softcap > 0) {
          const float cap = a.softcap * kLog2E;
          x = cap * tanhf(x / cap);
        }
        if (slopes) x = fmaf(slope, static_cast<float>(token - limit + 1), x);
        if (token >= end || token < begins[row]) x = -INFINITY;
        s[i / 2][half * 2 + i % 2] = x;
      }
    }
  }

  // P = 2^(S − the new maximum), as the left side of an mma over 16 tokens each; rescales what the
  // chunk has summed.
  OCTAVO_DEVICE void probabilities(float (&s)[4][4], uint32_t (&p)[2][4]) {
    float factor[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float top = row_max[half];
#pragma unroll
      for (int i = 0; i < 8; i++) top = fmaxf(top, s[i / 2][half * 2 + i % 2]);
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));  // a quad has the row's 32 tokens
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
      const float base = top == -INFINITY ? 0.0f : top;  // nothing seen yet: all become zero
      factor[half] = exp2_approx(row_max[half] - base);
      row_max[half] = top;
      float sum = 0.0f;
#pragma unroll
      for (int i = 0; i < 8; i++) {
        float& x = s[i / 2][half * 2 + i % 2];
        x = exp2_approx(x - base);
        sum += x;
      }
      row_sum[half] = fmaf(row_sum[half], factor[half], sum);
    }
#pragma unroll
    for (int n = 0; n < 4; n++) {
      p[n / 2][n % 2 * 2] = pack2<T>(s[n][0], s[n][1]);
      p[n / 2][n % 2 * 2 + 1] = pack2<T>(s[n][2], s[n][3]);
    }
    if (__any_sync(kAllLanes, factor[0] != 1.0f || factor[1] != 1.0f)) {
#pragma unroll
      for (int i = 0; i < kAnyPairs * 8; i++) o[i / 8][i / 4 % 2][i % 4] *= factor[i / 2 % 2];
    }
  }

  // This warp's columns: O += P·V.
  OCTAVO_DEVICE void weigh(const unsigned char* v_rows, int pitch, const uint32_t (&p)[2][4]) {
    const unsigned char* const from = v_rows + (lane & 15) * pitch + (lane >> 4) * 16;
#pragma unroll
    for (int j = 0; j < kAnyPairs; j++) {
      const int pair = warp + j * kAnyWarps;
      if (pair * 16 >= l.value) continue;  // the same for the warp
#pragma unroll
      for (int k = 0; k < 2; k++) {
        uint32_t b[4];
        ldmatrix_transposed(b, from + k * 16 * pitch + pair * 32);
        mma<T>(o[j][0], p[k], b[0], b[1]);
        mma<T>(o[j][1], p[k], b[2], b[3]);
      }
    }
  }

  // The chunk joins the rows, or goes to storage.
  OCTAVO_DEVICE void end_chunk(int chunk) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      SoftmaxState state;
      state.max = row_max[half];
      state.sum = row_sum[half] + __shfl_xor_sync(kAllLanes, row_sum[half], 1);
      state.sum += __shfl_xor_sync(kAllLanes, state.sum, 2);
      if (item->store == kPerChunk) {
        const int row = row_of(half);
        if (row >= item->num_rows || chunk * kChunkTokens >= end_seen(limits[row])) continue;
        write_partial(o, half, chunk - a.plan.folded_chunks[token_of(row)] + 1, state);
      } else {
        const auto f = total[half].merge(state);
#pragma unroll
        for (int i = 0; i < kAnyPairs * 4; i++) {
          float& mine = total_o[i / 4][i / 2 % 2][half * 2 + i % 2];
          mine = SoftmaxState::merged(mine, o[i / 4][i / 2 % 2][half * 2 + i % 2], f);
        }
      }
    }
    reset_chunk();
  }

  OCTAVO_DEVICE void reset_chunk() {
    row_max[0] = row_max[1] = -INFINITY;
    row_sum[0] = row_sum[1] = 0.0f;
    clear(o);
  }
  OCTAVO_DEVICE static void clear(float (&x)[kAnyPairs][2][4]) {
#pragma unroll
    for (int i = 0; i < kAnyPairs * 8; i++) x[i / 8][i / 4 % 2][i % 4] = 0.0f;
  }

  OCTAVO_DEVICE void write_partial(const float (&w)[kAnyPairs][2][4], int half, int index,
                                   const SoftmaxState& state) {
    const int row = row_of(half);
    const int64_t partial_row = static_cast<int64_t>(a.plan.partial_base[token_of(row)]) + index;
    const int64_t at = partial_row * a.num_heads + head_of(row);
    if (warp == 0 && t == 0) {
      a.partial_state[at * 2] = state.max;
      a.partial_state[at * 2 + 1] = state.sum;
    }
    float* out = a.partial_out + at * l.value;
    for_own_columns([&](int j, int n, int column) {
      *reinterpret_cast<float2*>(out + column) = {w[j][n][half * 2], w[j][n][half * 2 + 1]};
    });
  }
  OCTAVO_DEVICE void write_folded() {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      if (row_of(half) < item->num_rows) write_partial(total_o, half, 0, total[half]);
    }
  }
  OCTAVO_DEVICE void write_output() {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = row_of(half);
      if (row >= item->num_rows) continue;
      T* out = static_cast<T*>(a.out) + static_cast<int64_t>(sources[row]) * l.value;
      const float inverse = total[half].inverse(a.sinks, head_of(row));
      for_own_columns([&](int j, int n, int column) {
        const float* w = &total_o[j][n][half * 2];
        *reinterpret_cast<uint32_t*>(out + column) = pack2<T>(w[0] * inverse, w[1] * inverse);
      });
    }
  }

  // fn(j, n, column): the pairs of columns that this lane holds.
  template <class Fn>
  OCTAVO_DEVICE void for_own_columns(Fn fn) {
#pragma unroll
    for (int j = 0; j < kAnyPairs; j++) {
#pragma unroll
      for (int n = 0; n < 2; n++) {
        const int column = (warp + j * kAnyWarps) * 16 + n * 8 + t * 2;
        if (column < l.value) fn(j, n, column);
      }
    }
  }
};

}  // namespace octavo::device
