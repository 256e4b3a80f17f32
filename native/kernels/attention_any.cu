// How the kernel for any head size is launched.
#include "kernels/attention_any.cuh"

#include <algorithm>

#include "kernels/attention_any.h"

namespace octavo::device {
namespace {

// Grid: persistent, as paged_attention_kernel's.
template <class T, int kRowWarps>
__global__ void __launch_bounds__(kRowWarps* kAnyWarps * 32, 1)
    any_attention_kernel(const AttentionArgs a, const AnyLayout layout, bool wide) {
  OCTAVO_SHARED(shared);
  AnyAttentionBlock<T, kRowWarps> block(a, layout, shared);
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

// Merges the chunks of split rows in order. Grid: persistent; one warp for 128 columns of a
// (token, head).
constexpr int kMergeColumns = 128;
template <class T>
__global__ void __launch_bounds__(128) merge_any_chunks_kernel(const AttentionArgs a, int value) {
  const int lane = threadIdx.x % 32, pieces = (value + kMergeColumns - 1) / kMergeColumns;
  const int64_t work = static_cast<int64_t>(a.plan.header[2]) * a.num_heads * pieces;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * 4;
  for (int64_t w = static_cast<int64_t>(blockIdx.x) * 4 + threadIdx.x / 32; w < work; w += warps) {
    const int64_t row = w / pieces;
    const int column = static_cast<int>(w % pieces) * kMergeColumns + lane;
    const MergeToken merged = a.plan.merge_tokens[row / a.num_heads];
    const int head = static_cast<int>(row % a.num_heads);
    const int begin = a.reach.first_seen(a.positions[merged.token] + 1);
    const int folded = a.plan.folded_chunks[merged.token];
    const int first = begin / kChunkTokens < folded ? 0 : begin / kChunkTokens - folded + 1;
    const int last = (merged.end - 1) / kChunkTokens - folded + 1;
    const int64_t base = static_cast<int64_t>(a.plan.partial_base[merged.token]) * a.num_heads;
    SoftmaxState state;
    float sums[4] = {};
    for (int index = first; index <= last; index++) {
      const int64_t at = base + static_cast<int64_t>(index) * a.num_heads + head;
      SoftmaxState part;
      part.max = a.partial_state[at * 2];
      part.sum = a.partial_state[at * 2 + 1];
      const auto f = state.merge(part);
#pragma unroll
      for (int n = 0; n < 4; n++) {
        if (column + n * 32 >= value) continue;
        sums[n] = SoftmaxState::merged(sums[n], a.partial_out[at * value + column + n * 32], f);
      }
    }
    T* out = static_cast<T*>(a.out) +
             (static_cast<int64_t>(merged.token) * a.num_heads + head) * value + column;
    const float inverse = state.inverse(a.sinks, head);
#pragma unroll
    for (int n = 0; n < 4; n++) {
      if (column + n * 32 < value) out[n * 32] = narrow<T>(sums[n] * inverse);
    }
  }
}

// The most tiles in flight that fit; 0 stages where none does.
AnyLayout layout_of(const HeadForm& head, int row_warps, const DeviceLimits& d) {
  AnyLayout l{head.size, head.latent > 0 ? head.latent : head.size, head.latent, row_warps, 2};
  while (l.stages > 0 && l.bytes() > d.shared_per_block) l.stages--;
  return l;
}

constexpr int kWideRowWarps = 2;
int row_warps_of_wide(const HeadForm& head, const DeviceLimits& d) {
  return layout_of(head, kWideRowWarps, d).stages > 0 ? kWideRowWarps : 1;
}

int32_t grid_of(const AnyLayout& l, const DeviceLimits& d) {
  const int64_t fit = d.shared_per_multiprocessor / (l.bytes() + 1024);
  // Registers are kept for one block of 256 threads, or two of 128.
  return static_cast<int32_t>(std::clamp<int64_t>(fit, 1, 2 / l.row_warps)) * d.multiprocessors;
}

template <class T, int kRowWarps>
void launch_items(const AttentionArgs& args, const HeadForm& head, bool wide, const DeviceLimits& d,
                  cudaStream_t stream) {
  const AnyLayout l = layout_of(head, kRowWarps, d);
  launch(any_attention_kernel<T, kRowWarps>, dim3(static_cast<uint32_t>(grid_of(l, d))),
         dim3(kRowWarps * kAnyWarps * 32), static_cast<size_t>(l.bytes()), stream, args, l, wide);
}

template <class T>
void launch_as(const AttentionArgs& args, const AttentionLaunch& how, const DeviceLimits& d,
               cudaStream_t stream) {
  const HeadForm head{args.kv.head_size, args.kv.latent};
  launch_items<T, 1>(args, head, false, d, stream);
  if (how.wide) {
    if (row_warps_of_wide(head, d) == 1) {
      launch_items<T, 1>(args, head, true, d, stream);
    } else {
      launch_items<T, kWideRowWarps>(args, head, true, d, stream);
    }
  }
  if (how.merge) {
    launch(merge_any_chunks_kernel<T>, dim3(static_cast<uint32_t>(d.multiprocessors * 8)),
           dim3(128), 0, stream, args, args.kv.value_size());
  }
}

}  // namespace

bool any_attention_supports(const HeadForm& head) {
  const int32_t value = head.latent > 0 ? head.latent : head.size;
  return head.size > 0 && head.size % 8 == 0 && value % 8 == 0 && head.size <= kAnyMostHead &&
         value <= kAnyMostValue;
}
bool any_attention_fits(const HeadForm& head, const DeviceLimits& limits) {
  return layout_of(head, 1, limits).stages > 0;
}
int32_t any_attention_wide_rows(const HeadForm& head, const DeviceLimits& limits) {
  return 16 * row_warps_of_wide(head, limits);
}
int32_t any_attention_grid(const HeadForm& head, const DeviceLimits& limits) {
  return grid_of(layout_of(head, 1, limits), limits);
}
void launch_any_attention(const AttentionArgs& args, const AttentionLaunch& how,
                          const DeviceLimits& limits, cudaStream_t stream) {
  if (how.activation == DType::kF16) {
    launch_as<F16>(args, how, limits, stream);
  } else {
    launch_as<Bf16>(args, how, limits, stream);
  }
}

}  // namespace octavo::device
