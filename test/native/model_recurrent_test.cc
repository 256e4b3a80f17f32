// Models with recurrent layers: what they compile to, where their states and records lie, and that
// logits do not depend on how tokens are dealt to steps.
#include <set>

#include "base/error.h"
#include "model/forward.h"
#include "native/model_test.h"
#include "native/program_lines.h"

namespace octavo::test {

EngineLimits OneStep::limits(const ModelSpec& spec, std::vector<KvGroupSpec> groups,
                             int32_t tokens) {
  EngineLimits limits;
  limits.groups = std::move(groups);
  limits.num_blocks = 1;
  for (const KvGroupSpec& group : limits.groups) {
    limits.num_blocks += (tokens + group.block_size - 1) / group.block_size;
  }
  limits.max_num_seqs = 1;
  limits.max_num_batched_tokens = tokens;
  limits.max_model_len = tokens;
  if (has_recurrent(spec)) limits.recurrent = {tokens / kChunk + 2, tokens + kChunk};
  return limits;
}

OneStep::OneStep(const ModelSpec& spec, const std::vector<KvGroupSpec>& groups,
                 const std::vector<int32_t>& ids, int32_t start, int32_t end,
                 const std::vector<int32_t>& rows)
    : tokens_(rows.size()), logprobs_(rows.size()) {
  const auto total = static_cast<int32_t>(ids.size());
  int32_t blocks = 0;
  for (const KvGroupSpec& group : groups) {
    const int32_t count = (end + group.block_size - 1) / group.block_size;
    const int32_t all = (total + group.block_size - 1) / group.block_size;
    input.tables.push_back({{}, {0, count}});
    for (int32_t b = 0; b < count; b++) input.tables.back().block_ids.push_back(blocks + all - b);
    blocks += all;
  }
  input.token_ids.assign(ids.begin() + start, ids.begin() + end);
  input.query_start = {0, end - start};
  input.context_len = {end};
  if (has_recurrent(spec)) {
    const int32_t border = border_of(end), before = border_of(start);
    input.state_in = {before / kChunk};
    input.state_out = {border > before ? border / kChunk : -1};
    const auto record = [total](int32_t position) { return total + kChunk - 1 - position; };
    for (int32_t p = before; p < before + kChunk; p++) {
      input.old_records.push_back(p < start ? record(p) : -1);
    }
    for (int32_t p = start; p < end; p++) input.new_records.push_back(p < border ? -1 : record(p));
  }
  input.capture_logits = true;
  for (size_t i = 0; i < rows.size(); i++) {
    SampleRow row;
    row.logits_row = rows[i];
    row.target = 0;
    row.token = &tokens_[i];
    row.logprob = &logprobs_[i];
    input.rows.push_back(row);
  }
}

namespace {

void test_program(const Ops& ops, Random& random) {
  ModelSpec spec = plain_spec();
  LayerSpec& l = spec.layers[0];
  l.attention = {};
  l.recurrent = recurrent_spec();
  const std::string mix = "q k v gate dt beta = matmul normed";
  const std::string attend = "attended = linear_attention 0 dt beta";
  expect_program(
      "recurrent", ops, random, spec,
      {"residual = embed", "normed = rms w residual", mix, "conv 0 q k v", attend,
       "trim residual:16 attended:24 gate:24", "attended/4 = rms w attended/4",
       "silu gate times attended", "branch = matmul gate", "normed = rms w residual += branch",
       "gate = silu gated up of normed", "branch = matmul gate", "head residual:16 branch:16",
       "normed = rms w residual += branch", "logits = matmul normed"});
  l.branches = Branches::kPost;
  l.recurrent.conv_bias = true;
  l.recurrent.norm = {};
  expect_program("behind sums", ops, random, spec,
                 {"residual = embed", "normed = none residual", mix, "conv+b 0 q k v", attend,
                  "trim residual:16 attended:24 gate:24", "silu gate times attended",
                  "branch = matmul gate", "residual = rms w residual += branch",
                  "normed = none residual", "gate = silu gated up of normed",
                  "branch = matmul gate", "residual = rms w residual += branch", "head residual:16",
                  "normed = rms w residual", "logits = matmul normed"});
}

// A state space whose norm comes behind the gate, of groups with weights of their own; a short
// convolution; layers without one of the branches; both mixers in one.
void test_other_programs(const Ops& ops, Random& random) {
  ModelSpec spec = plain_spec();
  LayerSpec& l = spec.layers[0];
  l.attention = {};
  l.recurrent = recurrent_spec();
  RecurrentSpec& r = l.recurrent;
  r.shape.kind = RecurrentKind::kSsm;
  r.norm_size = 12, r.norm_own = r.in_bias = r.out_bias = r.skip = true;
  r.norm_first = false;
  l.mlp = {};
  expect_program(
      "state space", ops, random, spec,
      {"residual = embed", "normed = rms w residual", "q+b k+b v+b gate+b dt+b = matmul normed",
       "conv 0 q k v", "attended = linear_attention 0 dt + skip",
       "trim residual:16 attended:24 gate:24", "silu gate times attended", "gate/2 = rms w2 gate/2",
       "branch+b = matmul gate", "head residual:16 branch:16", "normed = rms w residual += branch",
       "logits = matmul normed"});
  r = recurrent_spec();
  r.shape = {3, 3, 8, 8, 3, false, RecurrentKind::kConv};
  spec.layers.push_back(plain_spec().layers[0]);
  spec.layers[1].attention = {};
  const std::vector<std::string> feed = {"normed = rms w residual += branch",
                                         "gate = silu gated up of normed",
                                         "branch = matmul gate",
                                         "head residual:16 branch:16",
                                         "normed = rms w residual += branch",
                                         "logits = matmul normed"};
  std::vector<std::string> want = {"residual = embed",      "normed = rms w residual",
                                   "q k v = matmul normed", "conv 0 q k v",
                                   "trim residual:16 v:24", "branch = matmul v"};
  want.insert(want.end(), feed.begin(), feed.end());
  expect_program("convolution", ops, random, spec, want);
  spec = plain_spec();
  spec.layers[0].recurrent = recurrent_spec();
  spec.layers[0].residual_scale = 0.5f;
  spec.layers[0].recurrent_scale = 3;
  want = {"residual = embed",
          "normed = rms w residual",
          "q k v = matmul normed",
          "cache 0, rotary 8",
          "attended = attend 0, 4 heads, window 0, cap 0",
          "branch = matmul attended",
          "q k v gate dt beta = matmul normed",
          "conv 0 q k v",
          "attended = linear_attention 0 dt beta",
          "trim residual:16 attended:24 branch:16 gate:24",
          "attended/4 = rms w attended/4",
          "silu gate times attended",
          "mlp_branch = matmul gate",
          "normed = none residual += 0.5 branch",
          "normed = rms w residual += 1.5 mlp_branch",
          "gate = silu gated up of normed",
          "branch = matmul gate",
          "head residual:16 branch:16",
          "normed = rms w residual += 0.5 branch",
          "logits = matmul normed"};
  expect_program("both", ops, random, spec, want);
}

// Of each layer the heads' states, inputs and records: all that is there, once.
void test_memory(const Ops& ops, Random& random) {
  ModelSpec spec = plain_spec(4);
  int64_t states = 0, records = 0;
  for (const size_t i : {0, 2, 3}) {
    LayerSpec& l = spec.layers[i];
    l.attention = {};
    RecurrentShape& s = (l.recurrent = recurrent_spec()).shape;
    s = {2,
         random.pick({2, 4}),
         random.pick({3, 8}),
         random.pick({5, 16}),
         static_cast<int32_t>(random.between(1, kChunk)),
         false};
    states += s.value_width() * s.key_size + (s.conv_width - 1) * s.channels();
    records += s.channels() + s.key_width() + s.value_width() + s.num_value_heads;
  }
  RecurrentMemory memory(spec);
  expect(memory.state_bytes() == 4 * states && memory.record_bytes() == 4 * records,
         "a state or a record has other bytes");
  expect(memory.layer(0).states == nullptr, "a layer has an address before there is memory");
  memory.allocate(ops, {3, kChunk});
  std::set<const float*> places;
  const auto take = [&](const float* at, int64_t n) {
    for (int64_t i = 0; i < n; i++) places.insert(at + i);
  };
  for (int32_t i : {0, 2, 3}) {
    const RecurrentView layer = memory.layer(i);
    const RecurrentShape& s = layer.shape;
    for (int32_t slot = 0; slot < 3; slot++) {
      for (int32_t h = 0; h < s.num_value_heads; h++) {
        take(layer.state(slot, h), s.key_size * s.value_size);
      }
      take(layer.last_inputs(slot), (s.conv_width - 1) * s.channels());
    }
    for (int32_t record = 0; record < kChunk; record++) {
      take(layer.input(record), s.channels());
      for (int32_t h = 0; h < s.num_key_heads; h++) take(layer.key(record, h), s.key_size);
      for (int32_t h = 0; h < s.num_value_heads; h++) take(layer.added(record, h), s.value_size);
      take(layer.kept(record), s.num_value_heads);
    }
  }
  expect(static_cast<int64_t>(places.size()) == 3 * states + kChunk * records,
         "states or records overlap");
  for (int64_t i = 0; i < states; i++) {
    expect(memory.layer(0).states[i] == 0, "the zero state is not zero");
  }
  bool refused = false;
  try {
    RecurrentMemory(spec).allocate(ops, {INT32_MAX, INT32_MAX});
  } catch (const Error& e) {
    refused = e.code() == std::string(kErrOutOfMemory);
  }
  expect(refused || states * 4 < 4096, "more memory than there is was taken");
}

// The convolution's weights as rows of all channels, and what exponents become.
void test_small_weights(const Ops& ops, Random& random) {
  ModelSpec spec = plain_spec();
  LayerSpec& l = spec.layers[0];
  l.attention = {};
  l.recurrent = recurrent_spec();
  l.recurrent.conv_bias = true;
  Checkpoint checkpoint(random);
  checkpoint.add_all(spec);
  checkpoint.close();
  const Weights weights(ops, spec, checkpoint.files, checkpoint.tensors, DType::kQ8_0);
  const RecurrentWeights& w = weights.layers[0].recurrent;
  const RecurrentShape& s = l.recurrent.shape;
  int64_t channel = 0;
  for (const std::string name : {"conv_q", "conv_k", "conv_v"}) {
    const std::vector<float>& own = checkpoint.values.at("layers.0." + name);
    const std::vector<float>& bias = checkpoint.values.at("layers.0." + name + ".bias");
    for (size_t c = 0; c < bias.size(); c++, channel++) {
      for (int32_t i = 0; i < s.conv_width; i++) {
        expect(w.conv.data()[i * s.channels() + channel] == own[c * s.conv_width + i],
               "%s is another one", name.c_str());
      }
      expect(w.conv_bias.data()[channel] == bias[c], "another bias of %s", name.c_str());
    }
  }
  expect(channel == s.channels(), "channels are missing");
  const std::vector<float>& rates = checkpoint.values.at("layers.0.decay");
  for (size_t h = 0; h < rates.size(); h++) {
    expect_near("decay", w.decay.data()[h], -std::exp(static_cast<double>(rates[h])), 1e-7);
  }
  expect(w.dt.weight.dtype == DType::kF32 && w.beta.weight.dtype == DType::kF32,
         "what gates are made of is quantised");
}

void test_steps(const Ops& ops, Random& random, int i) {
  ModelSpec spec = random_spec(random);
  while (!has_recurrent(spec)) spec = random_spec(random);
  Checkpoint checkpoint(random);
  checkpoint.add_all(spec);
  checkpoint.close();
  const Weights weights(ops, spec, checkpoint.files, checkpoint.tensors, DType::kF32);
  std::vector<int32_t> ids, all;
  const auto n = static_cast<int32_t>(random.between(2, 120));
  for (int32_t t = 0; t < n; t++) {
    ids.push_back(static_cast<int32_t>(random.between(0, spec.vocab_size - 1)));
    all.push_back(t);
  }
  std::vector<KvGroupSpec> groups(1);
  groups[0].block_size = random.pick({1, 3, 16});
  for (size_t l = 0; l < spec.layers.size(); l++) {
    if (spec.layers[l].attention.any()) groups[0].layers.push_back(static_cast<int32_t>(l));
  }
  const std::vector<float> want = logits_of(ops, spec, weights, ids, all, false, groups);
  Forward forward(ops, spec, OneStep::limits(spec, groups, n), weights, DType::kF32);
  forward.allocate_states();
  forward.allocate_cache(OneStep::limits(spec, groups, n).num_blocks);
  std::vector<float> got;
  for (int32_t start = 0; start < n;) {
    const int32_t end = std::min(n, start + random.pick({1, 2, 7, kChunk, 40}));
    OneStep step(spec, groups, ids, start, end, {all.begin(), all.begin() + (end - start)});
    StepOutput out;
    forward.run(step.input, out);
    got.insert(got.end(), out.logits.begin(), out.logits.end());
    start = end;
  }
  expect(std::isfinite(want[0]), "case %d has no logits", i);
  expect(want.size() == got.size() &&
             std::memcmp(want.data(), got.data(), want.size() * sizeof(float)) == 0,
         "case %d: %d tokens have other logits in steps", i, n);
}

}  // namespace

void test_recurrent_model(const Ops& ops, Random& random) {
  test_program(ops, random);
  test_other_programs(ops, random);
  test_memory(ops, random);
  test_small_weights(ops, random);
  for (int i = 0; i < 20; i++) test_steps(ops, random, i);
}

}  // namespace octavo::test
