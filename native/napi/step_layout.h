// The addon's side of lib/core/step.ts: the same words, compared at load, and the checks that turn
// the buffers of one step into an owned StepInput before the call returns.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/step.h"

namespace octavo {

// Word offsets; names and values are exported and compared with STEP_LAYOUT.
// clang-format off
#define OCTAVO_STEP_LAYOUT(X) \
  X(version, 2) X(headerWords, 16) X(headerVersion, 0) X(headerTotalWords, 1) \
  X(headerNumSeqs, 2) X(headerNumTokens, 3) X(headerNumCopies, 4) X(headerNumSamples, 5) \
  X(headerNumPromptRows, 6) X(headerSeqsAt, 7) X(headerTokensAt, 8) X(headerCopiesAt, 9) \
  X(headerSamplesAt, 10) X(headerPromptRowsAt, 11) X(headerExtrasAt, 12) X(headerNumSwapOuts, 13) \
  X(headerNumSwapIns, 14) X(headerSwapsAt, 15) X(swapWords, 2) X(swapDevice, 0) X(swapHost, 1) \
  X(seqWords, 4) \
  X(seqQueryLen, 0) X(seqContextLen, 1) X(seqRow, 2) X(seqNumBlocks, 3) X(copyWords, 2) \
  X(copySource, 0) X(copyTarget, 1) X(sampleWords, 4) X(sampleTokenRow, 0) \
  X(sampleSeqRow, 1) X(samplePosition, 2) X(sampleExtra, 3) X(promptRowWords, 3) \
  X(promptRowTokenRow, 0) X(promptRowTarget, 1) X(promptRowNumTop, 2) \
  X(extraNumAllowed, 0) X(extraNumBanned, 1) X(extraNumBias, 2) X(extraPromptLen, 3) \
  X(extraOutputLen, 4) X(extraWords, 5) X(samplerDoubles, 10) X(samplerTemperature, 0) \
  X(samplerTopP, 1) X(samplerMinP, 2) X(samplerRepetition, 3) X(samplerFrequency, 4) \
  X(samplerPresence, 5) X(samplerTopK, 6) X(samplerNumLogprobs, 7) X(samplerSeedLow, 8) \
  X(samplerSeedHigh, 9)
// clang-format on

namespace layout {
#define X(name, value) inline constexpr int32_t name = value;
OCTAVO_STEP_LAYOUT(X)
#undef X
}  // namespace layout

// The three arrays of a step as JS handed them over; valid only during the call.
struct StepBuffers {
  const int32_t* words = nullptr;
  int64_t num_words = 0;
  const int32_t* tables = nullptr;  // [max_num_seqs][blocks_per_row]
  int64_t num_table_words = 0;
  const double* samplers = nullptr;  // [max_num_seqs][samplerDoubles]
  int64_t num_sampler_doubles = 0;
};

// What a step's words are checked against beside the limits.
struct StepModel {
  int32_t vocab_size = 0;
  int32_t window = 0;  // ModelConfig::widest_window()
};

// Copies and checks everything; throws ERR_INVALID_STEP naming what is wrong.
void parse_step(const StepBuffers& in, const EngineLimits& limits, const StepModel& model,
                StepInput* out);

}  // namespace octavo
