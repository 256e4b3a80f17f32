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

bool has(const Napi::Object& from, const char* name) { return !get(from, name).IsUndefined(); }

bool flag_or(const Napi::Object& from, const char* name, bool otherwise) {
  return has(from, name) ? get_bool(from, name) : otherwise;
}

float scale_or_one(const Napi::Object& from, const char* name) {
  return has(from, name) ? read_scale(from, name) : 1;
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
  if (!has(from, "scale")) return n;
  n.scale = read_scale(from, "scale");
  if (!n.weight) bad_option(name, "one with a weight where it has a scale");
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

// Where K and V come from, and the biases of those products that there are.
void read_value(const Napi::Object& from, AttentionSpec& a) {
  if (has(from, "kvLayer")) a.kv_of = get_size(from, "kvLayer", 0, kMaxCount);
  if (has(from, "vNorm")) a.v_norm = read_norm(from, "vNorm");
  a.v_from_k = flag_or(from, "valueIsKey", false);
  if (!a.owns_kv()) {
    if (a.v_from_k) bad_option("valueIsKey", "false where a layer reads the KV of another");
    if (a.v_norm.kind != NormKind::kNone) {
      bad_option("vNorm", "of kind none where a layer reads the KV of another");
    }
    return read_biases(from, {{"q", &a.q_bias}, {"o", &a.o_bias}});
  }
  if (a.v_from_k) {
    return read_biases(from, {{"q", &a.q_bias}, {"k", &a.k_bias}, {"o", &a.o_bias}});
  }
  read_biases(from, {{"q", &a.q_bias}, {"k", &a.k_bias}, {"v", &a.v_bias}, {"o", &a.o_bias}});
}

// A layer's keys were made for what reads them: of the same heads, kept as long.
void check_kv_layers(const std::vector<LayerSpec>& layers) {
  for (size_t i = 0; i < layers.size(); ++i) {
    const AttentionSpec& a = layers[i].attention;
    if (a.kv_of < 0) continue;
    const size_t source = static_cast<size_t>(a.kv_of);
    if (source >= i || !layers[source].attention.owns_kv()) {
      bad_option("kvLayer", "the number of an earlier layer with KV of its own");
    }
    const AttentionSpec& its = layers[source].attention;
    if (its.latent.any() || its.num_kv_heads != a.num_kv_heads || its.head_size != a.head_size ||
        !(its.reach == a.reach)) {
      bad_option("kvLayer", "of a layer with the same numKvHeads, headSize, causal and window");
    }
  }
}

// A row is the latent and what rotates; nothing else of keys and values is kept.
LatentSpec read_latent(const Napi::Object& from, const AttentionSpec& a) {
  LatentSpec l;
  l.rank = get_size(from, "rank", 1, kMaxCount);
  l.query_rank = get_size(from, "queryRank", 0, kMaxSize);
  l.nope_size = get_size(from, "nopeSize", 1, kMaxCount);
  l.value_size = get_size(from, "valueSize", 1, kMaxCount);
  l.norm = read_norm(from, "norm");
  if (l.rank >= a.head_size || l.rank % 2 != 0) bad_option("rank", "even, and below headSize");
  if (a.num_kv_heads != 1) bad_option("numKvHeads", "1 where rows are latent");
  const bool plain = a.qk_norm.kind == NormKind::kNone && a.v_norm.kind == NormKind::kNone &&
                     !a.gated && !a.sinks && !a.reach.both && !a.v_from_k && a.owns_kv();
  if (!plain) bad_option("latent", "causal, without norms, gate, sinks, valueIsKey and kvLayer");
  return l;
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
  read_value(from, a);
  if (a.num_heads % a.num_kv_heads != 0) bad_option("numHeads", "a multiple of numKvHeads");
  if (a.head_size % 2 != 0) bad_option("headSize", "even");
  if (has(from, "latent")) a.latent = read_latent(get_object(from, "latent"), a);
  if (a.rope < 0) return a;
  const size_t rotary = 2 * ropes[static_cast<size_t>(a.rope)].inverse_frequencies.size();
  if (rotary > static_cast<size_t>(a.rope_size())) {
    bad_option("inverseFrequencies", "at most half as long as what rotates of its layers' heads");
  }
  return a;
}

// What the kernels know; what is more depends on the kind.
RecurrentShape read_recurrent_shape(const Napi::Object& from) {
  RecurrentShape s;
  s.kind = read_enum(from, "kind", RecurrentKind::kConv);
  s.num_key_heads = get_size(from, "numKeyHeads", 1, kMaxCount);
  s.num_value_heads = get_size(from, "numValueHeads", 1, kMaxCount);
  s.key_size = get_size(from, "keySize", 1, kMaxCount);
  s.value_size = get_size(from, "valueSize", 1, kMaxCount);
  s.tiled = get_bool(from, "tiled");
  s.conv_width = get_size(from, "convWidth", 1, kChunk);
  if (s.num_value_heads % s.num_key_heads != 0) {
    bad_option("numValueHeads", "a multiple of numKeyHeads");
  }
  if (s.channels() > kMaxSize) bad_option("numKeyHeads", "fewer: a layer has too many channels");
  if (!s.has_heads() && s.key_width() != s.value_width()) {
    bad_option("keySize", "of as many values as valueSize, all heads together, where kind is conv");
  }
  return s;
}

void read_recurrent_scales(const Napi::Object& from, RecurrentSpec& r) {
  r.dt_scale = scale_or_one(from, "dtScale");
  const bool convolves = has(from, "convScales");
  if ((convolves || r.dt_scale != 1) && !r.shape.has_heads()) {
    bad_option("kind", "delta or ssm where there is a dtScale or convScales");
  }
  if (!convolves) return;
  const Napi::Object scales = get_object(from, "convScales");
  r.q_scale = read_scale(scales, "q");
  r.k_scale = read_scale(scales, "k");
  r.v_scale = read_scale(scales, "v");
}

RecurrentSpec read_recurrent(const Napi::Object& from) {
  RecurrentSpec r;
  r.shape = read_recurrent_shape(from);
  r.conv_bias = get_bool(from, "convBias");
  r.norm = read_norm(from, "norm");
  r.norm_size = has(from, "normSize") ? get_size(from, "normSize") : r.shape.value_size;
  r.norm_own = flag_or(from, "normOwn", false);
  r.norm_first = flag_or(from, "normFirst", true);
  r.skip = flag_or(from, "skip", false);
  r.in_bias = flag_or(from, "inBias", false);
  r.out_bias = flag_or(from, "outBias", false);
  if (has(from, "dtMin")) r.dt_min = read_scale(from, "dtMin", 0);
  if (has(from, "dtMax")) {  // ∞ is none
    r.dt_max = static_cast<float>(get_number(from, "dtMax", r.dt_min, INFINITY));
  }
  if (r.shape.value_width() % r.norm_size != 0) bad_option("normSize", "a divisor of all values");
  read_recurrent_scales(from, r);
  const bool limited = has(from, "dtMin") || has(from, "dtMax");
  if ((r.skip || limited) && r.shape.kind != RecurrentKind::kSsm) {
    bad_option("kind", "ssm where there is a skip, dtMin or dtMax");
  }
  return r;
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
  e.expert_scale = flag_or(from, "expertScale", false);
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

BesideSpec read_beside(const Napi::Object& from) {
  BesideSpec b;
  b.router = read_norm(from, "routerNorm");
  b.norm = read_norm(from, "norm");
  b.post = read_norm(from, "postNorm");
  b.post_mlp = read_norm(from, "postMlpNorm");
  return b;
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
  e.gated = flag_or(from, "gated", true);
  if (has(from, "latentSize")) e.latent_size = get_size(from, "latentSize", 0);
  if (e.gated) {
    read_biases(from, {{"gate", &e.gate_bias}, {"up", &e.up_bias}, {"down", &e.down_bias}});
  } else {
    read_biases(from, {{"up", &e.up_bias}, {"down", &e.down_bias}});
  }
  if (!e.gated && (e.glu.alpha != 1 || e.glu.limit > 0 || e.glu.up_offset != 0)) {
    bad_option("gated", "true where there is an alpha, a limit or an upOffset");
  }
  read_router(get_object(from, "router"), e);
  e.scales_input = get_bool(from, "scalesInput");
  e.shared_gate = get_bool(from, "sharedGate");
  if (e.scales_input && (e.gate_bias || e.up_bias)) {
    bad_option("biases", "none of gate and up where weights scale their input");
  }
  if (has(from, "beside")) e.beside = read_beside(get_object(from, "beside"));
  if (e.shared_gate && (mlp.intermediate_size == 0 || e.beside)) {
    bad_option("sharedGate", "false where there is no mlp, or one with norms of its own");
  }
  if (e.beside && mlp.intermediate_size == 0) bad_option("beside", "absent where there is no mlp");
  if ((e.shared_gate || e.beside) && e.latent_size > 0)
    bad_option("latentSize", "0 where there is a sharedGate, or an mlp with norms of its own");
  return e;
}

// A layer may lack one of its branches where they come one after the other; two mixers stand side
// by side there, too.
void read_branches(const Napi::Object& from, LayerSpec& l) {
  const bool serial = l.branches == Branches::kSerial;
  if (!l.feeds() && (!serial || !l.mixes())) {
    bad_option("intermediateSize", "at least 1 where there are no experts");
  }
  if (!l.mixes() && !serial) bad_option("attention", "there, or recurrent");
  const bool both = l.attention.any() && l.recurrent.any();
  if (both && (!serial || l.post_attn_norm.kind != NormKind::kNone)) {
    bad_option("recurrent", "alone, unless branches are serial and postAttnNorm is of kind none");
  }
  l.attention_scale = scale_or_one(from, "attentionScale");
  l.recurrent_scale = scale_or_one(from, "recurrentScale");
  l.mlp_scale = scale_or_one(from, "mlpScale");
  const bool scaled = l.attention_scale != 1 || l.recurrent_scale != 1 || l.mlp_scale != 1;
  if (scaled && !serial) bad_option("branches", "serial where one has a scale of its own");
  if (l.feeds_apart() && (!serial || l.post_mlp_norm.kind != NormKind::kNone)) {
    bad_option("latentSize", "0, unless branches are serial and postMlpNorm is of kind none");
  }
}

LayerSpec read_layer(const Napi::Object& from, const std::vector<RopeSpec>& ropes) {
  LayerSpec l;
  l.branches = read_enum(from, "branches", Branches::kPost);
  l.attn_norm = read_norm(from, "attnNorm");
  l.post_attn_norm = read_norm(from, "postAttnNorm");
  l.mlp_norm = read_norm(from, "mlpNorm");
  l.post_mlp_norm = read_norm(from, "postMlpNorm");
  if (has(from, "attention")) l.attention = read_attention(get_object(from, "attention"), ropes);
  if (has(from, "recurrent")) l.recurrent = read_recurrent(get_object(from, "recurrent"));
  l.mlp = read_mlp(get_object(from, "mlp"));
  if (!get(from, "experts").IsUndefined()) {
    l.experts = read_experts(get_object(from, "experts"), l.mlp);
  }
  l.residual_scale = read_scale(from, "residualScale");
  l.scaled = flag_or(from, "scaled", false);
  read_branches(from, l);
  if (l.branches == Branches::kShared && l.mlp_norm.kind != NormKind::kNone) {
    bad_option("mlpNorm", "of kind none where both branches read what attnNorm gives");
  }
  if (l.scaled && l.branches == Branches::kPost) {
    bad_option("scaled", "false where norms are those of sums");
  }
  if (l.branches == Branches::kPost &&
      (l.post_attn_norm.kind != NormKind::kNone || l.post_mlp_norm.kind != NormKind::kNone)) {
    bad_option("postAttnNorm", "of kind none, as postMlpNorm, where norms are those of sums");
  }
  return l;
}

LayerInputsSpec read_layer_inputs(const Napi::Object& from) {
  LayerInputsSpec s;
  s.size = get_size(from, "size");
  s.scale = read_scale(from, "scale");
  s.act = read_enum(from, "hiddenAct", HiddenAct::kTanh);
  s.norm = read_norm(from, "norm");
  s.post_norm = read_norm(from, "postNorm");
  return s;
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
  check_kv_layers(s.layers);
  if (has(from, "layerInputs")) {
    s.layer_inputs = read_layer_inputs(get_object(from, "layerInputs"));
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
