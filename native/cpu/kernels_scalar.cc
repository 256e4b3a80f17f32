// Flags: -ffp-contract=off
#define OCTAVO_SIMD_SCALAR
#include "cpu/kernels.inc.h"

namespace octavo {

const CpuKernels* kernels_scalar() { return &scalar::kTable; }

}  // namespace octavo
