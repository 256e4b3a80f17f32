// Flags: those of panels_avx512_bf16.cc and -mamx-tile -mamx-int8. Its products of BF16 are those
// of vectors: tiles add them in another order, which these could not follow.
#if defined(__x86_64__)
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#define OCTAVO_SIMD_AVX512
#define OCTAVO_AMX
#define OCTAVO_PAIRS
#define OCTAVO_ISA amx
#include "cpu/cpu_features.h"
#include "cpu/kernels_panel.inc.h"

namespace octavo {

// The kernel grants tile registers to processes that ask (arch_prctl(2)).
static bool tiles_granted() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

const PanelKernels* panels_amx() {
  const bool runs = panels_avx512_bf16() != nullptr && cpu_has_amx_int8() && tiles_granted();
  return runs ? &amx::kPanelTable : nullptr;
}

}  // namespace octavo

#endif  // defined(__x86_64__)
