// The PTX that kernels/wgmma.cuh wraps, on the host. Every thread computes its own part of the
// product, at once or, with Config::async_copy_late, when it is waited for: until then its
// accumulators are NaN, and what it reads may still be overwritten.
#pragma once

#include "simt/cuda.h"

namespace simt {

inline SharedMatrix shared_matrix(const void* rows) {
  const auto* at = static_cast<const unsigned char*>(rows);
  if ((at - Engine::current().shared) % 1024 != 0) {
    Engine::current().fail("wgmma: a matrix does not begin at a multiple of 1,024 bytes");
  }
  return {at, 0};
}
inline SharedMatrix from_k(SharedMatrix m, int k) { return {m.rows, m.k + k}; }

inline void wgmma_sees_shared() { Engine::current().me().unfenced = false; }
inline void wgmma_begin() {}
void wgmma(float* d, int columns, SharedMatrix a, SharedMatrix b, float (*widen)(uint16_t));
void wgmma_commit();
void wgmma_wait(int groups_left);

}  // namespace simt
