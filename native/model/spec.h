// A model as data: what lib/model has read out of a checkpoint. Nothing in native knows a family
// by name; program.h turns this into a list of instructions, once.
//
// With p = projections, a serial layer is
//   x += residual_scale · post_attn_norm(o · attention(q, k, v of attn_norm(x)))
//   x += residual_scale · post_mlp_norm(mlp(mlp_norm(x)))
// where a norm of kind none passes its input on. Of a text that is pooled the tokens' vectors, as
// the final norm gives them, become one, which then goes through the pooler's layers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "ops.h"

namespace octavo {

struct NormSpec {
  NormKind kind = NormKind::kNone;
  float eps = 0;
  bool offset = false;  // the weight is 1 + what is stored
  bool weight = true;   // there is one; without it as if all were 1
  bool bias = false;    // of kLayer: there is one
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

struct AttentionSpec {
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

  int32_t q_size() const { return num_heads * head_size; }
  int32_t kv_size() const { return num_kv_heads * head_size; }
};

struct MlpSpec {
  int32_t intermediate_size = 0;  // 0 = there is none, only experts
  HiddenAct hidden_act = HiddenAct::kSilu;
  bool gated = true;  // down · (act(gate · x) ⊙ (up · x)), else down · act(up · x)
  bool gate_bias = false, up_bias = false, down_bias = false;
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

  bool any() const { return router.num_experts > 0; }
};

// kParallel: both branches read the layer's input, each by its own norm; kShared: attn_norm(x) is
// what both read. Their sum is added at once. kPost: x = attn_norm(x + attention(x)), then
// x = mlp_norm(x + mlp(x)).
enum class Branches : int32_t { kSerial = 0, kParallel = 1, kShared = 2, kPost = 3 };

struct LayerSpec {
  Branches branches = Branches::kSerial;
  NormSpec attn_norm, post_attn_norm, mlp_norm, post_mlp_norm;
  AttentionSpec attention;
  MlpSpec mlp;
  ExpertsSpec experts;
  float residual_scale = 1;
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
  // Rows (of a vector: values) lie so many stored ones apart; where turned around, columns.
  int64_t step = 1;
  // kMXFP4 only, −1 = GGUF's blocks: else codes lie alone, two neighbours a byte, and here their
  // scales, a byte each.
  int32_t scales_file = -1;
  int64_t scales_offset = 0;
};

}  // namespace octavo
