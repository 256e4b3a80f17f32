// How rows choose their experts, and what they have chosen.
#pragma once

#include <cstdint>
#include <utility>

#include "base/reach.h"

namespace octavo {

// What experts are scored by: softmax over all of them, the sigmoid of each, or softmax over those
// that were chosen by their logits.
enum class RouterScore : int32_t { kSoftmax = 0, kSigmoid = 1, kChosenSoftmax = 2 };

// How a row's experts are chosen and weighed: the best by score (+ choice_bias), ties to the lower
// id, only from the top_groups groups of neighbours whose group_best best scores sum highest. A
// weight is the score itself, divided by the sum of those chosen if `normalise`, times scale.
constexpr int32_t kMaxTopK = 32, kMaxGroupBest = 2;
struct Router {
  int32_t num_experts = 0, top_k = 0;
  RouterScore score = RouterScore::kSoftmax;
  bool normalise = false;
  float scale = 1;
  int32_t num_groups = 1, top_groups = 1, group_best = 1;
};

// Which experts the rows of a step go to; route fills it. The choices of all rows stand sorted by
// expert, those of one expert by row: each has a place among them.
struct Routing {
  int32_t num_experts = 0, top_k = 0;
  int64_t num_rows = 0;
  int32_t* experts = nullptr;  // [num_rows, top_k] best first
  float* weights = nullptr;    // [num_rows, top_k]
  int32_t* places = nullptr;   // [num_rows, top_k]
  int32_t* rows = nullptr;     // [num_rows · top_k] of each place
  int32_t* starts = nullptr;   // [num_experts + 1] first place of each expert
  int32_t* work = nullptr;     // [2 · (num_experts + num_rows · top_k)] the backend's own

  OCTAVO_HD int64_t num_places() const { return num_rows * top_k; }
  static constexpr int64_t words(int64_t num_experts, int64_t num_places) {
    return 6 * num_places + 3 * num_experts + 1;
  }
  // In memory of so many words; n rows.
  Routing(void* memory, const Router& router, int64_t n)
      : num_experts(router.num_experts), top_k(router.top_k), num_rows(n) {
    int32_t* at = static_cast<int32_t*>(memory);
    const auto take = [&](int64_t count) { return std::exchange(at, at + count); };
    weights = reinterpret_cast<float*>(take(num_places()));
    for (int32_t** array : {&experts, &places, &rows}) *array = take(num_places());
    starts = take(num_experts + 1);
    work = at;
  }
  Routing() = default;
};

}  // namespace octavo
