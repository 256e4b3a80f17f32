// The sampler's inside, for its test: the distribution that a row is drawn from.
#pragma once

#include "ops.h"

namespace octavo {

// probabilities [vocab] of the draw that cpu_sample makes with these parameters, by the same code.
// All zero where there is nothing to draw from.
// context: a CpuContext*.
void sample_distribution(void* context, const float* logits, int32_t vocab, const SampleRow& row,
                         double* probabilities);

}  // namespace octavo
