// Draws for the tests of samplers: rows of logits, what is asked of them, memory for the answers.
#pragma once

#include <algorithm>
#include <numeric>

#include "native/op_test.h"

namespace octavo::test {

// A SampleRow with the memory behind its pointers.
struct Draw {
  SampleRow row;
  std::vector<int32_t> allowed, banned, bias_ids, prompt, output;
  std::vector<float> bias;
  std::vector<uint32_t> mask;  // empty = none
  int32_t token = -7, rank = -7;
  double logprob = 7;
  std::vector<int32_t> top_ids;
  std::vector<double> top_logprobs;

  SampleRow& connect() {
    row.num_allowed = allowed.empty() ? -1 : static_cast<int32_t>(allowed.size());
    row.num_banned = static_cast<int32_t>(banned.size());
    row.num_bias = static_cast<int32_t>(bias.size());
    row.allowed = allowed.data();
    row.banned = banned.data();
    row.bias_ids = bias_ids.data();
    row.bias = bias.data();
    token = rank = -7, logprob = 7;
    top_ids.assign(static_cast<size_t>(std::max(0, row.num_top)), -7);
    top_logprobs.assign(top_ids.size(), 7);
    row.token = &token;
    row.logprob = &logprob;
    row.rank = &rank;
    row.top_ids = top_ids.data();
    row.top_logprobs = top_logprobs.data();
    return row;
  }
  bool same_answer(const Draw& other) const {
    const auto same = [](double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); };
    return token == other.token && rank == other.rank && same(logprob, other.logprob) &&
           top_ids == other.top_ids &&
           std::equal(top_logprobs.begin(), top_logprobs.end(), other.top_logprobs.begin(), same);
  }
};

inline std::vector<int32_t> some_ids(Random& random, int64_t vocab, int64_t most, bool unique) {
  std::vector<int32_t> ids;
  for (int64_t n = random.between(0, most); n > 0; n--) {
    const int32_t id = static_cast<int32_t>(random.between(0, vocab - 1));
    if (!unique || std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

// All kinds: nothing, hardly anything, everything but little, and bits past the vocabulary, which
// mean nothing.
inline std::vector<uint32_t> random_mask(Random& random, int64_t vocab) {
  std::vector<uint32_t> mask(static_cast<size_t>(vocab + 31) / 32);
  const int64_t kind = random.between(0, 11);
  auto& bits = random.engine();
  for (uint32_t& word : mask) {
    word = static_cast<uint32_t>(bits());
    if (kind < 3) word &= static_cast<uint32_t>(bits() & bits() & bits());
    if (kind > 8) word |= static_cast<uint32_t>(bits() | bits() | bits());
    if (kind == 0) word = 0;
    if (kind == 3) word = random.chance(50) ? UINT32_MAX : 0;
  }
  return mask;
}

// Sometimes with ties, or with values that cannot be drawn.
inline std::vector<float> random_logits(Random& random, int64_t vocab) {
  const float spread = random.pick({0.1f, 0.5f, 3.0f, 8.0f, 12.0f});
  std::vector<float> logits;
  for (int64_t i = 0; i < vocab; i++) logits.push_back(random.normal() * spread);
  if (random.chance(25)) {
    for (float& x : logits) x = std::round(x);
  }
  if (random.chance(20)) {
    for (int64_t i = 0; i < vocab; i += random.between(1, 9)) logits[i] = -INFINITY;
    logits[random.between(0, vocab - 1)] = 1;
  }
  return logits;
}

// `exact`: of a sampler that keeps to float64 where temperatures are extreme.
inline Draw random_draw(Random& random, int32_t vocab, bool exact) {
  Draw d;
  SampleRow& r = d.row;
  const auto real = [&](double low, double high) {
    return low + (high - low) * static_cast<double>(random.between(0, 1 << 30)) * 0x1p-30;
  };
  r.temperature = random.chance(20) ? 0 : random.pick({0.3, 0.7, 1.0, 1.0, 1.7});
  if (exact && random.chance(20)) r.temperature = random.pick({1e-3, 100.0});
  // Borders that no sum of equal masses is.
  if (random.chance(40)) r.top_p = random.chance(50) ? real(1e-6, 1) : real(0.9, 1);
  if (random.chance(40)) r.top_k = static_cast<int32_t>(random.pick({1, 2, 7, 50, 100000}));
  if (random.chance(10)) r.top_k = static_cast<int32_t>(random.between(1, vocab + 5));
  if (random.chance(30)) r.min_p = real(0, 1) * real(0, 1);
  if (random.chance(25)) r.repetition = real(0.5, 2);
  if (random.chance(25)) r.frequency = real(-1, 1);
  if (random.chance(25)) r.presence = real(-1, 1);
  if (has_penalties(r)) {
    d.prompt = some_ids(random, vocab, 30, false);
    d.output = some_ids(random, vocab, 60, false);
  }
  if (random.chance(15)) d.allowed = some_ids(random, vocab, 12, true);
  if (random.chance(20)) d.banned = some_ids(random, vocab, 9, true);
  if (random.chance(20)) d.bias_ids = some_ids(random, vocab, 9, true);
  const float strength = random.pick({3.0f, 40.0f});
  for (size_t i = 0; i < d.bias_ids.size(); i++) d.bias.push_back(random.normal() * strength);
  if (random.chance(20)) d.mask = random_mask(random, vocab);
  r.seed = random.engine()();
  r.position = static_cast<uint64_t>(random.between(0, 5000));
  if (random.chance(15)) r.target = static_cast<int32_t>(random.between(0, vocab - 1));
  r.top_drawable = r.target < 0 && random.chance(25);
  r.num_top = std::min(vocab, static_cast<int32_t>(random.pick({-1, 0, 1, 5, 20, 100, 5000})));
  return d;
}

}  // namespace octavo::test
