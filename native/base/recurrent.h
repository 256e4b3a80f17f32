// What recurrent layers keep, and its only index arithmetic. All of it is F32.
//
// Tokens lie in chunks of kChunk, counted from position 0; the border of a position is where its
// chunk begins. A sequence is its state at a border and a record of each token since. Both are
// written once: a slot holds the state of all recurrent layers at a border, an entry of the pool of
// records what they keep of one token. Slot 0 is the state of position 0, all zeros.
//   slot    of each layer the heads' states [num_value_heads][key_size][value_size], then the last
//           inputs of its convolution, oldest first [conv_width − 1][channels]
//   record  of each layer the convolution's input [channels], k as it meets the state
//           [num_key_heads][key_size], what was added to the state for it (u)
//           [num_value_heads][value_size], and how much of the state its token kept
//           [num_value_heads]
// Channels are those of q, k and v, one behind the other. Of a short convolution there is no more
// than its inputs, [values].
#pragma once

#include <cstdint>
#include <limits>

#include "base/host_device.h"
#include "base/tensor.h"

namespace octavo {

constexpr int32_t kChunk = 16;

OCTAVO_HD int32_t border_of(int32_t position) { return position - position % kChunk; }

// The gated delta rule, a selective state space (Mamba 2), a short convolution without a state.
enum class RecurrentKind : int32_t { kDelta = 0, kSsm = 1, kConv = 2 };

struct RecurrentShape {
  int32_t num_key_heads = 0, num_value_heads = 0, key_size = 0, value_size = 0;
  int32_t conv_width = 1;  // inputs that an output is made of, at most kChunk
  bool tiled = false;      // value heads take key heads in turn, else neighbours share one
  RecurrentKind kind = RecurrentKind::kDelta;

  OCTAVO_HD bool has_heads() const { return kind != RecurrentKind::kConv; }
  OCTAVO_HD int64_t key_width() const { return int64_t{num_key_heads} * key_size; }
  OCTAVO_HD int64_t value_width() const { return int64_t{num_value_heads} * value_size; }
  OCTAVO_HD int64_t channels() const { return (has_heads() ? 2 * key_width() : 0) + value_width(); }
  OCTAVO_HD int32_t key_head_of(int32_t value_head) const {
    return tiled ? value_head % num_key_heads : value_head / (num_value_heads / num_key_heads);
  }
  // The first value head that reads the same key head.
  OCTAVO_HD int32_t first_reader_of(int32_t key_head) const {
    return tiled ? key_head : key_head * (num_value_heads / num_key_heads);
  }
  OCTAVO_HD int64_t heads_floats() const { return has_heads() ? key_size * value_width() : 0; }
  OCTAVO_HD int64_t state_floats() const { return heads_floats() + (conv_width - 1) * channels(); }
  OCTAVO_HD int64_t record_floats() const {
    return channels() + (has_heads() ? key_width() + value_width() + num_value_heads : 0);
  }
};

// One layer's view of the slots and records.
struct RecurrentView {
  RecurrentShape shape;
  float* states = nullptr;   // this layer's of slot 0
  float* records = nullptr;  // this layer's of record 0
  int64_t state_stride = 0;  // from a slot to the next, from a record to the next
  int64_t record_stride = 0;

  OCTAVO_HD float* state(int32_t slot, int32_t head) const {
    return states + slot * state_stride + int64_t{head} * shape.key_size * shape.value_size;
  }
  OCTAVO_HD float* last_inputs(int32_t slot) const {
    return states + slot * state_stride + shape.heads_floats();
  }
  OCTAVO_HD float* input(int32_t record) const { return records + record * record_stride; }
  OCTAVO_HD float* key(int32_t record, int32_t key_head) const {
    return input(record) + shape.channels() + int64_t{key_head} * shape.key_size;
  }
  OCTAVO_HD float* added(int32_t record, int32_t head) const {
    return key(record, shape.num_key_heads) + int64_t{head} * shape.value_size;
  }
  OCTAVO_HD float* kept(int32_t record) const { return added(record, shape.num_value_heads); }
};

// A causal convolution of each channel, in place, then SiLU:
//   x_t ← silu(bias + Σ_i weight[i] · x_{t − conv_width + 1 + i})
// Of kConv, x being k ⊙ v, all of one size:
//   v_t ← q_t ⊙ (bias + Σ_i weight[i] · x_{t − conv_width + 1 + i})
struct ShortConvParams {
  Tensor q, k;                    // [num_tokens, num_key_heads · key_size] A
  Tensor v;                       // [num_tokens, num_value_heads · value_size] A
  const float* weight = nullptr;  // [conv_width, channels]
  const float* bias = nullptr;    // [channels] or null
};

// The gated delta rule. q and k are first brought to length 1, q divided by √key_size; then, of
// each value head with state S [key_size, value_size],
//   S ← e^g · S    u = sigmoid(beta) · (v − Sᵀk)    S ← S + k uᵀ    out = Sᵀq
// where g = decay · softplus(dt + dt_bias). Computed from the state S₀ at the border, as attention
// to the chunk's tokens so far (w_j = Π e^g of those behind j, w all of them, in that order):
//   u_t = sigmoid(beta) · (v_t − (w S₀ᵀk_t + Σ_{j<t} w_j (k_j · k_t) u_j))
//   out_t = w S₀ᵀq_t + Σ_{j≤t} w_j (k_j · q_t) u_j
// and, where a chunk ends, S ← w S₀ + Σ_j w_j k_j u_jᵀ: the same bits however its tokens are dealt
// to steps.
//
// Of kSsm q and k are as they are, and with e = softplus(dt + dt_bias) within [dt_min, dt_max]
//   S ← e^(decay · e) · S + k (e · v)ᵀ    out = Sᵀq + skip · v
// which is the same with u = e · v.
struct LinearAttentionParams {
  Tensor out;                      // [num_tokens, num_value_heads · value_size] A
  Tensor q, k;                     // [num_tokens, num_key_heads · key_size] A
  Tensor v;                        // as out
  Tensor beta, dt;                 // [num_tokens, num_value_heads] F32; of kSsm no beta
  const float* decay = nullptr;    // [num_value_heads], at most 0
  const float* dt_bias = nullptr;  // [num_value_heads]
  const float* skip = nullptr;     // [num_value_heads], of kSsm, or null
  float dt_min = 0, dt_max = std::numeric_limits<float>::infinity();
};

}  // namespace octavo
