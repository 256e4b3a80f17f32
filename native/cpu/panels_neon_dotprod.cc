// Flags: -march=armv8.2-a+dotprod
#if defined(__aarch64__)
#define OCTAVO_SIMD_NEON
#define OCTAVO_DOTPROD
#define OCTAVO_ISA neon_dotprod
#include "cpu/cpu_features.h"
#include "cpu/kernels_panel.inc.h"

namespace octavo {

const PanelKernels* panels_neon_dotprod() {
  return cpu_has_dotprod() ? &neon_dotprod::kPanelTable : nullptr;
}

}  // namespace octavo

#endif  // defined(__aarch64__)
