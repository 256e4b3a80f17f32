// out[M,N] = x[M,K] · weight[N,K]ᵀ + bias[N], for several weights that share x.
#pragma once

#include <cstdint>

#include "kernels/packed_layout.h"

namespace octavo::device {

constexpr int kMaxMatmulParts = 3;

struct MatmulArgs {
  struct Part {
    void* out;           // [M][N], T or float
    const void* weight;  // [N][K] of T; for Q8_0 [N][K] signed bytes, for Q4_0 [N][K/2] as stored
    const void* scales;  // for Q8_0 and Q4_0 [N][K/32] float16
    const void* high;    // in tiles (packed_layout.h): high bits; weight has codes, scales scales
    const float* bias;   // [N] or null
    int64_t n;
    int64_t tile_begin;  // first tile of N that is this part's
    bool float_out;
  };
  Part parts[kMaxMatmulParts];
  int32_t num_parts = 0;
  const void* x = nullptr;  // [M][K] of T
  int64_t m = 0, k = 0;
  PackedLayout layout;  // of weights in tiles
  int64_t k_part = 0;   // K is summed in parts of this many, added in order
  int32_t num_k_parts = 1;
  bool spread = false;          // parts on blocks of their own, summed by the last of them to end
  float* partial = nullptr;     // [tiles of N][tiles of M][k parts][rows · columns of a tile]
  uint32_t* arrived = nullptr;  // [tiles of N][tiles of M], zero between launches
};

// The split of K: from the shape of the weights alone, never from M, so that a row has the same
// bits in any batch. Enough blocks for a large GPU where N alone gives few.
inline int32_t num_k_parts(int64_t n, int64_t k) {
  int32_t parts = 1;
  while (parts < 16 && (n + 63) / 64 * parts < 256 && k / (parts * 2) >= 256) parts *= 2;
  return parts;
}

}  // namespace octavo::device
