// CUDA's words in C++: what kernels/runtime.h includes instead of NVIDIA's headers when the .cu
// files are compiled for the emulator. Device side here; the runtime API is in runtime_api.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "simt/emulator.h"
#include "simt/runtime_api.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

#define threadIdx (::simt::Engine::current().me().thread)
#define blockIdx (::simt::Engine::current().block_index)
#define blockDim (::simt::Engine::current().block)
#define gridDim (::simt::Engine::current().grid)

// The caller's place, for deadlock reports.
#define SIMT_AT const char *file = __builtin_FILE(), int line = __builtin_LINE()

using std::max;
using std::min;

inline void __syncthreads(SIMT_AT) { simt::Engine::current().barrier(file, line); }
inline void __syncwarp(uint32_t mask = ~0u, SIMT_AT) {
  simt::Engine::current().warp_barrier(mask, file, line);
}

namespace simt {

// `source` maps a lane to the lane it reads; a lane outside the mask reads itself.
template <class T, class Source>
T shuffle(const char* name, uint32_t mask, T value, Source source, const char* file, int line) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  Uninstrumented scope;
  Engine& e = Engine::current();
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof(T));
  Meeting& m = e.meet(name, mask, word, 0, nullptr, nullptr, file, line);
  const int lane = e.me().lane;
  int from = source(lane);
  if (from < 0 || from > 31 || (mask >> from & 1) == 0) from = lane;
  T out;
  std::memcpy(&out, &m.in[from][0], sizeof(T));
  e.leave(m);
  return out;
}

}  // namespace simt

template <class T>
T __shfl_sync(uint32_t mask, T value, int source, int width = 32, SIMT_AT) {
  const auto from = [=](int lane) { return (lane & ~(width - 1)) | (source & (width - 1)); };
  return simt::shuffle("__shfl_sync", mask, value, from, file, line);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32, SIMT_AT) {
  const auto from = [=](int lane) {
    const int other = lane ^ bits;
    return (other & ~(width - 1)) == (lane & ~(width - 1)) ? other : lane;
  };
  return simt::shuffle("__shfl_xor_sync", mask, value, from, file, line);
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, int delta, int width = 32, SIMT_AT) {
  const auto from = [=](int lane) { return (lane & (width - 1)) >= delta ? lane - delta : lane; };
  return simt::shuffle("__shfl_up_sync", mask, value, from, file, line);
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, int delta, int width = 32, SIMT_AT) {
  const auto from = [=](int lane) {
    return (lane & (width - 1)) + delta < width ? lane + delta : lane;
  };
  return simt::shuffle("__shfl_down_sync", mask, value, from, file, line);
}
inline uint32_t __ballot_sync(uint32_t mask, int predicate, SIMT_AT) {
  simt::Uninstrumented scope;
  simt::Engine& e = simt::Engine::current();
  const uint64_t word = predicate != 0;
  simt::Meeting& m = e.meet("__ballot_sync", mask, word, 0, nullptr, nullptr, file, line);
  uint32_t out = 0;
  for (int lane = 0; lane < 32; lane++) {
    if ((mask >> lane & 1) != 0 && m.in[lane][0] != 0) out |= 1u << lane;
  }
  e.leave(m);
  return out;
}
inline int __any_sync(uint32_t mask, int predicate, SIMT_AT) {
  return __ballot_sync(mask, predicate, file, line) != 0;
}

// Relaxed, as CUDA's are; after a __threadfence of the thread they order what is around them, which
// is how TSan learns of it: a fence alone makes no edge between threads.
template <class T>
T atomicAdd(T* address, T value) {
  if (!::simt::Engine::current().me().fenced) {
    return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
  }
  return __atomic_fetch_add(address, value, __ATOMIC_ACQ_REL);
}
template <class T>
T atomicMax(T* address, T value) {
  T seen = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (seen < value && !__atomic_compare_exchange_n(address, &seen, value, false,
                                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return seen;
}
inline void __threadfence() { ::simt::Engine::current().me().fenced = true; }
template <class T>
T __ldg(const T* address) {
  return *address;
}
inline int __popc(uint32_t bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
