// Models that are loaded to pool: what they compile to, and that a text computed whole, beside
// others, has the bits of one that is computed with a cache, and of one computed alone.
#include "model/forward.h"
#include "model/pooled_forward.h"
#include "native/model_test.h"
#include "native/program_lines.h"

namespace octavo::test {
namespace {

// As BERT with a classifier: norms of sums, both sides seen, token types, no head.
void test_encoder_program(const Ops& ops, Random& random) {
  ModelSpec spec = plain_spec();
  spec.num_token_types = 2;
  spec.embedding_norm = norm_of(NormKind::kLayer);
  spec.final_norm = {};
  spec.has_head = false;
  LayerSpec& l = spec.layers[0];
  l.branches = Branches::kPost;
  l.attn_norm = l.mlp_norm = norm_of(NormKind::kLayer, false, true);
  l.attention.reach = {6, false, true};
  std::vector<std::string> want = {"residual = embed + types",
                                   "residual = layer w residual",
                                   "normed = none residual",
                                   "q k v = matmul normed",
                                   "cache 0, rotary 8",
                                   "attended = attend 0, 4 heads, window 6 both, cap 0",
                                   "trim residual:16 attended:32",
                                   "branch = matmul attended",
                                   "residual = layer w b residual += branch",
                                   "normed = none residual",
                                   "gate = silu gated up of normed",
                                   "branch = matmul gate",
                                   "residual = layer w b residual += branch",
                                   "head residual:16",
                                   "normed = none residual"};
  expect_program("encoder", ops, random, spec, want);
  spec.pooler = {{12, true, HiddenAct::kTanh, norm_of(NormKind::kLayer)}, {3, false, {}, {}}};
  want.insert(want.end(),
              {"pooled_next+b = matmul pooled", "tanh pooled_next",
               "pooled_next = layer w pooled_next", "pooled_float = matmul pooled_next"});
  expect_program("classifier", ops, random, spec, want);
}

PooledInput texts_of(const std::vector<std::vector<int32_t>>& texts, int32_t long_rope) {
  PooledInput in;
  in.clear();
  for (const auto& ids : texts) {
    in.token_ids.insert(in.token_ids.end(), ids.begin(), ids.end());
    in.query_start.push_back(static_cast<int32_t>(in.token_ids.size()));
    in.poolings.push_back(static_cast<int32_t>(in.poolings.size() % 3));
    in.long_rope.push_back(long_rope);
  }
  in.token_types.assign(in.token_ids.size(), 0);
  return in;
}

EngineLimits limits_of(int32_t block_size) {
  EngineLimits limits;
  limits.block_size = block_size;
  limits.max_num_seqs = 3;
  limits.max_num_batched_tokens = 120;
  limits.max_model_len = 40;
  return limits;
}

// Values of a text among others are those that it has alone, vectors and logits.
void test_batch(const Ops& ops, Random& random, const ModelSpec& spec, const Weights& weights,
                const std::vector<std::vector<int32_t>>& texts, int32_t long_rope) {
  PooledForward forward(ops, spec, limits_of(random.pick({1, 3, 16})), weights);
  PooledForward other(ops, spec, limits_of(16), weights);
  for (const std::vector<int32_t>& ids : {std::vector<int32_t>{}, std::vector<int32_t>{7, 0, 7}}) {
    PooledInput all = texts_of(texts, long_rope);
    all.token_logits = ids;
    PooledOutput together;
    forward.run(all, together);
    const size_t width = together.values.size() / texts.size();
    expect(width == (ids.empty() ? static_cast<size_t>(spec.pooled_size()) : ids.size()),
           "a text has %zu values", width);
    for (size_t i = 0; i < texts.size(); i++) {
      PooledInput one = texts_of({texts[i]}, long_rope);
      one.poolings[0] = all.poolings[i];
      one.token_logits = ids;
      PooledOutput alone;
      other.run(one, alone);
      expect(std::isfinite(alone.values[0]), "text %zu has no values", i);
      expect(std::memcmp(alone.values.data(), together.values.data() + i * width, width * 4) == 0,
             "text %zu has other values alone", i);
    }
    if (ids.empty()) continue;
    for (size_t i = 0; i < texts.size(); i++) {
      KvGroupSpec group;
      group.block_size = 16;
      for (size_t l = 0; l < spec.layers.size(); l++) {
        if (spec.layers[l].attention.kv_of < 0) group.layers.push_back(static_cast<int32_t>(l));
      }
      const int32_t last = static_cast<int32_t>(texts[i].size()) - 1;
      const std::vector<float> want =
          logits_of(ops, spec, weights, texts[i], {last}, long_rope == 1, {group});
      for (size_t k = 0; k < ids.size(); k++) {
        expect(want[static_cast<size_t>(ids[k])] == together.values[i * width + k],
               "text %zu has other logits with a cache", i);
      }
    }
  }
}

}  // namespace

void test_pooled(const Ops& ops, Random& random) {
  test_encoder_program(ops, random);
  for (int i = 0; i < 12; i++) {
    ModelSpec spec = sharing_spec(random);
    while (has_recurrent(spec)) spec = random_spec(random);
    for (int64_t n = random.between(0, 2); n > 0; n--) {
      DenseSpec dense;
      dense.out_size = static_cast<int32_t>(random.between(1, 20));
      dense.bias = random.chance(50);
      if (random.chance(50)) dense.act = HiddenAct::kTanh;
      if (random.chance(50)) dense.norm = norm_of(NormKind::kLayer);
      spec.pooler.push_back(dense);
    }
    Checkpoint checkpoint(random);
    checkpoint.add_all(spec);
    checkpoint.close();
    const Weights weights(ops, spec, checkpoint.files, checkpoint.tensors, DType::kF32);
    std::vector<std::vector<int32_t>> texts(3);
    for (auto& ids : texts) {
      for (int64_t n = random.between(1, 40); n > 0; n--) {
        ids.push_back(static_cast<int32_t>(random.between(0, spec.vocab_size - 1)));
      }
    }
    test_batch(ops, random, spec, weights, texts, random.chance(50) ? 1 : 0);
  }
}

}  // namespace octavo::test
