// The addon's side of lib/wire/layout.ts: the same words, compared at load, and the checks that
// turn the buffers of one step into an owned StepInput before the call returns.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/limits.h"
#include "model/step.h"

namespace octavo {

// Word offsets; names and values are exported and compared with STEP_LAYOUT.
// clang-format off
#define OCTAVO_STEP_LAYOUT(X) \
  X(version, 8) X(headerWords, 23) X(headerVersion, 0) X(headerTotalWords, 1) \
  X(headerNumSeqs, 2) X(headerNumTokens, 3) X(headerNumCopies, 4) X(headerNumSamples, 5) \
  X(headerNumPromptRows, 6) X(headerSeqsAt, 7) X(headerTokensAt, 8) X(headerCopiesAt, 9) \
  X(headerSamplesAt, 10) X(headerPromptRowsAt, 11) X(headerExtrasAt, 12) X(headerNumSwapOuts, 13) \
  X(headerNumSwapIns, 14) X(headerSwapsAt, 15) X(headerNumGroups, 16) \
  X(headerHasStates, 17) X(headerRecordsAt, 18) X(headerNumStateOuts, 19) \
  X(headerNumStateIns, 20) X(headerNumRecordOuts, 21) X(headerNumRecordIns, 22) \
  X(swapWords, 2) X(swapDevice, 0) X(swapHost, 1) \
  X(seqWords, 5) X(seqQueryLen, 0) X(seqContextLen, 1) X(seqRow, 2) X(seqLongRope, 3) \
  X(seqNumBlocks, 4) X(stateWords, 2) X(stateIn, 0) X(stateOut, 1) X(noState, -1) \
  X(chunkTokens, kChunk) X(copyWords, 2) X(copySource, 0) X(copyTarget, 1) X(sampleWords, 5) \
  X(sampleTokenRow, 0) X(sampleSeqRow, 1) X(samplePosition, 2) X(sampleExtra, 3) \
  X(sampleMask, 4) X(promptRowWords, 3) \
  X(promptRowTokenRow, 0) X(promptRowTarget, 1) X(promptRowNumTop, 2) \
  X(extraCounted, 0) X(extraNumAllowed, 1) X(extraNumBanned, 2) X(extraNumBias, 3) \
  X(extraPromptLen, 4) X(extraOutputLen, 5) X(extraWords, 6) X(nothingNew, -1) \
  X(rowBegins, -1) X(everyToken, -1) X(asBefore, -2) X(noMask, 0) X(newMask, 1) X(maskAsBefore, 2) \
  X(matcherMask, 3) X(matcherMaskAndLists, 4) X(samplerDoubles, 10) X(samplerTemperature, 0) \
  X(samplerTopP, 1) X(samplerMinP, 2) X(samplerRepetition, 3) X(samplerFrequency, 4) \
  X(samplerPresence, 5) X(samplerTopK, 6) X(samplerNumLogprobs, 7) X(samplerSeedLow, 8) \
  X(samplerSeedHigh, 9)
// clang-format on

namespace layout {
#define X(name, value) inline constexpr int32_t name = value;
OCTAVO_STEP_LAYOUT(X)
#undef X
}  // namespace layout

// The arrays of a step as JS handed them over; valid only during the call.
struct StepBuffers {
  const int32_t* words = nullptr;
  int64_t num_words = 0;
  const int32_t* tables = nullptr;  // [max_num_seqs][EngineLimits::table_row()]
  int64_t num_table_words = 0;
  const double* samplers = nullptr;  // [max_num_seqs][samplerDoubles]
  int64_t num_sampler_doubles = 0;
  const int32_t* masks = nullptr;  // [max_num_seqs][⌈vocab / 32⌉]; null = no mask is new
  int64_t num_mask_words = 0;
  // Of the samples that say so, in their order: who makes their masks.
  std::vector<std::shared_ptr<const MaskSource>> matchers;
};

// What a row of the slabs keeps between steps. The backend keeps the counts themselves.
struct SlabRow {
  bool begun = false;        // its first sample came
  bool penalised = false;    // its ids are counted
  bool masked = false;       // it has had a mask since it began
  int32_t num_counted = 0;   // ids of prompt and output so far
  int32_t num_allowed = -1;  // −1 = every token
  std::vector<int32_t> allowed, bias_ids;
  std::vector<float> bias;
  // Of the step that is being read: has it a sample of this row, and where is what it brings.
  bool sampled = false;
  int64_t news_at = -1;  // into StepInput::extras, −1 = nothing
};

// Copies and checks everything; throws ERR_INVALID_STEP naming what is wrong, and then has changed
// no row. `rows` [max_num_seqs] are read by the step till it has ended.
void parse_step(const StepBuffers& in, const EngineLimits& limits, int32_t vocab_size,
                std::vector<SlabRow>* rows, StepInput* out);

}  // namespace octavo
