// Flags: those of panels_avx512_bf16.cc and -mamx-tile -mamx-int8. Its products of BF16 are those
// of vectors: tiles add them in another order, which these could not follow.
#if defined(__x86_64__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#define OCTAVO_SIMD_AVX512
#define OCTAVO_AMX
#define OCTAVO_PAIRS
#define OCTAVO_ISA amx
#include "base/os.h"
#include "cpu/cpu_features.h"
#include "cpu/kernels_panel.inc.h"

namespace octavo {

const PanelKernels* panels_amx() {
  const bool runs = panels_avx512_bf16() != nullptr && cpu_has_amx_int8() && os::request_tiles();
  return runs ? &amx::kPanelTable : nullptr;
}

}  // namespace octavo

#endif  // defined(__x86_64__)
