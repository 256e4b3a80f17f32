// Norms against float64: three kinds, of the residual stream after its add or where it stands, of
// heads (by a weight of their own, too) or whole projections in place; on a device rows that a warp
// takes, that a block holds, and longer ones.
#include "base/error.h"
#include "native/backend_under_test.h"
#include "reference/reference.h"

namespace octavo::test {
namespace {

constexpr float kEps = 1e-5f;

struct Case {
  NormKind kind;
  DType x_type;   // F32, or that of activations
  bool in_place;  // out is x
  bool fused, has_weight, has_bias;
  int64_t rows, cols, weight_rows = 1;
  float add_scale = 1, sum_scale = 1, offset = 0;  // offset: what all of x has in common
};

void choose_sizes(const Backends& backends, Random& random, Case& c) {
  if (backends.on_cpu()) {
    c.cols = random.pick<int64_t>({1, 15, 16, 64, 576, 777, 5003});
    c.rows = random.between(1, c.cols > 1000 ? 9 : 80);
    return;
  }
  const bool longer = random.chance(10);  // than a block's registers hold
  const bool heads = c.x_type != DType::kF32 && !longer && random.chance(50);
  c.rows = longer ? 2 : random.between(1, 20);
  c.cols = longer  ? 8192 + random.between(-1, 2) * 8
           : heads ? random.between(1, 128) * 4
                   : random.between(1, 300) * 8;
  if (heads && c.kind != NormKind::kNone) c.cols -= 2;
}

Case random_case(const Backends& backends, Random& random, NormKind kind) {
  Case c{};
  c.kind = kind;
  c.x_type = random.pick({DType::kF32, backends.type()});
  c.fused = c.x_type == DType::kF32 && random.chance(60);
  const bool of_residual = c.x_type == DType::kF32 && kind != NormKind::kNone;
  c.in_place = (c.x_type == backends.type() && !c.fused && random.chance(50)) ||
               (of_residual && random.chance(30));
  c.has_weight = random.chance(75);
  if (kind == NormKind::kLayer) {
    c.has_bias = random.chance(60);
    c.offset = random.pick({0.0f, 0.0f, 5.0f, -40.0f});
  }
  if (c.fused && random.chance(50)) c.add_scale = random.pick({0.22f, -1.5f, 3.0f});
  if (c.fused && random.chance(40)) c.sum_scale = random.pick({0.07f, -0.75f, 1.3f});
  choose_sizes(backends, random, c);
  if (random.chance(40)) c.weight_rows = random.between(2, 7);
  return c;
}

void judge_row(const Case& c, DType type, const float* x, const float* weight, const float* bias,
               const float* got) {
  const int64_t cols = c.cols;
  std::vector<double> want(x, x + cols);
  if (c.kind == NormKind::kRms) want = reference::rms_norm(x, weight, kEps, cols);
  if (c.kind == NormKind::kLayer) want = reference::layer_norm(x, weight, bias, kEps, cols);
  double squares = 0, mean = 0, magnitude = 0;
  for (int64_t i = 0; i < cols; i++) mean += x[i] / static_cast<double>(cols);
  for (int64_t i = 0; i < cols; i++) {
    squares += (x[i] - mean) * (x[i] - mean) / static_cast<double>(cols);
    magnitude += std::fabs(x[i]) / static_cast<double>(cols);
  }
  const double deviation = std::sqrt(squares + kEps);
  for (int64_t i = 0; i < cols; i++) {
    double tolerance = c.kind == NormKind::kNone ? 0 : 2e-6 * std::fabs(want[i]) + 1e-30;
    if (c.kind == NormKind::kLayer) {
      // The mean is a float32 sum, and what is left of x after it has the ulp of x.
      const double of_mean = 8 * 0x1p-24 * (magnitude + std::fabs(x[i])) / deviation;
      const double of_bias = bias == nullptr ? 0 : 2e-6 * std::fabs(bias[i]);
      tolerance += of_mean * std::fabs(weight == nullptr ? 1 : weight[i]) + of_bias;
    }
    expect_stored("norm", type, got[i], want[i], tolerance);
  }
}

// A bias that a norm would pass over is refused.
void expect_refused(const Ops& ops, NormParams p, const float* bias) {
  p.bias = bias;
  bool refused = false;
  try {
    ops.norm(ops.context, p);
  } catch (const Error&) {
    refused = true;
  }
  expect(refused, "norm: a bias of kind %d is accepted", static_cast<int>(p.kind));
}

}  // namespace

void test_norm(const Backends& backends, Random& random, int i) {
  const NormKind kinds[] = {NormKind::kNone, NormKind::kRms, NormKind::kLayer};
  const Case c = random_case(backends, random, kinds[i % 3]);
  const DType type = backends.type();
  const int64_t n = c.rows * c.cols;
  std::vector<float> summed = random_values(random, c.x_type, n, 3);
  for (float& x : summed) x = rounded(c.x_type, x + c.offset);
  const std::vector<float> before = summed, addend = random_values(random, type, n);
  for (int64_t j = 0; c.fused && j < n; j++) {
    summed[j] = std::fma(c.add_scale, addend[j], summed[j]) * c.sum_scale;
  }
  const auto weights = random_values(random, DType::kF32, c.weight_rows * c.cols),
             biases = random_values(random, DType::kF32, c.weight_rows * c.cols);
  const Memory w = put(backends.ops(), weights), b = put(backends.ops(), biases);
  const Values x(backends, c.x_type, c.rows, c.cols), add(backends, type, c.rows, c.cols, addend),
      out(backends, type, c.rows, c.cols);
  const Values& to = c.in_place ? x : out;
  NormParams p{to.tensor(), x.tensor(), c.fused ? add.tensor() : Tensor{}, c.kind};
  p.weight = c.has_weight ? w.as<float>() : nullptr;
  p.bias = c.has_bias ? b.as<float>() : nullptr;
  p.eps = kEps;
  p.add_scale = c.add_scale;
  p.sum_scale = c.sum_scale;
  p.weight_rows = c.weight_rows;
  const auto got = run_everywhere(
      backends, to, "norm", [&] { x.fill(before); },
      [&](const Ops& ops) {
        if (c.kind != NormKind::kLayer) expect_refused(ops, p, b.as<float>());
        ops.norm(ops.context, p);
        expect(c.in_place || x.bits("norm") == narrowed(c.x_type, summed),
               "norm: wrong sum left in x");
      });
  for (int64_t r = 0; r < c.rows; r++) {
    const int64_t of = r % c.weight_rows * c.cols;
    judge_row(c, c.in_place ? c.x_type : type, &summed[r * c.cols],
              c.has_weight ? &weights[of] : nullptr, c.has_bias ? &biases[of] : nullptr,
              &got[r * c.cols]);
  }
  // One row alone, by its own weight.
  const int64_t row = random.between(0, c.rows - 1), at = row * c.cols;
  const int64_t of = row % c.weight_rows * c.cols;
  const Values one(backends, type, 1, c.cols),
      source(backends, c.x_type, 1, c.cols, {&summed[at], &summed[at] + c.cols});
  const Values& alone = c.in_place ? source : one;
  p.out = alone.tensor(), p.x = source.tensor(), p.add = {};
  p.weight_rows = 1;
  if (c.has_weight) p.weight += of;
  if (c.has_bias) p.bias += of;
  const Ops& ops = backends.any(random);
  ops.norm(ops.context, p);
  const bool same = std::memcmp(alone.read("norm").data(), &got[at], c.cols * 4) == 0;
  expect(same, "norm: other bits alone");
}

}  // namespace octavo::test
