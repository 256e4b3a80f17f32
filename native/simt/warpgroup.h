// The PTX that kernels/wgmma.cuh wraps, on the host. Every thread computes its own part of the
// product, at once or, with Config::async_copy_late, when it is waited for: until then its
// accumulators are NaN, and what it reads may still be overwritten.
#pragma once

#include "simt/cuda.h"

namespace simt {

inline SharedMatrix panels_at(const void* panels, int k, bool columns) {
  const auto* at = static_cast<const unsigned char*>(panels);
  if ((at - Engine::current().shared) % 1024 != 0) {
    Engine::current().fail("wgmma: a matrix does not begin at a multiple of 1,024 bytes");
  }
  return {at, k, columns};
}
inline SharedMatrix shared_matrix(const void* panel) { return panels_at(panel, 0, false); }
inline SharedMatrix from_k(SharedMatrix m, int k) { return {m.panels, m.k + k, m.columns}; }
inline SharedMatrix shared_columns(const void* panels, int k) { return panels_at(panels, k, true); }

inline void wgmma_sees_shared() { Engine::current().me().unfenced = false; }
inline void wgmma_begin() {}
void wgmma(const Product& product);
void wgmma_commit();
void wgmma_wait(int groups_left);

}  // namespace simt
