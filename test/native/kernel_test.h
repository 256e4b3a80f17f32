// What the tests of device kernels share. They speak to the Ops table alone, so the same program
// judges the emulator and, built with nvcc, a real GPU.
#pragma once

#include <functional>
#include <string>

#include "base/half.h"
#include "buffer.h"
#include "kernels/device.h"
#include "native/op_test.h"
#ifdef OCTAVO_SIMT
#include "simt/runtime_api.h"
#endif

namespace octavo::test {

// Rounds to the activations' type and back: what the kernels are given.
inline uint16_t to_half_bits(DType type, float x) {
  return type == DType::kF16 ? float_to_half(x) : float_to_bf16(x);
}
inline float from_half_bits(DType type, uint16_t bits) {
  return type == DType::kF16 ? half_to_float(bits) : bf16_to_float(bits);
}
inline float rounded(DType type, float x) { return from_half_bits(type, to_half_bits(type, x)); }

// Memory of the device, exactly as large as asked.
class DeviceBytes {
 public:
  DeviceBytes(const Ops& ops, const void* data, size_t bytes)
      : ops_(ops), memory_(ops, bytes, "test") {
    ops.write(ops.context, memory_.data(), data, bytes);
  }
  void* data() const { return memory_.data(); }
  template <class T>
  T* as() const {
    return static_cast<T*>(memory_.data());
  }
  template <class T>
  std::vector<T> read() const {
    std::vector<T> out(memory_.bytes() / sizeof(T));
    ops_.read(ops_.context, out.data(), memory_.data(), memory_.bytes());
    return out;
  }

 private:
  const Ops& ops_;
  Buffer memory_;
};

template <class T>
DeviceBytes to_device(const Ops& ops, const std::vector<T>& values) {
  return DeviceBytes(ops, values.data(), values.size() * sizeof(T));
}
inline std::vector<uint16_t> to_halves(DType type, const std::vector<float>& values) {
  std::vector<uint16_t> out;
  for (float x : values) out.push_back(to_half_bits(type, x));
  return out;
}
inline std::vector<float> to_floats(DType type, const std::vector<uint16_t>& bits) {
  std::vector<float> out;
  for (uint16_t b : bits) out.push_back(from_half_bits(type, b));
  return out;
}
// Already rounded to `type`.
inline std::vector<float> random_values(Random& random, DType type, int64_t n, float scale = 1) {
  std::vector<float> out;
  for (int64_t i = 0; i < n; i++) out.push_back(rounded(type, random.normal() * scale));
  return out;
}
constexpr uint16_t kHalfNaN = 0xFFFF;  // in both 16-bit types

// ‖got − want‖ / ‖want‖
inline double relative_error(const std::vector<float>& got, const std::vector<double>& want) {
  double error = 0, size = 0;
  for (size_t i = 0; i < want.size(); i++) {
    const double d = got[i] - want[i];
    error += std::isfinite(got[i]) ? d * d : INFINITY;
    size += want[i] * want[i];
  }
  return std::sqrt(error / std::max(size, 1e-30));
}
inline double tolerance_of(DType type) { return type == DType::kF16 ? 6e-4 : 4e-3; }

// Rows of a table in which every pair of values of two columns occurs at least once, or as many
// rows as are wanted: greedy, in an order that the seed chooses.
inline std::vector<std::vector<int>> pairwise(Random& random, const std::vector<int>& sizes,
                                              int max_rows) {
  std::vector<std::vector<std::vector<char>>> seen(sizes.size() * sizes.size());
  const auto pair = [&](size_t a, size_t b) -> std::vector<std::vector<char>>& {
    auto& s = seen[a * sizes.size() + b];
    if (s.empty()) s.assign(sizes[a], std::vector<char>(sizes[b], 0));
    return s;
  };
  std::vector<std::vector<int>> rows;
  while (static_cast<int>(rows.size()) < max_rows) {
    std::vector<int> best;
    int most = 0;
    for (int attempt = 0; attempt < 40; attempt++) {
      std::vector<int> row;
      for (int size : sizes) row.push_back(static_cast<int>(random.between(0, size - 1)));
      int fresh = 0;
      for (size_t a = 0; a < sizes.size(); a++) {
        for (size_t b = a + 1; b < sizes.size(); b++) fresh += !pair(a, b)[row[a]][row[b]];
      }
      if (fresh > most) most = fresh, best = row;
    }
    if (most == 0) break;
    for (size_t a = 0; a < sizes.size(); a++) {
      for (size_t b = a + 1; b < sizes.size(); b++) pair(a, b)[best[a]][best[b]] = 1;
    }
    rows.push_back(best);
  }
  return rows;
}

// How much is tried: `cases` grows with the wider runs, `small` is for sanitizers.
struct Effort {
  int cases = 40;
  bool small = false;
};

void test_kernel_attention(Random& random, const Effort& effort);
void test_kernel_matmul(Random& random, const Effort& effort);
void test_kernel_ops(Random& random, const Effort& effort);
void test_kernel_sample(Random& random, const Effort& effort);
#ifdef OCTAVO_SIMT
int run_planted_bug(const std::string& name);  // the exit code, if it comes so far
#endif

}  // namespace octavo::test
