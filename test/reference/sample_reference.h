// The sampler's arithmetic as plainly as it can be said, in float64: whole vectors, full sorts.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "ops.h"

namespace octavo::reference {

inline std::vector<double> log_softmax(const std::vector<float>& x) {
  const double max = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (float v : x) sum += std::exp(v - max);
  std::vector<double> out;
  for (float v : x) out.push_back(v - max - std::log(sum));
  return out;
}

// Whether a mask lets a token be drawn; an empty one lets all.
inline bool unmasked(const std::vector<uint32_t>& mask, size_t id) {
  return mask.empty() || (mask[id / 32] >> (id % 32) & 1) != 0;
}

// Mask, lists, bias, penalties, in the order of ops.h.
inline std::vector<double> adjusted(const std::vector<float>& logits, const SampleRow& r,
                                    const std::vector<int32_t>& prompt,
                                    const std::vector<int32_t>& output,
                                    const std::vector<uint32_t>& mask) {
  std::vector<double> x(logits.begin(), logits.end());
  for (size_t i = 0; i < x.size(); ++i) {
    if (!unmasked(mask, i)) x[i] = -INFINITY;
  }
  if (r.num_allowed >= 0) {
    std::vector<double> only(x.size(), -INFINITY);
    for (int i = 0; i < r.num_allowed; ++i) only[r.allowed[i]] = x[r.allowed[i]];
    x = only;
  }
  for (int i = 0; i < r.num_banned; ++i) x[r.banned[i]] = -INFINITY;
  for (int i = 0; i < r.num_bias; ++i) x[r.bias_ids[i]] += r.bias[i];
  std::vector<int> count(x.size()), seen(x.size());
  for (int32_t id : prompt) seen[id] = 1;
  for (int32_t id : output) seen[id] = 1, ++count[id];
  for (size_t i = 0; i < x.size(); ++i) {
    if (seen[i]) x[i] = x[i] > 0 ? x[i] / r.repetition : x[i] * r.repetition;
    x[i] -= r.frequency * count[i] + r.presence * (count[i] > 0);
  }
  return x;
}

// Empty when nothing can be drawn. `prompt` and `output` are what the row has counted, `mask` is
// what set_masks was given for it.
inline std::vector<double> distribution(const std::vector<float>& logits, const SampleRow& r,
                                        const std::vector<int32_t>& prompt,
                                        const std::vector<int32_t>& output,
                                        const std::vector<uint32_t>& mask = {}) {
  std::vector<double> x = adjusted(logits, r, prompt, output, mask);
  const size_t n = x.size();
  const size_t best = std::max_element(x.begin(), x.end()) - x.begin();
  if (!(x[best] > -INFINITY)) return {};
  std::vector<double> p(n, 0.0);
  if (r.temperature == 0) {
    p[best] = 1;
    return p;
  }
  const double max = x[best];
  for (double& v : x) v = (v - max) / r.temperature;
  for (double& v : x) {
    if (std::exp(v) < r.min_p) v = -INFINITY;
  }
  if (r.top_k > 0 && static_cast<size_t>(r.top_k) < n) {
    std::vector<double> sorted = x;
    std::sort(sorted.rbegin(), sorted.rend());
    const double edge = sorted[r.top_k - 1];
    for (double& v : x) {
      if (v < edge) v = -INFINITY;
    }
  }
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += p[i] = std::exp(x[i]);
  for (double& v : p) v /= sum;
  if (r.top_p < 1) {
    std::vector<int> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return p[a] > p[b]; });
    double before = 0, kept = 0;
    for (int i : order) {
      const double mass = p[i];
      if (before >= r.top_p) p[i] = 0;
      before += mass;
      kept += p[i];
    }
    for (double& v : p) v /= kept;
  }
  return p;
}

}  // namespace octavo::reference
