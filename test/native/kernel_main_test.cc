// All kernel tests: octavo_simt_test on the emulator, octavo_kernel_test on device 0.
//   [--small] [--cases N] [--only NAME] [seed]
//   on the emulator also --threads N (blocks in parallel, 2), or --bug NAME [seed]
#include <chrono>

#include "native/kernel_test.h"

namespace octavo::test {
namespace {

struct Arguments {
  Effort effort;
  std::string only, bug;
  int threads = 2;  // of the emulator
  uint64_t seed = std::random_device{}();
};

// The suite of all backends, on a fresh device for each case.
void test_kernel_ops(Random& random, const Effort& effort) {
  const auto run = [&](OpTest test, int i) {
    test(one_backend(make_backend(any_type(random))), random, i);
  };
  const int first = static_cast<int>(random.between(0, 999));
  for (int i = first; i < first + effort.cases / 2; i++) {
    for (const OpTest test :
         {test_load_weight, test_embedding, test_activate, test_transform_logits, test_gather_rows,
          test_pool_rows, test_rope_and_cache, test_route, test_expert_matmul, test_head_matmul,
          test_latent_rows, test_combine, test_copy_blocks, test_swap_blocks}) {
      run(test, i);
    }
    for (int kind = 0; kind < 3; kind++) run(test_norm, kind);
  }
}

void test_kernel_sample(Random& random, const Effort& effort) {
  for (int i = 0; i < (effort.small ? 2 : effort.cases / 4); i++) {
    test_sample(one_backend(make_backend(any_type(random))), random, i);
  }
}

void test_kernel_recurrent(Random& random, const Effort& effort) {
  const int first = static_cast<int>(random.between(0, 5));
  for (int i = first; i < first + (effort.small ? 6 : effort.cases / 2); i++) {
    test_recurrent(one_backend(make_backend(any_type(random))), random, i);
  }
}

using Test = void (*)(Random&, const Effort&);
const std::pair<const char*, Test> kGroups[] = {{"ops", test_kernel_ops},
                                                {"matmul", test_kernel_matmul},
                                                {"sample", test_kernel_sample},
                                                {"recurrent", test_kernel_recurrent},
                                                {"plan", test_kernel_plan},
#ifdef OCTAVO_SIMT
                                                {"faults", test_faults},
#endif
                                                {"attention", test_kernel_attention}};

void run_all(const Arguments& a) {
  bool any = false;
  for (const auto& [name, test] : kGroups) {
    if (!a.only.empty() && a.only != name) continue;
    any = true;
    const auto start = std::chrono::steady_clock::now();
    const int before = g_failures;
    Random random(a.seed);
    test(random, a.effort);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf("%-10s %s (%.1f s)\n", name, g_failures == before ? "ok" : "FAILED", took.count());
  }
  expect(any, "no group is called %s", a.only.c_str());
}

int main_of(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; i++) {
    const std::string arg = argv[i];
    if (arg == "--small") {
      a.effort = {8, true};
    } else if (arg == "--cases" && i + 1 < argc) {
      a.effort.cases = std::atoi(argv[++i]);
    } else if (arg == "--threads" && i + 1 < argc) {
      a.threads = std::atoi(argv[++i]);
    } else if (arg == "--only" && i + 1 < argc) {
      a.only = argv[++i];
    } else if (arg == "--bug" && i + 1 < argc) {
      a.bug = argv[++i];
    } else {
      a.seed = std::strtoull(argv[i], nullptr, 10);
    }
  }
  const DeviceProbe probe = probe_devices();
  if (probe.devices.empty()) {
    std::printf("skipped: %s\n", probe.reason.c_str());
    return 0;
  }
  std::printf("%s, seed %llu\n", probe.devices[0].name.c_str(),
              static_cast<unsigned long long>(a.seed));
#ifdef OCTAVO_SIMT
  // Every order of lanes, both kinds of asynchronous copies and of streams, by seed.
  simt::Config& config = simt::config();
  config.order = static_cast<simt::Order>(a.seed % 3);
  config.async_copy_late = a.seed / 3 % 2 == 0;
  config.streams_late = a.seed % 2 == 1;
  config.seed = a.seed;
  config.threads = a.threads;
  if (!a.bug.empty()) return run_planted_bug(a.bug);
#else
  if (!a.bug.empty()) return 2;
#endif
  run_all(a);
#ifdef OCTAVO_SIMT
  const simt::Stats& s = simt::stats();
  std::printf(
      "order %d, copies %s, streams %s: %llu launches, %llu mma, %llu matrix loads, %llu bank "
      "conflicts\n",
      static_cast<int>(config.order), config.async_copy_late ? "late" : "early",
      config.streams_late ? "late" : "early", static_cast<unsigned long long>(s.launches),
      static_cast<unsigned long long>(s.mma), static_cast<unsigned long long>(s.ldmatrix),
      static_cast<unsigned long long>(s.bank_conflicts));
  expect(s.bank_conflicts == 0, "matrix loads hit the same bank %llu times",
         static_cast<unsigned long long>(s.bank_conflicts));
#endif
  if (g_failures == 0) return 0;
  std::printf("%d failures; again with seed %llu\n", g_failures,
              static_cast<unsigned long long>(a.seed));
  return 1;
}

}  // namespace
}  // namespace octavo::test

int main(int argc, char** argv) { return octavo::test::main_of(argc, argv); }
