// What the tests of device kernels share. They speak to the Ops table alone, so the same program
// judges the emulator and, built with nvcc, a real GPU.
#pragma once

#include <functional>
#include <string>

#include "buffer.h"
#include "kernels/device.h"
#include "native/backend_under_test.h"
#ifdef OCTAVO_SIMT
#include "simt/runtime_api.h"
#endif

namespace octavo::test {

inline std::vector<uint16_t> to_halves(DType type, const std::vector<float>& values) {
  std::vector<uint16_t> out;
  for (float x : values) out.push_back(to_half_bits(type, x));
  return out;
}
inline std::unique_ptr<Backend> make_backend(DType type) {
  DeviceOptions options;
  options.dtype = type;
  return make_device_backend(options);
}
inline DType any_type(Random& random) { return random.pick({DType::kBF16, DType::kF16}); }
void test_kernel_attention(Random& random, const Effort& effort);
void test_kernel_matmul(Random& random, const Effort& effort);
void test_kernel_packed(Random& random, const Effort& effort);
void test_kernel_plan(Random& random, const Effort& effort);
#ifdef OCTAVO_SIMT
void test_faults(Random& random, const Effort& effort);
int run_planted_bug(const std::string& name);  // the exit code, if it comes so far
#endif

}  // namespace octavo::test
