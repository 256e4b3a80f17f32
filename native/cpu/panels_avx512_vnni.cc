// Flags: those of kernels_avx512.cc and -mavx512vnni
#if defined(__x86_64__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#define OCTAVO_SIMD_AVX512
#define OCTAVO_ISA avx512_vnni
#include "cpu/kernels.h"
#include "cpu/kernels_panel.inc.h"

namespace octavo {

const PanelKernels* panels_avx512_vnni() {
  const bool runs = kernels_avx512() != nullptr && __builtin_cpu_supports("avx512vnni");
  return runs ? &avx512_vnni::kPanelTable : nullptr;
}

}  // namespace octavo

#endif  // defined(__x86_64__)
