#include "napi/model_spec.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "napi/args.h"

namespace octavo {
namespace {

constexpr int64_t kMaxCount = 4096;  // of layers, heads, or values of a head
constexpr double kMaxScale = 1e6;
constexpr double kMinAttentionScale = 1e-9;  // below, a score says nothing

float read_scale(const Napi::Object& from, const char* name, double low = -kMaxScale) {
  return static_cast<float>(get_number(from, name, low, kMaxScale));
}

template <class Enum>
Enum read_enum(const Napi::Object& from, const char* name, Enum last) {
  return static_cast<Enum>(get_int(from, name, 0, static_cast<int64_t>(last)));
}

NormSpec read_norm(const Napi::Object& in, const char* name) {
  const Napi::Object from = get_object(in, name);
  NormSpec n;
  n.kind = read_enum(from, "kind", NormKind::kLayer);
  n.eps = static_cast<float>(get_number(from, "eps", 0, 1));
  n.offset = get_bool(from, "offset");
  n.weight = get_bool(from, "weight");
  n.bias = get_bool(from, "bias");
  if (n.weight && n.kind == NormKind::kNone) bad_option(name, "of a kind where it has a weight");
  if (n.offset && !n.weight) bad_option(name, "one with a weight where it has an offset");
  if (n.bias && n.kind != NormKind::kLayer) bad_option(name, "of kind layer where it has a bias");
  return n;
}

// Sets those of the flags whose names the array lists, each once.
struct BiasFlag {
  const char* name;
  bool* flag;
};
void read_biases(const Napi::Object& from, std::initializer_list<BiasFlag> flags) {
  const Napi::Array names = get_array(from, "biases");
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const Napi::Value v = names.Get(i);
    const std::string name = v.IsString() ? v.As<Napi::String>().Utf8Value() : "";
    bool known = false;
    for (const BiasFlag& f : flags) {
      if (name != f.name || *f.flag) continue;
      *f.flag = known = true;
    }
    if (!known) bad_option("biases", "an array of projections that this part has, each once");
  }
}

std::vector<float> read_frequencies(const Napi::Object& from, const char* name) {
  std::vector<float> out = copy_typed_array<float>(get(from, name), napi_float32_array, name);
  if (out.empty() || out.size() > kMaxCount) bad_option(name, "1 to 4096 numbers");
  for (const float f : out) {
    if (!std::isfinite(f)) bad_option(name, "finite numbers");
  }
  return out;
}

RopeSpec read_rope(const Napi::Object& from) {
  RopeSpec r;
  r.inverse_frequencies = read_frequencies(from, "inverseFrequencies");
  if (!get(from, "longInverseFrequencies").IsUndefined()) {
    r.long_inverse_frequencies = read_frequencies(from, "longInverseFrequencies");
    if (r.long_inverse_frequencies.size() != r.inverse_frequencies.size()) {
      bad_option("longInverseFrequencies", "as long as inverseFrequencies");
    }
  }
  r.interleaved = get_bool(from, "interleaved");
  r.attention_factor = read_scale(from, "attentionFactor", 0);
  return r;
}

Temperature read_temperature(const Napi::Object& in) {
  const Napi::Object from = get_object(in, "temperature");
  Temperature t;
  t.beta = read_scale(from, "beta", 0);
  t.length = get_size(from, "length");
  t.offset = get_size(from, "offset", 0, kMaxCount);
  return t;
}

void check_qk_norm(const AttentionSpec& a) {
  if (!a.qk_norm_after_rope) return;
  if (a.qk_norm.kind != NormKind::kRms || a.qk_norm_span != QkNormSpan::kHead) {
    bad_option("qkNorm", "an RMS norm of span head where it comes after the rope");
  }
}

AttentionSpec read_attention(const Napi::Object& from, const std::vector<RopeSpec>& ropes) {
  AttentionSpec a;
  a.num_heads = get_size(from, "numHeads", 1, kMaxCount);
  a.num_kv_heads = get_size(from, "numKvHeads", 1, kMaxCount);
  a.head_size = get_size(from, "headSize", 2, kMaxCount);
  a.reach.both = !get_bool(from, "causal");
  a.reach.window = get_size(from, "window", 0, INT32_MAX);
  a.reach.chunked = get_bool(from, "chunked");
  if (a.reach.chunked && a.reach.both) bad_option("chunked", "false where causal is false");
  if (a.reach.chunked && a.reach.window == 0) bad_option("chunked", "false where window is 0");
  a.rope = get_size(from, "rope", -1, static_cast<int64_t>(ropes.size()) - 1);
  a.scale = read_scale(from, "scale", kMinAttentionScale);
  a.softcap = read_scale(from, "softcap", 0);
  a.qk_norm = read_norm(from, "qkNorm");
  a.qk_norm_span = read_enum(from, "qkNormSpan", QkNormSpan::kOwnHead);
  a.qk_norm_after_rope = get_bool(from, "qkNormAfterRope");
  check_qk_norm(a);
  a.temperature = read_temperature(from);
  a.sinks = get_bool(from, "sinks");
  a.gated = get_bool(from, "gated");
  read_biases(from, {{"q", &a.q_bias}, {"k", &a.k_bias}, {"v", &a.v_bias}, {"o", &a.o_bias}});
  if (a.num_heads % a.num_kv_heads != 0) bad_option("numHeads", "a multiple of numKvHeads");
  if (a.head_size % 2 != 0) bad_option("headSize", "even");
  if (a.rope < 0) return a;
  const size_t rotary = 2 * ropes[static_cast<size_t>(a.rope)].inverse_frequencies.size();
  if (rotary > static_cast<size_t>(a.head_size)) {
    bad_option("inverseFrequencies", "at most headSize / 2 long where a layer uses them");
  }
  return a;
}

MlpSpec read_mlp(const Napi::Object& from) {
  MlpSpec m;
  m.intermediate_size = get_size(from, "intermediateSize", 0);
  m.hidden_act = read_enum(from, "hiddenAct", HiddenAct::kTanh);
  m.gated = get_bool(from, "gated");
  if (m.gated) {
    read_biases(from, {{"gate", &m.gate_bias}, {"up", &m.up_bias}, {"down", &m.down_bias}});
  } else {
    read_biases(from, {{"up", &m.up_bias}, {"down", &m.down_bias}});
  }
  return m;
}

void read_router(const Napi::Object& from, ExpertsSpec& e) {
  Router& r = e.router;
  r.score = read_enum(from, "score", RouterScore::kChosenSoftmax);
  e.router_bias = get_bool(from, "bias");
  e.choice_bias = get_bool(from, "choiceBias");
  r.normalise = get_bool(from, "normalize");
  r.scale = read_scale(from, "scale");
  r.num_groups = get_size(from, "numGroups", 1, r.num_experts);
  r.top_groups = get_size(from, "topGroups", 1, r.num_groups);
  const int32_t group = r.num_experts / r.num_groups;
  r.group_best = get_size(from, "groupBest", 1, std::min(group, kMaxGroupBest));
  if (r.num_experts % r.num_groups != 0) bad_option("numGroups", "a divisor of numExperts");
  if (r.top_k > group * r.top_groups) bad_option("topK", "at most the experts of topGroups groups");
  if (r.score == RouterScore::kChosenSoftmax && (e.choice_bias || r.num_groups > 1)) {
    bad_option("score", "softmax or sigmoid where a bias or groups take part in the choice");
  }
}

ExpertsSpec read_experts(const Napi::Object& from, const MlpSpec& mlp) {
  ExpertsSpec e;
  e.router.num_experts = get_size(from, "numExperts", 1, kMaxCount);
  e.router.top_k = get_size(from, "topK", 1, std::min(e.router.num_experts, kMaxTopK));
  e.intermediate_size = get_size(from, "intermediateSize");
  e.glu.hidden_act = read_enum(from, "hiddenAct", HiddenAct::kTanh);
  e.glu.alpha = read_scale(from, "alpha", 1e-3);
  e.glu.limit = read_scale(from, "limit", 0);
  e.glu.up_offset = read_scale(from, "upOffset");
  read_biases(from, {{"gate", &e.gate_bias}, {"up", &e.up_bias}, {"down", &e.down_bias}});
  read_router(get_object(from, "router"), e);
  e.scales_input = get_bool(from, "scalesInput");
  e.shared_gate = get_bool(from, "sharedGate");
  if (e.scales_input && (e.gate_bias || e.up_bias)) {
    bad_option("biases", "none of gate and up where weights scale their input");
  }
  if (e.shared_gate && mlp.intermediate_size == 0) {
    bad_option("sharedGate", "false where there is no mlp");
  }
  return e;
}

LayerSpec read_layer(const Napi::Object& from, const std::vector<RopeSpec>& ropes) {
  LayerSpec l;
  l.branches = read_enum(from, "branches", Branches::kPost);
  l.attn_norm = read_norm(from, "attnNorm");
  l.post_attn_norm = read_norm(from, "postAttnNorm");
  l.mlp_norm = read_norm(from, "mlpNorm");
  l.post_mlp_norm = read_norm(from, "postMlpNorm");
  l.attention = read_attention(get_object(from, "attention"), ropes);
  l.mlp = read_mlp(get_object(from, "mlp"));
  if (!get(from, "experts").IsUndefined()) {
    l.experts = read_experts(get_object(from, "experts"), l.mlp);
  }
  l.residual_scale = read_scale(from, "residualScale");
  if (l.mlp.intermediate_size == 0 && !l.experts.any()) {
    bad_option("intermediateSize", "at least 1 where there are no experts");
  }
  if (l.branches == Branches::kShared && l.mlp_norm.kind != NormKind::kNone) {
    bad_option("mlpNorm", "of kind none where both branches read what attnNorm gives");
  }
  if (l.branches == Branches::kPost &&
      (l.post_attn_norm.kind != NormKind::kNone || l.post_mlp_norm.kind != NormKind::kNone)) {
    bad_option("postAttnNorm", "of kind none, as postMlpNorm, where norms are those of sums");
  }
  return l;
}

std::vector<DenseSpec> read_pooler(const Napi::Object& from) {
  const Napi::Array layers = get_array(get_object(from, "pooler"), "layers");
  if (layers.Length() > kMaxCount) bad_option("layers", "at most 4096 layers");
  std::vector<DenseSpec> out;
  for (uint32_t i = 0; i < layers.Length(); ++i) {
    const Napi::Object layer = get_element(layers, i, "layers");
    DenseSpec dense;
    dense.out_size = get_size(layer, "outSize");
    dense.bias = get_bool(layer, "bias");
    if (!get(layer, "act").IsUndefined()) dense.act = read_enum(layer, "act", HiddenAct::kTanh);
    dense.norm = read_norm(layer, "norm");
    out.push_back(dense);
  }
  return out;
}

}  // namespace

ModelSpec read_model_spec(const Napi::Object& from) {
  ModelSpec s;
  s.vocab_size = get_size(from, "vocabSize");
  s.hidden_size = get_size(from, "hiddenSize");
  const Napi::Object embedding = get_object(from, "embedding");
  s.embedding_scale = read_scale(embedding, "scale");
  s.num_positions = get_size(embedding, "numPositions", 0);
  s.num_token_types = get_size(embedding, "numTokenTypes", 0);
  s.embedding_norm = read_norm(embedding, "norm");
  const Napi::Array ropes = get_array(from, "ropes");
  if (ropes.Length() > kMaxCount) bad_option("ropes", "at most 4096 tables");
  for (uint32_t i = 0; i < ropes.Length(); ++i) {
    s.ropes.push_back(read_rope(get_element(ropes, i, "ropes")));
  }
  const Napi::Array layers = get_array(from, "layers");
  if (layers.Length() < 1 || layers.Length() > kMaxCount) bad_option("layers", "1 to 4096 layers");
  for (uint32_t i = 0; i < layers.Length(); ++i) {
    s.layers.push_back(read_layer(get_element(layers, i, "layers"), s.ropes));
  }
  s.final_norm = read_norm(from, "finalNorm");
  if (!get(from, "pooler").IsUndefined()) s.pooler = read_pooler(from);
  s.has_head = !get(from, "head").IsUndefined();
  if (!s.has_head) return s;
  const Napi::Object head = get_object(from, "head");
  s.tied_head = get_bool(head, "tied");
  s.logit_scale = read_scale(head, "scale");
  s.logit_softcap = read_scale(head, "softcap", 0);
  return s;
}

}  // namespace octavo
