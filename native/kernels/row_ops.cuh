// What kernels over rows of values share: four neighbours at a time, and sums over a warp.
#pragma once

#include "kernels/launch.cuh"
#include "kernels/types.cuh"

namespace octavo::device {

// Four neighbours, read or written at once.
struct Four {
  float v[4];
};
OCTAVO_DEVICE Four read4(const float* from) {
  const float4 f = *reinterpret_cast<const float4*>(from);
  return {{f.x, f.y, f.z, f.w}};
}
OCTAVO_DEVICE void write4(float* to, const Four& f) {
  *reinterpret_cast<float4*>(to) = {f.v[0], f.v[1], f.v[2], f.v[3]};
}
template <class T>
OCTAVO_DEVICE Four read4(const T* from) {
  const uint2 pairs = *reinterpret_cast<const uint2*>(from);
  const float2 low = unpack2<T>(pairs.x), high = unpack2<T>(pairs.y);
  return {{low.x, low.y, high.x, high.y}};
}
template <class T>
OCTAVO_DEVICE void write4(T* to, const Four& f) {
  *reinterpret_cast<uint2*>(to) = {pack2<T>(f.v[0], f.v[1]), pack2<T>(f.v[2], f.v[3])};
}

// The sum of a value over a warp's lanes, by a fixed tree; each gets it.
OCTAVO_DEVICE float warp_sum(float x) {
  for (int bit = 16; bit > 0; bit /= 2) x += __shfl_xor_sync(kAllLanes, x, bit);
  return x;
}

}  // namespace octavo::device
