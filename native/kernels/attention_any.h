// The kernel for head sizes that none has been made for, as attention.cu chooses it.
#pragma once

#include "kernels/launchers.h"

namespace octavo::device {

bool any_attention_supports(const HeadForm& head);
bool any_attention_fits(const HeadForm& head, const DeviceLimits& limits);
int32_t any_attention_wide_rows(const HeadForm& head, const DeviceLimits& limits);
int32_t any_attention_grid(const HeadForm& head, const DeviceLimits& limits);
void launch_any_attention(const AttentionArgs& args, const AttentionLaunch& how,
                          const DeviceLimits& limits, cudaStream_t stream);

}  // namespace octavo::device
