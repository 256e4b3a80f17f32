// Flags: those of panels_avx512_vnni.cc and -mavx512bf16
#if defined(__x86_64__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#define OCTAVO_SIMD_AVX512
#define OCTAVO_PAIRS
#define OCTAVO_ISA avx512_bf16
#include "cpu/cpu_features.h"
#include "cpu/kernels_panel.inc.h"

namespace octavo {

const PanelKernels* panels_avx512_bf16() {
  const bool runs = panels_avx512_vnni() != nullptr && cpu_has_avx512_bf16();
  return runs ? &avx512_bf16::kPanelTable : nullptr;
}

}  // namespace octavo

#endif  // defined(__x86_64__)
