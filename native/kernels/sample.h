// One draw from one row of logits, as ops.h's SampleRow says it, in a form that a kernel reads.
#pragma once

#include <cstdint>

#include "base/host_device.h"

namespace octavo::device {

constexpr int32_t kMaxSampledVocab = 1 << 19;

// Lists are [begin, begin + count) of SampleArgs::ints; bias values lie in ::floats.
struct SampleRequest {
  int64_t logits_row;
  double top_p;
  float temperature, min_p, repetition, frequency, presence;
  int32_t top_k;
  uint64_t seed, position;
  int32_t target;        // −1 = draw
  int32_t num_top;       // −1 = only the logprob
  int32_t top_begin;     // into the lists of best tokens
  int32_t top_drawable;  // 1 = they are of what may be drawn
  int32_t num_allowed;   // −1 = all
  int32_t num_banned, num_bias;
  int32_t allowed, banned, bias_ids, bias_values;  // begins
  int32_t counted;                                 // row of the counts, −1 = nothing was counted
  int32_t mask_row;                                // −1 = no mask
};

struct SampleResult {
  double logprob;
  double log_sum;  // log Σ e^logit
  int32_t token, rank;
};

struct SampleArgs {
  const float* logits = nullptr;  // [rows][vocab]
  int32_t vocab = 0;
  int32_t num_requests = 0;
  const SampleRequest* requests = nullptr;
  const int32_t* ints = nullptr;
  const float* floats = nullptr;
  float* values = nullptr;           // [num_requests][vocab], scratch
  const uint32_t* counts = nullptr;  // as CountArgs has them
  const uint32_t* masks = nullptr;   // as MaskArgs has them
  SampleResult* results = nullptr;   // [num_requests]
  // The best tokens of each request in no order, with their logits.
  int32_t* top_ids = nullptr;
  float* top_logits = nullptr;
};
constexpr int32_t kMaxSampleRequests = 64;  // of a launch

// What ops.h's TokenUpdate says; lists are [begin, begin + count) of CountArgs::ints.
struct CountRequest {
  int32_t row, begins;
  int32_t prompt_len, output_len;
  int32_t prompt, output;  // begins
};

struct CountArgs {
  const CountRequest* requests = nullptr;
  const int32_t* ints = nullptr;
  // [max_num_seqs][vocab]: occurrences in the output, with kInPrompt where the prompt has the
  // token.
  uint32_t* counts = nullptr;
  int32_t vocab = 0;
  int32_t num_requests = 0;
};
constexpr uint32_t kInPrompt = 1u << 31;

// Words of a mask: bit id % 32 of word id / 32 says whether a token may be drawn.
OCTAVO_HD constexpr int32_t mask_words_of(int32_t vocab) { return (vocab + 31) / 32; }

struct MaskArgs {
  const int32_t* rows;   // [num_updates] of the slab
  const uint32_t* bits;  // [num_updates][words]
  uint32_t* masks;       // [max_num_seqs][words]
  int32_t words, num_updates;
};

}  // namespace octavo::device
