// What specs compile to, and that no row's logits depend on which others are asked for.
#include <chrono>
#include <functional>
#include <random>

#include "cpu/cpu_backend.h"
#include "model/forward.h"
#include "native/model_test.h"
#include "native/program_lines.h"

namespace octavo::test {
namespace {

NormSpec random_norm(Random& random, bool maybe_none = true) {
  const NormKind kind = random.pick({NormKind::kRms, NormKind::kLayer, NormKind::kNone});
  if (kind == NormKind::kNone && !maybe_none) return norm_of(NormKind::kRms);
  NormSpec norm = norm_of(kind, random.chance(50), kind == NormKind::kLayer && random.chance(50));
  if (random.chance(20)) norm.weight = norm.offset = false;
  if (norm.weight && random.chance(20)) norm.scale = 0.7f;
  return norm;
}

ExpertsSpec random_experts(Random& random, bool shared) {
  ExpertsSpec e;
  Router& r = e.router;
  r.num_groups = random.pick({1, 1, 2});
  r.num_experts = random.pick({4, 12});
  r.top_groups = static_cast<int32_t>(random.between(1, r.num_groups));
  r.top_k = static_cast<int32_t>(random.between(1, r.num_experts / r.num_groups));
  r.score =
      r.num_groups > 1 ? RouterScore::kSigmoid : static_cast<RouterScore>(random.between(0, 2));
  r.normalise = random.chance(50);
  e.intermediate_size = static_cast<int32_t>(random.between(1, 50));
  e.glu = {static_cast<HiddenAct>(random.between(0, 3)), 1.5f, random.pick({0.0f, 2.0f}), 0.5f};
  e.choice_bias = r.score == RouterScore::kSigmoid && random.chance(50);
  e.scales_input = random.chance(30);
  e.gate_bias = e.up_bias = !e.scales_input && random.chance(30);
  for (bool* bias : {&e.router_bias, &e.down_bias}) *bias = random.chance(30);
  e.expert_scale = random.chance(30);
  if (shared && random.chance(40)) {
    e.beside = {random_norm(random), random_norm(random), random_norm(random), random_norm(random)};
  }
  e.shared_gate = shared && !e.beside && random.chance(50);
  if (random.chance(70)) return e;
  e.gated = e.gate_bias = false;
  e.glu = {static_cast<HiddenAct>(random.between(0, 3)), 1, 0, 0};
  return e;
}

RecurrentSpec random_recurrent(Random& random) {
  RecurrentSpec r = recurrent_spec();
  r.shape.num_key_heads = random.pick({1, 2});
  r.shape.num_value_heads = r.shape.num_key_heads * random.pick({1, 2});
  r.shape.key_size = random.pick({4, 8, 20});
  r.shape.value_size = random.pick({4, 16, 18});
  r.shape.conv_width = random.pick({1, 3, 4});
  r.shape.tiled = random.chance(50);
  r.shape.kind = random.pick({RecurrentKind::kDelta, RecurrentKind::kSsm, RecurrentKind::kConv});
  const bool selects = r.shape.kind == RecurrentKind::kSsm;
  if (!r.shape.has_heads()) {
    r.shape.num_key_heads = r.shape.num_value_heads;
    r.shape.key_size = r.shape.value_size;
  }
  for (bool* bias : {&r.conv_bias, &r.in_bias, &r.out_bias}) *bias = random.chance(40);
  r.norm = random_norm(random);
  r.norm_size = r.shape.value_size * (random.chance(30) ? r.shape.num_value_heads : 1);
  r.norm_own = random.chance(30);
  r.norm_first = random.chance(60);
  r.skip = selects && random.chance(50);
  if (selects && random.chance(50)) r.dt_min = 0.2f, r.dt_max = 0.9f;
  if (r.shape.has_heads() && random.chance(30)) r.q_scale = 0.5f, r.v_scale = 2, r.dt_scale = 0.7f;
  return r;
}

}  // namespace

ModelSpec random_spec(Random& random) {
  ModelSpec spec = plain_spec(static_cast<int32_t>(random.between(1, 3)));
  spec.hidden_size = static_cast<int32_t>(random.between(8, 40));
  spec.embedding_scale = random.pick({1.0f, 3.5f});
  spec.num_positions = random.pick({0, 200});
  spec.ropes.push_back({{1, 0.2f}, {0.5f, 0.05f}, true, 1.2f});
  spec.tied_head = random.chance(50);
  spec.logit_scale = random.pick({1.0f, 0.5f});
  spec.logit_softcap = random.pick({0.0f, 3.0f});
  spec.final_norm = random_norm(random);
  spec.embedding_norm = random_norm(random);
  for (LayerSpec& l : spec.layers) {
    l.branches =
        random.pick({Branches::kSerial, Branches::kParallel, Branches::kShared, Branches::kPost});
    const bool post = l.branches == Branches::kPost;
    l.attn_norm = random_norm(random);
    l.post_attn_norm = post ? NormSpec{} : random_norm(random);
    l.mlp_norm = l.branches == Branches::kShared ? NormSpec{} : random_norm(random);
    l.post_mlp_norm = post ? NormSpec{} : random_norm(random);
    l.residual_scale = random.pick({1.0f, 0.7f});
    AttentionSpec& a = l.attention;
    a.num_kv_heads = random.pick({1, 2});
    a.num_heads = a.num_kv_heads * random.pick({1, 3});
    a.head_size = random.pick({8, 10, 16});
    a.reach = {random.pick({0, 5, 40}), random.chance(30)};
    a.rope = random.pick({-1, 0, 1});
    a.qk_norm = random_norm(random);
    a.qk_norm_span =
        random.pick({QkNormSpan::kHead, QkNormSpan::kProjection, QkNormSpan::kOwnHead});
    a.qk_norm_after_rope = a.qk_norm.kind == NormKind::kRms && random.chance(30);
    if (a.qk_norm_after_rope) a.qk_norm_span = QkNormSpan::kHead;
    if (random.chance(30)) a.temperature = {0.3f, static_cast<int32_t>(random.between(1, 20)), 1};
    a.sinks = random.chance(30);
    a.gated = random.chance(30);
    for (bool* bias : {&a.q_bias, &a.k_bias, &a.v_bias, &a.o_bias}) *bias = random.chance(30);
    if (random.chance(30)) a.v_norm = random_norm(random);
    a.v_from_k = random.chance(20);
    a.v_bias = a.v_bias && !a.v_from_k;
    l.scaled = !post && random.chance(20);
    if (random.chance(25)) make_latent(a, random.pick({0, 9}));
    l.mlp.intermediate_size = static_cast<int32_t>(random.between(1, 50));
    l.mlp.hidden_act = static_cast<HiddenAct>(random.between(0, 5));
    l.mlp.gated = random.chance(50);
    l.mlp.gate_bias = l.mlp.gated && random.chance(30);
    for (bool* bias : {&l.mlp.up_bias, &l.mlp.down_bias}) *bias = random.chance(30);
    if (random.chance(50)) continue;
    const bool shared = random.chance(50);
    if (!shared) l.mlp = {};
    l.experts = random_experts(random, shared);
    if (l.branches != Branches::kSerial || random.chance(60)) continue;
    l.experts.latent_size = static_cast<int32_t>(random.between(4, 30));
    l.experts.shared_gate = false;
    l.post_mlp_norm = {};
  }
  if (spec.layers.size() == 1) return spec;
  const bool last = random.chance(50);
  LayerSpec& l = spec.layers[last ? spec.layers.size() - 1 : 0];
  if (random.chance(50)) l.attention = {}, l.recurrent = random_recurrent(random);
  // The other end may have both mixers, or lack one of the branches.
  LayerSpec& other = spec.layers[last ? 0 : spec.layers.size() - 1];
  if (other.branches != Branches::kSerial) return spec;
  if (random.chance(30)) {
    other.recurrent = random_recurrent(random);
    other.post_attn_norm = {};
    other.attention_scale = 0.8f, other.recurrent_scale = 1.3f, other.mlp_scale = 0.9f;
  } else if (random.chance(30)) {
    other.mlp = {}, other.experts = {};
  } else if (random.chance(30) && spec.layers.size() > 2) {
    other.attention = {};
  }
  return spec;
}

namespace {

// The layers in one group, or dealt to up to three with pages of any size.
std::vector<KvGroupSpec> groups_of(const ModelSpec& spec, Random& random, bool one) {
  std::vector<KvGroupSpec> groups(one ? 1 : static_cast<size_t>(random.between(1, 3)));
  for (KvGroupSpec& group : groups) group.block_size = one ? 16 : random.pick({1, 3, 16, 64});
  for (size_t i = 0; i < spec.layers.size(); i++) {
    if (!spec.layers[i].attention.owns_kv()) continue;
    const auto g = random.between(0, static_cast<int64_t>(groups.size()) - 1);
    groups[static_cast<size_t>(g)].layers.push_back(static_cast<int32_t>(i));
  }
  return groups;
}

}  // namespace

std::vector<float> logits_of(const Ops& ops, const ModelSpec& spec, const Weights& weights,
                             const std::vector<int32_t>& ids, const std::vector<int32_t>& rows,
                             bool long_rope, const std::vector<KvGroupSpec>& groups) {
  const int32_t n = static_cast<int32_t>(ids.size());
  const EngineLimits limits = OneStep::limits(spec, groups, n);
  Forward forward(ops, spec, limits, weights, DType::kF32);
  forward.allocate_states();
  forward.allocate_cache(limits.num_blocks);
  OneStep step(spec, groups, ids, 0, n, rows);
  if (long_rope) step.input.long_rope = {1};
  StepOutput out;
  forward.run(step.input, out);
  return out.logits;
}

void test_programs(const Ops& ops, Random& random) {
  ModelSpec spec = plain_spec();
  const std::string attend = "attended = attend 0, 4 heads, window 0, cap 0";
  expect_program(
      "plain", ops, random, spec,
      {"residual = embed", "normed = rms w residual", "q k v = matmul normed", "cache 0, rotary 8",
       attend, "trim residual:16 attended:32", "branch = matmul attended",
       "normed = rms w residual += branch", "gate = silu gated up of normed",
       "branch = matmul gate", "head residual:16 branch:16", "normed = rms w residual += branch",
       "logits = matmul normed"});

  // Norms on both sides of a branch, or behind it only; what is added is scaled.
  LayerSpec& l = spec.layers[0];
  spec.embedding_scale = 4;
  spec.logit_softcap = 30;
  l.post_attn_norm = l.post_mlp_norm = norm_of(NormKind::kRms, true);
  l.mlp_norm = {};
  l.residual_scale = 0.5f;
  l.attention.qk_norm = norm_of(NormKind::kRms);
  l.attention.reach.window = 6;
  l.attention.softcap = 50;
  l.mlp.hidden_act = HiddenAct::kGeluTanh;
  expect_program(
      "sandwich", ops, random, spec,
      {"residual = 4 embed", "normed = rms w residual", "q k v = matmul normed", "q/4 = rms w q/4",
       "k/2 = rms w k/2", "cache 0, rotary 8", "attended = attend 0, 4 heads, window 6, cap 50",
       "trim residual:16 attended:32", "branch = matmul attended", "branch = rms w branch",
       "normed = none residual += 0.5 branch", "gate = gelu_tanh gated up of normed",
       "branch = matmul gate", "branch = rms w branch", "head residual:16 branch:16",
       "normed = rms w residual += 0.5 branch", "logits = matmul normed", "1 logits, cap 30"});

  // One norm for both branches; the last layer's keeps what it gave.
  spec = plain_spec();
  spec.logit_scale = 0.25f;
  spec.ropes[0].long_inverse_frequencies = spec.ropes[0].inverse_frequencies;
  spec.ropes[0].interleaved = true;
  spec.layers[0].branches = Branches::kShared;
  spec.layers[0].mlp_norm = {};
  spec.layers[0].attn_norm = norm_of(NormKind::kLayer);
  expect_program(
      "shared", ops, random, spec,
      {"residual = embed", "normed = layer w residual", "q k v = matmul normed",
       "cache 0, rotary 8 or long interleaved", attend, "trim residual:16 normed:16 attended:32",
       "branch = matmul attended", "gate = silu gated up of normed", "mlp_branch = matmul gate",
       "head residual:16 branch:16 mlp_branch:16", "normed = none residual += branch",
       "normed = rms w residual += mlp_branch", "logits = matmul normed", "0.25 logits, cap 0"});

  // Both branches read what was there before either was added; no gate, biases, no rotation.
  spec = plain_spec();
  spec.num_positions = 3;
  spec.layers[0].branches = Branches::kParallel;
  spec.layers[0].mlp_norm = norm_of(NormKind::kLayer, false, true);
  spec.layers[0].attention.rope = -1;
  spec.layers[0].attention.qk_norm = norm_of(NormKind::kLayer);
  spec.layers[0].attention.qk_norm_span = QkNormSpan::kProjection;
  spec.layers[0].attention.k_bias = spec.layers[0].attention.o_bias = true;
  spec.layers[0].mlp.gated = false;
  spec.layers[0].mlp.hidden_act = HiddenAct::kRelu2;
  spec.layers[0].mlp.up_bias = true;
  expect_program(
      "parallel", ops, random, spec,
      {"residual = embed + positions", "normed = rms w residual", "q k+b v = matmul normed",
       "q = layer w q", "k = layer w k", "cache 0, rotary 0", attend,
       "trim residual:16 attended:32", "branch+b = matmul attended", "normed = layer w b residual",
       "up+b = matmul normed", "relu2 up", "mlp_branch = matmul up",
       "head residual:16 branch:16 mlp_branch:16", "normed = none residual += branch",
       "normed = rms w residual += mlp_branch", "logits = matmul normed"});
}

// Experts alone, and with a shared one beside them.
void test_expert_programs(const Ops& ops, Random& random) {
  ModelSpec spec = plain_spec();
  LayerSpec& l = spec.layers[0];
  l.mlp = {};
  l.experts.router.num_experts = 5;
  l.experts.router.top_k = 2;
  l.experts.intermediate_size = 9;
  const std::vector<std::string> before = {"residual = embed",
                                           "normed = rms w residual",
                                           "q k v = matmul normed",
                                           "cache 0, rotary 8",
                                           "attended = attend 0, 4 heads, window 0, cap 0",
                                           "trim residual:16 attended:32",
                                           "branch = matmul attended",
                                           "normed = rms w residual += branch"};
  const std::vector<std::string> after = {
      "head residual:16 branch:16", "normed = rms w residual += branch", "logits = matmul normed"};
  const auto expect_middle = [&](const char* what, const std::vector<std::string>& middle) {
    std::vector<std::string> want = before;
    want.insert(want.end(), middle.begin(), middle.end());
    want.insert(want.end(), after.begin(), after.end());
    expect_program(what, ops, random, spec, want);
  };
  expect_middle("experts", {"routed = matmul normed", "route 2 of routed",
                            "gate/2 = silu experts up/2 of normed", "experts/2 = experts gate/2",
                            "branch = weighted experts/2"});
  l.mlp.intermediate_size = 7;
  l.experts.router_bias = l.experts.choice_bias = l.experts.shared_gate = true;
  l.experts.up_bias = l.experts.down_bias = l.experts.scales_input = true;
  expect_middle("shared expert",
                {"gate = silu gated up of normed", "branch = matmul gate",
                 "routed+b shared_gate = matmul normed", "route 2 of routed + bias",
                 "gate/2 = silu experts up/2+b of weighted normed", "experts/2+b = experts gate/2",
                 "branch = experts/2 + shared gated"});
  l.experts.shared_gate = l.experts.scales_input = l.experts.gated = false;
  l.experts.latent_size = 6;
  l.mlp_scale = 0.5f;
  std::vector<std::string> want = before;
  want.insert(
      want.end(),
      {"gate = silu gated up of normed", "branch = matmul gate", "routed+b latent = matmul normed",
       "route 2 of routed + bias", "up/2+b = silu of experts latent", "experts/2+b = experts up/2",
       "latent = weighted experts/2", "mlp_branch = matmul latent",
       "head residual:16 branch:16 mlp_branch:16", "normed = none residual += 0.5 branch",
       "normed = rms w residual += 0.5 mlp_branch", "logits = matmul normed"});
  expect_program("latent experts beside a shared one", ops, random, spec, want);
}

// What attention has that few families want: a gate behind it, sinks, chunks, norms of each head by
// its own weight or behind the rotation, a temperature; and a norm of what was embedded.
void test_attention_programs(const Ops& ops, Random& random) {
  ModelSpec spec = plain_spec();
  AttentionSpec& a = spec.layers[0].attention;
  spec.embedding_norm = norm_of(NormKind::kRms);
  spec.embedding_norm.weight = false;
  a.qk_norm = norm_of(NormKind::kLayer);
  a.qk_norm_span = QkNormSpan::kOwnHead;
  a.reach = {6, true};
  a.sinks = a.gated = true;
  const std::vector<std::string> feed = {"normed = rms w residual += branch",
                                         "gate = silu gated up of normed",
                                         "branch = matmul gate",
                                         "head residual:16 branch:16",
                                         "normed = rms w residual += branch",
                                         "logits = matmul normed"};
  const auto expect_lines = [&](const char* what, std::vector<std::string> lines) {
    lines.insert(lines.end(), feed.begin(), feed.end());
    expect_program(what, ops, random, spec, lines);
  };
  expect_lines("gated",
               {"residual = embed", "residual = rms residual", "normed = rms w residual",
                "q k v = matmul normed", "q/4 = layer w4 q/4", "k/2 = layer w2 k/2",
                "cache 0, rotary 8", "attended = attend 0, 4 heads, window 6 chunked, cap 0, sinks",
                "trim residual:16 normed:16 attended:32", "gate = matmul normed",
                "sigmoid gate times attended", "branch = matmul gate"});
  spec.embedding_norm = {};
  a.qk_norm = norm_of(NormKind::kRms);
  a.qk_norm_span = QkNormSpan::kHead;
  a.qk_norm_after_rope = true;
  a.temperature = {0.5f, 64, 0};
  a.reach = {};
  a.sinks = a.gated = false;
  const std::string attend = "attended = attend 0, 4 heads, window 0, cap 0";
  const std::string trim = "trim residual:16 attended:32", branch = "branch = matmul attended";
  expect_lines("behind the rope",
               {"residual = embed", "normed = rms w residual", "q k v = matmul normed",
                "cache 0, rotary 8, then q w k w rms, temperature 0.5", attend, trim, branch});
  a.qk_norm.weight = false;
  a.rope = -1;
  expect_lines("weightless",
               {"residual = embed", "normed = rms w residual", "q k v = matmul normed",
                "cache 0, rotary 0, then q k rms, temperature 0.5", attend, trim, branch});
}

void test_latent_lines(const Ops& ops, Random& random) {
  ModelSpec spec = plain_spec();
  spec.ropes.push_back({{1, 0.2f}, {}, true, 1});
  spec.layers[0].attention.rope = 1;
  spec.layers[0].mlp.gated = false;
  for (const int32_t query_rank : {0, 9}) {
    make_latent(spec.layers[0].attention, query_rank);
    std::vector<std::string> lines = {"residual = embed", "normed = rms w residual"};
    if (query_rank == 0) {
      lines.push_back("v k q = matmul normed");
    } else {
      lines.insert(lines.end(),
                   {"v k gate = matmul normed", "gate = rms w gate", "q = matmul gate"});
    }
    lines.insert(lines.end(),
                 {"v = rms w v", "heads = each of 4 heads of q", "cache 0, rotary 4 interleaved",
                  "attended = attend 0, 4 heads, window 0, cap 0", "trim residual:16 attended:48",
                  "heads = each of 4 heads of attended", "branch = matmul heads",
                  "normed = rms w residual += branch", "up = matmul normed", "silu up",
                  "branch = matmul up", "head residual:16 branch:16",
                  "normed = rms w residual += branch", "logits = matmul normed"});
    expect_program("latent rows", ops, random, spec, lines);
  }
}

// All rows at the head, many of them in two slices behind the last attention, or only one; the
// layers in one KV group, or in several.
void test_cuts(const Ops& ops, Random& random) {
  for (int i = 0; i < 25; i++) {
    const ModelSpec spec = i % 2 == 0 ? random_spec(random) : sharing_spec(random);
    Checkpoint checkpoint(random);
    checkpoint.add_all(spec);
    checkpoint.close();
    const Weights weights(ops, spec, checkpoint.files, checkpoint.tensors, DType::kF32);
    std::vector<int32_t> ids, all;
    const int64_t n = random.between(66, 150);
    for (int32_t t = 0; t < n; t++) {
      ids.push_back(static_cast<int32_t>(random.between(0, spec.vocab_size - 1)));
      all.push_back(t);
    }
    const bool long_rope = random.chance(50);
    const std::vector<KvGroupSpec> group = groups_of(spec, random, true);
    const std::vector<float> want = logits_of(ops, spec, weights, ids, all, long_rope, group);
    const std::vector<int32_t> one = {static_cast<int32_t>(random.between(0, n - 1))};
    for (const auto& rows : {std::vector<int32_t>(all.begin() + 1, all.end()), one}) {
      const std::vector<float> got =
          logits_of(ops, spec, weights, ids, rows, long_rope, groups_of(spec, random, false));
      const size_t vocab = static_cast<size_t>(spec.vocab_size);
      for (size_t r = 0; r < rows.size(); r++) {
        const float* whole = want.data() + static_cast<size_t>(rows[r]) * vocab;
        expect(std::isfinite(whole[0]), "case %d: row %d has no logits", i, rows[r]);
        expect(std::memcmp(got.data() + r * vocab, whole, vocab * 4) == 0,
               "case %d: row %d of %" PRId64 " has other logits among %zu", i, rows[r], n,
               rows.size());
      }
    }
    // The long table is another one, where a layer rotates by it and a query sees more than itself.
    bool rotates = false;
    for (const LayerSpec& l : spec.layers) {
      rotates =
          rotates || (l.attention.any() && l.attention.rope == 1 && l.attention.reach.window != 1);
    }
    const bool same = logits_of(ops, spec, weights, ids, all, !long_rope, group) == want;
    expect(same || rotates, "case %d: a table that nobody uses changes logits", i);
    expect(!same || !rotates, "case %d: the long table changes nothing", i);
  }
}

namespace {

void run_all(uint64_t seed) {
  std::printf("seed %" PRIu64 "\n", seed);
  Random random(seed);
  const auto backend = CpuBackend::create(2, nullptr, {false, false});
  const std::pair<const char*, void (*)(const Ops&, Random&)> groups[] = {
      {"programs", test_programs},
      {"experts", test_expert_programs},
      {"attention", test_attention_programs},
      {"sharing", test_sharing_programs},
      {"latent rows", test_latent_lines},
      {"cuts", test_cuts},
      {"pooled", test_pooled},
      {"recurrent", test_recurrent_model},
      {"reach", test_reach},
      {"cache", test_cache},
      {"weights", test_weights},
      {"parts", test_parts},
      {"refused weights", test_refused_weights},
      {"changed files", test_changed_files}};
  for (const auto& [name, group] : groups) {
    const int before = g_failures;
    group(backend->ops(), random);
    std::printf("%-16s %s\n", name, g_failures == before ? "ok" : "FAILED");
  }
}

}  // namespace
}  // namespace octavo::test

int main(int argc, char** argv) {
  octavo::test::run_all(argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 20260101);
  if (octavo::test::g_failures == 0) return 0;
  std::printf("%d failures\n", octavo::test::g_failures);
  return 1;
}
