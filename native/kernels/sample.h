// One draw from one row of logits, as ops.h's SampleRow says it, in a form that a kernel reads.
#pragma once

#include <cstdint>

namespace octavo::device {

constexpr int32_t kMaxSampledVocab = 1 << 19;

// Lists are [begin, begin + count) of SampleArgs::ints; bias values lie in ::floats.
struct SampleRequest {
  int64_t logits_row;
  double top_p;
  float temperature, min_p, repetition, frequency, presence;
  int32_t top_k;
  uint64_t seed, position;
  int32_t target;       // −1 = draw
  int32_t num_top;      // −1 = only the logprob
  int32_t top_begin;    // into the lists of best tokens
  int32_t num_allowed;  // −1 = all
  int32_t num_banned, num_bias, prompt_len, output_len;
  int32_t allowed, banned, bias_ids, bias_values, prompt, output;  // begins
};

struct SampleResult {
  double logprob;
  int32_t token, rank;
};

struct SampleArgs {
  const float* logits = nullptr;  // [rows][vocab]
  int32_t vocab = 0;
  int32_t num_requests = 0;
  const SampleRequest* requests = nullptr;
  const int32_t* ints = nullptr;
  const float* floats = nullptr;
  float* values = nullptr;          // [num_requests][vocab], scratch
  uint32_t* counts = nullptr;       // [num_requests][vocab], zero between launches
  SampleResult* results = nullptr;  // [num_requests]
  int32_t* top_ids = nullptr;
  double* top_logprobs = nullptr;
};
constexpr int32_t kMaxSampleRequests = 64;  // of a launch

}  // namespace octavo::device
