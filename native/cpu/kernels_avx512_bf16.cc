// Flags: those of kernels_avx512.cc and -mavx512bf16
#if defined(__x86_64__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#define OCTAVO_SIMD_AVX512
#define OCTAVO_PAIRS
#define OCTAVO_ISA avx512_bf16
#include "cpu/cpu_features.h"
#include "cpu/kernels.inc.h"

namespace octavo {

const CpuKernels* kernels_avx512_bf16() {
  return kernels_avx512() != nullptr && cpu_has_avx512_bf16() ? &avx512_bf16::kTable : nullptr;
}

}  // namespace octavo

#endif  // defined(__x86_64__)
