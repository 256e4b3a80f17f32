// Layers that read the KV of others and what a table says of each token, experts that stand beside
// an MLP, values made of keys: what they compile to, and random specs that have them.
#include "native/model_test.h"
#include "native/program_lines.h"

namespace octavo::test {

ModelSpec sharing_spec(Random& random) {
  ModelSpec spec = random_spec(random);
  std::vector<int32_t> owners;
  for (size_t i = 0; i < spec.layers.size(); i++) {
    const AttentionSpec& a = spec.layers[i].attention;
    if (a.owns_kv() && !a.latent.any()) owners.push_back(static_cast<int32_t>(i));
  }
  for (int64_t n = random.between(1, 2); n > 0 && !owners.empty(); n--) {
    const int32_t of =
        owners[static_cast<size_t>(random.between(0, static_cast<int64_t>(owners.size()) - 1))];
    LayerSpec layer = spec.layers[static_cast<size_t>(of)];
    AttentionSpec& a = layer.attention;
    a.kv_of = of;
    a.num_heads = a.num_kv_heads * random.pick({1, 2});
    a.v_norm = {};
    a.v_from_k = a.k_bias = a.v_bias = false;
    spec.layers.push_back(layer);
  }
  if (random.chance(70)) {
    spec.layer_inputs.size = static_cast<int32_t>(random.between(3, 20));
    spec.layer_inputs.scale = 1.5f;
    spec.layer_inputs.act = HiddenAct::kGeluTanh;
    spec.layer_inputs.norm = random.chance(80) ? norm_of(NormKind::kRms) : NormSpec{};
    spec.layer_inputs.post_norm = norm_of(NormKind::kRms);
  }
  return spec;
}

// A layer whose values are its keys, and a second that reads them; the residual is scaled behind
// the first, and both add what the table says.
static void test_shared_kv_program(const Ops& ops, Random& random) {
  ModelSpec spec = plain_spec(2);
  spec.layer_inputs.size = 6;
  spec.layer_inputs.scale = 2;
  spec.layer_inputs.act = HiddenAct::kGeluTanh;
  spec.layer_inputs.norm = spec.layer_inputs.post_norm = norm_of(NormKind::kRms);
  AttentionSpec& first = spec.layers[0].attention;
  first.v_from_k = true;
  first.v_norm = norm_of(NormKind::kRms);
  first.v_norm.weight = false;
  first.qk_norm = norm_of(NormKind::kRms);
  spec.layers[1].attention.kv_of = 0;
  spec.layers[1].attention.qk_norm = first.qk_norm;
  expect_program("shared KV", ops, random, spec,
                 {"residual = embed",
                  "embedded = none residual",
                  "token_input = 2 embed 0 of 2",
                  "layer_input = matmul embedded",
                  "layer_input = rms w layer_input",
                  "layer_input = none token_input += layer_input",
                  "normed = rms w residual",
                  "q k = matmul normed",
                  "v/2 = rms k/2",
                  "q/4 = rms w q/4",
                  "k/2 = rms w k/2",
                  "cache 0, rotary 8",
                  "attended = attend 0, 4 heads, window 0, cap 0",
                  "branch = matmul attended",
                  "normed = rms w residual += branch",
                  "gate = silu gated up of normed",
                  "branch = matmul gate",
                  "normed = none residual += branch",
                  "gate = matmul normed",
                  "gelu_tanh gate times layer_input",
                  "branch = matmul gate",
                  "branch = rms w branch",
                  "token_input = 2 embed 1 of 2",
                  "layer_input = matmul embedded",
                  "layer_input = rms w layer_input",
                  "layer_input = none token_input += layer_input",
                  "normed = rms w residual += branch",
                  "q = matmul normed",
                  "q/4 = rms w q/4",
                  "read 0, rotary 8",
                  "attended = attend 0, 4 heads, window 0, cap 0",
                  "trim residual:16 attended:32 layer_input:6",
                  "branch = matmul attended",
                  "normed = rms w residual += branch",
                  "gate = silu gated up of normed",
                  "branch = matmul gate",
                  "normed = none residual += branch",
                  "gate = matmul normed",
                  "gelu_tanh gate times layer_input",
                  "branch = matmul gate",
                  "branch = rms w branch",
                  "head residual:16 branch:16",
                  "normed = rms w residual += branch",
                  "logits = matmul normed"});
}

void test_sharing_programs(const Ops& ops, Random& random) {
  test_shared_kv_program(ops, random);
  // Experts with norms of their own, routed by what the MLP reads, too.
  ModelSpec spec = plain_spec();
  ExpertsSpec& e = spec.layers[0].experts;
  e.router.num_experts = 5;
  e.router.top_k = 2;
  e.intermediate_size = 9;
  e.expert_scale = true;
  e.beside = {norm_of(NormKind::kRms), norm_of(NormKind::kRms), norm_of(NormKind::kRms),
              norm_of(NormKind::kLayer)};
  spec.layers[0].post_mlp_norm = norm_of(NormKind::kRms);
  expect_program("experts beside an MLP", ops, random, spec,
                 {"residual = embed",
                  "normed = rms w residual",
                  "q k v = matmul normed",
                  "cache 0, rotary 8",
                  "attended = attend 0, 4 heads, window 0, cap 0",
                  "trim residual:16 attended:32",
                  "branch = matmul attended",
                  "normed = rms w residual += branch",
                  "gate = silu gated up of normed",
                  "fed = matmul gate",
                  "fed = layer w fed",
                  "normed = rms w residual",
                  "routed = matmul normed",
                  "route 2 of routed, scaled",
                  "normed = rms w residual",
                  "gate/2 = silu experts up/2 of normed",
                  "experts/2 = experts gate/2",
                  "branch = weighted experts/2",
                  "branch = rms w branch",
                  "branch = rms w fed += branch",
                  "head residual:16 branch:16",
                  "normed = rms w residual += branch",
                  "logits = matmul normed"});
}

}  // namespace octavo::test
