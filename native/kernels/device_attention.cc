#include "kernels/device_attention.h"

#include <algorithm>

#include "kernels/check_cuda.h"

namespace octavo::device {

namespace {
constexpr int64_t kPartialBytes = int64_t{64} << 20;  // of attention's partial rows

Router router_of(int32_t num_heads) {
  Router router;
  router.num_experts = num_heads;
  router.top_k = 1;
  return router;
}
int64_t aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }
}  // namespace

const char* unsupported_attention(const AttentionShape& a, bool kv_8bit,
                                  const DeviceLimits& limits) {
  // Tables are looked up for eight tokens at a time, and chunks are whole blocks.
  const int32_t block = a.block_size;
  if (block < 8 || block > kChunkTokens || (block & (block - 1)) != 0) {
    return "the CUDA kernels read KV blocks of 8, 16, 32, 64, 128 or 256 tokens; use such a "
           "blockSize";
  }
  const HeadForm head = form_of(a);
  if (!attention_supports(head, false)) {
    return "the CUDA kernels have head sizes of multiples of 8 up to 512, and latent rows of up "
           "to 512 + 64, not this model's; use device \"cpu\"";
  }
  if (!attention_supports(head, kv_8bit)) {
    return "the CUDA kernels read an 8-bit KV cache for head sizes 32, 64, 80, 96, 112, 128 and "
           "256 only; use kvCacheDtype \"auto\"";
  }
  if (!kv_8bit && !attention_fits(head, false, limits)) {
    return "this head size needs more shared memory than this GPU's blocks have; use device "
           "\"cpu\"";
  }
  if (!attention_fits(head, kv_8bit, limits)) {
    return "an 8-bit KV cache with this head size needs more shared memory than this GPU's "
           "blocks have; use kvCacheDtype \"auto\"";
  }
  return nullptr;
}

PlanShape plan_shape_of(const AttentionShape& a, const ModelShape& s, const DeviceLimits& limits,
                        bool share_prefixes) {
  PlanShape plan;
  plan.group = a.num_heads / a.num_kv_heads;
  plan.num_kv_heads = a.num_kv_heads;
  plan.reach = a.reach;
  plan.wide_rows = attention_wide_rows(form_of(a), s.kv_8bit, limits);
  plan.block_size = a.block_size;
  plan.kv_groups = a.groups;
  plan.grid = attention_grid(form_of(a), s.kv_8bit, limits);
  plan.max_partial_rows = kPartialBytes / (int64_t{a.num_heads} * (value_size_of(a) + 2) * 4);
  plan.max_items =
      s.max_num_batched_tokens * ceil_div(plan.group, kNarrowRows) + 4 * int64_t{plan.grid};
  plan.share_prefixes = share_prefixes;
  return plan;
}

size_t bytes_of_heads(const ModelShape& s) {
  const int64_t tokens = std::min<int64_t>(s.max_num_batched_tokens, kHeadRowsAtOnce);
  int64_t most = 0;
  for (const HeadMatmulShape& m : s.head_matmuls) {
    const int64_t places = tokens * m.num_heads;
    const int64_t routing = 4 * Routing::words(m.num_heads, places);
    most = std::max(most, aligned(2 * places * m.in) + aligned(2 * places * m.out) + routing);
  }
  return static_cast<size_t>(most);
}

HeadRowsArgs head_part(const HeadMatmulParams& p, int64_t begin, void* memory) {
  const Tensor& w = p.weight;
  HeadRowsArgs args;
  args.rows = std::min(kHeadRowsAtOnce, p.x.rows - begin);
  args.num_heads = p.num_heads;
  args.depth = w.cols;
  args.width = w.rows;
  args.rest = p.rest();
  const int64_t places = args.rows * p.num_heads;
  args.tile_rows = expert_tile_rows(places, p.num_heads);
  char* at = static_cast<char*>(memory);
  args.x = static_cast<const char*>(p.x.data) + begin * p.x.stride_bytes();
  args.out = static_cast<char*>(p.out.data) + begin * p.out.stride_bytes();
  args.gathered = at;
  args.products = at += aligned(2 * places * w.cols);
  args.routing = Routing(at + aligned(2 * places * w.rows), router_of(p.num_heads), places);
  return args;
}

}  // namespace octavo::device
