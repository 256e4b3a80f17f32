// A model compiled, once, at load: a flat list of instructions, each one op with all it takes but
// the rows of a step. What a switch of the spec means is decided here and nowhere else.
//
// Between instructions values stand in a few registers with a row per token. What is to be added to
// the residual is added by the next norm that reads it, where its rows are read anyway.
#pragma once

#include <array>
#include <cstdint>
#include <variant>
#include <vector>

#include "model/spec.h"
#include "model/weights.h"

namespace octavo {

enum class Register : int32_t {
  kNone = -1,
  kResidual = 0,  // F32, as the logits and what routes; all others have the type of activations
  kNormed,
  kQ,
  kK,
  kV,
  kAttended,
  kBranch,     // what attention or MLP gives, until it is added to the residual
  kMlpBranch,  // a second one: that of the MLP where attention's waits beside it, or a mixer's
  kGate,
  kUp,
  kRouted,      // F32: a row's score of each expert
  kSharedGate,  // F32: what the shared expert is multiplied by the sigmoid of
  kBeta,        // F32: what a recurrent layer's gates are made of, of each value head
  kDt,
  kExperts,  // what each expert of a row gives
  kLogits,
  // A row for each text: what its rows are pooled to, on its way through the pooler.
  kPooled,
  kPooledNext,
  kPooledFloat,  // F32
  kEmbedded,     // what the first layer reads, where later ones read it too
  kTokenInput,   // F32: a token's row of the layer's own, until it is in kLayerInput
  kLayerInput,
  kFed,     // F32: what an MLP gives, until the experts beside it are added
  kLatent,  // what experts read in place of a row, and their sum
  kHeads,   // queries that meet latent rows, and what each head gives of these
};
constexpr size_t kNumRegisters = 25;

// A register as an op sees it: per_row rows of `cols` values each for every row of the step.
struct Operand {
  Register reg = Register::kNone;
  int64_t cols = 0;
  int64_t per_row = 1;

  int64_t width() const { return cols * per_row; }
};

struct LinearOperands {
  Operand out;
  Tensor weight;
  const float* bias = nullptr;
};

// The instructions. Tensors of their params that stand in registers are set when they run.
struct Embed {
  Operand out;
  EmbeddingParams params;
};
struct Norm {
  Operand out, x, add;
  NormParams params;
};
struct Matmul {
  Operand x;
  std::vector<LinearOperands> parts;
};
struct GatedMatmul {  // gate.out = act(gate) · up
  Operand x;
  LinearOperands gate, up;
  HiddenAct hidden_act;
};
struct Activate {  // x = act(x), times up where there is one
  Operand x, up;
  HiddenAct hidden_act;
};
struct RopeAndCache {
  Operand q, k, v;  // k and v of layers with KV of their own
  RopeCacheParams params;
  int32_t layer;
};
struct Attend {
  Operand out, q;
  AttentionParams params;
  int32_t layer;
};
struct HeadMatmul {
  Operand out, x;
  HeadMatmulParams params;
};
struct ShortConv {  // in place
  Operand q, k, v;
  ShortConvParams params;
  int32_t layer;
};
struct LinearAttend {
  Operand out, q, k, v, beta, dt;
  LinearAttentionParams params;
  int32_t layer;
};
struct Route {
  Router router;
  Operand logits;
  const float *choice_bias, *expert_scale;
};
struct ExpertOperands {
  Operand out;  // router.top_k per row
  Tensor weight;
  int64_t stride;
  const float* bias;
};
struct ExpertGatedMatmul {  // up.out kNone: gate.out = act(gate)
  Router router;
  Operand x;
  ExpertOperands gate, up;
  Glu glu;
  bool scales_input;
};
struct ExpertMatmul {
  Router router;
  Operand x;
  ExpertOperands part;
};
struct Combine {
  Router router;
  Operand out, y;
  bool weighted;
  bool shared;  // out holds what the shared expert gives
  Operand shared_gate;
};
struct TransformLogits {  // or what else is F32
  Operand logits;
  float scale, softcap;
};
using Instruction = std::variant<Embed, Norm, Matmul, GatedMatmul, Activate, RopeAndCache, Attend,
                                 ShortConv, LinearAttend, Route, ExpertGatedMatmul, ExpertMatmul,
                                 Combine, TransformLogits, HeadMatmul>;

// From instruction `at` on rows are needed only where somebody asks for logits; `live` is what the
// rest reads of those before.
struct Cut {
  size_t at = 0;
  std::vector<Operand> live;
};

struct Program {
  std::vector<Instruction> instructions;
  Cut trim;    // behind the last attention, or recurrence
  Cut head;    // behind the last layer
  Cut hidden;  // behind the final norm: what is pooled
  // What rows are pooled to, and what it goes through then; the last gives what is asked for.
  Operand pooled;
  std::vector<Instruction> pooler;
  Operand vector;
  std::array<int64_t, kNumRegisters> widths = {};  // values per row of each register, 0 = unused
  std::vector<Vector> rope_tables;
  Router largest_router;  // as many experts, and choices of a row, as any has
};

// The weights must outlive the program.
Program compile(const Ops& ops, const ModelSpec& spec, const Weights& weights);

}  // namespace octavo
