// A model as data: what lib/model has read out of a checkpoint. Nothing in native knows a family
// by name; program.h turns this into a list of instructions, once.
//
// With p = projections, a serial layer is
//   x += residual_scale · post_attn_norm(o · attention(q, k, v of attn_norm(x)))
//   x += residual_scale · post_mlp_norm(mlp(mlp_norm(x)))
// times a scale of each branch's own, or, in the place of attention or beside it, its recurrent
// mixer; a branch that a layer has not is passed over; where a norm of kind none passes its input
// on. Of a text that is pooled the tokens' vectors, as the final norm gives them, become one, which
// then goes through the pooler's layers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "model/stored_parts.h"
#include "ops.h"

namespace octavo {

struct NormSpec {
  NormKind kind = NormKind::kNone;
  float eps = 0;
  bool offset = false;  // the weight is 1 + what is stored
  bool weight = true;   // there is one; without it as if all were 1
  bool bias = false;    // of kLayer: there is one
  float scale = 1;      // multiplies the weight
};

// One table of angles; layers name it by its index in ModelSpec::ropes.
struct RopeSpec {
  std::vector<float> inverse_frequencies;       // [rotary_size / 2], scaling already applied
  std::vector<float> long_inverse_frequencies;  // for sequences that a step marks; or empty
  bool interleaved = false;                     // pairs are (2i, 2i + 1), not (i, i + half)
  float attention_factor = 1;
};

// Of each head, of the whole projection, of each head by its own weight.
enum class QkNormSpan : int32_t { kHead = 0, kProjection = 1, kOwnHead = 2 };

// Keys and values of all heads are made of one row of `rank` values for each token, of which the
// cache keeps nothing else but what rotates. With c = norm(kv_a · x) and r = k_rope · x rotated, a
// head h whose q = q_h · x is [nope | rope], rope rotated, attends with
//   [k_b[h]ᵀ · nope | rope] to the tokens' rows [c | r], and gives v_b[h] · Σ p · c,
// which is what q to keys k_b · c and values v_b · c would be. q is made of norm(q_a · x), if
// query_rank is not 0.
struct LatentSpec {
  int32_t rank = 0;  // 0 = the layer's are keys and values
  int32_t query_rank = 0;
  int32_t nope_size = 0, value_size = 0;
  NormSpec norm;  // of both

  bool any() const { return rank > 0; }
};

struct AttentionSpec {  // num_heads 0 = the layer has none
  int32_t num_heads = 0, num_kv_heads = 0, head_size = 0;
  Reach reach;        // which tokens a query sees
  int32_t rope = -1;  // index of its table; −1 = no positions
  float scale = 0, softcap = 0;
  bool sinks = false;  // a logit per head stands in the softmax's denominator, and nowhere else
  NormSpec qk_norm;    // of q and k, before they rotate
  QkNormSpan qk_norm_span = QkNormSpan::kHead;
  bool qk_norm_after_rope = false;  // an RMS norm of heads, when they have rotated
  Temperature temperature;          // of q, after all that
  bool gated = false;  // o · (attended ⊙ sigmoid(gate · x)), x being what q is made of
  bool q_bias = false, k_bias = false, v_bias = false, o_bias = false;
  LatentSpec latent;      // num_kv_heads is 1 then, and head_size that of a row
  NormSpec v_norm;        // of each head of v
  bool v_from_k = false;  // v is what k's product gives, before k is normed
  // The earlier layer whose K and V are read in place of own ones; −1 = the layer's own.
  int32_t kv_of = -1;

  bool any() const { return num_heads > 0; }
  bool owns_kv() const { return any() && kv_of < 0; }
  // Of latent rows: what rotates, of q and of the row.
  int32_t rope_size() const { return head_size - latent.rank; }
  // Values that the cache keeps of a token, and rows that an 8-bit one has scales for.
  int64_t cached_values() const { return int64_t{latent.any() ? 1 : 2} * kv_size(); }
  int32_t q_size() const { return num_heads * head_size; }
  int32_t kv_size() const { return num_kv_heads * head_size; }
};

// In the place of attention, from q, k, v, gate, beta and dt, products of the layer's input:
//   out · (norm(linear_attention(short_conv(q | k | v), beta, dt)) ⊙ silu(gate))
// or, of kConv, out · short_conv(q, k, v). kSsm has no beta.
struct RecurrentSpec {
  RecurrentShape shape;  // num_value_heads 0 = the layer has none
  bool conv_bias = false;
  NormSpec norm;           // of norm_size neighbours
  int32_t norm_size = 0;   // a divisor of all values
  bool norm_own = false;   // each such part has a weight of its own
  bool norm_first = true;  // else it is the norm of what the gate lets pass
  bool skip = false;       // of kSsm
  float dt_min = 0, dt_max = std::numeric_limits<float>::infinity();
  bool in_bias = false, out_bias = false;       // of the products of the input; of out
  float q_scale = 1, k_scale = 1, v_scale = 1;  // of the weights of their convolutions
  float dt_scale = 1;                           // of dt, before dt_bias is added

  bool any() const { return shape.num_value_heads > 0; }
};

struct MlpSpec {
  int32_t intermediate_size = 0;  // 0 = there is none, only experts
  HiddenAct hidden_act = HiddenAct::kSilu;
  bool gated = true;  // down · (act(gate · x) ⊙ (up · x)), else down · act(up · x)
  bool gate_bias = false, up_bias = false, down_bias = false;
};

// Norms of experts that stand beside the layer's MLP as a branch of their own. With x the residual
// that the MLP reads by mlp_norm:
//   post_mlp(mlp(mlp_norm(x))) + post(experts(norm(x))),  routed by router(x)
struct BesideSpec {
  NormSpec router, norm, post, post_mlp;
};

// Of each row router.top_k experts, e(x) = down · glu(gate · x, up · x), times their weights;
// beside them the layer's MLP, if it has one: a shared expert.
struct ExpertsSpec {
  Router router;  // num_experts 0 = the layer has none
  int32_t intermediate_size = 0;
  Glu glu;
  bool router_bias = false, choice_bias = false;
  bool gate_bias = false, up_bias = false, down_bias = false;
  bool scales_input = false;  // a weight multiplies the expert's x, not what it gives
  bool shared_gate = false;   // the MLP's output is multiplied by sigmoid(shared_gate · x)
  bool expert_scale = false;  // each expert's weights are multiplied by a number of its own
  std::optional<BesideSpec> beside;
  bool gated = true;  // else e(x) = down · act(up · x)
  // Not 0: experts read latent_in · x, so many values, and latent_out is of what they give.
  int32_t latent_size = 0;

  bool any() const { return router.num_experts > 0; }
};

// kParallel: both branches read the layer's input, each by its own norm; kShared: attn_norm(x) is
// what both read. Their sum is added at once. kPost: x = attn_norm(x + attention(x)), then
// x = mlp_norm(x + mlp(x)).
enum class Branches : int32_t { kSerial = 0, kParallel = 1, kShared = 2, kPost = 3 };

struct LayerSpec {
  Branches branches = Branches::kSerial;
  NormSpec attn_norm, post_attn_norm, mlp_norm, post_mlp_norm;
  // What mixes tokens: one of them, or both side by side, or none.
  AttentionSpec attention;
  RecurrentSpec recurrent;
  float attention_scale = 1, recurrent_scale = 1, mlp_scale = 1;  // of a branch, where serial
  MlpSpec mlp;
  ExpertsSpec experts;
  float residual_scale = 1;
  bool scaled = false;  // the residual is multiplied by a stored number behind the layer

  bool mixes() const { return attention.any() || recurrent.any(); }
  bool feeds() const { return mlp.intermediate_size > 0 || experts.any(); }
  // Experts whose sum stands beside the MLP's, to be added to the residual by itself.
  bool feeds_apart() const { return mlp.intermediate_size > 0 && experts.latent_size > 0; }
};

// Behind each layer, where e is the residual that the first one reads and t the token's row of the
// table, in which a token has a row for each layer:
//   x += post_norm(out · (act(gate · x) ⊙ (norm(proj · e) + scale · t)))
struct LayerInputsSpec {
  int32_t size = 0;  // of a row of the table; 0 = there are none
  float scale = 1;
  HiddenAct act = HiddenAct::kSilu;
  NormSpec norm, post_norm;  // the first of all layers in common

  bool any() const { return size > 0; }
};

// x = norm(act(weight · x + bias)), of a pooled vector.
struct DenseSpec {
  int32_t out_size = 0;
  bool bias = false;
  std::optional<HiddenAct> act;
  NormSpec norm;
};

struct ModelSpec {
  int32_t vocab_size = 0, hidden_size = 0;
  float embedding_scale = 1;
  int32_t num_positions = 0;    // rows of the learned position table; 0 = there is none
  int32_t num_token_types = 0;  // rows of the table that is added by a token's type; 0 = none
  NormSpec embedding_norm;      // of the sum, where the first layer reads it
  std::vector<RopeSpec> ropes;
  std::vector<LayerSpec> layers;
  LayerInputsSpec layer_inputs;
  NormSpec final_norm;
  std::vector<DenseSpec> pooler;
  bool has_head = true;  // else nothing can be generated
  bool tied_head = false;
  float logit_scale = 1, logit_softcap = 0;

  // Values of a pooled vector.
  int32_t pooled_size() const { return pooler.empty() ? hidden_size : pooler.back().out_size; }
};

inline bool has_long_rope(const ModelSpec& spec) {
  return std::any_of(spec.ropes.begin(), spec.ropes.end(),
                     [](const RopeSpec& rope) { return !rope.long_inverse_frequencies.empty(); });
}

// The layer whose KV a layer with attention reads.
inline int32_t kv_layer(const ModelSpec& spec, int32_t layer) {
  const int32_t other = spec.layers[static_cast<size_t>(layer)].attention.kv_of;
  return other < 0 ? layer : other;
}

inline bool has_recurrent(const ModelSpec& spec) {
  return std::any_of(spec.layers.begin(), spec.layers.end(),
                     [](const LayerSpec& layer) { return layer.recurrent.any(); });
}

inline bool has_latent(const ModelSpec& spec) {
  return std::any_of(spec.layers.begin(), spec.layers.end(),
                     [](const LayerSpec& layer) { return layer.attention.latent.any(); });
}

// One tensor of a checkpoint, as lib/native.ts describes it.
struct TensorSpec {
  std::string name;
  DType dtype = DType::kF32;
  int64_t rows = 0, cols = 0;
  int32_t file = 0;
  int64_t offset = 0, bytes = 0;
  // Not 0: the file holds the matrix turned around, [cols, transposed_of] of a plain type, and row
  // r is the stored column transposed_from + r.
  int64_t transposed_of = 0, transposed_from = 0;
  // Rows (of a vector: values; where turned around: columns) lie in runs of `run`, whose beginnings
  // are `step` stored ones apart.
  int64_t step = 1, run = 1;
  bool neg_exp = false;  // of a vector: its values are −eˣ of those stored
  // Of types that several tensors make up; offset and bytes are not looked at then.
  StoredParts parts = {};
  // Of kNVFP4 in GGUF's blocks: the float32 that multiplies them; none = 1.
  FilePart factor = {};

  // Which of the stored rows is row `index`, counted from the first.
  int64_t stored_at(int64_t index) const { return index / run * step + index % run; }
};

}  // namespace octavo
