// The ops that touch every value once, and sampling.
#include "bench/native/cpu_bench.h"

namespace octavo::bench {

void bench_pointwise(Session& s) {
  const Ops& ops = s.ops;
  const int64_t n = 512, cols = 1536, all = n * cols;
  const Buffer x = s.random_floats(all), y = s.random_floats(all), z = s.random_floats(all);
  const Buffer weight = s.random_floats(cols);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < n; i++) ids.push_back(static_cast<int32_t>((i * 37) % n));
  const Tensor tx = tensor(x, n, cols), ty = tensor(y, n, cols), tz = tensor(z, n, cols);
  const Buffer bytes = s.stored(n * row_bytes(DType::kBF16, cols));
  const Tensor table{bytes.data(), DType::kBF16, n, cols};
  const auto embedding = [&](const char* name, double moved, const EmbeddingParams& p) {
    s.add_rate(name, moved * all, seconds_of([&] { ops.embedding(ops.context, p); }));
  };
  embedding("embedding 512x1536 BF16", 6, {tx, table, ids.data()});
  embedding("embedding 512x1536 BF16, positions", 8, {tx, table, ids.data(), 1, table, ids.data()});
  const auto norm = [&](const char* name, const NormParams& p) {
    s.add_rate(name, 16.0 * all, seconds_of([&] { ops.norm(ops.context, p); }));
  };
  const float* w = f32(weight);
  norm("norm 512x1536 rms, with add", {tz, tx, ty, NormKind::kRms, w, nullptr, 1e-5f});
  norm("norm 512x1536 layer, with add", {tz, tx, ty, NormKind::kLayer, w, w, 1e-5f});
  const auto activate = [&](const char* name, double moved, Tensor up, HiddenAct act) {
    s.add_rate(name, moved * all, seconds_of([&] { ops.activate(ops.context, tz, ty, up, act); }));
  };
  activate("activate 512x1536 silu, gated", 12, tx, HiddenAct::kSilu);
  activate("activate 512x1536 gelu_tanh, gated", 12, tx, HiddenAct::kGeluTanh);
  activate("activate 512x1536 gelu", 8, {}, HiddenAct::kGelu);
  activate("activate 512x1536 relu2", 8, {}, HiddenAct::kRelu2);
  s.add_rate("gather_rows 512x1536", 8.0 * all,
             seconds_of([&] { ops.gather_rows(ops.context, tz, tx, ids.data()); }));
  const std::vector<int32_t> starts = {0, 256, 384, 512}, poolings(3, 0);
  BatchView texts;
  texts.num_seqs = 3;
  texts.query_start = starts.data();
  texts.poolings = poolings.data();
  s.add_rate("pool_rows 512x1536, means", 4.0 * all, seconds_of([&] {
               ops.pool_rows(ops.context, {tensor(z, 3, cols), tx}, texts);
             }));
  s.add_rate("transform_logits 16x49152, softcap", 8.0 * all,
             seconds_of([&] { ops.transform_logits(ops.context, tensor(z, 16, 49152), 1, 30); }));
}

namespace {

// A mask of every second token for each of 64 rows.
void masks(Session& s, int32_t vocab) {
  constexpr int32_t kRows = 64;
  ModelShape shape{};
  shape.vocab_size = vocab;
  shape.max_num_seqs = kRows;
  s.ops.prepare(s.ops.context, shape);
  const std::vector<uint32_t> bits(static_cast<size_t>(vocab + 31) / 32, 0x55555555u);
  std::vector<MaskUpdate> updates;
  for (int32_t row = 0; row < kRows; row++) updates.push_back({row, bits.data()});
  s.add_rate("set_masks 64 x 49152", 0.25 * kRows * vocab,
             seconds_of([&] { s.ops.set_masks(s.ops.context, updates.data(), kRows); }));
}

}  // namespace

// One row of logits to one token, by one thread; s.ops.sample deals rows to threads.
void bench_sample(Session& s) {
  const int32_t vocab = 49152, n = 8;
  const Buffer logits = s.random_floats(n * vocab);
  std::vector<int32_t> tokens(n), ranks(n), ids(5 * n);
  std::vector<double> logprobs(n), top(5 * n);
  std::vector<SampleRow> rows(n);
  const auto measure = [&](const std::string& name) {
    for (int64_t i = 0; i < n; i++) {
      rows[i].logits_row = i;
      rows[i].token = &tokens[i], rows[i].logprob = &logprobs[i], rows[i].rank = &ranks[i];
      rows[i].top_ids = &ids[5 * i], rows[i].top_logprobs = &top[5 * i];
    }
    const double seconds = seconds_of([&] {
      s.ops.sample(s.ops.context, tensor(logits, n, vocab), rows.data(), static_cast<int32_t>(n));
    });
    s.rows.push_back({"sample 49152, " + name, 1e6 * seconds / n, "us/row", 0});
  };
  for (SampleRow& r : rows) r.temperature = 0;
  measure("greedy");
  for (SampleRow& r : rows) r.temperature = 0.8;
  measure("temperature");
  for (SampleRow& r : rows) r.top_k = 40, r.top_p = 0.95;
  measure("top-k 40, top-p");
  for (SampleRow& r : rows) r.num_top = 5;
  measure("and 5 logprobs");
  std::vector<int32_t> counted;
  while (counted.size() < 8192) counted.push_back(static_cast<int32_t>(s.random() % 8000));
  const TokenUpdate whole{0, true, 0, 8192, nullptr, counted.data()};
  s.ops.count_tokens(s.ops.context, &whole, 1);
  for (SampleRow& r : rows) r.num_top = -1, r.counted = 0, r.repetition = 1.1;
  measure("top-k 40, top-p, penalties");
  masks(s, vocab);
  for (SampleRow& r : rows) r = SampleRow{}, r.temperature = 0, r.mask_row = 0;
  measure("greedy, mask");
  for (SampleRow& r : rows) r.temperature = 0.8;
  measure("temperature, mask");
}

}  // namespace octavo::bench
