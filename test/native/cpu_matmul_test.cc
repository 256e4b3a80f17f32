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
};

std::vector<Part> random_parts(Random& random, int64_t depth, bool small) {
  std::vector<Part> parts;
  for (int64_t left = random.between(1, 3); left > 0; left--) {
    const DType dtype =
        depth % 32 == 0
            ? random.pick({DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0})
            : random.pick({DType::kF32, DType::kF16, DType::kBF16});
    const int64_t cols = random.between(1, small ? 40 : 210);
    parts.push_back({dtype, cols, random_stored(random, dtype, cols, depth),
                     random_f32(random, cols), random.chance(40)});
  }
  return parts;
}

// Lanes add depth/16 terms each, a tree and a bias follow; every rounding is at most half an ulp
// of Σ|x·w|. (A quantised weight is exact: 11 bits of scale times 8 fit a float.)
double tolerance(int64_t depth, double magnitude) {
  return (static_cast<double>(depth) / 16 + 8) * 0x1p-24 * magnitude + 1e-37;
}

void judge(const Part& part, const Bytes& x, int64_t rows, int64_t depth,
           const std::vector<float>& got, Random& random) {
  for (int64_t m = 0; m < rows; m++) {
    for (int64_t n = 0; n < part.cols; n++) {
      if (rows * part.cols > 5000 && !random.chance(30)) continue;
      double magnitude;
      const double want = reference::dot(
          f32(x) + m * depth, part.dtype, part.weight.data() + n * row_bytes(part.dtype, depth),
          depth, part.has_bias ? f32(part.bias)[n] : 0.0, &magnitude);
      expect_near(dtype_name(part.dtype), got[m * part.cols + n], want,
                  tolerance(depth, magnitude));
    }
  }
}

// The rows [first, first + n) alone have the bits that they have among all.
void judge_alone(const Backends& backends, const Part& part, const Bytes& x, int64_t depth,
                 int64_t first, int64_t n, const std::vector<float>& all) {
  for (const auto& backend : backends.all) {
    Output out(n, part.cols);
    const MatmulPart request{out.tensor(), input(part.weight, part.dtype, part.cols, depth),
                             part.has_bias ? f32(part.bias) : nullptr};
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
  const std::vector<Part> parts = random_parts(random, depth, rows * depth > 40000);
  std::vector<Output> outs;
  for (const Part& part : parts) outs.emplace_back(rows, part.cols);
  std::vector<std::vector<float>> first;
  for (const auto& backend : backends.all) {
    std::vector<MatmulPart> request;
    for (size_t i = 0; i < parts.size(); i++) {
      outs[i].poison();
      request.push_back({outs[i].tensor(),
                         input(parts[i].weight, parts[i].dtype, parts[i].cols, depth),
                         parts[i].has_bias ? f32(parts[i].bias) : nullptr});
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
    judge(parts[i], x, rows, depth, first[i], random);
    const int64_t at = random.between(0, rows - 1);
    judge_alone(backends, parts[i], x, depth, at, 1, first[i]);
    judge_alone(backends, parts[i], x, depth, at, random.between(1, rows - at), first[i]);
  }
}

}  // namespace

void test_matmul(const Backends& backends, Random& random) {
  for (int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 12, 13}) {
    matmul_case(backends, random, rows, random.between(1, 700));
    matmul_case(backends, random, rows, 32 * random.between(1, 24));
  }
  for (int i = 0; i < 8; i++) {
    matmul_case(backends, random, random.between(1, 150), random.between(1, 300));
    matmul_case(backends, random, random.between(1, 60), 32 * random.between(1, 12));
  }
  // Deeper than one block of depth, and more rows than one block of rows.
  matmul_case(backends, random, random.between(7, 30), random.between(641, 2100));
  matmul_case(backends, random, random.between(7, 30), 32 * random.between(21, 64));
  matmul_case(backends, random, random.between(97, 230), random.between(1, 64));
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
