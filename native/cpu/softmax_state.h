// The online softmax, once: how a chunk's scores become a state, how states join, how a state
// becomes an output. Decode, prefill and split contexts all pass through here, chunk by chunk in
// the order of positions. See kernels.inc.h.
#pragma once

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace octavo {
namespace OCTAVO_ISA {

// Turns scores [first, last) of a chunk into exp(score − max) in place. The row may be written up
// to whole vectors around the range.
OCTAVO_INLINE SoftmaxState softmax_of_scores(float* scores, int32_t first, int32_t last) {
  if (first >= last) return {kNegativeInfinity, 0.0f};
  const int32_t begin = first & ~15, end = (last + 15) & ~15;
  // Masked lanes give −∞ to the maximum and 0 to the sum.
  for (int32_t i = begin; i < first; i++) scores[i] = kNegativeInfinity;
  for (int32_t i = last; i < end; i++) scores[i] = kNegativeInfinity;
  F32x16 max16 = splat(kNegativeInfinity);
  for (int32_t i = begin; i < end; i += 16) max16 = max(load(scores + i), max16);
  const float largest = hmax(max16);
  if (largest == kNegativeInfinity) {
    for (int32_t i = begin; i < end; i += 16) store(scores + i, zero());
    return {largest, 0.0f};
  }
  F32x16 sum = zero();
  for (int32_t i = begin; i < end; i += 16) {
    const F32x16 p = exp(sub(load(scores + i), splat(largest)));
    store(scores + i, p);
    sum = add(sum, p);
  }
  return {largest, hsum(sum)};
}

static void merge_softmax(SoftmaxState* state, float* acc, const SoftmaxState* chunk,
                          const float* chunk_acc, int32_t value_size) {
  if (chunk->sum == 0.0f) return;
  if (state->sum == 0.0f) {
    *state = *chunk;
    __builtin_memcpy(acc, chunk_acc, static_cast<size_t>(value_size) * sizeof(float));
    return;
  }
  const float largest = state->max > chunk->max ? state->max : chunk->max;
  const float keep = exp(state->max - largest), take = exp(chunk->max - largest);
  *state = {largest, __builtin_fmaf(chunk->sum, take, state->sum * keep)};
  int32_t i = 0;
  for (; i + 16 <= value_size; i += 16) {
    const F32x16 kept = mul(load(acc + i), splat(keep));
    store(acc + i, fma(load(chunk_acc + i), splat(take), kept));
  }
  if (i < value_size) {
    const int32_t n = value_size - i;
    const F32x16 kept = mul(load_n(acc + i, n), splat(keep));
    store_n(acc + i, fma(load_n(chunk_acc + i, n), splat(take), kept), n);
  }
}

// A sink is a last chunk of one token whose value is 0.
static void finish_softmax(const SoftmaxState* state, const float* acc, const float* sink,
                           float* out, int32_t value_size) {
  const bool empty = state->sum == 0.0f;
  float whole = state->sum, kept = 1;
  if (sink != nullptr && !empty) {
    const float largest = state->max > *sink ? state->max : *sink;
    kept = exp(state->max - largest);
    whole = __builtin_fmaf(whole, kept, exp(*sink - largest));
  }
  const F32x16 sum = splat(whole), keep = splat(kept);
  int32_t i = 0;
  for (; i + 16 <= value_size; i += 16) {
    store(out + i, empty ? zero() : div(mul(load(acc + i), keep), sum));
  }
  if (i < value_size) {
    const int32_t n = value_size - i;
    store_n(out + i, empty ? zero() : div(mul(load_n(acc + i, n), keep), sum), n);
  }
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
