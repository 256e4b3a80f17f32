// The head sizes that kernels have been made for; attention_any.cu has one for others.
#include "kernels/attention_any.h"
#include "kernels/attention_launch.cuh"

namespace octavo::device {
namespace {

// Null where the kernel for any size is meant.
const HeadSize* find(const HeadForm& head) {
  if (head.latent > 0) return nullptr;
  static const HeadSize* const all[] = {&head_size_32(), &head_size_64(),  &head_size_80(),
                                        &head_size_96(), &head_size_112(), &head_size_128(),
                                        &head_size_256()};
  for (const HeadSize* h : all) {
    if (h->size == head.size) return h;
  }
  return nullptr;
}

}  // namespace

bool attention_supports(const HeadForm& head, bool kv_8bit) {
  return find(head) != nullptr || (!kv_8bit && any_attention_supports(head));
}
bool attention_fits(const HeadForm& head, bool kv_8bit, const DeviceLimits& limits) {
  const HeadSize* const own = find(head);
  if (own == nullptr) return any_attention_fits(head, limits);
  return own->shared_bytes(kv_8bit) <= limits.shared_per_block;
}
int32_t attention_wide_rows(const HeadForm& head, bool kv_8bit, const DeviceLimits& limits) {
  const HeadSize* const own = find(head);
  return own == nullptr ? any_attention_wide_rows(head, limits) : own->wide_rows(kv_8bit, limits);
}
int32_t attention_grid(const HeadForm& head, bool kv_8bit, const DeviceLimits& limits) {
  const HeadSize* const own = find(head);
  return own == nullptr ? any_attention_grid(head, limits) : own->grid(kv_8bit, limits);
}
void launch_attention(const AttentionArgs& args, const AttentionLaunch& how,
                      const DeviceLimits& limits, cudaStream_t stream) {
  const HeadSize* const own = find({args.kv.head_size, args.kv.latent});
  if (own == nullptr) return launch_any_attention(args, how, limits, stream);
  own->launch(args, how, limits, stream);
}

}  // namespace octavo::device
