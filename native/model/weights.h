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

struct LayerWeights {
  NormWeights attn_norm, post_attn_norm, mlp_norm, post_mlp_norm, q_norm, k_norm;
  LinearWeights q, k, v, o, gate, up, down, router;
  Tensor shared_gate;
  Vector choice_bias;
  ExpertWeights expert_gate, expert_up, expert_down;
  LinearWeights attn_gate;
  Vector sinks;
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

  Tensor embed, positions, token_types, head;  // empty = the model has none
  NormWeights embed_norm, final_norm;
  std::vector<LayerWeights> layers;
  std::vector<DenseWeights> pooler;

 private:
  std::vector<Buffer> memory_;  // of the matrices, as the ops read them
  int64_t bytes_ = 0;
};

}  // namespace octavo
