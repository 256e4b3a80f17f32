// Every op of the CPU backend, on every instruction set of this machine, against float64. Inputs
// are fresh each run: the seed is printed, and taken as an argument to see a failure again, with
// the name of a group where that is enough.
#include <chrono>
#include <cinttypes>
#include <set>

#include "native/cpu_cache.h"
#include "native/op_test.h"
#include "reference/reference.h"

namespace octavo::test {
namespace {

void test_embedding(const Backends& backends, Random& random) {
  for (int i = 0; i < 45; i++) {
    const DType dtype = kStoredTypes[i % std::size(kStoredTypes)];
    const int64_t block = block_values(dtype);
    const int64_t cols = block * random.between(1, block == 1 ? 700 : 640 / block);
    const int64_t vocab = random.between(1, 50), n = random.between(1, 90);
    const Bytes table = random_stored(random, dtype, vocab, cols);
    std::vector<int32_t> ids;
    for (int64_t t = 0; t < n; t++) {
      ids.push_back(static_cast<int32_t>(random.between(0, vocab - 1)));
    }
    Output out(n, cols);
    const Loaded loaded(backends.all[0]->ops(), table, dtype, vocab, cols);
    const auto got = run_everywhere(backends, out, "embedding", [&](const Ops& ops) {
      ops.embedding(ops.context, out.tensor(), loaded.tensor(), ids.data());
    });
    for (int64_t t = 0; t < n; t++) {
      const char* row = table.data() + ids[t] * row_bytes(dtype, cols);
      const std::vector<double> want = reference::stored_row(dtype, row, cols);
      for (int64_t c = 0; c < cols; c++) {
        // A min that is added is rounded once more, or once less.
        const double tolerance = quant_format(dtype).has_min ? 0x1p-11 : 0;
        expect_near(dtype_name(dtype), got[t * cols + c], want[c], tolerance);
      }
    }
  }
}

void test_rms_norm(const Backends& backends, Random& random) {
  for (int i = 0; i < 40; i++) {
    const int64_t rows = random.between(1, 80), cols = random.pick<int64_t>({1, 15, 64, 576, 777});
    const bool fused = random.chance(50), in_place = !fused && random.chance(50);
    const Bytes x = random_f32(random, rows * cols, 3), addend = random_f32(random, rows * cols);
    const Bytes weight = random_f32(random, cols);
    std::vector<float> summed(f32(x), f32(x) + rows * cols);
    for (int64_t j = 0; fused && j < rows * cols; j++) summed[j] += f32(addend)[j];
    Output out(rows, cols), residual(rows, cols);
    const auto got = run_everywhere(
        backends, out, "rms_norm", [&] { (in_place ? out : residual).fill(f32(x)); },
        [&](const Ops& ops) {
          const Tensor source = in_place ? out.tensor() : residual.tensor();
          const Tensor add = fused ? input(addend, DType::kF32, rows, cols) : Tensor{};
          ops.rms_norm(ops.context, out.tensor(), source, add, f32(weight), 1e-5f);
          expect(in_place || residual.same_bits(summed), "rms_norm: wrong sum left in x");
        });
    expect(residual.guards_hold(), "rms_norm: wrote outside x");
    for (int64_t r = 0; r < rows; r++) {
      const auto want = reference::rms_norm(summed.data() + r * cols, f32(weight), 1e-5f, cols);
      for (int64_t c = 0; c < cols; c++) {
        expect_near("rms_norm", got[r * cols + c], want[c], 2e-6 * std::fabs(want[c]) + 1e-30);
      }
    }
  }
}

void test_gated_mul(const Backends& backends, Random& random) {
  for (int i = 0; i < 40; i++) {
    const int64_t rows = random.between(1, 60), cols = random.between(1, 900), n = rows * cols;
    const bool in_place = random.chance(50), silu = random.chance(60);
    const Activation activation = silu ? Activation::kSilu : Activation::kGeluTanh;
    const Bytes gate = random_f32(random, n, silu ? 20 : 4), up = random_f32(random, n);
    for (float extreme : {0.0f, -0.0f, 88.0f, -87.5f, -100.0f, 1e30f, -1e30f}) {
      if (!silu && std::fabs(extreme) > 100) continue;
      f32(gate)[random.between(0, n - 1)] = extreme;
    }
    Output out(rows, cols);
    const auto got = run_everywhere(
        backends, out, "gated_mul",
        [&] {
          if (in_place) out.fill(f32(gate));
        },
        [&](const Ops& ops) {
          const Tensor g = in_place ? out.tensor() : input(gate, DType::kF32, rows, cols);
          ops.gated_mul(ops.context, out.tensor(), g, input(up, DType::kF32, rows, cols),
                        activation);
        });
    for (int64_t j = 0; j < n; j++) {
      const double want = silu ? reference::silu_mul(f32(gate)[j], f32(up)[j])
                               : reference::gelu_mul(f32(gate)[j], f32(up)[j]);
      // The tanh form cancels for large negative values: 1 + tanh is near 0 there.
      const double floor = silu ? 1e-30 : 2e-7 * std::fabs(f32(gate)[j] * f32(up)[j]);
      expect_near("gated_mul", got[j], want, 1e-6 * std::fabs(want) + floor);
    }
  }
}

void test_gather_rows(const Backends& backends, Random& random) {
  for (int i = 0; i < 30; i++) {
    const int64_t rows = random.between(1, 60), cols = random.between(1, 900);
    const int64_t n = random.between(1, 90);
    const Bytes x = random_f32(random, rows * cols);
    std::vector<int32_t> wanted;
    for (int64_t r = 0; r < n; r++) {
      wanted.push_back(static_cast<int32_t>(random.between(0, rows - 1)));
    }
    Output out(n, cols);
    const auto got = run_everywhere(backends, out, "gather_rows", [&](const Ops& ops) {
      ops.gather_rows(ops.context, out.tensor(), input(x, DType::kF32, rows, cols), wanted.data());
    });
    for (int64_t r = 0; r < n; r++) {
      expect(std::memcmp(&got[r * cols], f32(x) + wanted[r] * cols, cols * 4) == 0,
             "gather_rows: wrong row");
    }
  }
}

void test_copy_blocks(const Backends& backends, Random& random) {
  for (int i = 0; i < 20; i++) {
    const int64_t blocks = random.between(2, 12);
    const int64_t floats = random.pick<int64_t>({3, 64, 1000, 100003});
    std::vector<int32_t> order;
    for (int32_t b = 0; b < blocks; b++) order.push_back(b);
    std::shuffle(order.begin(), order.end(), random.engine());
    // Targets are a suffix of the order, sources (repeatable) come from the rest.
    const int64_t num_copies = random.between(1, blocks - 1);
    std::vector<BlockCopy> copies;
    for (int64_t c = 0; c < num_copies; c++) {
      copies.push_back(
          {order[random.between(0, blocks - num_copies - 1)], order[blocks - num_copies + c]});
    }
    const Bytes before = random_f32(random, blocks * floats);
    Output pool(blocks, floats);
    const auto got = run_everywhere(
        backends, pool, "copy_blocks", [&] { pool.fill(f32(before)); },
        [&](const Ops& ops) {
          ops.copy_blocks(ops.context, pool.data(), floats * 4, copies.data(),
                          static_cast<int32_t>(num_copies));
        });
    std::vector<float> want(f32(before), f32(before) + blocks * floats);
    for (const BlockCopy& c : copies) {
      std::memcpy(&want[c.target * floats], f32(before) + c.source * floats, floats * 4);
    }
    expect(std::memcmp(got.data(), want.data(), want.size() * 4) == 0, "copy_blocks: wrong pool");
  }
}

struct RopeCase {
  int32_t head_size, rotary, num_heads, num_kv_heads, block_size, num_blocks;
  bool interleaved;
  float factor;
  std::vector<int32_t> positions;
  std::vector<int64_t> slots;
};

RopeCase random_rope_case(Random& random) {
  RopeCase c;
  c.head_size = static_cast<int32_t>(random.pick({2, 16, 34, 64, 80, 128}));
  c.rotary = random.chance(60) ? c.head_size
                               : 2 * static_cast<int32_t>(random.between(0, c.head_size / 2));
  c.num_kv_heads = static_cast<int32_t>(random.between(1, 4));
  c.num_heads = c.num_kv_heads * static_cast<int32_t>(random.between(1, 4));
  c.block_size = static_cast<int32_t>(random.pick({1, 3, 16, 256}));
  c.interleaved = random.chance(40);
  c.factor = random.chance(70) ? 1.0f : 1.2079442f;
  const int64_t tokens = random.between(1, 70);
  c.num_blocks = static_cast<int32_t>(tokens / c.block_size + random.between(2, 9));
  std::vector<int64_t> free_slots;
  for (int64_t s = c.block_size; s < int64_t{c.num_blocks} * c.block_size; s++) {
    free_slots.push_back(s);
  }
  std::shuffle(free_slots.begin(), free_slots.end(), random.engine());
  for (int64_t t = 0; t < tokens; t++) {
    const bool padding = random.chance(10) || t >= static_cast<int64_t>(free_slots.size());
    c.slots.push_back(padding ? -1 : free_slots[t]);
    c.positions.push_back(static_cast<int32_t>(random.between(0, random.chance(50) ? 40 : 131071)));
  }
  return c;
}

void judge_rope(const RopeCase& c, const Bytes& source, const std::vector<float>& got,
                const std::vector<float>& inv_freq, int32_t heads, const char* what) {
  for (size_t t = 0; t < c.slots.size(); t++) {
    for (int32_t h = 0; h < heads; h++) {
      const int64_t at = (static_cast<int64_t>(t) * heads + h) * c.head_size;
      if (c.slots[t] < 0) continue;
      const auto want = reference::rope(f32(source) + at, c.head_size, c.positions[t],
                                        inv_freq.data(), c.rotary, c.interleaved, c.factor);
      for (int32_t d = 0; d < c.head_size; d++) {
        expect_near(what, got[at + d], want[d], d < c.rotary ? 2e-6 : 0.0);
      }
    }
  }
}

// Every slot of the pool holds exactly what was written there, or still NaN.
void judge_cache(const RopeCase& c, const TestPool& pool, TestPool& want, const float* k,
                 const float* v) {
  for (size_t t = 0; t < c.slots.size(); t++) {
    for (int32_t h = 0; h < c.num_kv_heads && c.slots[t] >= 0; h++) {
      const int64_t at = (static_cast<int64_t>(t) * c.num_kv_heads + h) * c.head_size;
      put_token(want.kv, static_cast<int32_t>(c.slots[t] / c.block_size),
                static_cast<int32_t>(c.slots[t] % c.block_size), h, k + at, v + at);
    }
  }
  expect(want.bytes == pool.bytes, "rope_and_cache: wrong pool of %s", dtype_name(pool.kv.dtype));
}

void test_rope_and_cache(const Backends& backends, Random& random) {
  for (int i = 0; i < 40; i++) {
    const RopeCase c = random_rope_case(random);
    const int64_t tokens = static_cast<int64_t>(c.slots.size());
    const int64_t q_cols = c.num_heads * c.head_size, kv_cols = c.num_kv_heads * c.head_size;
    const Bytes q0 = random_f32(random, tokens * q_cols), k0 = random_f32(random, tokens * kv_cols);
    const Bytes v0 = random_f32(random, tokens * kv_cols);
    for (int j = 0; j < 4; j++) {  // more than float16 holds
      f32(v0)[random.between(0, tokens * kv_cols - 1)] = random.chance(50) ? 65520.0f : -3e30f;
    }
    std::vector<float> inv_freq;
    for (int32_t f = 0; f < c.rotary / 2; f++) {
      inv_freq.push_back(static_cast<float>(std::pow(10000.0, -2.0 * f / c.rotary)));
    }
    // Layer 1 of 3, so that strides and offsets are not the trivial ones.
    const DType dtype = kCacheTypes[i % 4];
    const auto make_pool = [&] {
      return TestPool(dtype, c.num_blocks, c.block_size, c.num_kv_heads, c.head_size, 3, 1);
    };
    Output q(tokens, q_cols), k(tokens, kv_cols);
    TestPool pool = make_pool();
    BatchView batch;
    batch.num_tokens = static_cast<int32_t>(tokens);
    batch.positions = c.positions.data();
    batch.slots = c.slots.data();
    std::vector<float> k_first;
    const auto got = run_everywhere(
        backends, q, "rope_and_cache",
        [&] {
          q.fill(f32(q0));
          k.poison();
          k.fill(f32(k0));
          std::fill(pool.bytes.begin(), pool.bytes.end(), '\xff');
        },
        [&](const Ops& ops) {
          const RopeCacheParams p{
              q.tensor(),      k.tensor(), input(v0, DType::kF32, tokens, kv_cols),
              inv_freq.data(), c.rotary,   c.interleaved,
              c.factor};
          ops.rope_and_cache(ops.context, p, pool.kv, batch);
          if (k_first.empty()) k_first = k.values();
          expect(k.same_bits(k_first) && k.guards_hold(), "rope_and_cache: k differs");
          TestPool want = make_pool();
          judge_cache(c, pool, want, k.data(), f32(v0));
        });
    judge_rope(c, q0, got, inv_freq, c.num_heads, "rope of q");
    judge_rope(c, k0, k_first, inv_freq, c.num_kv_heads, "rope of k");
  }
}

void test_allocate(const Backends& backends) {
  for (const auto& backend : backends.all) {
    const Ops& ops = backend->ops();
    for (size_t bytes : {size_t{1}, size_t{4097}, size_t{64} << 20}) {
      char* data = static_cast<char*>(ops.allocate(ops.context, bytes));
      expect(data != nullptr && reinterpret_cast<uintptr_t>(data) % 64 == 0, "allocate: address");
      if (data == nullptr) continue;
      expect(data[0] == 0 && data[bytes - 1] == 0, "allocate: not zero");
      std::memset(data, 1, bytes);
      ops.release(ops.context, data, bytes);
    }
    expect(ops.allocate(ops.context, size_t{1} << 62) == nullptr, "allocate: 4 EiB granted");
    ops.release(ops.context, nullptr, 10);
  }
}

const char* g_only = nullptr;  // the one group to run

template <class Fn>
void group(const char* name, Fn fn) {
  if (g_only != nullptr && std::strcmp(name, g_only) != 0) return;
  const int before = g_failures;
  const auto start = std::chrono::steady_clock::now();
  fn();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::printf("%-16s %s  %.2f s\n", name, g_failures == before ? "ok" : "FAILED", took.count());
  std::fflush(stdout);
}

void run_all(uint64_t seed) {
  std::printf("seed %" PRIu64 "\n", seed);
  Random random(seed);
  const Backends backends;
  group("thread_pool", [&] { test_thread_pool(random); });
  group("allocate", [&] { test_allocate(backends); });
  group("embedding", [&] { test_embedding(backends, random); });
  group("rms_norm", [&] { test_rms_norm(backends, random); });
  group("quants", [&] { test_quants(backends, random); });
  group("matmul", [&] { test_matmul(backends, random); });
  group("matmul f32", [&] { test_matmul(Backends(false), random); });
  group("rope_and_cache", [&] { test_rope_and_cache(backends, random); });
  group("paged_attention", [&] { test_attention(backends, random); });
  group("gated_mul", [&] { test_gated_mul(backends, random); });
  group("gather_rows", [&] { test_gather_rows(backends, random); });
  group("copy_blocks", [&] { test_copy_blocks(backends, random); });
}

}  // namespace
}  // namespace octavo::test

int main(int argc, char** argv) {
  std::printf("instruction sets:");
  for (const char* const* isa = octavo::CpuBackend::available_isas(); *isa != nullptr; isa++) {
    std::printf(" %s", *isa);
  }
  std::printf("\n");
  if (argc > 2) octavo::test::g_only = argv[2];
  if (argc > 1) {
    octavo::test::run_all(std::strtoull(argv[1], nullptr, 10));
  } else {
    octavo::test::run_all(20260101);
    octavo::test::run_all(std::random_device{}());
  }
  if (octavo::test::g_failures == 0) return 0;
  std::printf("%d failures\n", octavo::test::g_failures);
  return 1;
}
