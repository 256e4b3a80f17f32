// Flags: none (NEON is part of AArch64)
#if defined(__aarch64__)
#define OCTAVO_SIMD_NEON
#include "cpu/kernels_panel.inc.h"

namespace octavo {

const PanelKernels* panels_neon() { return &neon::kPanelTable; }

}  // namespace octavo

#endif  // defined(__aarch64__)
