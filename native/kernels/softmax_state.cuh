// Online softmax, base 2: a maximum, the sum of 2^(s − maximum), and a weighted sum of rows kept
// by whoever owns it. Written down once, so that whatever is merged in the same order has the same
// bits: in registers, or by the merge kernel.
#pragma once

#include "kernels/runtime.h"

namespace octavo::device {

struct SoftmaxState {
  float max = -INFINITY;
  float sum = 0.0f;

  // Takes in `other`; the factors belong to the two weighted sums: w = merged(w, other's w).
  struct Factors {
    float mine, other;
  };
  OCTAVO_DEVICE Factors merge(const SoftmaxState& other) {
    const float both = fmaxf(max, other.max);
    if (both == -INFINITY) return {1.0f, 0.0f};
    const Factors f{exp2f(max - both), exp2f(other.max - both)};
    sum = merged(sum, other.sum, f);
    max = both;
    return f;
  }
  OCTAVO_DEVICE static float merged(float mine, float other, Factors f) {
    return fmaf(other, f.other, mine * f.mine);
  }
  // What a weighted sum is multiplied with at last. Empty states give zero, not NaN.
  OCTAVO_DEVICE float inverse() const { return sum > 0.0f ? 1.0f / sum : 0.0f; }
  // The same with a sink, if there are any: a last chunk of one token whose value is 0.
  OCTAVO_DEVICE float inverse(const float* sinks, int head) {
    if (sinks == nullptr) return inverse();
    SoftmaxState sink;
    sink.max = sinks[head] * 1.4426950408889634f;
    sink.sum = 1.0f;
    const float mine = merge(sink).mine;
    return mine * inverse();
  }
};

}  // namespace octavo::device
