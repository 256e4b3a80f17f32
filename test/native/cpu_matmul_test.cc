// matmul against float64, and its rows against themselves in other company. Also the thread pool.
#include <atomic>
#include <chrono>
#include <thread>

#include "base/thread_pool.h"
#include "native/op_test.h"
#include "reference/reference.h"

namespace octavo::test {
namespace {

struct Part {
  DType dtype;
  int64_t cols;
  Bytes weight;
  Bytes bias;
  bool has_bias;
  std::unique_ptr<Loaded> loaded;  // the same for every backend
};

DType random_dtype(Random& random, int64_t depth) {
  for (;;) {
    const DType dtype = kStoredTypes[random.between(0, std::size(kStoredTypes) - 1)];
    if (depth % block_values(dtype) == 0) return dtype;
  }
}

Part random_part(const Backends& backends, Random& random, int64_t depth, int64_t cols) {
  const DType dtype = random_dtype(random, depth);
  Part part = {dtype,
               cols,
               random_stored(random, dtype, cols, depth),
               random_f32(random, cols),
               random.chance(40),
               nullptr};
  part.loaded = std::make_unique<Loaded>(backends.all[0]->ops(), part.weight, dtype, cols, depth);
  return part;
}

std::vector<Part> random_parts(const Backends& backends, Random& random, int64_t depth,
                               bool small) {
  std::vector<Part> parts;
  for (int64_t left = random.between(1, 3); left > 0; left--) {
    parts.push_back(random_part(backends, random, depth, random.between(1, small ? 40 : 210)));
  }
  return parts;
}

MatmulPart request_of(const Part& part, Output& out) {
  return {out.tensor(), part.loaded->tensor(), part.has_bias ? f32(part.bias) : nullptr};
}

// Every rounding is at most half an ulp of Σ|x·w|: float activations add depth terms one by one,
// int8 ones a few per block of 32.
double tolerance(const Part& part, bool int8, int64_t depth, double magnitude) {
  const double terms = static_cast<double>(int8 && is_quantised(part.dtype) ? depth / 8 : depth);
  return (terms + 8) * 0x1p-24 * magnitude + 1e-37;
}

void judge(const Part& part, bool int8, const Bytes& x, int64_t rows, int64_t depth,
           const std::vector<float>& got, Random& random) {
  const bool rounds = int8 && is_quantised(part.dtype);
  std::vector<std::vector<float>> lefts;
  for (int64_t m = 0; m < rows; m++) {
    const float* row = f32(x) + m * depth;
    lefts.push_back(rounds ? reference::int8_row(row, depth)
                           : std::vector<float>(row, row + depth));
  }
  for (int64_t n = 0; n < part.cols; n++) {
    const char* stored = part.weight.data() + n * row_bytes(part.dtype, depth);
    const std::vector<double> weight = reference::stored_row(part.dtype, stored, depth);
    for (int64_t m = 0; m < rows; m++) {
      if (rows * part.cols > 5000 && !random.chance(30)) continue;
      double magnitude;
      const float* left = lefts[static_cast<size_t>(m)].data();
      const double want =
          reference::dot(left, weight, part.has_bias ? f32(part.bias)[n] : 0.0, &magnitude);
      magnitude += 2 * reference::min_magnitude(left, part.dtype, stored, depth);
      expect_near(dtype_name(part.dtype), got[m * part.cols + n], want,
                  tolerance(part, int8, depth, magnitude));
    }
  }
}

// The rows [first, first + n) alone have the bits that they have among all.
void judge_alone(const Backends& backends, const Part& part, const Bytes& x, int64_t depth,
                 int64_t first, int64_t n, const std::vector<float>& all) {
  for (const auto& backend : backends.all) {
    Output out(n, part.cols);
    const MatmulPart request = request_of(part, out);
    const Ops& ops = backend->ops();
    ops.matmul(ops.context, {f32(x) + first * depth, DType::kF32, n, depth}, &request, 1);
    expect(std::memcmp(out.data(), &all[first * part.cols], out.size() * 4) == 0,
           "matmul %s: %lld rows alone give other bits (%s)", dtype_name(part.dtype),
           static_cast<long long>(n), ops.isa);
    expect(out.guards_hold(), "matmul: wrote outside its output");
  }
}

void matmul_case(const Backends& backends, Random& random, int64_t rows, int64_t depth) {
  const Bytes x = random_f32(random, rows * depth);
  const std::vector<Part> parts = random_parts(backends, random, depth, rows * depth > 40000);
  std::vector<Output> outs;
  for (const Part& part : parts) outs.emplace_back(rows, part.cols);
  std::vector<std::vector<float>> first;
  for (const auto& backend : backends.all) {
    std::vector<MatmulPart> request;
    for (size_t i = 0; i < parts.size(); i++) {
      outs[i].poison();
      request.push_back(request_of(parts[i], outs[i]));
    }
    const Ops& ops = backend->ops();
    ops.matmul(ops.context, input(x, DType::kF32, rows, depth), request.data(),
               static_cast<int32_t>(request.size()));
    for (size_t i = 0; i < parts.size(); i++) {
      if (first.size() <= i) first.push_back(outs[i].values());
      expect(outs[i].same_bits(first[i]), "matmul %lldx%lld: %s, %d threads: other bits",
             static_cast<long long>(rows), static_cast<long long>(depth), ops.isa,
             backend->num_threads());
      expect(outs[i].guards_hold(), "matmul: wrote outside its output");
    }
  }
  for (size_t i = 0; i < parts.size(); i++) {
    judge(parts[i], backends.int8_activations, x, rows, depth, first[i], random);
    const int64_t at = random.between(0, rows - 1);
    judge_alone(backends, parts[i], x, depth, at, 1, first[i]);
    judge_alone(backends, parts[i], x, depth, at, random.between(1, rows - at), first[i]);
  }
}

}  // namespace

// NaN and infinities in a row of x spoil that row and no other. A block of values too small for a
// scale counts as zeros.
void test_spoilt_rows(const Backends& backends, Random& random) {
  for (const float bad : {kNaN, std::numeric_limits<float>::infinity()}) {
    const DType dtype = random.pick({DType::kQ8_0, DType::kQ4_K, DType::kQ6_K});
    const int64_t rows = random.between(2, 20), depth = 512, cols = random.between(1, 40);
    const Bytes x = random_f32(random, rows * depth), clean = random_f32(random, rows * depth);
    std::memcpy(clean.data(), x.data(), static_cast<size_t>(rows * depth * 4));
    const int64_t spoilt = random.between(0, rows - 1);
    const int64_t tiny = (spoilt + 1) % rows * depth + 32 * random.between(0, depth / 32 - 1);
    for (int64_t i = tiny; i < tiny + 32; i++) {
      f32(x)[i] = 1e-37f * static_cast<float>(random.between(-3, 3));
      f32(clean)[i] = 0;
    }
    f32(x)[spoilt * depth + random.between(0, depth - 1)] = bad;
    const Bytes weight = random_stored(random, dtype, cols, depth);
    for (const auto& backend : backends.all) {
      const Ops& ops = backend->ops();
      const Loaded loaded(ops, weight, dtype, cols, depth);
      Output out(rows, cols), want(rows, cols);
      const MatmulPart part{out.tensor(), loaded.tensor(), nullptr};
      const MatmulPart other{want.tensor(), loaded.tensor(), nullptr};
      ops.matmul(ops.context, input(x, DType::kF32, rows, depth), &part, 1);
      ops.matmul(ops.context, input(clean, DType::kF32, rows, depth), &other, 1);
      for (int64_t i = 0; i < rows * cols; i++) {
        const float got = out.data()[i];
        expect(i / cols == spoilt ? !std::isfinite(got) : got == want.data()[i],
               "matmul %s: %g in row %lld gives %g (%s)", dtype_name(dtype), bad,
               static_cast<long long>(spoilt), got, ops.isa);
      }
    }
  }
}

// One op gives the bits of two; or it says that it does not.
void test_gated_matmul(const Backends& backends, Random& random, int64_t rows) {
  const int64_t depth = 256 * random.between(1, 3), cols = random.between(1, 100);
  const Bytes x = random_f32(random, rows * depth);
  Part gate = random_part(backends, random, depth, cols);
  Part up = random_part(backends, random, depth, cols);
  const bool silu = random.chance(80);
  const Activation activation = silu ? Activation::kSilu : Activation::kGeluTanh;
  const bool alike = is_quantised(gate.dtype) == is_quantised(up.dtype);
  const bool expected = silu && (alike || !backends.int8_activations);
  Output want(rows, cols), got(rows, cols), second(rows, cols);
  for (const auto& backend : backends.all) {
    const Ops& ops = backend->ops();
    const Tensor left = input(x, DType::kF32, rows, depth);
    const MatmulPart two[] = {request_of(gate, want), request_of(up, second)};
    ops.matmul(ops.context, left, two, 2);
    ops.gated_mul(ops.context, want.tensor(), want.tensor(), second.tensor(), activation);
    got.poison();
    second.poison();
    const bool done =
        ops.gated_matmul(ops.context, left, request_of(gate, got), two[1], activation);
    expect(done == expected, "gated_matmul: says %d", done);
    expect(!done || got.same_bits(want.values()), "gated_matmul %lldx%lld %s, %s: other bits (%s)",
           static_cast<long long>(rows), static_cast<long long>(depth), dtype_name(gate.dtype),
           dtype_name(up.dtype), ops.isa);
    expect(got.guards_hold() && second.guards_hold(), "gated_matmul: wrote outside its output");
  }
}

void test_matmul(const Backends& backends, Random& random) {
  for (int64_t rows : {1, 1, 1, 2, 5, 6, 7, 16, 17, 40, 300}) {
    test_gated_matmul(backends, random, rows);
  }
  test_spoilt_rows(backends, random);
  for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 12, 13}) {
    matmul_case(backends, random, rows, random.between(1, 700));
    matmul_case(backends, random, rows, 32 * random.between(1, 24));
    matmul_case(backends, random, rows, 256 * random.between(1, 5));
  }
  for (int i = 0; i < 8; i++) {
    matmul_case(backends, random, random.between(1, 150), random.between(1, 300));
    matmul_case(backends, random, random.between(1, 60), 32 * random.between(1, 12));
    matmul_case(backends, random, random.between(1, 60), 256 * random.between(1, 4));
  }
  // Deeper than one block of depth, and more rows than one block of rows.
  matmul_case(backends, random, random.between(7, 30), random.between(641, 2100));
  matmul_case(backends, random, random.between(7, 30), 32 * random.between(21, 64));
  matmul_case(backends, random, random.between(97, 230), random.between(1, 64));
  matmul_case(backends, random, random.between(257, 400), 256);
}

void test_thread_pool(Random& random) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 400; round++) {
      const int64_t items = random.between(0, round % 50 == 0 ? 5000 : 40);
      std::vector<std::atomic<int>> hits(static_cast<size_t>(items));
      std::atomic<int> strangers{0};
      pool.parallel_for(items, [&](int64_t item, int worker) {
        hits[item].fetch_add(1, std::memory_order_relaxed);
        if (worker < 0 || worker >= threads) strangers++;
      });
      for (const auto& hit : hits) {
        expect(hit.load() == 1, "thread pool: an item ran %d times", hit.load());
      }
      expect(strangers == 0, "thread pool: worker index out of range");
      // Now and then let the workers fall asleep, or meet them falling asleep.
      if (round % 20 == 0) {
        std::this_thread::sleep_for(std::chrono::microseconds(random.between(20, 200)));
      }
    }
    // What one loop wrote plainly, the next reads plainly, on any thread.
    std::vector<int64_t> plain(257, 0);
    for (int round = 0; round < 300; round++) {
      pool.parallel_for(257, [&](int64_t item, int) { plain[(item + round) % 257] += round; });
    }
    for (int64_t sum : plain) expect(sum == 299 * 300 / 2, "thread pool: lost update");
  }
}

}  // namespace octavo::test
