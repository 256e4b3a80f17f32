// What the kernels of recurrent layers share.
//
// A token has the same bits whichever of them computes it. So they say each rounding: the compiler
// fuses products and sums as it likes, here another way than there.
#pragma once

#include "kernels/launch.cuh"
#include "kernels/recurrent.h"
#include "kernels/types.cuh"

namespace octavo::device {

#ifdef OCTAVO_SIMT
OCTAVO_DEVICE float mul_rn(float a, float b) { return a * b; }
OCTAVO_DEVICE float add_rn(float a, float b) { return a + b; }
#else
OCTAVO_DEVICE float mul_rn(float a, float b) { return __fmul_rn(a, b); }
OCTAVO_DEVICE float add_rn(float a, float b) { return __fadd_rn(a, b); }
#endif

// of / (1 + e^−x)
OCTAVO_DEVICE float share_of(float of, float x) { return of / add_rn(1.0f, expf(-x)); }
OCTAVO_DEVICE float sigmoid(float x) { return share_of(1.0f, x < -80.0f ? -80.0f : x); }
OCTAVO_DEVICE float silu(float x) {
  const float to = x < -80.0f ? -80.0f : x;
  return share_of(to, to);
}
OCTAVO_DEVICE float softplus(float x) { return add_rn(fmaxf(x, 0.0f), log1pf(expf(-fabsf(x)))); }

// One sequence's query: tokens [start, end), of which the first stands in row `row`.
struct RecurrentQuery {
  int32_t seq, row, start, end;

  OCTAVO_DEVICE RecurrentQuery(const RecurrentStep& step, int32_t s) : seq(s) {
    row = step.query_start[s];
    const int32_t length = step.query_start[s + 1] - row;
    end = length > 0 ? step.context_len[s] : 0;
    start = end - length;
  }
  OCTAVO_DEVICE bool is_for(bool single) const {
    return single ? end - start == 1 : end - start > 1;
  }
  OCTAVO_DEVICE int32_t row_of(int32_t position) const { return row + position - start; }
  // The record of a token between the query's border and its start.
  OCTAVO_DEVICE int32_t old_record(const RecurrentStep& step, int32_t position) const {
    return step.old_records[seq * kChunk + position - border_of(start)];
  }
};

}  // namespace octavo::device
