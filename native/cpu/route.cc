// Which experts rows go to, and the sum of what comes back: route and combine.
#include <algorithm>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "cpu/cpu_ops.h"
#include "cpu/kernels.h"

namespace octavo {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr float kLeastSum = 1e-20f;  // of weights that are divided by it

struct Best {
  float score;
  int32_t id;
};

// The best of what it is given, at most `most` of them, best first; ties and no numbers keep the
// order in which they come.
class BestList {
 public:
  BestList(Best* list, int32_t most) : list_(list), most_(most) {}
  void offer(float score, int32_t id) {
    if (!(score == score)) score = kLowest;
    if (count_ == most_ && !(score > list_[count_ - 1].score)) return;
    int32_t at = count_ == most_ ? count_ - 1 : count_++;
    for (; at > 0 && score > list_[at - 1].score; at--) list_[at] = list_[at - 1];
    list_[at] = {score, id};
  }

 private:
  Best* list_;
  int32_t most_, count_ = 0;
};

// One row: scores by `router`, then the chosen and their weights.
struct RowRouter {
  const CpuKernels& kernels;
  const RouteParams& p;
  float *scores, *choice;  // [num_experts] each
  Best* best;              // [max(top_k, num_groups)], then kMaxTopK more

  void score(const float* logits) const {
    const int64_t n = p.router.num_experts;
    if (p.router.score == RouterScore::kSigmoid) {
      kernels.exp_weights(logits, n, 0, -1, scores);
      for (int64_t i = 0; i < n; i++) scores[i] = 1 / (1 + scores[i]);
    } else if (p.router.score == RouterScore::kSoftmax) {
      const float max = kernels.row_max(logits, n);
      const double sum = kernels.exp_sum(logits, n, max);
      kernels.exp_weights(logits, n, max, 1, scores);
      for (int64_t i = 0; i < n; i++) scores[i] = static_cast<float>(scores[i] / sum);
    } else {
      std::memcpy(scores, logits, static_cast<size_t>(n) * sizeof(float));
    }
  }

  // Leaves −∞ where an expert's group is not among the best, as llama.cpp does. Transformers leaves
  // 0: an expert of another group is chosen there where all that are kept score below it.
  void keep_groups() const {
    const Router& r = p.router;
    const int32_t size = r.num_experts / r.num_groups;
    BestList groups(best, r.top_groups);
    Best* const inside = best + r.num_groups;
    for (int32_t g = 0; g < r.num_groups; g++) {
      BestList members(inside, r.group_best);
      for (int32_t i = 0; i < size; i++) members.offer(choice[g * size + i], i);
      float sum = 0;
      for (int32_t i = 0; i < r.group_best; i++) sum += inside[i].score;
      groups.offer(sum, g);
    }
    std::sort(best, best + r.top_groups, [](Best a, Best b) { return a.id < b.id; });
    for (int32_t g = 0, next = 0; g < r.num_groups; g++) {
      if (next < r.top_groups && best[next].id == g) {
        next++;
      } else {
        std::fill(choice + g * size, choice + (g + 1) * size, kLowest);
      }
    }
  }

  void run(int64_t row) const {
    const Router& r = p.router;
    const float* const logits = p.logits.f32() + row * r.num_experts;
    score(logits);
    // Where nothing is added to scores, logits say the same and say it more exactly.
    const float* by = logits;
    if (p.choice_bias != nullptr || r.num_groups > 1) {
      for (int32_t e = 0; e < r.num_experts; e++) {
        choice[e] = scores[e] + (p.choice_bias != nullptr ? p.choice_bias[e] : 0.0f);
      }
      if (r.num_groups > 1) keep_groups();
      by = choice;
    }
    BestList chosen(best, r.top_k);
    for (int32_t e = 0; e < r.num_experts; e++) chosen.offer(by[e], e);
    int32_t* const ids = p.out.experts + row * r.top_k;
    float* const weights = p.out.weights + row * r.top_k;
    for (int32_t k = 0; k < r.top_k; k++) {
      ids[k] = best[k].id;
      weights[k] = scores[ids[k]];
    }
    weigh(weights);
    if (p.expert_scale == nullptr) return;
    for (int32_t k = 0; k < r.top_k; k++) weights[k] *= p.expert_scale[ids[k]];
  }

  void weigh(float* weights) const {
    const Router& r = p.router;
    if (r.score == RouterScore::kChosenSoftmax) {
      kernels.exp_weights(weights, r.top_k, weights[0], 1, weights);
    }
    float sum = 0;
    for (int32_t k = 0; k < r.top_k; k++) sum += weights[k];
    const bool divides = r.normalise || r.score == RouterScore::kChosenSoftmax;
    const float by = divides ? (sum < kLeastSum ? kLeastSum : sum) : 1.0f;
    for (int32_t k = 0; k < r.top_k; k++) weights[k] = weights[k] / by * r.scale;
  }
};

// Choices in order of experts, those of one expert in order of rows.
void sort_choices(const Routing& r) {
  const int64_t n = r.num_places();
  std::fill(r.starts, r.starts + r.num_experts + 1, 0);
  for (int64_t i = 0; i < n; i++) r.starts[r.experts[i] + 1]++;
  for (int32_t e = 0; e < r.num_experts; e++) r.starts[e + 1] += r.starts[e];
  for (int32_t e = 0; e < r.num_experts; e++) r.work[e] = r.starts[e];
  for (int64_t i = 0; i < n; i++) {
    const int32_t place = r.work[r.experts[i]]++;
    r.places[i] = place;
    r.rows[place] = static_cast<int32_t>(i / r.top_k);
  }
}

constexpr int64_t kItemRows = 8;

}  // namespace

// logits [n, num_experts]
void cpu_route(void* context, const RouteParams& p) {
  const Router& r = p.router;
  OCTAVO_CHECK(p.logits.dtype == DType::kF32 && p.logits.cols == r.num_experts);
  OCTAVO_CHECK(p.logits.rows == p.out.num_rows && p.out.top_k == r.top_k);
  OCTAVO_CHECK(r.top_k >= 1 && r.top_k <= r.num_experts && r.top_k <= kMaxTopK);
  CpuContext& c = cpu_context(context);
  const int64_t n = p.logits.rows, experts = r.num_experts;
  // A list of the chosen or of groups, and one of a group's members behind it.
  const int64_t lists = std::max(r.top_k, r.num_groups) + int64_t{r.group_best};
  const size_t bytes =
      static_cast<size_t>(2 * experts) * sizeof(float) + static_cast<size_t>(lists) * sizeof(Best);
  for (Scratch& s : c.worker_scratch) s.get(bytes);
  for_each_item(c, 8 * n * experts, (n + kItemRows - 1) / kItemRows, [&](int64_t item, int worker) {
    float* const scores = static_cast<float*>(c.worker_scratch[worker].get(0));
    const RowRouter router{*c.kernels, p, scores, scores + experts,
                           reinterpret_cast<Best*>(scores + 2 * experts)};
    const int64_t end = std::min(n, (item + 1) * kItemRows);
    for (int64_t row = item * kItemRows; row < end; row++) router.run(row);
  });
  sort_choices(p.out);
}

// out, shared [n, cols], y [places, cols]
void cpu_combine(void* context, const CombineParams& p) {
  const Routing& r = p.routing;
  const int64_t cols = p.out.cols;
  OCTAVO_CHECK(p.out.rows == r.num_rows && p.y.rows == r.num_places() && p.y.cols == cols);
  OCTAVO_CHECK(p.shared.empty() || (p.shared.rows == r.num_rows && p.shared.cols == cols));
  CpuContext& c = cpu_context(context);
  const size_t bytes = static_cast<size_t>(cols) * sizeof(float);
  for (Scratch& s : c.worker_scratch) s.get(bytes);
  const int64_t work = kPointwiseCost * r.num_places() * cols;
  for_each_item(c, work, r.num_rows, [&](int64_t row, int worker) {
    float* const sum = static_cast<float*>(c.worker_scratch[worker].get(0));
    std::fill(sum, sum + cols, 0.0f);
    for (int64_t i = row * r.top_k; i < (row + 1) * r.top_k; i++) {
      const float* const y = p.y.f32() + r.places[i] * cols;
      c.kernels->add_scaled(sum, y, p.weighted ? r.weights[i] : 1.0f, cols);
    }
    if (!p.shared.empty()) {
      float by = 1;
      if (!p.shared_gate.empty()) {
        c.kernels->exp_weights(p.shared_gate.f32() + row, 1, 0, -1, &by);
        by = 1 / (1 + by);
      }
      c.kernels->add_scaled(sum, p.shared.f32() + row * cols, by, cols);
    }
    std::memcpy(p.out.f32() + row * cols, sum, bytes);
  });
}

}  // namespace octavo
