// What the tests of native/model share: small specs, and a file with random tensors for one.
#pragma once

#include <unistd.h>

#include <map>
#include <string>

#include "model/limits.h"
#include "model/step.h"
#include "model/spec.h"
#include "model/weights.h"
#include "native/op_test.h"

namespace octavo::test {

inline NormSpec norm_of(NormKind kind, bool offset = false, bool bias = false) {
  return {kind, 1e-5f, offset, kind != NormKind::kNone, bias};
}

// Serial layers as Llama's: four heads of eight, two of K and V.
inline ModelSpec plain_spec(int32_t num_layers = 1) {
  ModelSpec spec;
  spec.vocab_size = 40;
  spec.hidden_size = 16;
  spec.ropes = {{{1, 0.1f, 0.01f, 0.001f}, {}, false, 1}};
  spec.final_norm = norm_of(NormKind::kRms);
  LayerSpec layer;
  layer.attn_norm = layer.mlp_norm = norm_of(NormKind::kRms);
  layer.attention.num_heads = 4;
  layer.attention.num_kv_heads = 2;
  layer.attention.head_size = 8;
  layer.attention.rope = 0;
  layer.attention.scale = 0.35f;
  layer.mlp.intermediate_size = 24;
  spec.layers.assign(static_cast<size_t>(num_layers), layer);
  return spec;
}

// The same layers, but that a row of 12 + 4 values is cached for all heads.
inline void make_latent(AttentionSpec& a, int32_t query_rank = 0) {
  a.num_kv_heads = 1;
  a.head_size = 16;
  a.rope = a.rope > 0 ? 1 : -1;  // that of four values
  a.qk_norm = {};
  a.qk_norm_after_rope = a.sinks = a.gated = a.v_from_k = false;
  a.v_norm = {};
  a.latent.rank = 12;
  a.latent.query_rank = query_rank;
  a.latent.nope_size = 6;
  a.latent.value_size = 10;
  a.latent.norm = norm_of(NormKind::kRms);
}

// Tensors by name, written one behind the other to a file.
class Checkpoint {
 public:
  explicit Checkpoint(Random& random) : random_(random) {
    char path[] = "/tmp/octavo-model-XXXXXX";
    file_ = fdopen(mkstemp(path), "wb");
    files = {path};
  }
  ~Checkpoint() {
    close();
    unlink(files[0].c_str());
  }
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  // Floats around `mean`; rows = 1 is a vector.
  void add(const std::string& name, int64_t rows, int64_t cols, float mean = 0) {
    std::vector<float> v(static_cast<size_t>(rows * cols));
    for (float& f : v) f = mean + random_.normal() * 0.3f;
    write({name, DType::kF32, rows, cols}, v.data(), rows * cols * 4);
    values[name] = v;
  }
  // The bytes of a tensor that is described but for its place in the file.
  void write(TensorSpec spec, const void* data, int64_t bytes) {
    spec.offset = std::ftell(file_);
    spec.bytes = bytes;
    expect(std::fwrite(data, 1, static_cast<size_t>(bytes), file_) == static_cast<size_t>(bytes),
           "a test's file cannot be written");
    tensors.push_back(spec);
  }
  // Everything that a spec needs.
  void add_all(const ModelSpec& s) {
    const int64_t hidden = s.hidden_size;
    add("embed", s.vocab_size, hidden);
    if (s.num_positions > 0) add("positions", s.num_positions, hidden);
    if (s.num_token_types > 0) add("token_types", s.num_token_types, hidden);
    if (s.has_head && !s.tied_head) add("head", s.vocab_size, hidden);
    const LayerInputsSpec& inputs = s.layer_inputs;
    if (inputs.any()) {
      add("layer_inputs", s.vocab_size * static_cast<int64_t>(s.layers.size()), inputs.size);
      add_norm(inputs.norm, "layer_inputs_norm", inputs.size);
    }
    add_norm(s.embedding_norm, "embed_norm", hidden);
    add_norm(s.final_norm, "final_norm", hidden);
    int64_t width = hidden;
    for (size_t i = 0; i < s.pooler.size(); i++) {
      const DenseSpec& dense = s.pooler[i];
      const std::string name = "pooled." + std::to_string(i);
      add_linear(name, dense.out_size, width, dense.bias);
      add_norm(dense.norm, name + ".norm", dense.out_size);
      width = dense.out_size;
    }
    for (size_t i = 0; i < s.layers.size(); i++) {
      const LayerSpec& l = s.layers[i];
      const AttentionSpec& a = l.attention;
      const std::string at = "layers." + std::to_string(i) + ".";
      const int64_t inner = l.mlp.intermediate_size;
      add_norm(l.attn_norm, at + "attn_norm", hidden);
      add_norm(l.post_attn_norm, at + "post_attn_norm", hidden);
      add_norm(l.mlp_norm, at + "mlp_norm", hidden);
      add_norm(l.post_mlp_norm, at + "post_mlp_norm", hidden);
      if (a.any()) add_attention(a, at, hidden);
      if (l.recurrent.any()) add_recurrent(l.recurrent, at, hidden);
      if (l.experts.any()) add_experts(l.experts, at, hidden);
      if (l.scaled) add(at + "scale", 1, 1, 0.8f);
      if (inputs.any()) add_layer_input(inputs, at, hidden);
      if (inner == 0) continue;
      if (l.mlp.gated) add_linear(at + "gate", inner, hidden, l.mlp.gate_bias);
      add_linear(at + "up", inner, hidden, l.mlp.up_bias);
      add_linear(at + "down", hidden, inner, l.mlp.down_bias);
    }
  }
  void close() {
    if (file_ != nullptr) std::fclose(file_);
    file_ = nullptr;
  }

  std::vector<std::string> files;
  std::vector<TensorSpec> tensors;
  std::map<std::string, std::vector<float>> values;

 private:
  void add_latent(const AttentionSpec& a, const std::string& at, int64_t hidden) {
    const LatentSpec& l = a.latent;
    const bool direct = l.query_rank == 0;
    if (!direct) add_linear(at + "q_a", l.query_rank, hidden, a.q_bias);
    if (!direct) add_norm(l.norm, at + "q_a_norm", l.query_rank);
    const int64_t size = int64_t{a.num_heads} * (l.nope_size + a.rope_size());
    add_linear(at + "q", size, direct ? hidden : l.query_rank, direct && a.q_bias);
    add_linear(at + "kv_a", l.rank, hidden, a.k_bias);
    add_linear(at + "k_rope", a.rope_size(), hidden, a.k_bias);
    add_norm(l.norm, at + "kv_a_norm", l.rank);
    for (int32_t h = 0; h < a.num_heads; h++) {
      const std::string head = at + "heads." + std::to_string(h);
      add(head + ".k_b", l.rank, l.nope_size);
      add(head + ".v_b", l.value_size, l.rank);
    }
    add_linear(at + "o", hidden, int64_t{a.num_heads} * l.value_size, a.o_bias);
  }
  void add_attention(const AttentionSpec& a, const std::string& at, int64_t hidden) {
    if (a.latent.any()) return add_latent(a, at, hidden);
    add_qk_norm(a, at + "q_norm", a.num_heads);
    if (a.sinks) add(at + "sinks", 1, a.num_heads);
    if (a.gated) add(at + "attn_gate", a.q_size(), hidden);
    add_linear(at + "q", a.q_size(), hidden, a.q_bias);
    add_linear(at + "o", hidden, a.q_size(), a.o_bias);
    if (!a.owns_kv()) return;
    add_qk_norm(a, at + "k_norm", a.num_kv_heads);
    add_norm(a.v_norm, at + "v_norm", a.head_size);
    add_linear(at + "k", a.kv_size(), hidden, a.k_bias);
    if (!a.v_from_k) add_linear(at + "v", a.kv_size(), hidden, a.v_bias);
  }
  void add_recurrent(const RecurrentSpec& r, const std::string& at, int64_t hidden) {
    const RecurrentShape& s = r.shape;
    for (const char* name : {"mix_q", "mix_k"}) {
      add_linear(at + name, s.key_width(), hidden, r.in_bias);
    }
    add_linear(at + "mix_v", s.value_width(), hidden, r.in_bias);
    add_linear(at + "mix_out", hidden, s.value_width(), r.out_bias);
    add_conv(at + "conv_v", s.value_width(), r);
    if (!s.has_heads()) return;
    add_conv(at + "conv_q", s.key_width(), r);
    add_conv(at + "conv_k", s.key_width(), r);
    add_linear(at + "mix_gate", s.value_width(), hidden, r.in_bias);
    add_linear(at + "mix_decay", s.num_value_heads, hidden, r.in_bias);
    if (s.kind == RecurrentKind::kDelta) {
      add_linear(at + "mix_beta", s.num_value_heads, hidden, r.in_bias);
    }
    if (r.skip) add(at + "skip", 1, s.num_value_heads);
    add(at + "decay", 1, s.num_value_heads);
    tensors.back().neg_exp = true;
    add(at + "dt_bias", 1, s.num_value_heads);
    add_norm(r.norm, at + "mix_norm", r.norm_own ? s.value_width() : r.norm_size);
  }
  void add_conv(const std::string& name, int64_t rows, const RecurrentSpec& r) {
    add(name, rows, r.shape.conv_width);
    if (r.conv_bias) add(name + ".bias", 1, rows);
  }
  void add_layer_input(const LayerInputsSpec& s, const std::string& at, int64_t hidden) {
    add(at + "input_proj", s.size, hidden);
    add(at + "input_gate", s.size, hidden);
    add(at + "input_out", hidden, s.size);
    add_norm(s.post_norm, at + "post_input_norm", hidden);
  }
  void add_experts(const ExpertsSpec& e, const std::string& at, int64_t hidden) {
    add_linear(at + "router", e.router.num_experts, hidden, e.router_bias);
    if (e.choice_bias) add(at + "router.choice_bias", 1, e.router.num_experts);
    if (e.expert_scale) add(at + "router.expert_scale", 1, e.router.num_experts, 1);
    if (e.beside) {
      add_norm(e.beside->router, at + "router_norm", hidden);
      add_norm(e.beside->norm, at + "experts_norm", hidden);
      add_norm(e.beside->post, at + "post_experts_norm", hidden);
      add_norm(e.beside->post_mlp, at + "post_dense_norm", hidden);
    }
    if (e.shared_gate) add(at + "shared_gate", 1, hidden);
    const int64_t outer = e.latent_size > 0 ? e.latent_size : hidden;
    for (int32_t i = 0; i < e.router.num_experts; i++) {
      const std::string one = at + "experts." + std::to_string(i) + ".";
      if (e.gated) add_linear(one + "gate", e.intermediate_size, outer, e.gate_bias);
      add_linear(one + "up", e.intermediate_size, outer, e.up_bias);
      add_linear(one + "down", outer, e.intermediate_size, e.down_bias);
    }
    if (e.latent_size == 0) return;
    add_linear(at + "latent_in", outer, hidden, false);
    add_linear(at + "latent_out", hidden, outer, false);
  }
  void add_norm(const NormSpec& norm, const std::string& name, int64_t length) {
    if (norm.kind == NormKind::kNone) return;
    if (norm.weight) add(name, 1, length, norm.offset ? 0 : 1);
    if (norm.bias) add(name + ".bias", 1, length);
  }
  void add_qk_norm(const AttentionSpec& a, const std::string& name, int32_t heads) {
    if (a.qk_norm_span != QkNormSpan::kOwnHead) {
      const bool whole = a.qk_norm_span == QkNormSpan::kProjection;
      return add_norm(a.qk_norm, name, (whole ? heads : 1) * a.head_size);
    }
    for (int32_t h = 0; h < heads; h++) {
      add_norm(a.qk_norm, name + "." + std::to_string(h), a.head_size);
    }
  }
  void add_linear(const std::string& name, int64_t rows, int64_t cols, bool bias) {
    add(name, rows, cols);
    if (bias) add(name + ".bias", 1, rows);
  }

  Random& random_;
  std::FILE* file_ = nullptr;
};

// Any spec that may be loaded to generate.
ModelSpec random_spec(Random& random);
// The same with layers that read the KV of others, and what a table says of each token.
ModelSpec sharing_spec(Random& random);
// What a layer may have in the place of attention.
inline RecurrentSpec recurrent_spec() {
  RecurrentSpec r;
  r.shape = {2, 4, 8, 6, 4, false};
  r.norm = norm_of(NormKind::kRms);
  r.norm_size = 6;
  return r;
}
// A step of one sequence that goes on from `start` of its tokens, whose logits are asked for at
// some rows, counted from `start`: every state and record in a place of its own.
struct OneStep {
  OneStep(const ModelSpec& spec, const std::vector<KvGroupSpec>& groups,
          const std::vector<int32_t>& ids, int32_t start, int32_t end,
          const std::vector<int32_t>& rows);
  static EngineLimits limits(const ModelSpec& spec, std::vector<KvGroupSpec> groups,
                             int32_t tokens);

  StepInput input;

 private:
  std::vector<int32_t> tokens_;
  std::vector<double> logprobs_;
};
// Logits of some rows of one sequence of tokens, computed in one step.
std::vector<float> logits_of(const Ops& ops, const ModelSpec& spec, const Weights& weights,
                             const std::vector<int32_t>& ids, const std::vector<int32_t>& rows,
                             bool long_rope, const std::vector<KvGroupSpec>& groups);

void test_programs(const Ops& ops, Random& random);
void test_expert_programs(const Ops& ops, Random& random);
void test_sharing_programs(const Ops& ops, Random& random);
void test_cuts(const Ops& ops, Random& random);
void test_pooled(const Ops& ops, Random& random);
void test_recurrent_model(const Ops& ops, Random& random);
void test_reach(const Ops& ops, Random& random);
void test_cache(const Ops& ops, Random& random);
void test_weights(const Ops& ops, Random& random);
void test_parts(const Ops& ops, Random& random);
void test_refused_weights(const Ops& ops, Random& random);
void test_changed_files(const Ops& ops, Random& random);

}  // namespace octavo::test
