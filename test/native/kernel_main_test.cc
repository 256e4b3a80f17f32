// All kernel tests: octavo_simt_test on the emulator, octavo_kernel_test on device 0.
//   [--small] [--cases N] [--only NAME] [seed]      or, on the emulator, --bug NAME [seed]
#include <chrono>

#include "native/kernel_test.h"

namespace octavo::test {
namespace {

struct Arguments {
  Effort effort;
  std::string only, bug;
  uint64_t seed = std::random_device{}();
};

void run_all(const Arguments& a) {
  using Test = void (*)(Random&, const Effort&);
  const std::pair<const char*, Test> tests[] = {{"ops", test_kernel_ops},
                                                {"matmul", test_kernel_matmul},
                                                {"sample", test_kernel_sample},
                                                {"attention", test_kernel_attention}};
  for (const auto& [name, test] : tests) {
    if (!a.only.empty() && a.only != name) continue;
    const auto start = std::chrono::steady_clock::now();
    const int before = g_failures;
    Random random(a.seed);
    test(random, a.effort);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf("%-10s %s (%.1f s)\n", name, g_failures == before ? "ok" : "FAILED", took.count());
  }
}

int main_of(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; i++) {
    const std::string arg = argv[i];
    if (arg == "--small") {
      a.effort = {8, true};
    } else if (arg == "--cases" && i + 1 < argc) {
      a.effort.cases = std::atoi(argv[++i]);
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
  // Every order of lanes and both kinds of asynchronous copies, one after the other by seed.
  simt::Config& config = simt::config();
  config.order = static_cast<simt::Order>(a.seed % 3);
  config.async_copy_late = a.seed / 3 % 2 == 0;
  config.seed = a.seed;
  config.threads = 2;
  if (!a.bug.empty()) return run_planted_bug(a.bug);
#else
  if (!a.bug.empty()) return 2;
#endif
  run_all(a);
#ifdef OCTAVO_SIMT
  const simt::Stats& s = simt::stats();
  std::printf(
      "order %d, copies %s: %llu launches, %llu mma, %llu matrix loads, %llu bank conflicts\n",
      static_cast<int>(config.order), config.async_copy_late ? "late" : "early",
      static_cast<unsigned long long>(s.launches), static_cast<unsigned long long>(s.mma),
      static_cast<unsigned long long>(s.ldmatrix),
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
