#define OCTAVO_SIMD_SCALAR
#include "cpu/kernels_panel.inc.h"

namespace octavo {

const PanelKernels* panels_scalar() { return &scalar::kPanelTable; }

}  // namespace octavo
