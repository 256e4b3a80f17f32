// The sampler against a float64 reference, its draws against its own distribution, and the golden
// records that test/native/sample.test.ts writes.
//   octavo_sample_test [--goldens FILE] [--seed N]
#include "cpu/sample.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>

#include "base/rng.h"
#include "cpu/cpu_backend.h"
#include "reference/sample_reference.h"

namespace octavo {
namespace {

std::mt19937_64 g_random;
int g_failures = 0;

int integer(int below) { return static_cast<int>(g_random() % static_cast<uint64_t>(below)); }
double real(double low, double high) {
  return low + (high - low) * static_cast<double>(g_random() >> 11) * 0x1p-53;
}

void expect(bool holds, const std::string& what) {
  if (holds) return;
  if (++g_failures < 20) std::printf("  FAILED: %s\n", what.c_str());
}

// A SampleRow with the memory behind its pointers.
struct Case {
  std::vector<float> logits;
  std::vector<int32_t> allowed, banned, bias_ids, prompt, output;
  std::vector<float> bias;
  SampleRow row;
  int32_t token = -2, rank = 0;
  double logprob = 0;
  std::vector<int32_t> top_ids;
  std::vector<double> top_logprobs;

  SampleRow& bind() {
    row.allowed = allowed.data();
    row.banned = banned.data();
    row.bias_ids = bias_ids.data();
    row.bias = bias.data();
    row.prompt = prompt.data();
    row.output = output.data();
    row.num_banned = static_cast<int32_t>(banned.size());
    row.num_bias = static_cast<int32_t>(bias.size());
    row.prompt_len = static_cast<int32_t>(prompt.size());
    row.output_len = static_cast<int32_t>(output.size());
    top_ids.assign(row.num_top > 0 ? row.num_top : 0, -7);
    top_logprobs.assign(top_ids.size(), NAN);
    row.token = &token;
    row.rank = &rank;
    row.logprob = &logprob;
    row.top_ids = top_ids.data();
    row.top_logprobs = top_logprobs.data();
    return row;
  }
};

std::vector<int32_t> ids(int n, int vocab) {
  std::vector<int32_t> out;
  for (int i = 0; i < n; ++i) out.push_back(integer(vocab));
  return out;
}

Case random_case(int vocab) {
  Case c;
  std::normal_distribution<float> normal(0, static_cast<float>(real(0.1, 8)));
  for (int i = 0; i < vocab; ++i) c.logits.push_back(normal(g_random));
  if (integer(4) == 0) {  // ties
    for (float& v : c.logits) v = std::round(v);
  }
  if (integer(5) == 0) {
    for (int i = 0; i < vocab; i += 1 + integer(9)) c.logits[i] = -INFINITY;
    c.logits[integer(vocab)] = 1;
  }
  SampleRow& r = c.row;
  const double temperatures[] = {0, 1e-3, 0.3, 0.7, 1, 1, 1.7, 100};
  r.temperature = temperatures[integer(8)];
  if (integer(3) == 0) r.top_p = real(1e-6, 1);
  if (integer(3) == 0) r.top_k = 1 + integer(integer(2) ? 50 : vocab + 5);
  if (integer(4) == 0) r.min_p = real(0, 1) * real(0, 1);
  if (integer(4) == 0) r.repetition = real(0.5, 2);
  if (integer(4) == 0) r.frequency = real(-1, 1);
  if (integer(4) == 0) r.presence = real(-1, 1);
  if (r.repetition != 1 || r.frequency != 0 || r.presence != 0) {
    c.prompt = ids(integer(20), vocab);
    c.output = ids(integer(20), vocab);
  }
  if (integer(6) == 0) {
    c.allowed = ids(1 + integer(12), vocab);
    r.num_allowed = static_cast<int32_t>(c.allowed.size());
  }
  if (integer(5) == 0) c.banned = ids(integer(6), vocab);
  if (integer(5) == 0) {
    c.bias_ids = ids(1 + integer(4), vocab);
    std::sort(c.bias_ids.begin(), c.bias_ids.end());
    c.bias_ids.erase(std::unique(c.bias_ids.begin(), c.bias_ids.end()), c.bias_ids.end());
    for (size_t i = 0; i < c.bias_ids.size(); ++i) {
      c.bias.push_back(static_cast<float>(real(-100, 100)));
    }
  }
  r.seed = g_random();
  r.position = static_cast<uint64_t>(integer(1000));
  r.num_top = integer(3) - 1 > 0 ? 1 + integer(std::min(vocab, 8)) : integer(2) - 1;
  return c;
}

void sample(CpuBackend& backend, Case& c) {
  const Tensor logits{c.logits.data(), DType::kF32, 1, static_cast<int64_t>(c.logits.size())};
  const SampleRow row = c.bind();
  backend.ops().sample(backend.ops().context, logits, &row, 1);
}

// A kept set may differ from the reference's by tokens on its very edge: float weights round.
bool same_distribution(const std::vector<double>& ours, const std::vector<double>& theirs) {
  double off = 0;
  for (size_t i = 0; i < ours.size(); ++i) off = std::max(off, std::fabs(ours[i] - theirs[i]));
  return off <= 1e-5;
}

void check_reported(const Case& c, const std::string& name) {
  const std::vector<double> raw = reference::log_softmax(c.logits);
  expect(std::fabs(c.logprob - raw[c.token]) <= 1e-6 * (1 + std::fabs(raw[c.token])),
         name + ": logprob");
  if (c.row.num_top < 0) return;
  int rank = 1;
  for (float v : c.logits) rank += v > c.logits[c.token];
  expect(c.rank == rank, name + ": rank");
  std::vector<int> order(c.logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return c.logits[a] > c.logits[b]; });
  for (int i = 0; i < c.row.num_top; ++i) {
    expect(c.top_ids[i] == order[i], name + ": top ids");
    const double wanted = raw[order[i]];
    const double error = std::fabs(c.top_logprobs[i] - wanted);
    expect(wanted == c.top_logprobs[i] || error <= 1e-6 * (1 + std::fabs(wanted)),
           name + ": top logprobs");
  }
}

void test_random(CpuBackend& backend) {
  const int sizes[] = {1, 2, 3, 7, 16, 17, 100, 320, 1023, 4097, 4999};
  int empty = 0;
  for (int i = 0; i < 3000; ++i) {
    Case c = random_case(sizes[integer(11)]);
    const std::vector<float> before = c.logits;
    const std::string name = "random case " + std::to_string(i);
    c.bind();
    std::vector<double> ours(c.logits.size(), NAN);
    sample_distribution(backend.ops().context, c.logits.data(),
                        static_cast<int32_t>(c.logits.size()), c.row, ours.data());
    const std::vector<double> theirs = reference::distribution(c.logits, c.row);
    sample(backend, c);
    expect(std::memcmp(before.data(), c.logits.data(), before.size() * 4) == 0,
           name + ": the row was changed");
    if (theirs.empty()) {
      ++empty;
      expect(c.token == -1 && std::isnan(c.logprob), name + ": drawn from nothing");
      continue;
    }
    expect(same_distribution(ours, theirs), name + ": distribution");
    const bool known = c.token >= 0 && c.token < static_cast<int32_t>(ours.size());
    expect(known && ours[c.token] > 0, name + ": impossible token");
    if (!known) continue;
    if (c.row.temperature == 0) expect(theirs[c.token] == 1, name + ": not the largest");
    check_reported(c, name);
    const Case first = c;
    sample(backend, c);
    expect(c.token == first.token && c.logprob == first.logprob, name + ": not repeatable");
    c.row.target = integer(static_cast<int>(c.logits.size()));
    const bool finite = std::isfinite(c.logits[c.row.target]);
    sample(backend, c);
    expect(c.token == c.row.target, name + ": target");
    if (finite) check_reported(c, name + " target");
  }
  std::printf("random rows against float64: 3000 cases, %d with nothing to draw\n", empty);
}

void test_draws(CpuBackend& backend) {
  for (int round = 0; round < 8; ++round) {
    Case c = random_case(40);
    c.row.temperature = 1;
    c.row.num_allowed = -1;
    c.banned.clear();
    c.bias.clear(), c.bias_ids.clear();
    for (float& v : c.logits) v = std::isfinite(v) ? std::fmod(v, 3.0f) : v;
    c.bind();
    std::vector<double> p(40);
    sample_distribution(backend.ops().context, c.logits.data(), 40, c.row, p.data());
    std::vector<int> count(40);
    constexpr int kDraws = 40000;
    for (int i = 0; i < kDraws; ++i) {
      c.row.position = static_cast<uint64_t>(i);
      sample(backend, c);
      ++count[c.token];
    }
    double chi = 0;
    int degrees = -1;
    for (int t = 0; t < 40; ++t) {
      expect(p[t] > 0 || count[t] == 0, "a token of probability 0 was drawn");
      if (p[t] * kDraws < 5) continue;
      chi += (count[t] - p[t] * kDraws) * (count[t] - p[t] * kDraws) / (p[t] * kDraws);
      ++degrees;
    }
    // Mean d, variance 2d: six deviations are one in a billion.
    expect(chi < degrees + 6 * std::sqrt(2.0 * (degrees + 1)) + 6, "draws do not fit");
  }
  std::printf("draws fit their distribution: 8 rounds of 40000\n");
}

void test_edges(CpuBackend& backend) {
  for (float bad : {NAN, INFINITY}) {
    Case c = random_case(33);
    c.logits[integer(33)] = bad;
    sample(backend, c);
    expect(c.token == -1 && std::isnan(c.logprob), "NaN or infinity was drawn from");
  }
  Case none = random_case(9);
  std::fill(none.logits.begin(), none.logits.end(), -INFINITY);
  sample(backend, none);
  expect(none.token == -1, "a row of -inf was drawn from");
  Case equal = random_case(151936);
  equal.row = SampleRow{};
  std::fill(equal.logits.begin(), equal.logits.end(), 0.25f);
  equal.row.top_p = 0.5;
  equal.prompt.clear(), equal.output.clear(), equal.allowed.clear(), equal.banned.clear();
  equal.bias.clear(), equal.bias_ids.clear();
  equal.bind();
  std::vector<double> p(equal.logits.size());
  sample_distribution(backend.ops().context, equal.logits.data(), 151936, equal.row, p.data());
  expect(std::count_if(p.begin(), p.end(), [](double v) { return v > 0; }) == 151936 / 2,
         "half of equal tokens reach half of the mass");
  expect(p[0] > 0 && p[151935] == 0, "ties keep the lower ids");
  std::printf("edges\n");
}

// Several samples of one row, and any number of threads: the same as one by one.
void test_batch(CpuBackend& one, CpuBackend& many) {
  constexpr int kRows = 9, kVocab = 777, kSamples = 64;
  std::vector<float> logits;
  std::normal_distribution<float> normal(0, 3);
  for (int i = 0; i < kRows * kVocab; ++i) logits.push_back(normal(g_random));
  std::vector<Case> cases;
  for (int i = 0; i < kSamples; ++i) {
    cases.push_back(random_case(kVocab));
    cases.back().row.logits_row = integer(kRows);
  }
  std::vector<Case> alone = cases;
  const Tensor all{logits.data(), DType::kF32, kRows, kVocab};
  std::vector<SampleRow> rows;
  for (Case& c : cases) rows.push_back(c.bind());
  many.ops().sample(many.ops().context, all, rows.data(), kSamples);
  for (int i = 0; i < kSamples; ++i) {
    const SampleRow row = alone[i].bind();
    one.ops().sample(one.ops().context, all, &row, 1);
    const bool nan = std::isnan(alone[i].logprob) && std::isnan(cases[i].logprob);
    expect(alone[i].token == cases[i].token && alone[i].top_ids == cases[i].top_ids &&
               (nan || alone[i].logprob == cases[i].logprob),
           "a batch differs from its rows");
  }
  std::printf("batches equal single rows\n");
}

void test_philox() {
  // Known answers of Random123 (kat_vectors).
  const auto same = [](const PhiloxWords& got, std::array<uint32_t, 4> want) {
    return std::equal(want.begin(), want.end(), got.word);
  };
  const auto zero = philox4x32({{0, 0, 0, 0}}, 0, 0);
  expect(same(zero, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}), "zeros");
  const uint32_t f = 0xffffffff;
  const auto ones = philox4x32({{f, f, f, f}}, f, f);
  expect(same(ones, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}), "ones");
  const auto pi =
      philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0);
  expect(same(pi, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}), "pi");
  double sum = 0;
  for (uint64_t i = 0; i < 100000; ++i) {
    const double u = uniform(7, i);
    expect(u >= 0 && u < 1, "uniform left [0, 1)");
    sum += u;
  }
  expect(std::fabs(sum / 100000 - 0.5) < 0.01, "uniform is off centre");
  std::printf("philox\n");
}

template <typename T>
std::vector<T> read_list(std::istream& in) {
  size_t n = 0;
  in >> n;
  std::vector<T> out(n);
  for (T& v : out) in >> v;
  return out;
}

// Text records, one a line: parameters, lists, logits, raw logprobs, distribution.
void test_goldens(CpuBackend& backend, const char* path) {
  std::ifstream in(path);
  int records = 0;
  for (size_t n = 0; in >> n; ++records) {
    Case c;
    SampleRow& r = c.row;
    in >> r.temperature >> r.top_p >> r.min_p >> r.repetition >> r.frequency >> r.presence;
    in >> r.top_k >> r.num_allowed;
    c.allowed = read_list<int32_t>(in);
    c.banned = read_list<int32_t>(in);
    c.bias_ids = read_list<int32_t>(in);
    c.bias = read_list<float>(in);
    c.prompt = read_list<int32_t>(in);
    c.output = read_list<int32_t>(in);
    c.logits = read_list<float>(in);
    const std::vector<double> raw = read_list<double>(in), theirs = read_list<double>(in);
    const std::string name = "golden " + std::to_string(n);
    expect(in.good() && c.logits.size() == theirs.size(), name + ": damaged record");
    if (!in.good()) return;
    r.num_top = static_cast<int32_t>(c.logits.size());
    c.bind();
    std::vector<double> ours(theirs.size(), NAN);
    sample_distribution(backend.ops().context, c.logits.data(), r.num_top, r, ours.data());
    for (size_t i = 0; i < ours.size(); ++i) {
      expect(std::fabs(ours[i] - theirs[i]) <= 1e-5, name + ": probability");
      expect((ours[i] == 0) || theirs[i] > 0, name + ": a token that cannot be drawn");
    }
    for (uint64_t position = 0; position < 50; ++position) {
      r.position = position;
      sample(backend, c);
      expect(c.token >= 0 && theirs[c.token] > 0, name + ": drew what cannot be drawn");
      expect(std::fabs(c.logprob - raw[c.token]) <= 1e-5, name + ": raw logprob");
    }
    for (int i = 0; i < r.num_top; ++i) {
      expect(std::fabs(c.top_logprobs[i] - raw[c.top_ids[i]]) <= 1e-5, name + ": top logprob");
    }
  }
  expect(records > 300, "the goldens are missing");
  std::printf("goldens: %d records\n", records);
}

int run(int argc, char** argv) {
  const char* goldens = nullptr;
  uint64_t seed = std::random_device{}();
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--goldens") == 0) goldens = argv[i + 1];
    if (std::strcmp(argv[i], "--seed") == 0) seed = std::strtoull(argv[i + 1], nullptr, 10);
  }
  std::printf("sample test, --seed %llu\n", static_cast<unsigned long long>(seed));
  g_random.seed(seed);
  const auto one = CpuBackend::create(1), many = CpuBackend::create(3, "scalar");
  test_philox();
  test_random(*one);
  test_draws(*one);
  test_edges(*one);
  test_batch(*one, *many);
  if (goldens != nullptr) test_goldens(*one, goldens);
  std::printf(g_failures == 0 ? "all good\n" : "%d FAILED\n", g_failures);
  return g_failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace octavo

int main(int argc, char** argv) { return octavo::run(argc, argv); }
