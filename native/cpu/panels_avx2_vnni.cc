// Flags: those of kernels_avx2.cc and -mavxvnni
#if defined(__x86_64__)
#define OCTAVO_SIMD_AVX2
#define OCTAVO_AVX_VNNI
#define OCTAVO_ISA avx2_vnni
#include "cpu/cpu_features.h"
#include "cpu/kernels.h"
#include "cpu/kernels_panel.inc.h"

namespace octavo {

const PanelKernels* panels_avx2_vnni() {
  return kernels_avx2() != nullptr && cpu_has_avx_vnni() ? &avx2_vnni::kPanelTable : nullptr;
}

}  // namespace octavo

#endif  // defined(__x86_64__)
