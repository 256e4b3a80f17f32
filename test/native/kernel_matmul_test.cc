// Matrix multiply of a device beside what the suite of all backends says of it: spread over more
// blocks, and large batches by cuBLASLt.
#include <dlfcn.h>

#include <filesystem>

#include "native/kernel_test.h"
#include "native/matmul_case.h"

namespace octavo::test {
namespace {

// On the emulator a library that computes on the host stands in for cuBLASLt; on a GPU the real one
// is searched for.
std::string cublas_lt_path() {
#ifdef OCTAVO_SIMT
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  return self + "/octavo_fake_cublas_lt.so";
#else
  return "";
#endif
}

// A device that has been asked for room; without `invariant` the library takes large batches.
Backends device_of(DType type, bool invariant) {
  DeviceOptions options;
  options.dtype = type;
  options.batch_invariant = invariant;
  options.cublas_lt = cublas_lt_path();
  Backends device = one_backend(make_device_backend(options));
  const Ops& ops = device.ops();
  const char* why = ops.prepare(ops.context, {64, 64, 4, 64, {4}, false, {64}, {{2, 1, 32}}});
  expect(why == nullptr, "prepare: %s", why);
  return device;
}

#ifdef OCTAVO_SIMT
// The stand-in's own: how often it was asked for a plan. The first call makes its products wait for
// their turn on the stream.
int& num_heuristics() {
  void* const file = dlopen(cublas_lt_path().c_str(), RTLD_NOW | RTLD_LOCAL);  // stays open
  if (file == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    std::abort();
  }
  using Submit = void (*)(void* stream, void (*run)(void*), void* argument);
  *static_cast<Submit*>(dlsym(file, "octavo_fake_submit")) = [](void* stream, void (*run)(void*),
                                                                void* argument) {
    simt::submit(static_cast<cudaStream_t>(stream), [=] { run(argument); });
  };
  return *static_cast<int*>(dlsym(file, "octavo_fake_num_heuristics"));
}

// A plan for every batch size would be thousands: few are kept, and one that comes back computes
// what it has computed before.
void many_batch_sizes(Random& random) {
  const int before = num_heuristics();
  const DType type = any_type(random);
  const Backends device = device_of(type, false);
  const Ops& ops = device.ops();
  const int64_t n = 2, k = 8, most = 128 + 300;
  const auto halves = [&](int64_t count) {
    return narrowed(type, random_values(random, type, count));
  };
  const Memory x = put(ops, halves(most * k)), weight = put(ops, halves(n * k));
  const auto product = [&](int64_t m) {
    const Memory out = put(ops, std::vector<float>(static_cast<size_t>(m * n), NAN));
    const MatmulPart part{{out.data(), DType::kF32, m, n}, {weight.data(), type, n, k}, nullptr};
    ops.matmul(ops.context, {x.data(), type, m, k}, &part, 1);
    return out.read<float>();
  };
  const std::vector<float> first = product(128);
  for (int64_t m = 129; m < most; m++) product(m);
  expect(num_heuristics() == before + 300, "%d plans for 300 sizes", num_heuristics() - before);
  for (int64_t m = 420; m < most; m++) product(m);
  expect(num_heuristics() == before + 300, "cuBLASLt: a plan in use was forgotten");
  expect(product(128) == first, "cuBLASLt: other bits by a plan made anew");
  expect(num_heuristics() == before + 301, "cuBLASLt: no bound on plans");
}
#endif

// Where the library is, it is used from 128 tokens on; where it is not, or has no algorithm (the
// stand-in has none for odd n), the own kernel computes.
void large_batches(Random& random) {
  for (const std::string& path : {cublas_lt_path(), std::string("/nowhere/libcublasLt.so")}) {
    DeviceOptions options;
    options.batch_invariant = false;
    options.cublas_lt = path;
    const auto backend = make_device_backend(options);
    const std::string isa = backend->ops().isa;
    const bool found = isa.find("cublasLt") != std::string::npos;
    const bool there = path.empty() || std::filesystem::exists(path);
    expect(!found || there, "cuBLASLt found where it is not: %s", isa.c_str());
#ifdef OCTAVO_SIMT
    expect(found == there, "cuBLASLt is there, but not found: %s", isa.c_str());
#endif
  }
  for (int64_t n : {64, 51}) {
    const DType type = any_type(random);
    std::vector<Part> parts;
    for (const DType out : {type, DType::kF32}) {
      parts.push_back({type, n, random_stored(random, type, n, 96), {}, out});
    }
    matmul_case(device_of(type, false), random, 130, 96, std::move(parts), false);
  }
}

}  // namespace

void test_kernel_matmul(Random& random, const Effort& effort) {
  test_kernel_packed(random, effort);
#ifdef OCTAVO_SIMT
  many_batch_sizes(random);
#endif
  large_batches(random);
  const Backends bf16 = device_of(DType::kBF16, true), f16 = device_of(DType::kF16, true);
  matmul_grid({&bf16, &f16}, random, effort, [&](const Backends& backends, const Product& c) {
#ifdef OCTAVO_SIMT
    const int before = simt::device().multiprocessors;
    simt::device().multiprocessors = 200;  // parts of K on blocks of their own
    c.same_on(device_of(backends.type(), true), random, "when spread");
    simt::device().multiprocessors = before;
#else
    c.same_on(device_of(backends.type(), true), random, "on another device");
#endif
  });
}

}  // namespace octavo::test
