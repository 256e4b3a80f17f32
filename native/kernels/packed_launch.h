// Products with weights in tiles: each kind of type is compiled in a file of its own.
#pragma once

#include "kernels/launchers.h"

namespace octavo::device {

struct Q4K;
struct Q5K;
struct Q6K;
struct Mxfp4;
struct Int4;
struct Int8;
struct Fp8;

// As launch_matmul has made them ready.
struct PackedProduct {
  const MatmulArgs& args;
  DType activation;
  const DeviceLimits& limits;
  cudaStream_t stream;
};
template <class Kind>
void launch_packed(const PackedProduct& product);
// And launch_expert_matmul.
template <class Kind>
void launch_packed_experts(const ExpertArgs& args, DType activation, cudaStream_t stream);

template <class Kind>
struct KindOf {
  using type = Kind;
};
// fn(KindOf<…>) of a type that has_tiles().
template <class Fn>
void with_kind(DType t, Fn fn) {
  switch (t) {
    case DType::kQ4_K:
      return fn(KindOf<Q4K>{});
    case DType::kQ5_K:
      return fn(KindOf<Q5K>{});
    case DType::kQ6_K:
      return fn(KindOf<Q6K>{});
    case DType::kMXFP4:
      return fn(KindOf<Mxfp4>{});
    case DType::kINT4_G32:
    case DType::kINT4_G128:
      return fn(KindOf<Int4>{});
    case DType::kINT8_G32:
    case DType::kINT8_G128:
      return fn(KindOf<Int8>{});
    default:
      return fn(KindOf<Fp8>{});
  }
}

}  // namespace octavo::device
