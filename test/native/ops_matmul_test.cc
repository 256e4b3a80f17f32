// matmul against float64, and its rows against themselves in other company; gated_matmul against
// matmul and activate.
#include "native/matmul_case.h"
#include "reference/reference.h"

namespace octavo::test {
namespace {

// A part's memory on a backend.
struct Placed {
  Placed(const Backends& backends, const Part& part, int64_t rows, int64_t depth)
      : loaded(part.weight, part.dtype, part.cols, depth),
        bias(put(backends.ops(), part.bias)),
        out(backends, part.out_type, rows, part.cols),
        has_bias(!part.bias.empty()) {}
  MatmulPart request(const Ops& ops) const {
    return {out.tensor(), loaded.tensor(ops), has_bias ? bias.as<float>() : nullptr};
  }
  Loaded loaded;
  Memory bias;
  Values out;
  bool has_bias;
};

// Every rounding is at most half an ulp of Σ|x·w|: the CPU adds depth terms one by one, of int8
// activations a few per block of 32.
double tolerance(const Backends& backends, const Part& part, int64_t depth, double want,
                 double magnitude) {
  if (!backends.on_cpu()) {
    return 2e-6 * magnitude + (part.out_type == DType::kF32 ? 1e-6 * std::fabs(want) : 0);
  }
  const bool int8 = backends.left_type(part.dtype) == DType::kI8;
  return (static_cast<double>(int8 ? depth / 8 : depth) + 8) * 0x1p-24 * magnitude + 1e-37;
}

void judge(const Backends& backends, const Product& c, size_t p, Random& random) {
  const Part& part = c.parts[p];
  std::vector<std::vector<float>> lefts;
  for (int64_t m = 0; m < c.rows; m++) {
    const float* row = &c.x[m * c.depth];
    lefts.push_back(reference::left_row(backends.left_type(part.dtype), row, c.depth));
  }
  const DType kept = kept_type(backends, part.dtype);
  const bool all = !backends.on_cpu() || c.rows * part.cols <= 5000;
  for (int64_t n = 0; n < part.cols; n++) {
    const char* stored = part.weight.data() + n * row_bytes(part.dtype, c.depth);
    std::vector<double> weight = reference::stored_row(part.dtype, stored, c.depth);
    for (double& w : weight) w = rounded(kept, static_cast<float>(w));
    for (int64_t m = 0; m < c.rows; m++) {
      if (!all && !random.chance(30)) continue;
      double magnitude;
      const float* left = lefts[static_cast<size_t>(m)].data();
      const double want =
          reference::dot(left, weight, part.bias.empty() ? 0.0 : part.bias[n], &magnitude);
      magnitude += 2 * reference::min_magnitude(left, part.dtype, stored, c.depth);
      expect_stored(dtype_name(part.dtype), part.out_type, c.got[p][m * part.cols + n], want,
                    tolerance(backends, part, c.depth, want, magnitude));
    }
  }
}

void same_rows(const Product& c, size_t p, int64_t first, const std::vector<float>& some,
               const char* what, const Ops& ops) {
  expect(std::memcmp(some.data(), &c.got[p][first * c.parts[p].cols], some.size() * 4) == 0,
         "matmul %s: %lld of %lld rows give other bits %s (%s)", dtype_name(c.parts[p].dtype),
         static_cast<long long>(some.size()) / static_cast<long long>(c.parts[p].cols),
         static_cast<long long>(c.rows), what, ops.isa);
}

}  // namespace

Part random_part(const Backends& backends, Random& random, DType dtype, int64_t depth,
                 int64_t cols) {
  Part part{dtype, cols, random_stored(random, dtype, cols, depth), {}, DType::kF32};
  if (random.chance(40)) part.bias = random_values(random, DType::kF32, cols);
  if (!random.chance(30)) part.out_type = backends.type();
  return part;
}

std::vector<std::vector<float>> Product::run(const Backends& backends, const Ops& ops,
                                             int64_t first, int64_t n, size_t begin,
                                             size_t end) const {
  const DType type = backends.type();
  const Values left(backends, type, n, depth, {&x[first * depth], &x[first * depth] + n * depth});
  std::vector<std::unique_ptr<Placed>> placed;
  std::vector<MatmulPart> request;
  for (size_t p = begin; p < end; p++) {
    placed.push_back(std::make_unique<Placed>(backends, parts[p], n, depth));
    request.push_back(placed.back()->request(ops));
  }
  ops.matmul(ops.context, left.tensor(), request.data(), static_cast<int32_t>(request.size()));
  std::vector<std::vector<float>> out;
  for (const auto& part : placed) out.push_back(part->out.read("matmul"));
  return out;
}

void Product::same_on(const Backends& others, Random& random, const char* what) const {
  const int64_t n = random.between(1, rows), first = random.between(0, rows - n);
  const auto some = run(others, others.ops(), first, n, 0, parts.size());
  for (size_t p = 0; p < parts.size(); p++) {
    same_rows(*this, p, first, some[p], what, others.ops());
  }
}

Product matmul_case(const Backends& backends, Random& random, int64_t rows, int64_t depth,
                    std::vector<Part> parts, bool invariant) {
  Product c{
      rows, depth, random_values(random, backends.type(), rows * depth), std::move(parts), {}};
  for (const auto& backend : backends.all) {
    const Ops& ops = backend->ops();
    const auto got = c.run(backends, ops, 0, rows, 0, c.parts.size());
    if (c.got.empty()) c.got = got;
    for (size_t p = 0; p < got.size(); p++) {
      expect(std::memcmp(got[p].data(), c.got[p].data(), got[p].size() * 4) == 0,
             "matmul %lldx%lld: %s, %d threads: other bits", static_cast<long long>(rows),
             static_cast<long long>(depth), ops.isa, backend->num_threads());
    }
  }
  for (size_t p = 0; p < c.parts.size(); p++) {
    judge(backends, c, p, random);
    const int64_t at = random.between(0, rows - 1);
    for (const int64_t n : {int64_t{1}, random.between(1, rows - at)}) {
      for (size_t b = 0; invariant && b < backends.all.size(); b++) {
        const Ops& ops = backends.all[b]->ops();
        same_rows(c, p, at, c.run(backends, ops, at, n, p, p + 1)[0], "alone", ops);
      }
    }
  }
  return c;
}

namespace {

// NaN and infinities in a row of x spoil that row and no other. A block of values too small for a
// scale counts as zeros where the CPU rounds to int8.
void spoilt_rows(const Backends& backends, Random& random) {
  const DType type = backends.type();
  for (const float bad : {kNaN, std::numeric_limits<float>::infinity()}) {
    const DType dtype = random.pick({DType::kQ8_0, DType::kQ4_K, DType::kQ6_K});
    const int64_t rows = random.between(2, 20), depth = 512, cols = random.between(1, 40);
    std::vector<float> clean = random_values(random, type, rows * depth), x = clean;
    const int64_t spoilt = random.between(0, rows - 1);
    const int64_t tiny = (spoilt + 1) % rows * depth + 32 * random.between(0, depth / 32 - 1);
    for (int64_t i = tiny; i < tiny + 32 && backends.on_cpu(); i++) {
      x[i] = 1e-37f * static_cast<float>(random.between(-3, 3));
      clean[i] = 0;
    }
    x[spoilt * depth + random.between(0, depth - 1)] = bad;
    const Part part{dtype, cols, random_stored(random, dtype, cols, depth), {}, DType::kF32};
    const Placed placed(backends, part, rows, depth);
    const Values left(backends, type, rows, depth);
    for (const auto& backend : backends.all) {
      const Ops& ops = backend->ops();
      const MatmulPart request = placed.request(ops);
      std::vector<float> out[2];
      for (const bool whole : {false, true}) {
        left.fill(whole ? clean : x);
        placed.out.poison();
        ops.matmul(ops.context, left.tensor(), &request, 1);
        out[whole] = placed.out.read("matmul");
      }
      for (int64_t i = 0; i < rows * cols; i++) {
        expect(i / cols == spoilt ? !std::isfinite(out[0][i]) : out[0][i] == out[1][i],
               "matmul %s: %g in row %lld gives %g (%s)", dtype_name(dtype), bad,
               static_cast<long long>(spoilt), out[0][i], ops.isa);
      }
    }
  }
}

DType random_dtype(Random& random, int64_t depth) {
  for (;;) {
    const DType dtype = kStoredTypes[random.between(0, std::size(kStoredTypes) - 1)];
    if (depth % block_values(dtype) == 0) return dtype;
  }
}

// One op gives the bits of two; or it says that it does not, or is not there.
void gated_matmul(const Backends& backends, Random& random, int64_t rows) {
  const int64_t depth = 256 * random.between(1, 3), cols = random.between(1, 100);
  const DType type = backends.type();
  const auto x = random_values(random, type, rows * depth);
  const auto make = [&] {
    return random_part(backends, random, random_dtype(random, depth), depth, cols);
  };
  const Part gate = make(), up = make();
  const bool silu = random.chance(80);
  const HiddenAct hidden_act = silu ? HiddenAct::kSilu : HiddenAct::kGeluTanh;
  const bool alike = backends.left_type(gate.dtype) == backends.left_type(up.dtype);
  const bool expected = silu && alike;
  const Values left(backends, type, rows, depth, x);
  const Placed first(backends, gate, rows, depth), second(backends, up, rows, depth);
  for (const auto& backend : backends.all) {
    const Ops& ops = backend->ops();
    if (ops.gated_matmul == nullptr) continue;
    const MatmulPart two[] = {first.request(ops), second.request(ops)};
    ops.matmul(ops.context, left.tensor(), two, 2);
    ops.activate(ops.context, two[0].out, two[0].out, two[1].out, hidden_act);
    const auto want = first.out.bits("activate");
    first.out.poison();
    second.out.poison();
    const bool done = ops.gated_matmul(ops.context, left.tensor(), two[0], two[1], hidden_act);
    expect(done == expected, "gated_matmul: says %d", done);
    const auto got = first.out.bits("gated_matmul");
    second.out.bits("gated_matmul");
    expect(!done || got == want, "gated_matmul %lldx%lld %s, %s: other bits (%s)",
           static_cast<long long>(rows), static_cast<long long>(depth), dtype_name(gate.dtype),
           dtype_name(up.dtype), ops.isa);
  }
}

void cpu_sizes(const Backends& backends, Random& random) {
  const auto multiply = [&](int64_t rows, int64_t depth) {
    std::vector<Part> parts;
    for (int64_t left = random.between(1, 3); left > 0; left--) {
      parts.push_back(random_part(backends, random, random_dtype(random, depth), depth,
                                  random.between(1, rows * depth > 40000 ? 40 : 210)));
    }
    matmul_case(backends, random, rows, depth, std::move(parts));
  };
  for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 12, 13}) {
    multiply(rows, random.between(1, 700));
    multiply(rows, 32 * random.between(1, 24));
    multiply(rows, 256 * random.between(1, 5));
  }
  for (int i = 0; i < 8; i++) {
    multiply(random.between(1, 150), random.between(1, 300));
    multiply(random.between(1, 60), 32 * random.between(1, 12));
    multiply(random.between(1, 60), 256 * random.between(1, 4));
  }
  // Deeper than one block of depth, and more rows than one block of rows.
  multiply(random.between(7, 30), random.between(641, 2100));
  multiply(random.between(7, 30), 32 * random.between(21, 64));
  multiply(random.between(97, 230), random.between(1, 64));
  multiply(random.between(257, 400), 256);
}

}  // namespace

void matmul_grid(const std::vector<const Backends*>& of_types, Random& random, const Effort& effort,
                 const std::function<void(const Backends&, const Product&)>& more) {
  for (int64_t rows : {1, 1, 1, 2, 5, 6, 7, 16, 17, 40, 300}) {
    gated_matmul(*of_types[0], random, rows);
  }
  for (const Backends* backends : of_types) spoilt_rows(*backends, random);
  if (of_types[0]->on_cpu()) return cpu_sizes(*of_types[0], random);
  const std::vector<int> ms = {1, 2, 8, 9, 15, 16, 17, 33, 64, 65, 130, 300},
                         ks = {32, 64, 96, 160, 544, 1056}, ns = {8, 50, 64, 72, 200, 330};
  const std::vector<DType> weights = {DType::kBF16, DType::kF16, DType::kF32, DType::kQ8_0,
                                      DType::kQ4_0};
  const auto size = [](const auto& list) { return static_cast<int>(list.size()); };
  const auto rows = pairwise(
      random, {size(ms), size(ks), size(ns), size(weights), size(of_types), 3}, effort.cases);
  for (const auto& r : rows) {
    const Backends& backends = *of_types[r[4]];
    std::vector<Part> parts;
    for (int p = 0; p <= r[5]; p++) {
      parts.push_back(random_part(backends, random, weights[r[3]], ks[r[1]],
                                  p == 0 ? ns[r[2]] : random.between(1, 90)));
    }
    more(backends, matmul_case(backends, random, effort.small ? std::min(ms[r[0]], 17) : ms[r[0]],
                               ks[r[1]], std::move(parts)));
  }
}

namespace {

// Exponents from those of subnormal numbers to where products are still finite.
float bf16_of_any_size(Random& random) {
  if (random.chance(5)) return random.chance(50) ? 0.0f : -0.0f;
  const int exponent =
      static_cast<int>(random.chance(50) ? random.between(-8, 8)
                                         : random.between(-140, random.chance(50) ? -50 : 50));
  const float size = std::ldexp(1 + static_cast<float>(random.between(0, 127)) / 128, exponent);
  return rounded(DType::kBF16, random.chance(50) ? size : -size);
}

float cut(float x) { return std::fabs(x) < 0x1p-56f ? 0 : x; }

float bf16_product(const float* x, const float* w, int64_t depth) {
  float sum = 0;
  for (int64_t k = 0; k < depth; k += 2) {
    for (const int64_t i : {k + 1, k}) {
      if (i < depth) sum = std::fma(rounded(DType::kBF16, cut(x[i])), cut(w[i]), sum);
    }
  }
  return sum;
}

}  // namespace

void test_bf16_bits(const Backends& backends, Random& random) {
  for (int i = 0; i < 40; i++) {
    const int64_t rows = random.pick({1, 2, 5, 8, 9, 24, 65, 130}), cols = random.between(1, 70),
                  depth = random.between(1, random.chance(30) ? 900 : 90);
    std::vector<float> x(static_cast<size_t>(rows * depth)), w(static_cast<size_t>(cols * depth));
    for (float& v : x) v = bf16_of_any_size(random) * (1 + random.normal() * 0x1p-9f);
    for (float& v : w) v = bf16_of_any_size(random);
    Part part{DType::kBF16, cols, Bytes(static_cast<int64_t>(w.size()) * 2), {}, DType::kF32};
    for (size_t k = 0; k < w.size(); k++) {
      const uint16_t bits = float_to_bf16(w[k]);
      std::memcpy(part.weight.data() + 2 * k, &bits, 2);
    }
    std::vector<float> want;
    for (int64_t m = 0; m < rows; m++) {
      for (int64_t n = 0; n < cols; n++) {
        want.push_back(bf16_product(&x[m * depth], &w[n * depth], depth));
      }
    }
    Product c{rows, depth, x, {}, {want}};
    c.parts.push_back(std::move(part));
    for (const auto& backend : backends.all) {
      same_rows(c, 0, 0, c.run(backends, backend->ops(), 0, rows, 0, 1)[0],
                "than fused multiply-adds in order", backend->ops());
    }
  }
}

}  // namespace octavo::test
