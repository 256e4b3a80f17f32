// Flags: -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c -ffp-contract=off
#if defined(__x86_64__)
// GCC 12's own header leaves the unused operand of an unmasked intrinsic "uninitialized".
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#define OCTAVO_SIMD_AVX512
#include "cpu/kernels.inc.h"

namespace octavo {

const CpuKernels* kernels_avx512() {
  __builtin_cpu_init();
  const bool runs = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("fma");
  return runs ? &avx512::kTable : nullptr;
}

}  // namespace octavo

#endif  // defined(__x86_64__)
