// All instantiations for one head size, and how they are launched. Each head size is a file of its
// own, so that they compile side by side: attention_64.cu and so on say OCTAVO_ATTENTION(64).
#pragma once

#include <algorithm>

#include "kernels/attention.cuh"
#include "kernels/launchers.h"

namespace octavo::device {

// Tiles in flight: three where as many blocks of a multiprocessor as registers are kept for can
// have them, else two, else what fits.
template <class Shape>
int32_t choose_stages(const DeviceLimits& d) {
  for (int stages : {3, 2}) {
    if (d.shared_per_multiprocessor / (Shape::bytes(stages) + 1024) >= kMostBlocks<Shape>) {
      return stages;
    }
  }
  for (int stages : {3, 2}) {
    if (Shape::bytes(stages) <= d.shared_per_block) return stages;
  }
  return 1;
}

template <class Shape>
int32_t blocks_at_once(const DeviceLimits& d) {
  const int64_t fit = d.shared_per_multiprocessor / (Shape::bytes(choose_stages<Shape>(d)) + 1024);
  return static_cast<int32_t>(std::clamp<int64_t>(fit, 1, kMostBlocks<Shape>)) * d.multiprocessors;
}

template <class T, class Shape>
void launch_items(AttentionArgs args, const DeviceLimits& d, cudaStream_t stream) {
  args.stages = choose_stages<Shape>(d);
  launch(paged_attention_kernel<T, Shape>, dim3(static_cast<uint32_t>(blocks_at_once<Shape>(d))),
         dim3(Shape::kThreads), static_cast<size_t>(Shape::bytes(args.stages)), stream, args);
}

// Whether warpgroups compute the wide items.
template <int kHead, bool kKv8>
bool takes_wgmma(const DeviceLimits& d) {
  if constexpr (kHasWgmma<kHead>) {
    return d.wgmma && HopperShape<kHead, kKv8>::bytes(2) <= d.shared_per_block;
  }
  return false;
}
template <class T, int kHead, bool kKv8>
void launch_wide(const AttentionArgs& args, const DeviceLimits& d, cudaStream_t stream) {
  if constexpr (kHasWgmma<kHead>) {
    if (takes_wgmma<kHead, kKv8>(d)) {
      return launch_items<T, HopperShape<kHead, kKv8>>(args, d, stream);
    }
  }
  launch_items<T, WideShape<kHead, kKv8>>(args, d, stream);
}
template <int kHead, bool kKv8>
int32_t wide_rows(const DeviceLimits& d) {
  return takes_wgmma<kHead, kKv8>(d) ? 8 * 16 : WideShape<kHead, kKv8>::kRows;
}

template <class T, int kHead, bool kKv8>
void launch_attention_as(const AttentionArgs& args, const AttentionLaunch& how,
                         const DeviceLimits& d, cudaStream_t stream) {
  launch_items<T, NarrowShape<kHead, kKv8>>(args, d, stream);
  if (how.wide) launch_wide<T, kHead, kKv8>(args, d, stream);
  if (how.merge) {
    launch(merge_chunks_kernel<T, kHead>, dim3(static_cast<uint32_t>(d.multiprocessors * 8)),
           dim3(128), 0, stream, args);
  }
}

// Of one head size; the table in attention.cu chooses.
struct HeadSize {
  int32_t size;
  int32_t (*wide_rows)(bool kv_8bit, const DeviceLimits&);
  void (*launch)(const AttentionArgs&, const AttentionLaunch&, const DeviceLimits&, cudaStream_t);
  int32_t (*grid)(bool kv_8bit, const DeviceLimits&);
  int64_t (*shared_bytes)(bool kv_8bit);  // the least a block needs
};

template <int kHead>
HeadSize head_size() {
  HeadSize h;
  h.size = kHead;
  h.wide_rows = [](bool kv_8bit, const DeviceLimits& d) {
    return kv_8bit ? wide_rows<kHead, true>(d) : wide_rows<kHead, false>(d);
  };
  h.launch = [](const AttentionArgs& args, const AttentionLaunch& how, const DeviceLimits& d,
                cudaStream_t stream) {
    const bool kv8 = is_8bit_cache(args.kv.dtype), f16 = how.activation == DType::kF16;
    const auto run =
        f16 ? (kv8 ? launch_attention_as<F16, kHead, true> : launch_attention_as<F16, kHead, false>)
            : (kv8 ? launch_attention_as<Bf16, kHead, true>
                   : launch_attention_as<Bf16, kHead, false>);
    run(args, how, d, stream);
  };
  h.grid = [](bool kv_8bit, const DeviceLimits& d) {
    return kv_8bit ? blocks_at_once<NarrowShape<kHead, true>>(d)
                   : blocks_at_once<NarrowShape<kHead, false>>(d);
  };
  h.shared_bytes = [](bool kv_8bit) -> int64_t {
    return kv_8bit ? WideShape<kHead, true>::bytes(1) : WideShape<kHead, false>::bytes(1);
  };
  return h;
}

#define OCTAVO_ATTENTION(size)                   \
  const HeadSize& head_size_##size() {           \
    static const HeadSize h = head_size<size>(); \
    return h;                                    \
  }

const HeadSize& head_size_32();
const HeadSize& head_size_64();
const HeadSize& head_size_80();
const HeadSize& head_size_96();
const HeadSize& head_size_112();
const HeadSize& head_size_128();
const HeadSize& head_size_256();

}  // namespace octavo::device
