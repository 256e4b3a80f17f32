// What octavo_cpu_test runs: the suite of all backends on every instruction set of this machine and
// several numbers of threads, and what is the CPU's own. Inputs are fresh each run: the seed is
// printed, and taken as an argument to see a failure again, with the name of a group where that is
// enough.
#include <chrono>
#include <cinttypes>

#include "cpu/cpu_backend.h"
#include "native/attention_case.h"
#include "native/cpu_test.h"
#include "native/matmul_case.h"

namespace octavo::test {
namespace {

// Under sanitizers, which are slow, those that show most.
#if defined(__SANITIZE_THREAD__)
constexpr int kThreads[] = {5};
#elif defined(__SANITIZE_ADDRESS__)
constexpr int kThreads[] = {1, 5};
#else
constexpr int kThreads[] = {1, 2, 5};
#endif

Backends cpu_backends(Rounding rounding) {
  Backends out;
  out.rounding = rounding;
  for (const char* const* isa = CpuBackend::available_isas(); *isa != nullptr; isa++) {
    for (int threads : kThreads) {
      out.all.push_back(CpuBackend::create(threads, *isa, rounding));
    }
  }
  return out;
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
bool g_any = false;            // whether there was one to run

template <class Fn>
void group(const char* name, Fn fn) {
  if (g_only != nullptr && std::strcmp(name, g_only) != 0) return;
  g_any = true;
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
  const Backends backends = cpu_backends({true, true});
  group("thread_pool", [&] { test_thread_pool(random); });
  group("allocate", [&] { test_allocate(backends); });
  const auto suite = [&](const char* name, int cases, OpTest test) {
    group(name, [&] {
      for (int i = 0; i < cases; i++) test(backends, random, i);
    });
  };
  suite("load_weight", 15, test_load_weight);
  suite("embedding", 60, test_embedding);
  suite("norm", 75, test_norm);
  group("quants", [&] { test_quants(backends, random); });
  for (const bool rounds : {true, false}) {
    group(rounds ? "matmul" : "matmul f32", [&] {
      const Backends some = cpu_backends({rounds, rounds});
      matmul_grid({&some}, random, {}, [](const Backends&, const Product&) {});
    });
  }
  group("matmul bf16", [&] { test_bf16_bits(backends, random); });
  suite("rope_and_cache", 24, test_rope_and_cache);
  group("paged_attention", [&] {
    attention_grid({&backends}, random, {80, false}, [](const Attended&) {});
    attention_edges(backends, random);
  });
  group("paged_attention f32", [&] {
    const Backends exact = cpu_backends({false, false});
    attention_grid({&exact}, random, {20, false}, [](const Attended&) {});
  });
  group("delta forms", [&] { test_delta_forms(random); });
  suite("recurrent", 24, test_recurrent);
  suite("activate", 72, test_activate);
  suite("transform_logits", 40, test_transform_logits);
  suite("route", 60, test_route);
  suite("expert_matmul", 60, test_expert_matmul);
  suite("head_matmul", 40, test_head_matmul);
  suite("latent rows", 24, test_latent_rows);
  suite("combine", 40, test_combine);
  suite("sample", 16, test_sample);
  suite("gather_rows", 30, test_gather_rows);
  suite("pool_rows", 20, test_pool_rows);
  suite("copy_blocks", 20, test_copy_blocks);
  suite("swap_blocks", 20, test_swap_blocks);
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
  octavo::test::expect(octavo::test::g_any, "no group is called that");
  if (octavo::test::g_failures == 0) return 0;
  std::printf("%d failures\n", octavo::test::g_failures);
  return 1;
}
