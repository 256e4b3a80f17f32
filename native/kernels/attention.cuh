// The kernels of paged attention: items of the plan, and the merge of rows that were split.
#pragma once

#include "kernels/attention_block.cuh"

namespace octavo::device {

// Grid: persistent, any number of blocks; block b takes (item, KV head) b, b + grid, …
template <class T, int kHead, int kTiles, bool kKv8>
__global__ void __launch_bounds__(kAttentionThreads, kTiles == 1 && kHead <= 128 ? 4 : 2)
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
