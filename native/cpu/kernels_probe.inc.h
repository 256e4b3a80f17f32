// The machine's own limits, measured with the instructions that the ops use. See kernels.inc.h.
#pragma once

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace octavo {
namespace OCTAVO_ISA {

static float fma_probe(int64_t rounds) {
  constexpr int kChains = kTileRows * kTileCols;  // as many as this instruction set has room for
  F32x16 acc[kChains];
  OCTAVO_UNROLL for (int i = 0; i < kChains; i++) acc[i] = splat(static_cast<float>(i));
  const F32x16 a = splat(0.9999f), b = splat(1e-5f);
  for (int64_t r = 0; r < rounds * kProbeChains / kChains; r++) {
    OCTAVO_UNROLL for (int i = 0; i < kChains; i++) acc[i] = fma(acc[i], a, b);
  }
  OCTAVO_UNROLL for (int i = 1; i < kChains; i++) acc[0] = add(acc[0], acc[i]);
  return hsum(acc[0]);
}

static float read_probe(const float* data, int64_t n) {
  F32x16 acc[8];
  OCTAVO_UNROLL for (int i = 0; i < 8; i++) acc[i] = zero();
  for (int64_t at = 0; at < n; at += 128) {
    OCTAVO_UNROLL for (int i = 0; i < 8; i++) acc[i] = add(acc[i], load(data + at + 16 * i));
  }
  OCTAVO_UNROLL for (int i = 1; i < 8; i++) acc[0] = add(acc[0], acc[i]);
  return hsum(acc[0]);
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
