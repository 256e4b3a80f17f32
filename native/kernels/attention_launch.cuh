// All instantiations for one head size, and how they are launched. Each head size is a file of its
// own, so that they compile side by side: attention_64.cu and so on say OCTAVO_ATTENTION(64).
#pragma once

#include "kernels/attention.cuh"
#include "kernels/launchers.h"

namespace octavo::device {

// Rows of a wide item: as many as registers allow beside the columns that a warp of four holds.
constexpr int wide_tiles(int head_size) { return head_size <= 64 || head_size == 128 ? 4 : 2; }

// Tiles in flight: three where two blocks of an SM can have them, else two, else what fits.
template <class Shared>
int32_t choose_stages(const DeviceLimits& d) {
  const auto blocks = [&](int stages) {
    return d.shared_per_multiprocessor / (Shared::bytes(stages) + 1024);
  };
  if (blocks(3) >= 2) return 3;
  if (blocks(2) >= 2) return 2;
  for (int stages : {3, 2}) {
    if (Shared::bytes(stages) <= d.shared_per_block) return stages;
  }
  return 1;
}

template <class Shared>
int32_t blocks_at_once(const DeviceLimits& d, int32_t most) {
  const int64_t fit =
      d.shared_per_multiprocessor / (Shared::bytes(choose_stages<Shared>(d)) + 1024);
  return static_cast<int32_t>(fit < 1 ? 1 : fit > most ? most : fit) * d.multiprocessors;
}

template <class T, int kHead, bool kKv8>
void launch_attention_as(AttentionArgs args, const AttentionLaunch& how, const DeviceLimits& d,
                         cudaStream_t stream) {
  using Narrow = AttentionShared<kHead, 1, kKv8>;
  constexpr int kWide = wide_tiles(kHead);
  using Wide = AttentionShared<kHead, kWide, kKv8>;
  const dim3 block(kAttentionThreads);
  args.stages = choose_stages<Narrow>(d);
  launch(paged_attention_kernel<T, kHead, 1, kKv8>,
         dim3(static_cast<uint32_t>(blocks_at_once<Narrow>(d, 4))), block,
         static_cast<size_t>(Narrow::bytes(args.stages)), stream, args);
  if (how.wide) {
    args.stages = choose_stages<Wide>(d);
    launch(paged_attention_kernel<T, kHead, kWide, kKv8>,
           dim3(static_cast<uint32_t>(blocks_at_once<Wide>(d, 2))), block,
           static_cast<size_t>(Wide::bytes(args.stages)), stream, args);
  }
  if (how.merge) {
    launch(merge_chunks_kernel<T, kHead>, dim3(static_cast<uint32_t>(d.multiprocessors * 8)), block,
           0, stream, args);
  }
}

// Of one head size; the table in attention.cu chooses.
struct HeadSize {
  int32_t size;
  int32_t wide_rows;
  void (*launch)(const AttentionArgs&, const AttentionLaunch&, const DeviceLimits&, cudaStream_t);
  int32_t (*grid)(DType kv, const DeviceLimits&);
  int64_t (*shared_bytes)(bool kv_8bit);  // the least a block needs
};

template <int kHead>
HeadSize head_size() {
  HeadSize h;
  h.size = kHead;
  h.wide_rows = wide_tiles(kHead) * 16;
  h.launch = [](const AttentionArgs& args, const AttentionLaunch& how, const DeviceLimits& d,
                cudaStream_t stream) {
    const bool kv8 = is_8bit_cache(args.kv.dtype), f16 = how.activation == DType::kF16;
    const auto run =
        f16 ? (kv8 ? launch_attention_as<F16, kHead, true> : launch_attention_as<F16, kHead, false>)
            : (kv8 ? launch_attention_as<Bf16, kHead, true>
                   : launch_attention_as<Bf16, kHead, false>);
    run(args, how, d, stream);
  };
  h.grid = [](DType kv, const DeviceLimits& d) {
    return is_8bit_cache(kv) ? blocks_at_once<AttentionShared<kHead, 1, true>>(d, 4)
                             : blocks_at_once<AttentionShared<kHead, 1, false>>(d, 4);
  };
  h.shared_bytes = [](bool kv_8bit) -> int64_t {
    constexpr int kWide = wide_tiles(kHead);
    return kv_8bit ? AttentionShared<kHead, kWide, true>::bytes(1)
                   : AttentionShared<kHead, kWide, false>::bytes(1);
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
