// The CPU sampler's whole distributions against a float64 reference, its draws against them, and
// the golden records that test/native/programs.test.ts writes.
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
#include "native/sample_draw.h"
#include "reference/sample_reference.h"

namespace octavo::test {
namespace {

struct Case : Draw {
  std::vector<float> logits;
};

Case random_case(Random& random, int vocab) {
  Case c;
  static_cast<Draw&>(c) = random_draw(random, vocab, true);
  c.row.target = -1;
  c.logits = random_logits(random, vocab);
  return c;
}

// All that a draw needs beforehand, in these rows of counts and masks. Rows of masks are as long as
// the vocabulary of the model that was prepared.
void set_up(CpuBackend& backend, Case& c, int32_t row) {
  const Ops& ops = backend.ops();
  ModelShape shape{};
  shape.vocab_size = static_cast<int32_t>(c.logits.size());
  shape.max_num_seqs = 64;
  expect(ops.prepare(ops.context, shape) == nullptr, "prepare");
  const TokenUpdate update{row,
                           true,
                           static_cast<int32_t>(c.prompt.size()),
                           static_cast<int32_t>(c.output.size()),
                           c.prompt.data(),
                           c.output.data()};
  ops.count_tokens(ops.context, &update, 1);
  c.row.counted = row;
  if (!c.mask.empty()) {
    const MaskUpdate mask{row, c.mask.data()};
    ops.set_masks(ops.context, &mask, 1);
    c.row.mask_row = row;
  }
  c.connect();
}

void sample(CpuBackend& backend, Case& c) {
  const Tensor logits{c.logits.data(), DType::kF32, 1, static_cast<int64_t>(c.logits.size())};
  const SampleRow row = c.connect();
  backend.ops().sample(backend.ops().context, logits, &row, 1);
}

// Which token is the last that top-p keeps may be decided by how float weights round.
bool fits(const Case& c, const std::vector<double>& ours) {
  for (const double nudge : {0.0, -1e-6, 1e-6}) {
    SampleRow near = c.row;
    if (near.top_p < 1) near.top_p += nudge;
    const auto theirs = reference::distribution(c.logits, near, c.prompt, c.output, c.mask);
    double off = 0;
    for (size_t i = 0; i < ours.size(); ++i) off = std::max(off, std::fabs(ours[i] - theirs[i]));
    if (off <= 1e-5) return true;
  }
  return false;
}

void test_random(CpuBackend& backend, Random& random) {
  int empty = 0;
  for (int i = 0; i < 3000; ++i) {
    const int vocab = random.pick({1, 2, 3, 7, 16, 17, 100, 320, 1023, 4097, 4999});
    Case c = random_case(random, vocab);
    set_up(backend, c, static_cast<int32_t>(random.between(0, 4)));
    std::vector<double> ours(c.logits.size(), NAN);
    sample_distribution(backend.ops().context, c.logits.data(), vocab, c.row, ours.data());
    const std::vector<double> theirs =
        reference::distribution(c.logits, c.row, c.prompt, c.output, c.mask);
    sample(backend, c);
    if (theirs.empty()) {
      ++empty;
      expect(c.token == -1 && std::isnan(c.logprob), "random case %d: drawn from nothing", i);
      continue;
    }
    expect(fits(c, ours), "random case %d: distribution", i);
    const bool known = c.token >= 0 && c.token < vocab;
    expect(known && ours[c.token] > 0, "random case %d: impossible token", i);
    if (known && c.row.temperature == 0) {
      expect(theirs[c.token] == 1, "random case %d: not the largest", i);
    }
  }
  std::printf("random rows against float64: 3000 cases, %d with nothing to draw\n", empty);
}

void test_draws(CpuBackend& backend, Random& random) {
  for (int round = 0; round < 8; ++round) {
    Case c = random_case(random, 40);
    c.row.temperature = 1;
    c.allowed.clear(), c.banned.clear();
    c.bias.clear(), c.bias_ids.clear();
    for (float& v : c.logits) v = std::isfinite(v) ? std::fmod(v, 3.0f) : v;
    c.mask = random_mask(random, 40);
    c.mask[0] |=
        1u << (std::max_element(c.logits.begin(), c.logits.begin() + 32) - c.logits.begin());
    if (random.chance(50)) c.mask.clear();
    set_up(backend, c, 63);
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

void test_ties(CpuBackend& backend) {
  Case equal;
  equal.logits.assign(151936, 0.25f);
  equal.row.top_p = 0.5;
  set_up(backend, equal, 0);
  std::vector<double> p(equal.logits.size());
  sample_distribution(backend.ops().context, equal.logits.data(), 151936, equal.row, p.data());
  expect(std::count_if(p.begin(), p.end(), [](double v) { return v > 0; }) == 151936 / 2,
         "half of equal tokens reach half of the mass");
  expect(p[0] > 0 && p[151935] == 0, "ties keep the lower ids");
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
    expect(in.good() && c.logits.size() == theirs.size(), "golden %zu: damaged record", n);
    if (!in.good()) return;
    r.num_top = static_cast<int32_t>(c.logits.size());
    set_up(backend, c, records % 3);
    std::vector<double> ours(theirs.size(), NAN);
    sample_distribution(backend.ops().context, c.logits.data(), r.num_top, r, ours.data());
    for (size_t i = 0; i < ours.size(); ++i) {
      expect(std::fabs(ours[i] - theirs[i]) <= 1e-5, "golden %zu: probability", n);
      expect((ours[i] == 0) || theirs[i] > 0, "golden %zu: a token that cannot be drawn", n);
    }
    for (uint64_t position = 0; position < 50; ++position) {
      r.position = position;
      sample(backend, c);
      expect(c.token >= 0 && theirs[c.token] > 0, "golden %zu: drew what cannot be drawn", n);
      expect(std::fabs(c.logprob - raw[c.token]) <= 1e-5, "golden %zu: raw logprob", n);
    }
    for (int i = 0; i < r.num_top; ++i) {
      expect(std::fabs(c.top_logprobs[i] - raw[c.top_ids[i]]) <= 1e-5, "golden %zu: top logprob",
             n);
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
  Random random(seed);
  const auto backend = CpuBackend::create(1);
  test_philox();
  test_random(*backend, random);
  test_draws(*backend, random);
  test_ties(*backend);
  if (goldens != nullptr) test_goldens(*backend, goldens);
  std::printf(g_failures == 0 ? "all good\n" : "%d FAILED\n", g_failures);
  return g_failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace octavo::test

int main(int argc, char** argv) { return octavo::test::run(argc, argv); }
