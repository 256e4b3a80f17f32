// Paged attention, one kernel for decode, chunked prefill, prefix hits and shared prefixes: packed
// rows (query token × head of a GQA group) against a tile of 64 KV tokens at a time, gathered page
// by page with cp.async. A warp owns 16 rows: S, the maxima and P never leave its registers. Wide
// blocks have a warp for each 16 rows; narrow ones have 16 rows, of which every warp computes S for
// itself and O += P·V for its columns of the head: the tensor cores idle there anyway, and nothing
// is exchanged. On Hopper the four warps of 64 rows multiply as a warpgroup. So a row's sums have
// one order, whatever the number of rows beside it: that is what makes prefill and decode agree in
// bits. Numerics: S and O in float, softmax base 2, P rounded to T.
#pragma once

#include "kernels/attention_shape.cuh"
#include "kernels/softmax_state.cuh"

namespace octavo::device {

template <class T, class Shape>
struct AttentionBlock {
  using Rows = typename Shape::Rows;
  static constexpr int kHead = Shape::kHead, kPairs = Shape::kPairs, kOwnPairs = Shape::kOwnPairs;
  static constexpr int kRows = Shape::kRows, kThreads = Shape::kThreads;
  static constexpr bool kKv8 = Shape::kKv8;

  const AttentionArgs& a;
  const int lane, g, t, row0, col_warp, group;
  unsigned char* q_rows;
  SeenByRows* seen;  // of this warp's rows, on Hopper of the warpgroup's
  int32_t* limits;   // [rows] one past the query's own position
  int32_t* begins;   // [rows] positions from here on are seen
  int32_t* sources;  // [rows] token · heads + head
  KvTiles<T, kHead, kThreads, kKv8, Shape::kWgmma> kv;
  const AttentionItem* item;

  uint32_t q[Shape::kKeepsQ ? kPairs : 1][4];
  // Over the tiles of a chunk; sums are of the lane's columns only.
  float o[kOwnPairs][2][4], row_max[2], row_sum[2];
  // Over the chunks so far.
  float total_o[kOwnPairs][2][4];
  SoftmaxState total[2];

  OCTAVO_DEVICE AttentionBlock(const AttentionArgs& args, unsigned char* shared)
      : a(args),
        lane(threadIdx.x % 32),
        g(lane / 4),
        t(lane % 4),
        row0(static_cast<int>(threadIdx.x) / 32 / Shape::kColWarps * 16),
        col_warp(threadIdx.x / 32 % Shape::kColWarps),
        group(args.num_heads / args.kv.num_kv_heads),
        q_rows(shared),
        seen(reinterpret_cast<SeenByRows*>(shared + Shape::seen_at(args.stages)) +
             threadIdx.x / 32),
        limits(reinterpret_cast<int32_t*>(shared + Shape::rows_at(args.stages))),
        begins(limits + kRows),
        sources(begins + kRows),
        kv(args, shared + Shape::kQBytes) {}

  OCTAVO_DEVICE int token_of(int row) const {
    return a.plan.token_list[item->token_first + (item->row_begin + row) / group];
  }
  OCTAVO_DEVICE int head_of(int row) const {
    return kv.kv_head * group + (item->row_begin + row) % group;
  }
  OCTAVO_DEVICE int row_of(int half) const { return row0 + half * 8 + g; }
  OCTAVO_DEVICE int first_seen(int row_limit) const { return a.reach.first_seen(row_limit); }
  // Limit 0: a row past the item's, which sees nothing.
  OCTAVO_DEVICE int end_seen(int row_limit) const {
    if (!a.reach.both || row_limit == 0) return row_limit;
    return a.reach.end_seen(row_limit, item->context);
  }

  OCTAVO_DEVICE void run(const AttentionItem& it, int head) {
    item = &it;
    const int first = max(it.chunk_begin * kChunkTokens, first_seen(it.min_limit));
    const int last = min(it.chunk_end * kChunkTokens, it.max_end);
    __syncthreads();  // the item before has left shared memory
    kv.begin(a.block_tables + it.table_start, head, first, last);
    find_rows();
    const int tile_begin = first / kTileTokens;
    const int tile_end = (last + kTileTokens - 1) / kTileTokens;
    for (int s = 0; s < a.stages - 1; s++) kv.load_tile(tile_begin + s, tile_end, s);
    __syncthreads();
    load_queries();  // wgmma sees them with the first tile
    __syncthreads();
    take_queries();
    clear(total_o);
    reset_chunk();
    int stage = 0;
    for (int tile = tile_begin; tile < tile_end; tile++) {
      kv.wait_for_tile(tile, tile_end, stage);
      const int begin = tile * kTileTokens, next = begin + kTileTokens;
      const SeenByRows here = *seen;
      if (begin < here.some_limit && next > here.some_begin) one_tile(begin, stage);
      if (next % kChunkTokens == 0 || tile + 1 == tile_end) end_chunk(begin / kChunkTokens);
      if (++stage == a.stages) stage = 0;
    }
    if (item->store == kToOutput) write_output();
    if (item->store == kFolded) write_folded();
  }

  OCTAVO_DEVICE void find_rows() {
    for (int row = threadIdx.x; row < kRows; row += kThreads) {
      const bool has = row < item->num_rows;
      const int token = has ? token_of(row) : 0;
      limits[row] = has ? a.positions[token] + 1 : 0;
      begins[row] = first_seen(limits[row]);
      sources[row] = has ? token * a.num_heads + head_of(row) : -1;
    }
  }
  OCTAVO_DEVICE void load_queries() {
    const T* from = static_cast<const T*>(a.q);
    constexpr int kChunks = kHead / 8;
#pragma unroll 2
    for (int i = threadIdx.x; i < kRows * kChunks; i += kThreads) {
      const int row = i / kChunks, chunk = i % kChunks, source = sources[row];
      uint4 value{0, 0, 0, 0};
      if (source >= 0) {
        value = *reinterpret_cast<const uint4*>(from + static_cast<int64_t>(source) * kHead +
                                                chunk * 8);
      }
      *reinterpret_cast<uint4*>(q_rows + Rows::offset(row, chunk)) = value;
    }
  }

  // Rows past the item's see nothing, and do not count for what the warp's rows see.
  OCTAVO_DEVICE void take_queries() {
    int most_limit = 0, least_limit = INT32_MAX;
#pragma unroll
    for (int i = 0; i < Shape::kUnit; i += 16) {
      const int row = row0 / Shape::kUnit * Shape::kUnit + i + lane % 16;
      most_limit = max(most_limit, limits[row]);
      if (row < item->num_rows) least_limit = min(least_limit, limits[row]);
    }
#pragma unroll
    for (int bits = 8; bits > 0; bits /= 2) {
      most_limit = max(most_limit, __shfl_xor_sync(kAllLanes, most_limit, bits));
      least_limit = min(least_limit, __shfl_xor_sync(kAllLanes, least_limit, bits));
    }
    // The others read it behind the barrier that says a tile is there.
    if (lane == 0) {
      *seen = {first_seen(most_limit), end_seen(least_limit), first_seen(least_limit),
               end_seen(most_limit)};
    }
    total[0] = total[1] = SoftmaxState{};
    if constexpr (Shape::kKeepsQ) {
#pragma unroll
      for (int k = 0; k < kPairs; k++) read_queries(q[k], k);
    }
  }
  OCTAVO_DEVICE void read_queries(uint32_t (&rows)[4], int k) const {
    ldmatrix(rows, q_rows + Rows::step(Rows::offset(row0 + (lane & 15), lane >> 4), k * 2));
  }

  OCTAVO_DEVICE void one_tile(int begin, int stage) {
    float s[8][4];
    scores(kv.keys(stage), s);
    if constexpr (kKv8) scale_keys(kv.scales(stage), s);
    float unit = a.scale_log2;
    if (a.softcap > 0 || a.alibi != nullptr) {
      bend(begin, s);
      unit = 1.0f;
    }
    if (begin + kTileTokens > seen->all_limit || begin < seen->all_begin) mask(begin, s);
    uint32_t p[4][4];
    probabilities(s, unit, p, kKv8 ? kv.scales(stage) + kTileTokens : nullptr);
    weigh(kv.values(stage), p);
  }

  // S = Q·Kᵀ: [n] is 8 tokens, in it the accumulator of an mma.
  OCTAVO_DEVICE void scores(const unsigned char* k_rows, float (&s)[8][4]) {
#pragma unroll
    for (int i = 0; i < 32; i++) s[i / 4][i % 4] = 0.0f;
    if constexpr (Shape::kWgmma) {
      scores_of_group(k_rows, s);
    } else {
      scores_of_warp(k_rows, s);
    }
  }
  OCTAVO_DEVICE void scores_of_warp(const unsigned char* k_rows, float (&s)[8][4]) {
    const int k_offset = Rows::offset((lane & 7) + (lane >> 4) * 8, lane >> 3 & 1);
    [[maybe_unused]] constexpr int kUnrolled =
        Shape::kKeepsQ ? kPairs : 2;  // more at once would not fit
#pragma unroll(kUnrolled)
    for (int k = 0; k < kPairs; k++) {
      uint32_t read_q[4];
      if constexpr (!Shape::kKeepsQ) read_queries(read_q, k);
      const uint32_t(&rows)[4] = Shape::kKeepsQ ? q[k] : read_q;
      const unsigned char* from = k_rows + Rows::step(k_offset, k * 2);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        uint32_t b[4];
        ldmatrix(b, from + j * 16 * Rows::kRowBytes);
        mma<T>(s[j * 2], rows, b[0], b[1]);
        mma<T>(s[j * 2 + 1], rows, b[2], b[3]);
      }
    }
  }

  OCTAVO_DEVICE void scores_of_group(const unsigned char* k_rows, float (&s)[8][4]) {
    float(&sums)[32] = reinterpret_cast<float(&)[32]>(s);
    wgmma_begin();
#pragma unroll
    for (int k = 0; k < kHead; k += kWgmmaK) {
      const unsigned char* rows = q_rows + Rows::offset(row0 / kWgmmaRows * kWgmmaRows, k / 64 * 8);
      const SharedMatrix left = shared_matrix(rows);
      const SharedMatrix right = shared_matrix(k_rows + Rows::offset(0, k / 64 * 8));
      wgmma<T, 64>(sums, from_k(left, k % 64), from_k(right, k % 64));
    }
    wgmma_commit();
    wgmma_wait<0>();
  }

  OCTAVO_DEVICE void scale_keys(const float* scales, float (&s)[8][4]) {
#pragma unroll
    for (int n = 0; n < 8; n++) {
      const float2 scale = *reinterpret_cast<const float2*>(scales + n * 8 + t * 2);
      s[n][0] *= scale.x;
      s[n][1] *= scale.y;
      s[n][2] *= scale.x;
      s[n][3] *= scale.y;
    }
  }

  // Soft-cap and ALiBi; what comes out is in units of log2.
  OCTAVO_DEVICE void bend(int begin, float (&s)[8][4]) {
    constexpr float kLog2E = 1.4426950408889634f;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = row_of(half), limit = limits[row];
      const float slope =
          a.alibi != nullptr && row < item->num_rows ? a.alibi[head_of(row)] * kLog2E : 0.0f;
#pragma unroll
      for (int i = 0; i < 16; i++) {
        float x = s[i / 2][half * 2 + i % 2] * a.scale_log2;
        if (a.softcap > 0) {
          const float cap = a.softcap * kLog2E;
          x = cap * tanhf(x / cap);
        }
        const int token = begin + i / 2 * 8 + t * 2 + i % 2;
        s[i / 2][half * 2 + i % 2] = fmaf(slope, static_cast<float>(token - limit + 1), x);
      }
    }
  }

  OCTAVO_DEVICE void mask(int begin, float (&s)[8][4]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int end = end_seen(limits[row_of(half)]), from = begins[row_of(half)];
#pragma unroll
      for (int i = 0; i < 16; i++) {
        const int token = begin + i / 2 * 8 + t * 2 + i % 2;
        float& x = s[i / 2][half * 2 + i % 2];
        if (token >= end || token < from) x = -INFINITY;
      }
    }
  }

  // P = 2^(unit · S − the new maximum), as the left side of an mma over 16 tokens each; rescales
  // what the chunk has summed.
  OCTAVO_DEVICE void probabilities(float (&s)[8][4], float unit, uint32_t (&p)[4][4],
                                   const float* v_scales) {
    float factor[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float tops[4];  // several chains, so that fewer instructions wait for each other
#pragma unroll
      for (int i = 0; i < 16; i++) {
        const float x = s[i / 2][half * 2 + i % 2];
        tops[i % 4] = i < 4 ? x : fmaxf(tops[i % 4], x);
      }
      float top = fmaxf(fmaxf(tops[0], tops[1]), fmaxf(tops[2], tops[3]));
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));  // a quad has the row's 64 tokens
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
      top = fmaxf(row_max[half], top * unit);
      const float base = top == -INFINITY ? 0.0f : top;  // nothing seen yet: all become zero
      factor[half] = exp2_approx(row_max[half] - base);
      row_max[half] = top;
      float sums[4];
#pragma unroll
      for (int i = 0; i < 16; i++) {
        float& x = s[i / 2][half * 2 + i % 2];
        x = exp2_approx(fmaf(x, unit, -base));
        sums[i % 4] = i < 4 ? x : sums[i % 4] + x;
      }
      row_sum[half] = fmaf(row_sum[half], factor[half], (sums[0] + sums[1]) + (sums[2] + sums[3]));
    }
#pragma unroll
    for (int n = 0; n < 8; n++) {
      if constexpr (kKv8) {
        const float2 scale = *reinterpret_cast<const float2*>(v_scales + n * 8 + t * 2);
        s[n][0] *= scale.x;
        s[n][1] *= scale.y;
        s[n][2] *= scale.x;
        s[n][3] *= scale.y;
      }
      p[n / 2][n % 2 * 2] = pack2<T>(s[n][0], s[n][1]);
      p[n / 2][n % 2 * 2 + 1] = pack2<T>(s[n][2], s[n][3]);
    }
    if (__any_sync(kAllLanes, factor[0] != 1.0f || factor[1] != 1.0f)) {
#pragma unroll
      for (int i = 0; i < kOwnPairs * 8; i++) o[i / 8][i / 4 % 2][i % 4] *= factor[i / 2 % 2];
    }
  }

  // This warp's columns of the head: O += P·V.
  OCTAVO_DEVICE void weigh(const unsigned char* v_rows, const uint32_t (&p)[4][4]) {
    if constexpr (Shape::kWgmma) {
      float(&sums)[kHead / 2] = reinterpret_cast<float(&)[kHead / 2]>(o);
      wgmma_begin();
#pragma unroll
      for (int k = 0; k < 4; k++) wgmma<T, kHead>(sums, p[k], shared_columns(v_rows, k * 16));
      wgmma_commit();
      wgmma_wait<0>();
    } else {
      weigh_by_warp(v_rows, p);
    }
  }
  OCTAVO_DEVICE void weigh_by_warp(const unsigned char* v_rows, const uint32_t (&p)[4][4]) {
    const int v_offset = Rows::step(Rows::offset(lane & 15, lane >> 4), col_warp * 2);
#pragma unroll
    for (int j = 0; j < kOwnPairs; j++) {
      if (!owns(j)) continue;
      const unsigned char* from = v_rows + Rows::step(v_offset, j * Shape::kColWarps * 2);
#pragma unroll
      for (int k = 0; k < 4; k++) {
        uint32_t b[4];
        ldmatrix_transposed(b, from + k * 16 * Rows::kRowBytes);
        mma<T>(o[j][0], p[k], b[0], b[1]);
        mma<T>(o[j][1], p[k], b[2], b[3]);
      }
    }
  }
  // Whether the warp's j-th pair of eight columns is one of the head's: the same for the warp.
  OCTAVO_DEVICE bool owns(int j) const {
    return kPairs % Shape::kColWarps == 0 || col_warp + j * Shape::kColWarps < kPairs;
  }

  // The chunk joins the rows, or goes to storage.
  OCTAVO_DEVICE void end_chunk(int chunk) {
    if (chunk * kChunkTokens >= seen->some_limit) return;  // nobody here sees it
#pragma unroll
    for (int half = 0; half < 2; half++) {
      SoftmaxState state;
      state.max = row_max[half];
      state.sum = row_sum[half] + __shfl_xor_sync(kAllLanes, row_sum[half], 1);
      state.sum += __shfl_xor_sync(kAllLanes, state.sum, 2);
      if (item->store == kPerChunk) {
        // Chunks that a row does not see have no storage: the merge does not ask for them.
        const int row = row_of(half);
        if (row >= item->num_rows || chunk * kChunkTokens >= end_seen(limits[row])) continue;
        write_partial(o, half, chunk - a.plan.folded_chunks[token_of(row)] + 1, state);
      } else {
        const auto f = total[half].merge(state);
#pragma unroll
        for (int i = 0; i < kOwnPairs * 4; i++) {
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
  OCTAVO_DEVICE static void clear(float (&x)[kOwnPairs][2][4]) {
#pragma unroll
    for (int i = 0; i < kOwnPairs * 8; i++) x[i / 8][i / 4 % 2][i % 4] = 0.0f;
  }

  OCTAVO_DEVICE void write_partial(const float (&w)[kOwnPairs][2][4], int half, int index,
                                   const SoftmaxState& state) {
    const int row = row_of(half);
    const int64_t partial_row = static_cast<int64_t>(a.plan.partial_base[token_of(row)]) + index;
    const int64_t at = partial_row * a.num_heads + head_of(row);
    if (col_warp == 0 && t == 0) {
      a.partial_state[at * 2] = state.max;
      a.partial_state[at * 2 + 1] = state.sum;
    }
    float* out = a.partial_out + at * kHead;
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
      T* out = static_cast<T*>(a.out) + static_cast<int64_t>(sources[row]) * kHead;
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
    for (int j = 0; j < kOwnPairs; j++) {
      if (!owns(j)) continue;
#pragma unroll
      for (int n = 0; n < 2; n++) fn(j, n, (col_warp + j * Shape::kColWarps) * 16 + n * 8 + t * 2);
    }
  }
};

}  // namespace octavo::device
