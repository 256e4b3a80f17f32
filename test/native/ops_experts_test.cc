// Experts: route against choices and weights in float64, the products of each row with its experts'
// matrices, what gates them, and combine; rows against themselves in other company.
#include <algorithm>
#include <numeric>

#include "native/backend_under_test.h"
#include "reference/reference.h"

namespace octavo::test {
namespace {

constexpr double kLowest = -std::numeric_limits<double>::infinity();

// A routing in memory of a backend, poisoned until it is filled.
struct Routed {
  Routed(const Ops& ops, const Router& router, int64_t n)
      : memory(put(ops, std::vector<int32_t>(static_cast<size_t>(Routing::words(router.num_experts,
                                                                                n * router.top_k)),
                                             0x5a5a5a5a))),
        routing(memory.data(), router, n) {}
  // What stands in the arrays from `at` on.
  template <class T>
  std::vector<T> read(const Ops& ops, const T* at, int64_t count) const {
    std::vector<T> out(static_cast<size_t>(count));
    ops.read(ops.context, out.data(), at, out.size() * sizeof(T));
    return out;
  }
  Memory memory;
  Routing routing;
};

struct Choices {
  std::vector<int32_t> experts, places, rows, starts;
  std::vector<float> weights;
  Choices(const Ops& ops, const Routed& r)
      : experts(r.read(ops, r.routing.experts, r.routing.num_places())),
        places(r.read(ops, r.routing.places, r.routing.num_places())),
        rows(r.read(ops, r.routing.rows, r.routing.num_places())),
        starts(r.read(ops, r.routing.starts, r.routing.num_experts + 1)),
        weights(r.read(ops, r.routing.weights, r.routing.num_places())) {}
  bool operator==(const Choices& o) const {
    return experts == o.experts && places == o.places && rows == o.rows && starts == o.starts &&
           std::memcmp(weights.data(), o.weights.data(), weights.size() * 4) == 0;
  }
};

Router random_router(Random& random) {
  Router r;
  r.score =
      random.pick({RouterScore::kSoftmax, RouterScore::kSigmoid, RouterScore::kChosenSoftmax});
  const bool grouped = r.score != RouterScore::kChosenSoftmax && random.chance(40);
  r.num_groups = grouped ? random.pick({2, 3, 8}) : 1;
  const int32_t size = static_cast<int32_t>(grouped ? random.between(2, 9) : random.between(1, 70));
  r.num_experts = random.chance(10) ? 512 / r.num_groups * r.num_groups : size * r.num_groups;
  r.top_groups = static_cast<int32_t>(random.between(1, r.num_groups));
  r.group_best = grouped ? random.pick({1, 2}) : 1;
  const int32_t most = std::min(kMaxTopK, r.num_experts / r.num_groups * r.top_groups);
  r.top_k = static_cast<int32_t>(random.between(1, random.chance(80) ? std::min(most, 8) : most));
  r.normalise = random.chance(50);
  r.scale = random.pick({1.0f, 2.5f});
  return r;
}

std::vector<double> scores_of(const Router& r, const float* logits) {
  std::vector<double> out(logits, logits + r.num_experts);
  if (r.score == RouterScore::kSigmoid) {
    for (double& x : out) x = 1 / (1 + std::exp(-x));
  } else if (r.score == RouterScore::kSoftmax) {
    const double max = *std::max_element(out.begin(), out.end());
    double sum = 0;
    for (double& x : out) sum += x = std::exp(x - max);
    for (double& x : out) x /= sum;
  }
  return out;
}

// Indices of the `count` largest, ties to the lower one.
std::vector<int32_t> largest(const std::vector<double>& keys, int32_t count) {
  std::vector<int32_t> order(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return keys[static_cast<size_t>(a)] > keys[static_cast<size_t>(b)];
  });
  order.resize(static_cast<size_t>(count));
  return order;
}

// What an expert is chosen by: −∞ outside of the best groups.
std::vector<double> keys_of(const Router& r, const std::vector<double>& scores, const float* bias) {
  std::vector<double> keys = scores;
  for (size_t e = 0; e < keys.size() && bias != nullptr; e++) keys[e] += bias[e];
  if (r.num_groups == 1) return keys;
  const auto size = static_cast<size_t>(r.num_experts / r.num_groups);
  std::vector<double> sums;
  for (int32_t g = 0; g < r.num_groups; g++) {
    const std::vector<double> own(keys.begin() + g * size, keys.begin() + (g + 1) * size);
    double sum = 0;
    for (const int32_t i : largest(own, r.group_best)) sum += own[static_cast<size_t>(i)];
    sums.push_back(sum);
  }
  const auto kept = largest(sums, r.top_groups);
  for (size_t e = 0; e < keys.size(); e++) {
    const auto g = static_cast<int32_t>(e / size);
    if (std::find(kept.begin(), kept.end(), g) == kept.end()) keys[e] = kLowest;
  }
  return keys;
}

// A row's choices and weights.
void judge_row(const Router& r, const float* logits, const float* bias,
               const std::vector<float>& scale, const int32_t* ids, const float* weights) {
  const std::vector<double> scores = scores_of(r, logits), keys = keys_of(r, scores, bias);
  const std::vector<int32_t> want = largest(keys, r.top_k);
  const bool exact = bias == nullptr && r.num_groups == 1;
  double sum = 0, max = kLowest;
  for (int32_t k = 0; k < r.top_k; k++) {
    const bool inside = ids[k] >= 0 && ids[k] < r.num_experts;
    expect(inside, "route: expert %d of %d", ids[k], r.num_experts);
    if (!inside) return;
    // Scores in float32 may tie, or turn, where these differ by little.
    const double off = keys[static_cast<size_t>(want[static_cast<size_t>(k)])] - keys[ids[k]];
    expect(ids[k] == want[static_cast<size_t>(k)] || (!exact && std::fabs(off) < 1e-6),
           "route: expert %d at rank %d, not %d", ids[k], k, want[static_cast<size_t>(k)]);
    expect(std::find(ids, ids + k, ids[k]) == ids + k, "route: expert %d twice", ids[k]);
    sum += scores[static_cast<size_t>(ids[k])];
    max = std::max(max, scores[static_cast<size_t>(ids[k])]);
  }
  double chosen = 0;
  for (int32_t k = 0; k < r.top_k; k++) chosen += std::exp(scores[ids[k]] - max);
  for (int32_t k = 0; k < r.top_k; k++) {
    double weight = scores[static_cast<size_t>(ids[k])] / (r.normalise ? sum : 1);
    if (r.score == RouterScore::kChosenSoftmax) weight = std::exp(scores[ids[k]] - max) / chosen;
    const double want_weight =
        weight * r.scale * (scale.empty() ? 1.0 : double{scale[static_cast<size_t>(ids[k])]});
    expect_near("route: weight", weights[k], want_weight, 4e-6 * std::fabs(want_weight) + 1e-30);
  }
}

// Every choice has a place of its own, by expert and in order of rows.
void judge_places(const Router& r, int64_t n, const Choices& c) {
  int32_t place = 0;
  for (int32_t e = 0; e < r.num_experts; e++) {
    expect(c.starts[static_cast<size_t>(e)] == place, "route: expert %d starts at %d", e,
           c.starts[static_cast<size_t>(e)]);
    for (int64_t i = 0; i < n * r.top_k; i++) {
      if (c.experts[i] != e) continue;
      expect(c.places[i] == place && c.rows[place] == i / r.top_k, "route: place %d", c.places[i]);
      place++;
    }
  }
  expect(c.starts.back() == place, "route: %d places of %d", c.starts.back(), place);
}

}  // namespace

void test_route(const Backends& backends, Random& random, int) {
  const Router r = random_router(random);
  const int64_t n = random.between(1, random.chance(20) ? 300 : 20), values = n * r.num_experts;
  // Some tie: few different logits.
  std::vector<float> logits = random_values(random, DType::kF32, values, random.pick({0.1f, 2.0f}));
  if (random.chance(40)) {
    for (float& x : logits) x = std::round(2 * x) / 2;
  }
  std::vector<float> bias;
  const bool biased = r.score != RouterScore::kChosenSoftmax && random.chance(50);
  if (biased) bias = random_values(random, DType::kF32, r.num_experts);
  const Ops& first = backends.ops();
  const Values in(backends, DType::kF32, n, r.num_experts, logits);
  std::vector<float> scale;
  if (random.chance(40)) scale = random_values(random, DType::kF32, r.num_experts);
  const Memory its_bias = put(first, bias), its_scale = put(first, scale);
  const float* const bias_at = biased ? its_bias.as<float>() : nullptr;
  const float* const scale_at = scale.empty() ? nullptr : its_scale.as<float>();
  std::vector<Choices> got;
  for (const auto& backend : backends.all) {
    const Ops& ops = backend->ops();
    const Routed routed(first, r, n);
    ops.route(ops.context, {routed.routing, in.tensor(), r, bias_at, scale_at});
    got.emplace_back(ops, routed);
    expect(got.back() == got[0], "route: %s, %d threads: other choices", ops.isa,
           backend->num_threads());
  }
  for (int64_t row = 0; row < n; row++) {
    judge_row(r, &logits[row * r.num_experts], biased ? bias.data() : nullptr, scale,
              &got[0].experts[row * r.top_k], &got[0].weights[row * r.top_k]);
  }
  judge_places(r, n, got[0]);
  // A row alone, and one that holds no number: it is spoilt, but goes to experts that there are.
  const Ops& ops = backends.any(random);
  const int64_t row = random.between(0, n - 1);
  std::vector<float> alone(&logits[row * r.num_experts],
                           &logits[row * r.num_experts] + r.num_experts);
  for (const bool spoilt : {false, true}) {
    if (spoilt) alone[random.between(0, r.num_experts - 1)] = kNaN;
    const Values one(backends, DType::kF32, 1, r.num_experts, alone);
    const Routed routed(first, r, 1);
    ops.route(ops.context, {routed.routing, one.tensor(), r, bias_at, scale_at});
    const Choices c(ops, routed);
    judge_places(r, 1, c);
    for (int32_t k = 0; k < r.top_k; k++) {
      const int64_t at = row * r.top_k + k;
      expect(spoilt || (c.experts[k] == got[0].experts[at] && c.weights[k] == got[0].weights[at]),
             "route: other choices alone");
    }
  }
}

namespace {

// A matrix of every expert.
struct Experts {
  Experts(const Backends& backends, Random& random, DType type, int64_t count, int64_t n, int64_t k,
          bool biased)
      : dtype(type), rows(n), cols(k) {
    for (int64_t e = 0; e < count; e++) bytes.push_back(random_stored(random, type, n, k));
    if (biased) bias = random_values(random, DType::kF32, count * n);
    its_bias = std::make_unique<Memory>(put(backends.ops(), bias));
  }
  ExpertPart part(const Ops& ops, const Tensor& out) const {
    const Tensor stored{nullptr, dtype, rows, cols};
    const auto each = static_cast<int64_t>(ops.weight_bytes(ops.context, stored));
    const int64_t stride = (each + 255) / 256 * 256;
    const auto load = [&] {
      const size_t all = static_cast<size_t>(stride) * bytes.size();
      auto loaded = std::make_unique<WeightMemory>(ops, all);
      for (size_t e = 0; e < bytes.size(); e++) {
        char* const to = static_cast<char*>(loaded->data) + static_cast<int64_t>(e) * stride;
        const MemorySource source(bytes[e].data());
        const Tensor one = ops.load_weight(ops.context, stored, source, to);
        if (e == 0) loaded->tensor = one;
      }
      return loaded;
    };
    const Tensor& first = memory.of(ops, load).tensor;
    return {out, first, stride, bias.empty() ? nullptr : its_bias->as<float>()};
  }
  struct Answer {
    double value, tolerance;
  };
  // What x times row n of an expert is, and what it may be off by.
  Answer product(const Backends& backends, const std::vector<float>& x, int64_t e,
                 int64_t n) const {
    const char* const stored = bytes[static_cast<size_t>(e)].data() + n * row_bytes(dtype, cols);
    std::vector<double> weight = reference::stored_row(dtype, stored, cols);
    for (double& w : weight) w = rounded(kept_type(backends, dtype), static_cast<float>(w));
    const bool int8 = backends.left_type(dtype) == DType::kI8;
    const auto left = reference::left_row(backends.left_type(dtype), x.data(), cols);
    double magnitude;
    const double value =
        reference::dot(left.data(), weight, bias.empty() ? 0 : bias[e * rows + n], &magnitude);
    magnitude += 2 * reference::min_magnitude(left.data(), dtype, stored, cols);
    if (!backends.on_cpu()) return {value, 2e-6 * magnitude};
    return {value, (static_cast<double>(int8 ? cols / 8 : cols) + 8) * 0x1p-24 * magnitude + 1e-37};
  }

  DType dtype;
  int64_t rows, cols;
  std::vector<Bytes> bytes;
  PerIsa<WeightMemory> memory;
  std::vector<float> bias;
  std::unique_ptr<Memory> its_bias;
};

struct Case {
  Router router;
  Glu glu;
  bool scales_input;
  bool gated = true;
  int64_t n;
  std::vector<float> x, logits;
};

// What comes out for each choice, by row and rank.
struct Outcome {
  Choices choices;
  std::vector<float> gated, given;
};

std::vector<float> by_choice(const std::vector<float>& by_place,
                             const std::vector<int32_t>& places) {
  const size_t cols = by_place.size() / places.size();
  std::vector<float> out;
  for (const int32_t place : places) {
    out.insert(out.end(), &by_place[place * cols], &by_place[place * cols] + cols);
  }
  return out;
}

Outcome run_rows(const Backends& backends, const Ops& ops, const Case& c, const Experts& gate,
                 const Experts& up, const Experts& down, int64_t row, int64_t n) {
  const DType type = backends.type();
  const int64_t experts = c.router.num_experts, places = n * c.router.top_k;
  const Values x(backends, type, n, gate.cols,
                 {&c.x[row * gate.cols], &c.x[row * gate.cols] + n * gate.cols});
  const Values logits(backends, DType::kF32, n, experts,
                      {&c.logits[row * experts], &c.logits[row * experts] + n * experts});
  const Routed routed(backends.ops(), c.router, n);
  const Values gates(backends, type, places, gate.rows), ups(backends, type, places, gate.rows);
  const ExpertPart none = {};
  const Values given(backends, type, places, down.rows);
  ops.route(ops.context, {routed.routing, logits.tensor(), c.router, nullptr});
  ops.expert_gated_matmul(ops.context, x.tensor(), routed.routing, gate.part(ops, gates.tensor()),
                          c.gated ? up.part(ops, ups.tensor()) : none, c.glu, c.scales_input);
  ops.expert_matmul(ops.context, gates.tensor(), routed.routing, down.part(ops, given.tensor()));
  if (c.gated) ups.bits("expert_gated_matmul");
  const Choices choices(ops, routed);
  return {choices, by_choice(gates.read("expert_gated_matmul"), choices.places),
          by_choice(given.read("expert_matmul"), choices.places)};
}

// What float16 cannot hold is ∞, and spoils what it is multiplied with.
bool held(DType type, double value) { return type != DType::kF16 || std::fabs(value) < 6e4; }

double clamped(const Glu& g, double x, bool both) {
  if (g.limit == 0) return x;
  return both ? std::clamp<double>(x, -g.limit, g.limit) : std::min<double>(x, g.limit);
}

void judge(const Backends& backends, Random& random, const Case& c, const Experts& gate,
           const Experts& up, const Experts& down, const Outcome& got) {
  const DType type = backends.type();
  const size_t inner = static_cast<size_t>(gate.rows);
  for (size_t i = 0; i < got.choices.experts.size(); i++) {
    const int32_t e = got.choices.experts[i];
    const float weight = c.scales_input ? got.choices.weights[i] : 1.0f;
    const float* const from = &c.x[i / c.router.top_k * gate.cols];
    const std::vector<float> x(from, from + gate.cols);
    const float* const gated = &got.gated[i * inner];
    for (int64_t n = 0; n < gate.rows; n++) {
      if (!random.chance(gate.rows > 20 ? 20 : 100)) continue;
      const auto g = gate.product(backends, x, e, n);
      const auto u = c.gated ? up.product(backends, x, e, n) : Experts::Answer{1 / weight, 0};
      if (!held(type, g.value) || !held(type, u.value)) continue;
      // A device keeps what gates rounded, and its product with a weight.
      const double round = 2 * unit_of(type), least = type == DType::kF16 ? 0x1p-24 : 0;
      const double a = clamped(c.glu, g.value * weight, false);
      const double b = clamped(c.glu, u.value * weight, true) + c.glu.up_offset;
      const double act = reference::activated(c.glu.hidden_act, a * c.glu.alpha) / c.glu.alpha;
      const double da = 2.5 * (weight * (g.tolerance + round * std::fabs(g.value)) + least) +
                        4e-7 * std::fabs(a) + 1e-7;
      const double of_up = weight * (u.tolerance + round * std::fabs(u.value)) + least;
      const double db = c.gated ? of_up + 2e-7 * std::fabs(b) : 0;
      const double steep = c.glu.hidden_act == HiddenAct::kRelu2 ? 2 * std::fabs(a) + da : 1.2;
      if (!held(type, act * b)) continue;
      expect_stored(
          "expert_gated_matmul", type, gated[n], act * b,
          steep * da * (std::fabs(b) + db) + std::fabs(act) * db + 1e-6 * std::fabs(act * b));
    }
    const std::vector<float> y(gated, gated + inner);
    const auto lost = [](float f) { return !std::isfinite(f); };
    const bool whole = std::none_of(y.begin(), y.end(), lost);
    expect(whole || type == DType::kF16, "expert_gated_matmul: no number");
    for (int64_t n = 0; n < down.rows && whole; n++) {
      if (!random.chance(down.rows > 20 ? 20 : 100)) continue;
      const auto want = down.product(backends, y, e, n);
      if (!held(type, want.value)) continue;
      expect_stored("expert_matmul", type, got.given[i * static_cast<size_t>(down.rows) + n],
                    want.value, want.tolerance);
    }
  }
}

DType type_for(Random& random, int64_t depth) {
  for (;;) {
    const DType dtype = kStoredTypes[random.between(0, std::size(kStoredTypes) - 1)];
    if (depth % block_values(dtype) == 0) return dtype;
  }
}

int64_t random_depth(const Backends& backends, Random& random) {
  const int64_t block = random.pick({1, 32, 256});
  if (block == 1) return backends.cols(random.between(1, 40), 8);
  return block * random.between(1, block == 32 ? 5 : 2);
}

}  // namespace

void test_expert_matmul(const Backends& backends, Random& random, int) {
  Case c;
  c.router.num_experts = random.pick({1, 3, 8, 20});
  c.router.top_k = static_cast<int32_t>(random.between(1, std::min(4, c.router.num_experts)));
  c.router.score = random.pick({RouterScore::kSoftmax, RouterScore::kChosenSoftmax});
  c.scales_input = random.chance(25);
  c.gated = random.chance(70);
  if (!c.gated) c.glu.hidden_act = static_cast<HiddenAct>(random.between(0, 3));
  if (c.gated && random.chance(60)) {
    c.glu.hidden_act = static_cast<HiddenAct>(random.between(0, 3));
    c.glu.alpha = random.pick({1.0f, 1.702f});
    c.glu.limit = random.pick({0.0f, 0.7f});
    c.glu.up_offset = random.pick({0.0f, 1.0f});
  }
  const bool many = random.chance(backends.on_cpu() ? 15 : 10);
  c.n = many ? random.between(60, backends.on_cpu() ? 330 : 90) : random.between(1, 20);
  // Tiles of many rows run over several K steps of 64, the last one half as long or whole.
  const auto depth = [&] {
    return many ? 32 * random.between(1, 9) : random_depth(backends, random);
  };
  const int64_t hidden = depth(), inner = depth();
  const int64_t experts = c.router.num_experts;
  const bool biased = random.chance(40) && !c.scales_input;
  const DType left = type_for(random, hidden);
  const DType right = random.chance(70) ? left : type_for(random, hidden);
  const Experts gate(backends, random, left, experts, inner, hidden, biased);
  const Experts up(backends, random, right, experts, inner, hidden, biased);
  const Experts down(backends, random, type_for(random, inner), experts, hidden, inner,
                     random.chance(40));
  c.x = random_values(random, backends.type(), c.n * hidden, 0.3f);
  c.logits = random_values(random, DType::kF32, c.n * experts);
  for (int64_t row = 0; row < c.n && many; row++) c.logits[row * experts] += 3;  // one takes most
  std::vector<Outcome> all;
  for (const auto& backend : backends.all) {
    const Ops& ops = backend->ops();
    all.push_back(run_rows(backends, ops, c, gate, up, down, 0, c.n));
    const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
      return std::memcmp(a.data(), b.data(), a.size() * 4) == 0;
    };
    expect(same(all.back().gated, all[0].gated) && same(all.back().given, all[0].given),
           "experts of %s, %s, %s: %s, %d threads: other bits", dtype_name(left), dtype_name(right),
           dtype_name(down.dtype), ops.isa, backend->num_threads());
    // Some rows alone.
    const int64_t n = random.between(1, c.n), row = random.between(0, c.n - n);
    const Outcome some = run_rows(backends, ops, c, gate, up, down, row, n);
    const int64_t at = row * c.router.top_k;
    expect(
        std::memcmp(some.gated.data(), &all[0].gated[at * inner], some.gated.size() * 4) == 0 &&
            std::memcmp(some.given.data(), &all[0].given[at * hidden], some.given.size() * 4) == 0,
        "experts of %s: %" PRId64 " of %" PRId64 " rows give other bits (%s)", dtype_name(left), n,
        c.n, ops.isa);
  }
  judge(backends, random, c, gate, up, down, all[0]);
}

void test_combine(const Backends& backends, Random& random, int) {
  const DType type = backends.type();
  const Router r = random_router(random);
  const int64_t n = random.between(1, 30), cols = backends.cols(random.between(1, 300), 2);
  const int64_t places = n * r.top_k;
  const Values logits(backends, DType::kF32, n, r.num_experts,
                      random_values(random, DType::kF32, n * r.num_experts));
  const auto y = random_values(random, type, places * cols),
             shared = random_values(random, type, n * cols);
  const auto gates = random_values(random, DType::kF32, n, 3);
  const bool weighted = random.chance(70), shares = random.chance(60),
             gated = shares && random.chance(50);
  const bool in_place = shares && random.chance(50);
  const Values in(backends, type, places, cols, y), beside(backends, type, n, cols, shared);
  const Values its_gates(backends, DType::kF32, n, 1, gates), out(backends, type, n, cols);
  const Values& to = in_place ? beside : out;
  const Ops& first = backends.ops();
  const Routed routed(first, r, n);
  first.route(first.context, {routed.routing, logits.tensor(), r, nullptr});
  const Choices c(first, routed);
  const auto got = run_everywhere(
      backends, to, "combine", [&] { beside.fill(shared); },
      [&](const Ops& ops) {
        ops.combine(ops.context,
                    {to.tensor(), in.tensor(), routed.routing, weighted,
                     shares ? beside.tensor() : Tensor{}, gated ? its_gates.tensor() : Tensor{}});
      });
  for (int64_t i = 0; i < n * cols; i++) {
    const int64_t row = i / cols;
    double want = 0, magnitude = 1e-30;
    const auto add = [&](double x) { want += x, magnitude += std::fabs(x); };
    for (int64_t k = row * r.top_k; k < (row + 1) * r.top_k; k++) {
      add((weighted ? c.weights[k] : 1.0) * y[c.places[k] * cols + i % cols]);
    }
    const double by = gated ? 1 / (1 + std::exp(-static_cast<double>(gates[row]))) : 1;
    if (shares) add(by * shared[i]);
    expect_stored("combine", type, got[i], want, (r.top_k + 8) * 0x1p-23 * magnitude);
  }
}

}  // namespace octavo::test
