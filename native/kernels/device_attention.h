// Of attention on a device: which there is, how its plan is made, and rows of heads that are
// multiplied with matrices of their own.
#pragma once

#include "kernels/attention_plan.h"
#include "kernels/launchers.h"

namespace octavo::device {

inline HeadForm form_of(const AttentionShape& a) { return {a.head_size, a.latent}; }
inline int32_t value_size_of(const AttentionShape& a) {
  return a.latent > 0 ? a.latent : a.head_size;
}

// Null, or a sentence why there is none.
const char* unsupported_attention(const AttentionShape& a, bool kv_8bit,
                                  const DeviceLimits& limits);

PlanShape plan_shape_of(const AttentionShape& a, const ModelShape& s, const DeviceLimits& limits,
                        bool share_prefixes);

// Tokens whose heads are multiplied at once.
constexpr int64_t kHeadRowsAtOnce = 512;
inline bool takes_heads(const HeadMatmulShape& m) { return m.in % 8 == 0 && m.out % 8 == 0; }
// Memory that head_part() needs for any of a model's products.
size_t bytes_of_heads(const ModelShape& s);
// Rows of p from `begin` on, as many as go together, with their places in that memory.
HeadRowsArgs head_part(const HeadMatmulParams& p, int64_t begin, void* memory);

}  // namespace octavo::device
