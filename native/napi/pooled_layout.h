// The addon's side of POOLED_LAYOUT in lib/wire/layout.ts, and the checks that turn words into
// owned texts before the call returns.
#pragma once

#include <cstdint>

#include "model/limits.h"
#include "model/spec.h"
#include "model/step.h"

namespace octavo {

// Names and values are exported and compared with POOLED_LAYOUT.
// clang-format off
#define OCTAVO_POOLED_LAYOUT(X) \
  X(version, 1) X(headerWords, 6) X(headerVersion, 0) X(headerTotalWords, 1) \
  X(headerNumTexts, 2) X(headerNumTokens, 3) X(headerHasTokenTypes, 4) \
  X(headerNumTokenLogits, 5) X(textWords, 3) X(textLength, 0) X(textPooling, 1) \
  X(textLongRope, 2) X(poolMean, 0) X(poolCls, 1) X(poolLast, 2)
// clang-format on

namespace pooled_layout {
#define X(name, value) inline constexpr int32_t name = value;
OCTAVO_POOLED_LAYOUT(X)
#undef X
}  // namespace pooled_layout

// What of a model says which texts there can be.
struct PooledModel {
  int32_t vocab_size = 0, num_token_types = 0;
  bool has_head = false;
};

// Copies and checks everything; throws ERR_INVALID_STEP naming what is wrong.
void parse_pooled(const int32_t* words, int64_t num_words, const EngineLimits& limits,
                  const PooledModel& model, PooledInput* out);

}  // namespace octavo
