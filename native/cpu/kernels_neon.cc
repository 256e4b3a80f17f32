// Flags: -ffp-contract=off (NEON is part of AArch64)
#if defined(__aarch64__)
#define OCTAVO_SIMD_NEON
#include "cpu/kernels.inc.h"

namespace octavo {

const CpuKernels* kernels_neon() { return &neon::kTable; }

}  // namespace octavo

#endif  // defined(__aarch64__)
