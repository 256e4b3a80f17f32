// The head sizes there are. Anything else is refused when a model is loaded.
#include "kernels/attention_launch.cuh"

namespace octavo::device {
namespace {

const HeadSize* find(int32_t size) {
  static const HeadSize* const all[] = {&head_size_32(), &head_size_64(),  &head_size_80(),
                                        &head_size_96(), &head_size_112(), &head_size_128(),
                                        &head_size_256()};
  for (const HeadSize* h : all) {
    if (h->size == size) return h;
  }
  return nullptr;
}

}  // namespace

bool attention_supports(int32_t size) { return find(size) != nullptr; }
bool attention_fits(int32_t size, bool kv_8bit, const DeviceLimits& limits) {
  return find(size)->shared_bytes(kv_8bit) <= limits.shared_per_block;
}
int32_t attention_wide_rows(int32_t size, bool kv_8bit, const DeviceLimits& limits) {
  return find(size)->wide_rows(kv_8bit, limits);
}
int32_t attention_grid(int32_t size, bool kv_8bit, const DeviceLimits& limits) {
  return find(size)->grid(kv_8bit, limits);
}
void launch_attention(const AttentionArgs& args, const AttentionLaunch& how,
                      const DeviceLimits& limits, cudaStream_t stream) {
  find(args.kv.head_size)->launch(args, how, limits, stream);
}

}  // namespace octavo::device
