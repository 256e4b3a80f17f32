// The kernels of paged attention: items of the plan, and the merge of rows that were split.
#pragma once

#include "kernels/attention_block.cuh"

namespace octavo::device {

template <int kHead, bool kKv8>
using NarrowShape = AttentionShape<kHead, 1, 4, kKv8>;

// Wide blocks: eight warps, along rows as far as registers allow beside a warp's columns.
constexpr int wide_column_warps(int head_size, bool kv8) {
  int warps = 1;
  while (head_size > warps * (kv8 ? 112 : 128)) warps *= 2;
  return warps;
}
template <int kHead, bool kKv8>
using WideShape =
    AttentionShape<kHead, 8 / wide_column_warps(kHead, kKv8), wide_column_warps(kHead, kKv8), kKv8>;
// The same by warpgroups, for head sizes of which there are whole panels and registers enough.
template <int kHead>
constexpr bool kHasWgmma = kHead == 64 || kHead == 128;
template <int kHead, bool kKv8>
using HopperShape = AttentionShape<kHead, 8, 1, kKv8, true>;

// Blocks of a multiprocessor that registers are kept for.
template <class Shape>
constexpr int kMostBlocks = Shape::kRowWarps > 1  ? 1
                            : Shape::kHead <= 64  ? 3
                            : Shape::kHead <= 128 ? 2
                                                  : 1;

// Grid: persistent, any number of blocks. Items come longest first; a block takes them to and fro,
// (item, KV head) b, 2 · grid − 1 − b, 2 · grid + b, …, so that all get about the same.
template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kThreads, kMostBlocks<Shape>)
    paged_attention_kernel(const AttentionArgs a) {
  if constexpr (!Shape::kWgmma || kWgmmaHere) {
    OCTAVO_SHARED(shared);
    AttentionBlock<T, Shape> block(a, shared);
    const bool wide = Shape::kRowWarps > 1;
    const AttentionItem* items = wide ? a.plan.wide : a.plan.narrow;
    const int64_t work = static_cast<int64_t>(a.plan.header[wide ? 1 : 0]) * a.kv.num_kv_heads;
    for (int64_t first = 0; first < work; first += gridDim.x) {
      const bool fro = first / gridDim.x % 2 != 0;
      const int64_t w = first + (fro ? gridDim.x - 1 - blockIdx.x : blockIdx.x);
      if (w < work) {
        block.run(items[w / a.kv.num_kv_heads], static_cast<int>(w % a.kv.num_kv_heads));
      }
    }
  }
}

// Merges the chunks of split rows in order, as SoftmaxState::merge does. Its factors follow from
// the largest maximum so far, which has no order: lanes find those of 32 chunks side by side, and
// only multiplications wait for each other. Grid: persistent; one warp per (token, head).
template <class T, int kHead>
__global__ void __launch_bounds__(128) merge_chunks_kernel(const AttentionArgs a) {
  constexpr int kOwn = (kHead + 31) / 32, kAhead = kOwn <= 4 ? 8 : 4;  // rows read at once
  const int lane = threadIdx.x % 32;
  const int64_t work = static_cast<int64_t>(a.plan.header[2]) * a.num_heads;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * 4;
  for (int64_t w = static_cast<int64_t>(blockIdx.x) * 4 + threadIdx.x / 32; w < work; w += warps) {
    const int token = a.plan.merge_tokens[w / a.num_heads].token;
    const int head = static_cast<int>(w % a.num_heads);
    const int end = a.plan.merge_tokens[w / a.num_heads].end;
    const int begin = a.reach.first_seen(a.positions[token] + 1);
    const int folded = a.plan.folded_chunks[token];
    const int first = begin / kChunkTokens < folded ? 0 : begin / kChunkTokens - folded + 1;
    const int last = (end - 1) / kChunkTokens - folded + 1;
    const int64_t base = static_cast<int64_t>(a.plan.partial_base[token]) * a.num_heads + head;
    SoftmaxState state;
    float sums[kOwn] = {};
    for (int index = first; index <= last; index += 32) {
      const int count = min(32, last - index + 1);
      SoftmaxState part;
      if (lane < count) {
        const int64_t at = base + static_cast<int64_t>(index + lane) * a.num_heads;
        part.max = a.partial_state[at * 2];
        part.sum = a.partial_state[at * 2 + 1];
      }
      float most = part.max;  // of all up to this lane's
      for (int d = 1; d < 32; d *= 2) {
        const float other = __shfl_up_sync(kAllLanes, most, d);
        if (lane >= d) most = fmaxf(most, other);
      }
      most = fmaxf(most, state.max);
      SoftmaxState before = state;
      const float previous = __shfl_up_sync(kAllLanes, most, 1);
      if (lane > 0) before.max = previous;
      const auto factors = before.merge(part);
      for (int i = 0; i < count; i += kAhead) {
        float row[kAhead][kOwn];
#pragma unroll
        for (int j = 0; j < kAhead; j++) {
          const float* from =
              a.partial_out + (base + static_cast<int64_t>(index + i + j) * a.num_heads) * kHead;
#pragma unroll
          for (int n = 0; n < kOwn; n++) {
            const int column = n * 32 + lane;
            row[j][n] = i + j < count && column < kHead ? from[column] : 0.0f;
          }
        }
#pragma unroll
        for (int j = 0; j < kAhead; j++) {
          SoftmaxState::Factors f;
          f.mine = __shfl_sync(kAllLanes, factors.mine, i + j);
          f.other = __shfl_sync(kAllLanes, factors.other, i + j);
          const float sum = __shfl_sync(kAllLanes, part.sum, i + j);
          if (i + j >= count) break;  // the same for all lanes
          state.sum = SoftmaxState::merged(state.sum, sum, f);
#pragma unroll
          for (int n = 0; n < kOwn; n++) sums[n] = SoftmaxState::merged(sums[n], row[j][n], f);
        }
      }
      state.max = __shfl_sync(kAllLanes, most, count - 1);
    }
    T* out = static_cast<T*>(a.out) + (static_cast<int64_t>(token) * a.num_heads + head) * kHead;
    const float inverse = state.inverse(a.sinks, head);
#pragma unroll
    for (int n = 0; n < kOwn; n++) {
      const int column = n * 32 + lane;
      if (column < kHead) out[column] = narrow<T>(sums[n] * inverse);
    }
  }
}

}  // namespace octavo::device
