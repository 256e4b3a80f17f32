#include "model/weights.h"

#include <memory>
#include <utility>

#include "model/binder.h"

namespace octavo {

namespace {

void bind_experts(Binder& bind, const ExpertsSpec& e, int64_t hidden, const std::string& at,
                  LayerWeights& w) {
  const int64_t count = e.router.num_experts, inner = e.intermediate_size;
  w.router = bind.linear(at + "router", count, hidden, e.router_bias, Binder::Quality::kExact);
  if (e.expert_scale) w.expert_scale = bind.row(at + "router.expert_scale", count);
  if (e.beside) {
    w.router_norm = bind.norm(e.beside->router, at + "router_norm", hidden);
    w.experts_norm = bind.norm(e.beside->norm, at + "experts_norm", hidden);
    w.post_experts_norm = bind.norm(e.beside->post, at + "post_experts_norm", hidden);
    w.post_dense_norm = bind.norm(e.beside->post_mlp, at + "post_dense_norm", hidden);
  }
  if (e.choice_bias) w.choice_bias = bind.row(at + "router.choice_bias", count);
  if (e.shared_gate) {
    w.shared_gate = bind.matrix(at + "shared_gate", 1, hidden, Binder::Quality::kExact);
  }
  const std::string one = at + "experts.";
  const int64_t outer = e.latent_size > 0 ? e.latent_size : hidden;
  if (e.gated) w.expert_gate = bind.experts(one, ".gate", count, inner, outer, e.gate_bias);
  w.expert_up = bind.experts(one, ".up", count, inner, outer, e.up_bias);
  w.expert_down = bind.experts(one, ".down", count, outer, inner, e.down_bias);
  if (e.latent_size == 0) return;
  w.latent_in = bind.linear(at + "latent_in", outer, hidden, false);
  w.latent_out = bind.linear(at + "latent_out", hidden, outer, false);
}

// The norm of q or k: one for each head, for all heads, or for the whole projection.
NormWeights bind_qk_norm(Binder& bind, const AttentionSpec& a, const std::string& name,
                         int32_t heads) {
  std::vector<std::string> names = {name};
  if (a.qk_norm_span == QkNormSpan::kOwnHead) {
    names.clear();
    for (int32_t h = 0; h < heads; ++h) names.push_back(name + "." + std::to_string(h));
  }
  const bool whole = a.qk_norm_span == QkNormSpan::kProjection;
  return bind.norms(a.qk_norm, names, int64_t{whole ? heads : 1} * a.head_size);
}

void bind_latent(Binder& bind, const AttentionSpec& a, int64_t hidden, const std::string& at,
                 LayerWeights& w) {
  const LatentSpec& l = a.latent;
  const int64_t q_size = int64_t{a.num_heads} * (l.nope_size + a.rope_size());
  if (l.query_rank > 0) {
    w.latent.q_a = bind.linear(at + "q_a", l.query_rank, hidden, a.q_bias);
    w.latent.q_norm = bind.norm(l.norm, at + "q_a_norm", l.query_rank);
  }
  const bool direct = l.query_rank == 0;
  w.q = bind.linear(at + "q", q_size, direct ? hidden : l.query_rank, direct && a.q_bias);
  w.latent.kv = bind.linear(at + "kv_a", l.rank, hidden, a.k_bias);
  w.latent.k_rope = bind.linear(at + "k_rope", a.rope_size(), hidden, a.k_bias);
  w.latent.kv_norm = bind.norm(l.norm, at + "kv_a_norm", l.rank);
  w.latent.k_b = bind.experts(at + "heads.", ".k_b", a.num_heads, l.rank, l.nope_size, false);
  w.latent.v_b = bind.experts(at + "heads.", ".v_b", a.num_heads, l.value_size, l.rank, false);
  w.o = bind.linear(at + "o", hidden, int64_t{a.num_heads} * l.value_size, a.o_bias);
}

void bind_attention(Binder& bind, const AttentionSpec& a, int64_t hidden, const std::string& at,
                    LayerWeights& w) {
  if (a.latent.any()) return bind_latent(bind, a, hidden, at, w);
  w.q_norm = bind_qk_norm(bind, a, at + "q_norm", a.num_heads);
  if (a.sinks) w.sinks = bind.floats(at + "sinks", a.num_heads);
  if (a.gated) w.attn_gate = bind.linear(at + "attn_gate", a.q_size(), hidden, false);
  w.q = bind.linear(at + "q", a.q_size(), hidden, a.q_bias);
  w.o = bind.linear(at + "o", hidden, a.q_size(), a.o_bias);
  if (!a.owns_kv()) return;
  w.k_norm = bind_qk_norm(bind, a, at + "k_norm", a.num_kv_heads);
  w.v_norm = bind.norm(a.v_norm, at + "v_norm", a.head_size);
  w.k = bind.linear(at + "k", a.kv_size(), hidden, a.k_bias);
  if (!a.v_from_k) w.v = bind.linear(at + "v", a.kv_size(), hidden, a.v_bias);
}

// What the gates are made of decides how long a state remembers: exact.
RecurrentWeights bind_recurrent(Binder& bind, const RecurrentSpec& r, int64_t hidden,
                                const std::string& at) {
  const RecurrentShape& s = r.shape;
  const int64_t keys = s.key_width(), values = s.value_width(), heads = s.num_value_heads;
  RecurrentWeights w;
  w.q = bind.linear(at + "mix_q", keys, hidden, r.in_bias);
  w.k = bind.linear(at + "mix_k", keys, hidden, r.in_bias);
  w.v = bind.linear(at + "mix_v", values, hidden, r.in_bias);
  Binder::Parts conv = {{at + "conv_v", values}}, bias = {{at + "conv_v.bias", values}};
  if (s.has_heads()) {
    conv = {{at + "conv_q", keys, r.q_scale},
            {at + "conv_k", keys, r.k_scale},
            {at + "conv_v", values, r.v_scale}};
    bias = {{at + "conv_q.bias", keys}, {at + "conv_k.bias", keys}, {at + "conv_v.bias", values}};
  }
  w.conv = bind.columns(conv, s.conv_width);
  if (r.conv_bias) w.conv_bias = bind.behind(bias);
  w.out = bind.linear(at + "mix_out", hidden, values, r.out_bias);
  if (!s.has_heads()) return w;
  const auto exact = Binder::Quality::kExact;
  w.gate = bind.linear(at + "mix_gate", values, hidden, r.in_bias);
  w.dt = bind.linear(at + "mix_decay", heads, hidden, r.in_bias, exact);
  if (s.kind == RecurrentKind::kDelta) {
    w.beta = bind.linear(at + "mix_beta", heads, hidden, r.in_bias, exact);
  }
  w.decay = bind.floats(at + "decay", heads);
  w.dt_bias = bind.floats(at + "dt_bias", heads);
  if (r.skip) w.skip = bind.floats(at + "skip", heads);
  w.norm = bind.norm(r.norm, at + "mix_norm", r.norm_own ? values : r.norm_size);
  return w;
}

void bind_layer_input(Binder& bind, const LayerInputsSpec& s, int64_t hidden, const std::string& at,
                      LayerWeights& w) {
  w.input_proj = bind.linear(at + "input_proj", s.size, hidden, false);
  w.input_gate = bind.linear(at + "input_gate", s.size, hidden, false);
  w.input_out = bind.linear(at + "input_out", hidden, s.size, false);
  w.post_input_norm = bind.norm(s.post_norm, at + "post_input_norm", hidden);
}

LayerWeights bind_layer(Binder& bind, const ModelSpec& spec, const LayerSpec& layer,
                        const std::string& at) {
  const AttentionSpec& a = layer.attention;
  const MlpSpec& m = layer.mlp;
  const int64_t hidden = spec.hidden_size, inner = m.intermediate_size;
  LayerWeights w;
  w.attn_norm = bind.norm(layer.attn_norm, at + "attn_norm", hidden);
  w.post_attn_norm = bind.norm(layer.post_attn_norm, at + "post_attn_norm", hidden);
  w.mlp_norm = bind.norm(layer.mlp_norm, at + "mlp_norm", hidden);
  w.post_mlp_norm = bind.norm(layer.post_mlp_norm, at + "post_mlp_norm", hidden);
  if (a.any()) bind_attention(bind, a, hidden, at, w);
  if (layer.recurrent.any()) w.recurrent = bind_recurrent(bind, layer.recurrent, hidden, at);
  if (layer.experts.any()) bind_experts(bind, layer.experts, hidden, at, w);
  if (layer.scaled) w.scale = bind.number(at + "scale");
  if (spec.layer_inputs.any()) bind_layer_input(bind, spec.layer_inputs, hidden, at, w);
  if (inner == 0) return w;
  if (m.gated) w.gate = bind.linear(at + "gate", inner, hidden, m.gate_bias);
  w.up = bind.linear(at + "up", inner, hidden, m.up_bias);
  w.down = bind.linear(at + "down", hidden, inner, m.down_bias);
  return w;
}

// Small, and the last that a vector goes through: exact.
std::vector<DenseWeights> bind_pooler(Binder& bind, const ModelSpec& spec) {
  std::vector<DenseWeights> out;
  int64_t in = spec.hidden_size;
  for (const DenseSpec& dense : spec.pooler) {
    const std::string name = "pooled." + std::to_string(out.size());
    DenseWeights w;
    w.linear = bind.linear(name, dense.out_size, in, dense.bias, Binder::Quality::kExact);
    w.norm = bind.norm(dense.norm, name + ".norm", dense.out_size);
    out.push_back(std::move(w));
    in = dense.out_size;
  }
  return out;
}

}  // namespace

std::vector<float> stored_values(const std::vector<std::string>& files, const TensorSpec& t) {
  const Ops none = {};
  std::vector<std::unique_ptr<WeightFile>> open;
  for (const std::string& path : files) open.push_back(std::make_unique<WeightFile>(path));
  std::vector<Buffer> memory;
  const std::vector<TensorSpec> tensors = {t};  // by name it is found there
  const Binder bind(none, open, tensors, memory, DType::kF32);
  std::vector<float> out(static_cast<size_t>(t.rows * t.cols));
  bind.with_source(t, [&](const WeightSource& source) {
    const int64_t row = row_bytes(t.dtype, t.cols);
    std::vector<char> bytes(static_cast<size_t>(t.rows * row));
    const bool whole = source.read(0, t.rows * row, bytes.data());
    if (!whole) throw Error(kErrModelFormat, t.name + " cannot be read");
    dequantise_row(t.dtype, bytes.data(), t.rows * t.cols, out.data());
  });
  return out;
}

Weights::Weights(const Ops& ops, const ModelSpec& spec, const std::vector<std::string>& files,
                 const std::vector<TensorSpec>& tensors, DType quantise) {
  std::vector<std::unique_ptr<WeightFile>> open;
  for (const std::string& path : files) open.push_back(std::make_unique<WeightFile>(path));
  Binder bind(ops, open, tensors, memory_, quantise);
  const int64_t vocab = spec.vocab_size, hidden = spec.hidden_size;
  embed = bind.matrix("embed", vocab, hidden, Binder::Quality::kFiner);
  if (spec.num_positions > 0) {
    positions = bind.matrix("positions", spec.num_positions, hidden, Binder::Quality::kAsStored);
  }
  if (spec.num_token_types > 0) {
    token_types =
        bind.matrix("token_types", spec.num_token_types, hidden, Binder::Quality::kAsStored);
  }
  if (spec.has_head) {
    head = spec.tied_head ? embed : bind.matrix("head", vocab, hidden, Binder::Quality::kFiner);
  }
  const LayerInputsSpec& inputs = spec.layer_inputs;
  if (inputs.any()) {
    const int64_t rows = vocab * static_cast<int64_t>(spec.layers.size());
    layer_inputs = bind.matrix("layer_inputs", rows, inputs.size, Binder::Quality::kFiner);
    layer_inputs_norm = bind.norm(inputs.norm, "layer_inputs_norm", inputs.size);
  }
  embed_norm = bind.norm(spec.embedding_norm, "embed_norm", hidden);
  final_norm = bind.norm(spec.final_norm, "final_norm", hidden);
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const std::string at = "layers." + std::to_string(i) + ".";
    layers.push_back(bind_layer(bind, spec, spec.layers[i], at));
  }
  pooler = bind_pooler(bind, spec);
  bind.check_all_used();
  for (const auto& file : open) file->check_unchanged();
  kinds_ = bind.kinds();
  bytes_ = bind.bytes();
}

}  // namespace octavo
