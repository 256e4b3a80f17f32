// Weights bound to the names that lib/native.ts lists. Matrices are read from their files piece by
// piece into the form that the backend's ops read; vectors (norms, biases) are small and widened to
// F32. Nothing of a file stays in memory as it was stored.
#pragma once

#include <string>
#include <vector>

#include "base/tensor.h"
#include "buffer.h"
#include "model/spec.h"

namespace octavo {

// Floats where ops read them; empty = the model has none.
class Vector {
 public:
  Vector() = default;
  Vector(const Ops& ops, const std::vector<float>& values)
      : memory_(ops, values.size() * sizeof(float), "the weights") {
    ops.write(ops.context, memory_.data(), values.data(), memory_.bytes());
  }
  const float* data() const { return static_cast<const float*>(memory_.data()); }  // or null

 private:
  Buffer memory_;
};

struct NormWeights {
  Vector weight, bias;
};

struct LinearWeights {
  Tensor weight;
  Vector bias;
};

// A matrix of every expert, one behind the other, all of one type.
struct ExpertWeights {
  Tensor weight;  // of the first
  int64_t stride = 0;
  Vector bias;  // of all
};

struct RecurrentWeights {
  LinearWeights q, k, v, gate, beta, dt, out;
  Vector conv, conv_bias;  // [conv_width, channels]
  Vector decay, dt_bias, skip;
  NormWeights norm;
};

struct LatentWeights {
  LinearWeights q_a, k_rope, kv;
  NormWeights q_norm, kv_norm;
  ExpertWeights k_b, v_b;  // of each head
};

struct LayerWeights {
  NormWeights attn_norm, post_attn_norm, mlp_norm, post_mlp_norm, q_norm, k_norm;
  LinearWeights q, k, v, o, gate, up, down, router;
  Tensor shared_gate;
  Vector choice_bias, expert_scale;
  ExpertWeights expert_gate, expert_up, expert_down;
  LinearWeights latent_in, latent_out;
  LinearWeights attn_gate;
  Vector sinks;
  RecurrentWeights recurrent;
  NormWeights v_norm;
  NormWeights router_norm, experts_norm, post_experts_norm, post_dense_norm;
  float scale = 1;  // of the residual behind the layer
  LinearWeights input_proj, input_gate, input_out;
  NormWeights post_input_norm;
  LatentWeights latent;
};

// Matrices that a checkpoint holds in one type and ops read in one.
struct WeightKind {
  DType stored, kept;
  int64_t num_matrices, bytes;  // as the ops read them
};

struct DenseWeights {
  LinearWeights linear;
  NormWeights norm;
};

class Weights {
 public:
  // Opens the files, reads every tensor and closes them; a missing, unknown, doubled or misshapen
  // one, bytes past the end of a file, or a file that changed meanwhile, throw ERR_MODEL_FORMAT
  // naming file and tensor.
  // quantise: kQ8_0 or kQ4_0 (embedding and head then as Q8_0): plain matrices whose rows are whole
  // blocks become that, but not routers; kF32: every matrix as it is.
  Weights(const Ops& ops, const ModelSpec& spec, const std::vector<std::string>& files,
          const std::vector<TensorSpec>& tensors, DType quantise);

  int64_t bytes() const { return bytes_; }  // of all matrices, as the ops read them
  const std::vector<WeightKind>& kinds() const { return kinds_; }

  Tensor embed, positions, token_types, head;  // empty = the model has none
  Tensor layer_inputs;                         // [vocab · layers, size]
  NormWeights embed_norm, final_norm, layer_inputs_norm;
  std::vector<LayerWeights> layers;
  std::vector<DenseWeights> pooler;

 private:
  std::vector<Buffer> memory_;  // of the matrices, as the ops read them
  std::vector<WeightKind> kinds_;
  int64_t bytes_ = 0;
};

// For tests: every value of a matrix, as F32.
std::vector<float> stored_values(const std::vector<std::string>& files, const TensorSpec& t);

}  // namespace octavo
