// What the kernels of recurrent layers are given; base/recurrent.h says what they read and write.
#pragma once

#include "base/recurrent.h"
#include "kernels/runtime.h"

namespace octavo::device {

// A step's sequences on the device, as BatchView has them. Sequences past the step's own have no
// tokens: a step that is replayed may have fewer than the one that was recorded.
struct RecurrentStep {
  const int32_t *query_start, *context_len, *state_in, *state_out, *old_records, *new_records;
  int32_t num_seqs;
  // Whether there are queries of one token, of more. Each kind has kernels of its own, which leave
  // the other's sequences as they are.
  bool single, longer;
};

struct ShortConvArgs {
  void *q, *k, *v;             // rows of the activations' type
  const float *weight, *bias;  // as ShortConvParams has them
  RecurrentView kept;
  RecurrentStep step;
};
void launch_short_conv(const ShortConvArgs& args, DType activation, cudaStream_t stream);

struct LinearAttentionArgs {
  void* out;
  const void *q, *k, *v;
  const float *beta, *dt;
  const float *decay, *dt_bias, *skip;  // as LinearAttentionParams has them
  float dt_min, dt_max;
  RecurrentView kept;
  RecurrentStep step;
};
// Bytes of shared memory that a block needs.
int64_t linear_attention_shared(int32_t key_size);
void launch_linear_attention(const LinearAttentionArgs& args, DType activation,
                             cudaStream_t stream);

}  // namespace octavo::device
