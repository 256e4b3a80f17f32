// Flags: -mavx2 -mfma -mf16c -ffp-contract=off
#if defined(__x86_64__)
#define OCTAVO_SIMD_AVX2
#include "cpu/kernels.inc.h"

namespace octavo {

const CpuKernels* kernels_avx2() {
  // Every processor with AVX2 and FMA converts float16 too, and GCC 12 cannot ask for F16C.
  __builtin_cpu_init();
  const bool runs = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return runs ? &avx2::kTable : nullptr;
}

}  // namespace octavo

#endif  // defined(__x86_64__)
