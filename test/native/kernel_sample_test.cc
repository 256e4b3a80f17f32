// The device's sampler against float64: the distribution decides which token a known random number
// must give; logprobs, ranks and best tokens; rows that have nothing to draw from.
#include <numeric>

#include "base/rng.h"
#include "native/kernel_test.h"
#include "reference/sample_reference.h"

namespace octavo::test {
namespace {

struct Lists {
  std::vector<int32_t> allowed, banned, bias_ids, prompt, output;
  std::vector<float> bias;
};

struct Draw {
  SampleRow row;
  Lists lists;
  int32_t token = -7, rank = -7;
  double logprob = 7;
  std::vector<int32_t> top_ids;
  std::vector<double> top_logprobs;
};

std::vector<int32_t> some_ids(Random& random, int32_t vocab, int64_t most, bool unique) {
  std::vector<int32_t> ids;
  for (int64_t n = random.between(0, most); n > 0; n--) {
    const int32_t id = static_cast<int32_t>(random.between(0, vocab - 1));
    if (!unique || std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

void fill(Random& random, int32_t vocab, int64_t rows, Draw& d) {
  SampleRow& r = d.row;
  r.logits_row = random.between(0, rows - 1);
  r.temperature = random.chance(20) ? 0 : random.pick({0.3, 0.8, 1.0, 1.7});
  if (random.chance(40)) r.top_p = random.pick({0.05, 0.5, 0.9, 0.99});
  if (random.chance(40)) r.top_k = static_cast<int32_t>(random.pick({1, 2, 7, 50, 100000}));
  if (random.chance(30)) r.min_p = random.pick({0.01, 0.2});
  r.seed = static_cast<uint64_t>(random.between(0, INT64_MAX));
  r.position = static_cast<uint64_t>(random.between(0, 5000));
  if (random.chance(25)) {
    r.repetition = 1.3, r.frequency = 0.4, r.presence = -0.3;
    d.lists.prompt = some_ids(random, vocab, 30, false);
    d.lists.output = some_ids(random, vocab, 60, false);
  }
  if (random.chance(15)) d.lists.allowed = some_ids(random, vocab, 9, true);
  if (random.chance(20)) d.lists.banned = some_ids(random, vocab, 9, true);
  if (random.chance(20)) d.lists.bias_ids = some_ids(random, vocab, 9, true);
  for (size_t i = 0; i < d.lists.bias_ids.size(); i++) d.lists.bias.push_back(random.normal() * 3);
  if (random.chance(15)) r.target = static_cast<int32_t>(random.between(0, vocab - 1));
  r.num_top = static_cast<int32_t>(random.pick({-1, 0, 1, 5, 20}));
  r.num_top = std::min(r.num_top, vocab);
}

void connect(Draw& d) {
  SampleRow& r = d.row;
  const auto list = [](const std::vector<int32_t>& ids, int32_t& count, const int32_t*& data) {
    count = static_cast<int32_t>(ids.size());
    data = ids.data();
  };
  if (!d.lists.allowed.empty()) list(d.lists.allowed, r.num_allowed, r.allowed);
  list(d.lists.banned, r.num_banned, r.banned);
  list(d.lists.bias_ids, r.num_bias, r.bias_ids);
  list(d.lists.prompt, r.prompt_len, r.prompt);
  list(d.lists.output, r.output_len, r.output);
  r.bias = d.lists.bias.data();
  d.top_ids.assign(static_cast<size_t>(std::max(0, r.num_top)), -7);
  d.top_logprobs.assign(d.top_ids.size(), 7);
  r.token = &d.token;
  r.logprob = &d.logprob;
  r.rank = &d.rank;
  r.top_ids = d.top_ids.data();
  r.top_logprobs = d.top_logprobs.data();
}

// Near a border of top-k, top-p, min-p or of the cumulated distribution either side is right.
bool may_be_drawn(const std::vector<float>& logits, const SampleRow& r, int32_t token) {
  constexpr double kClose = 2e-5;
  for (double nudge : {0.0, -kClose, kClose}) {
    SampleRow near = r;
    if (r.top_p < 1) near.top_p = r.top_p + nudge;
    if (r.min_p > 0) near.min_p = r.min_p * (1 + nudge);
    const std::vector<double> p = reference::distribution(logits, near);
    if (p.empty()) return token < 0;
    const double u = uniform(r.seed, r.position);
    double before = 0;
    for (size_t i = 0; i < p.size(); i++) {
      const double after = before + p[i];
      if (static_cast<int32_t>(i) == token && p[i] > 0 && u >= before - kClose &&
          u < after + kClose) {
        return true;
      }
      before = after;
    }
  }
  return false;
}

void judge(const std::vector<float>& logits, const Draw& d) {
  const SampleRow& r = d.row;
  const bool usable =
      std::all_of(logits.begin(), logits.end(), [](float x) { return x < INFINITY; }) &&
      *std::max_element(logits.begin(), logits.end()) > -INFINITY;
  if (!usable) {
    expect(d.token == -1 && std::isnan(d.logprob), "sample: token %d from a useless row", d.token);
    return;
  }
  if (r.target >= 0) {
    expect(d.token == r.target, "sample: another token than asked about");
  } else {
    expect(may_be_drawn(logits, r, d.token),
           "sample: token %d (temperature %g, top_p %g, top_k %d, min_p %g)", d.token,
           r.temperature, r.top_p, r.top_k, r.min_p);
  }
  if (d.token < 0) return;
  const auto logprobs = reference::log_softmax(logits);
  if (std::isfinite(logits[d.token])) {
    expect_near("logprob", d.logprob, logprobs[d.token], 1e-5 * (1 + std::fabs(d.logprob)));
  }
  if (r.num_top < 0) return;
  int32_t rank = 1;
  for (float x : logits) rank += x > logits[d.token];
  expect(d.rank == rank, "sample: rank %d, want %d", d.rank, rank);
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  for (int32_t i = 0; i < r.num_top; i++) {
    expect(d.top_ids[i] == order[i], "sample: best token %d is %d, want %d", i, d.top_ids[i],
           order[i]);
  }
}

void sample_case(Random& random) {
  const int32_t vocab = static_cast<int32_t>(random.pick({1, 2, 31, 600, 1500, 4096}));
  const int64_t rows = random.between(1, 6);
  std::vector<std::vector<float>> logits;
  std::vector<float> all;
  for (int64_t i = 0; i < rows; i++) {
    const float spread = random.pick({0.5f, 3.0f, 12.0f});
    std::vector<float> row;
    for (int32_t v = 0; v < vocab; v++) row.push_back(random.normal() * spread);
    if (random.chance(20)) {  // ties, and values that cannot be drawn
      for (float& x : row) x = std::round(x);
      row[random.between(0, vocab - 1)] = -INFINITY;
    }
    if (random.chance(10)) row[random.between(0, vocab - 1)] = random.chance(50) ? kNaN : INFINITY;
    if (random.chance(5)) row.assign(row.size(), -INFINITY);
    logits.push_back(row);
    all.insert(all.end(), row.begin(), row.end());
  }
  DeviceOptions options;
  const auto backend = make_device_backend(options);
  const Ops& ops = backend->ops();
  const char* why = ops.prepare(ops.context, {64, 2, 1, 32, 64, vocab, 16, 4, 64, 4});
  expect(why == nullptr, "prepare: %s", why);
  std::vector<Draw> draws(static_cast<size_t>(random.between(1, 90)));
  std::vector<SampleRow> list;
  for (Draw& d : draws) fill(random, vocab, rows, d);
  for (Draw& d : draws) {
    connect(d);
    list.push_back(d.row);
  }
  BatchView nothing;
  const int32_t starts[] = {0};
  nothing.query_start = starts;
  ops.begin_step(ops.context, nothing);
  const DeviceBytes device = to_device(ops, all);
  ops.sample(ops.context, {device.data(), DType::kF32, rows, vocab}, list.data(),
             static_cast<int32_t>(list.size()));
  ops.end_step(ops.context);
  expect(std::memcmp(device.read<float>().data(), all.data(), all.size() * 4) == 0,
         "sample: the logits were changed");
  for (const Draw& d : draws) judge(logits[static_cast<size_t>(d.row.logits_row)], d);
}

}  // namespace

void test_kernel_sample(Random& random, const Effort& effort) {
  for (int i = 0; i < (effort.small ? 2 : effort.cases / 4); i++) sample_case(random);
}

}  // namespace octavo::test
