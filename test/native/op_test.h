// What the C++ tests of ops share: random data in exact-size memory, guarded and poisoned outputs,
// failures that are counted and told.
#pragma once

#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "base/quants.h"
#include "base/tensor.h"
#include "cpu/cpu_backend.h"

namespace octavo::test {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

inline int g_failures = 0;
__attribute__((format(printf, 2, 3))) inline void expect(bool good, const char* format, ...) {
  if (good) return;
  if (++g_failures > 20) return;  // the first ones say it
  va_list args;
  va_start(args, format);
  std::fprintf(stderr, "  FAILED: ");
  std::vfprintf(stderr, format, args);
  std::fprintf(stderr, "\n");
  va_end(args);
}

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int64_t between(int64_t low, int64_t high) {  // inclusive
    const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1;
    return low + static_cast<int64_t>(range == 0 ? engine_() : engine_() % range);
  }
  bool chance(int percent) { return between(1, 100) <= percent; }
  template <class T>
  T pick(std::initializer_list<T> choices) {
    return choices.begin()[between(0, static_cast<int64_t>(choices.size()) - 1)];
  }
  float normal() { return normal_(engine_); }
  std::mt19937_64& engine() { return engine_; }

 private:
  std::mt19937_64 engine_;
  std::normal_distribution<float> normal_;
};

// Read-only input of exactly `bytes` bytes at any alignment: a sanitizer sees one byte too far.
class Bytes {
 public:
  explicit Bytes(int64_t bytes, int64_t misalign = 0)
      : memory_(static_cast<char*>(std::malloc(static_cast<size_t>(bytes + misalign)))),
        data_(memory_.get() + misalign) {}
  char* data() const { return data_; }

 private:
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  std::unique_ptr<char, Free> memory_;
  char* data_;
};

inline Bytes random_f32(Random& random, int64_t values, float scale = 1) {
  Bytes out(values * 4);
  float* f = reinterpret_cast<float*>(out.data());
  for (int64_t i = 0; i < values; i++) f[i] = random.normal() * scale;
  return out;
}
inline float* f32(const Bytes& bytes) { return reinterpret_cast<float*>(bytes.data()); }

inline std::vector<int64_t> factor_offsets(DType dtype) {
  switch (dtype) {
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    default:
      return quant_format(dtype).has_min ? std::vector<int64_t>{0, 2} : std::vector<int64_t>{0};
  }
}

constexpr DType kStoredTypes[] = {DType::kF32,  DType::kF16,    DType::kBF16,  DType::kQ8_0,
                                  DType::kQ4_0, DType::kQ4_1,   DType::kQ5_0,  DType::kQ5_1,
                                  DType::kQ2_K, DType::kQ3_K,   DType::kQ4_K,  DType::kQ5_K,
                                  DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS};

// A matrix in stored form, at an odd address unless F32 is to be looked at as floats.
inline Bytes random_stored(Random& random, DType dtype, int64_t rows, int64_t cols) {
  const int64_t bytes = rows * row_bytes(dtype, cols);
  Bytes out(bytes, random.between(0, 3));
  for (int64_t i = 0; i < bytes / block_bytes(dtype); i++) {
    char* at = out.data() + i * block_bytes(dtype);
    const float value = random.normal();
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const uint16_t bf16 = static_cast<uint16_t>(bits >> 16);
    // Any float16 between 2⁻¹⁴ and 2, sometimes subnormal or zero.
    const int64_t exponent = random.chance(5) ? 0 : random.between(1, 15);
    const uint16_t f16 = static_cast<uint16_t>(random.between(0, 1) << 15 | exponent << 10 |
                                               random.between(0, 1023));
    switch (dtype) {
      case DType::kF32:
        std::memcpy(at, &value, 4);
        break;
      case DType::kBF16:
        std::memcpy(at, &bf16, 2);
        break;
      case DType::kF16:
        std::memcpy(at, &f16, 2);
        break;
      default:  // blocks: any bytes, but for the float16 factors
        for (int64_t b = 0; b < block_bytes(dtype); b++) {
          at[b] = static_cast<char>(random.between(-128, 127));
        }
        for (const int64_t offset : factor_offsets(dtype)) std::memcpy(at + offset, &f16, 2);
        break;
    }
  }
  return out;
}

// A stored matrix as the ops of a backend read it.
class Loaded {
 public:
  Loaded(const Ops& ops, const Bytes& bytes, DType dtype, int64_t rows, int64_t cols)
      : ops_(ops), tensor_{bytes.data(), dtype, rows, cols} {
    bytes_ = ops.weight_bytes(ops.context, tensor_);
    memory_ = ops.allocate(ops.context, bytes_);
    tensor_ = ops.load_weight(ops.context, tensor_, memory_);
  }
  ~Loaded() { ops_.release(ops_.context, memory_, bytes_); }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;
  const Tensor& tensor() const { return tensor_; }

 private:
  const Ops& ops_;
  Tensor tensor_;
  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

// Floats between two guard zones, poisoned with NaN.
class Output {
 public:
  Output(int64_t rows, int64_t cols)
      : rows_(rows), cols_(cols), memory_(static_cast<size_t>(rows * cols + 2 * kGuard)) {
    poison();
  }
  void poison() {
    std::fill(memory_.begin(), memory_.end(), kGuardValue);
    std::fill(data(), data() + size(), kNaN);
  }
  void fill(const float* values) { std::copy(values, values + size(), data()); }
  float* data() { return memory_.data() + kGuard; }
  const float* data() const { return memory_.data() + kGuard; }
  int64_t size() const { return rows_ * cols_; }
  Tensor tensor() { return {data(), DType::kF32, rows_, cols_}; }
  bool guards_hold() const {
    for (int64_t i = 0; i < kGuard; i++) {
      if (memory_[i] != kGuardValue || memory_[kGuard + size() + i] != kGuardValue) return false;
    }
    return true;
  }
  bool same_bits(const std::vector<float>& other) const {
    return other.size() == static_cast<size_t>(size()) &&
           std::memcmp(data(), other.data(), other.size() * sizeof(float)) == 0;
  }
  std::vector<float> values() const { return {data(), data() + size()}; }

 private:
  static constexpr int64_t kGuard = 64;
  static constexpr float kGuardValue = 1234567.0f;
  int64_t rows_, cols_;
  std::vector<float> memory_;
};

inline Tensor input(const Bytes& bytes, DType dtype, int64_t rows, int64_t cols) {
  return {bytes.data(), dtype, rows, cols};
}

// One backend for every instruction set of the machine and several thread counts.
struct Backends {
  std::vector<std::unique_ptr<CpuBackend>> all;
  bool int8_activations;
  explicit Backends(bool int8 = true) : int8_activations(int8) {
    for (const char* const* isa = CpuBackend::available_isas(); *isa != nullptr; isa++) {
      for (int threads : {1, 2, 5}) all.push_back(CpuBackend::create(threads, *isa, int8));
    }
  }
};

// Runs fn(ops) on every backend into `out`, poisoned before (or by `prepare`); all must give the
// bits of the first. Returns those.
template <class Prepare, class Fn>
std::vector<float> run_everywhere(const Backends& backends, Output& out, const char* what,
                                  Prepare prepare, Fn fn) {
  std::vector<float> first;
  for (const auto& backend : backends.all) {
    out.poison();
    prepare();
    fn(backend->ops());
    expect(out.guards_hold(), "%s: wrote outside its output (%s)", what, backend->ops().isa);
    if (first.empty()) {
      first = out.values();
    } else {
      expect(out.same_bits(first), "%s: %s with %d threads gives other bits", what,
             backend->ops().isa, backend->num_threads());
    }
  }
  return first;
}
template <class Fn>
std::vector<float> run_everywhere(const Backends& backends, Output& out, const char* what, Fn fn) {
  return run_everywhere(
      backends, out, what, [] {}, fn);
}

inline void expect_near(const char* what, double got, double want, double tolerance) {
  expect(std::fabs(got - want) <= tolerance, "%s: got %.9g, want %.9g, tolerance %.3g", what, got,
         want, tolerance);
}

void test_quants(const Backends& backends, Random& random);
void test_matmul(const Backends& backends, Random& random);
void test_attention(const Backends& backends, Random& random);
void test_thread_pool(Random& random);

}  // namespace octavo::test
