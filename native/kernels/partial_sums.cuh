// Parts of K of a matrix multiply on blocks of their own.
#pragma once

#include "kernels/matmul.h"
#include "kernels/runtime.h"

namespace octavo::device {

// Sums of the parts of K that several blocks have computed for one tile, each thread's kCount of
// them: in storage [i][thread], so that a warp writes 128 bytes.
template <int kCount, int kThreads>
struct PartialSums {
  const MatmulArgs& a;
  const int64_t tile;
  const int part;

  OCTAVO_DEVICE PartialSums(const MatmulArgs& args, int64_t which_tile, int which_part)
      : a(args), tile(which_tile), part(which_part) {}

  OCTAVO_DEVICE float* place(int k_part) const {
    return a.partial + (tile * a.num_k_parts + k_part) * kCount * kThreads + threadIdx.x;
  }
  OCTAVO_DEVICE void store(const float (&values)[kCount]) const {
    float* to = place(part);
#pragma unroll
    for (int i = 0; i < kCount; i++) to[i * kThreads] = values[i];
  }
  // For the whole block; `flag` is a word of shared memory that nobody uses.
  OCTAVO_DEVICE bool last_to_arrive(int* flag) const {
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
      *flag = atomicAdd(&a.arrived[tile], 1u) + 1 == static_cast<uint32_t>(a.num_k_parts);
      if (*flag) a.arrived[tile] = 0;  // ready for the next launch
    }
    __syncthreads();
    __threadfence();
    return *flag != 0;
  }
  // In the order of K, whoever came last. Zero first, as where one block does all parts.
  OCTAVO_DEVICE void load(float (&values)[kCount]) const {
#pragma unroll
    for (int i = 0; i < kCount; i++) values[i] = 0.0f;
    for (int k = 0; k < a.num_k_parts; k++) {
      const float* from = place(k);
#pragma unroll
      for (int i = 0; i < kCount; i++) values[i] += from[i * kThreads];
    }
  }
};

}  // namespace octavo::device
