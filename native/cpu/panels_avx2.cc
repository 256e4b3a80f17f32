// Flags: those of kernels_avx2.cc
#if defined(__x86_64__)
#define OCTAVO_SIMD_AVX2
#define OCTAVO_PAIR_DOTS
#include "cpu/kernels.h"
#include "cpu/kernels_panel.inc.h"

namespace octavo {

const PanelKernels* panels_avx2() { return kernels_avx2() ? &avx2::kPanelTable : nullptr; }

}  // namespace octavo

#endif  // defined(__x86_64__)
