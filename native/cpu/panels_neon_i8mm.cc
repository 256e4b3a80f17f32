// Flags: -march=armv8.2-a+dotprod+i8mm
#if defined(__aarch64__)
#define OCTAVO_SIMD_NEON
#define OCTAVO_DOTPROD
#define OCTAVO_I8MM
#define OCTAVO_ISA neon_i8mm
#include "cpu/cpu_features.h"
#include "cpu/kernels_panel.inc.h"

namespace octavo {

const PanelKernels* panels_neon_i8mm() {
  return cpu_has_dotprod() && cpu_has_i8mm() ? &neon_i8mm::kPanelTable : nullptr;
}

}  // namespace octavo

#endif  // defined(__aarch64__)
