// The ops that touch every value once, against float64, and weights that cannot be read:
// load_weight, embedding, activate, transform_logits, gather_rows, pool_rows.
#include "native/backend_under_test.h"
#include "reference/reference.h"

namespace octavo::test {
namespace {

std::vector<int32_t> random_ids(Random& random, int64_t n, int64_t below) {
  std::vector<int32_t> ids;
  while (static_cast<int64_t>(ids.size()) < n) {
    ids.push_back(static_cast<int32_t>(random.between(0, below - 1)));
  }
  return ids;
}

// A stored table, and its rows in float64 as ops see them.
struct Table {
  Table(const Backends& backends, Random& random, DType dtype, int64_t rows, int64_t cols)
      : bytes(random_stored(random, dtype, rows, cols)), loaded(bytes, dtype, rows, cols) {
    const DType kept = kept_type(backends, dtype);
    for (int64_t r = 0; r < rows; r++) {
      values.push_back(
          reference::stored_row(dtype, bytes.data() + r * row_bytes(dtype, cols), cols));
      for (double& x : values.back()) x = rounded(kept, static_cast<float>(x));
    }
    // A min that is added is rounded once more, or once less.
    tolerance = backends.on_cpu() && quant_format(dtype).has_min ? 0x1p-11 : 0;
  }
  Bytes bytes;
  Loaded loaded;
  std::vector<std::vector<double>> values;
  double tolerance;
};

}  // namespace

// Wherever its source fails, a weight is not loaded.
void test_load_weight(const Backends& backends, Random& random, int i) {
  const DType dtype = kStoredTypes[i % std::size(kStoredTypes)];
  const int64_t rows = random.between(1, 200);
  const int64_t block = block_values(dtype);
  const int64_t cols = random.between(1, 3) * (192 % block == 0 ? 192 : block);
  const Bytes bytes = random_stored(random, dtype, rows, cols);
  const Tensor stored{nullptr, dtype, rows, cols};
  for (const auto& backend : backends.all) {
    const Ops& ops = backend->ops();
    const size_t size = ops.weight_bytes(ops.context, stored);
    void* memory = ops.allocate(ops.context, size);
    const int64_t whole = stored.bytes();
    for (const int64_t good : {int64_t{0}, random.between(0, whole - 1), whole - 1, whole}) {
      const CutSource source(bytes.data(), good);
      const bool loaded = !ops.load_weight(ops.context, stored, source, memory).empty();
      expect(loaded == (good == whole), "load_weight: %s of %" PRId64 " of %" PRId64 " bytes",
             loaded ? "a matrix" : "nothing", good, whole);
    }
    ops.release(ops.context, memory, size);
  }
}

void test_embedding(const Backends& backends, Random& random, int i) {
  const DType dtype = kStoredTypes[i % std::size(kStoredTypes)];
  const DType learned = kStoredTypes[random.between(0, std::size(kStoredTypes) - 1)];
  const DType typed = kStoredTypes[random.between(0, std::size(kStoredTypes) - 1)];
  const bool plain = random.chance(50), at_positions = !plain && random.chance(60);
  const bool has_types = !plain && random.chance(50);
  const int64_t block = std::max({block_values(dtype), at_positions ? block_values(learned) : 1,
                                  has_types ? block_values(typed) : 1});
  const int64_t cols = block * random.between(1, block == 1 ? 700 : 640 / block);
  const int64_t vocab = random.between(1, 50), n = random.between(1, backends.on_cpu() ? 90 : 20);
  const float scale = plain || random.chance(30) ? 1.0f : random.pick({48.0f, 33.25f, 0.1f});
  // Of each id one of so many rows.
  const int64_t step = random.chance(30) ? random.between(2, 4) : 1;
  const int64_t first = random.between(0, step - 1);
  const Table table(backends, random, dtype, vocab * step, cols);
  const std::vector<int32_t> ids = random_ids(random, n, vocab);
  const int64_t num_positions = random.between(1, 40);
  const std::vector<int32_t> positions = random_ids(random, n, num_positions);
  const Table learned_table(backends, random, learned, num_positions, at_positions ? cols : 256);
  const int64_t num_types = random.between(1, 3);
  const std::vector<int32_t> types = random_ids(random, n, num_types);
  const Table type_table(backends, random, typed, num_types, has_types ? cols : 256);
  const Memory its_ids = put(backends.ops(), ids), its_positions = put(backends.ops(), positions);
  const Memory its_types = put(backends.ops(), types);
  const Values out(backends, DType::kF32, n, cols);
  const auto got = run_everywhere(backends, out, "embedding", [&](const Ops& ops) {
    EmbeddingParams p{out.tensor(), table.loaded.tensor(ops), its_ids.as<int32_t>(), scale};
    p.id_step = step, p.id_first = first;
    if (at_positions) {
      p.position_table = learned_table.loaded.tensor(ops);
      p.positions = its_positions.as<int32_t>();
    }
    if (has_types) {
      p.type_table = type_table.loaded.tensor(ops);
      p.types = its_types.as<int32_t>();
    }
    ops.embedding(ops.context, p);
  });
  for (int64_t j = 0; j < n * cols; j++) {
    const int64_t t = j / cols, c = j % cols;
    const double product = table.values[ids[t] * step + first][c] * scale;
    const double add = at_positions ? learned_table.values[positions[t]][c] : 0;
    const double type = has_types ? type_table.values[types[t]][c] : 0;
    double tolerance = table.tolerance * scale + (at_positions ? learned_table.tolerance : 0) +
                       (has_types ? type_table.tolerance : 0);
    // Product and sum round to float, once each on the CPU; a device may round once for both. What
    // is neither scaled nor added to comes out bit for bit.
    if (!backends.on_cpu() && (scale != 1 || at_positions)) {
      tolerance += 0x1p-23 * (std::fabs(product) + std::fabs(add));
    }
    // The same where a table whose min is added makes the first sum another one.
    if (has_types && (tolerance > 0 || !backends.on_cpu())) {
      tolerance += 0x1p-23 * (std::fabs(product) + std::fabs(add) + std::fabs(type));
    }
    const float want =
        (static_cast<float>(product) + static_cast<float>(add)) + static_cast<float>(type);
    expect_near(dtype_name(dtype), got[j], want, tolerance);
  }
}

namespace {

// What float32 arithmetic may be off by, times `up`.
double act_tolerance(const Backends& backends, HiddenAct act, double x, double want) {
  const double relative = 1e-6 * std::fabs(want);
  if (!backends.on_cpu()) return relative + 1e-6 * std::fabs(x) + 1e-7;  // the device's own erf
  switch (act) {
    case HiddenAct::kGeluTanh:  // cancels for large negative values: 1 + tanh is near 0 there
      return relative + 2e-7 * std::fabs(x);
    case HiddenAct::kTanh:
      return 4e-7 * std::fabs(want) + 1e-30;
    case HiddenAct::kGelu:  // below −13.1 the tail is subnormal, and 0 here
      return relative + 1e-36;
    default:
      return relative + 1e-30;
  }
}

// What is no number stays none, and infinities go where the function does.
void activate_edges(const Backends& backends, HiddenAct act) {
  const Values out(backends, backends.type(), 1, 4);
  const float inf = std::numeric_limits<float>::infinity();
  const auto got = run_everywhere(
      backends, out, "activate",
      [&] {
        out.fill({kNaN, inf, -inf, 0});
      },
      [&](const Ops& ops) { ops.activate(ops.context, out.tensor(), out.tensor(), {}, act); });
  const bool bounded = act == HiddenAct::kSigmoid || act == HiddenAct::kTanh;
  const float top = bounded ? 1 : inf;
  expect(std::isnan(got[0]) && got[1] == top, "activate %d: %g, %g of NaN, inf",
         static_cast<int>(act), got[0], got[1]);
  const bool vanishes = act == HiddenAct::kRelu2 || (act == HiddenAct::kGelu && backends.on_cpu());
  expect(act != HiddenAct::kTanh || got[2] == -1, "activate: tanh is %g of -inf", got[2]);
  expect(!vanishes || got[2] == 0, "activate %d: %g of -inf", static_cast<int>(act), got[2]);
}

}  // namespace

void test_activate(const Backends& backends, Random& random, int i) {
  const HiddenAct act = static_cast<HiddenAct>(i % 6);
  activate_edges(backends, act);
  const DType type = backends.type();
  const int64_t rows = random.between(1, 60);
  const int64_t cols = backends.cols(random.between(1, backends.on_cpu() ? 900 : 100), 2);
  const int64_t n = rows * cols;
  const bool gated = random.chance(65), in_place = random.chance(50);
  std::vector<float> gate = random_values(random, type, n, act == HiddenAct::kSilu ? 20 : 4);
  const std::vector<float> up = random_values(random, type, n);
  for (float extreme :
       {0.0f, -0.0f, 88.0f, -60.0f, -87.5f, -100.0f, 1e18f, -1e30f, -13.0f, -1e-20f}) {
    // The cube of the tanh form, and what float16 holds.
    const bool large = std::fabs(extreme) > 100;
    if (large && (act == HiddenAct::kGeluTanh || type == DType::kF16)) continue;
    gate[random.between(0, n - 1)] = rounded(type, extreme);
  }
  const Values g(backends, type, rows, cols, gate), u(backends, type, rows, cols, up);
  const Values out(backends, type, rows, cols);
  const Values& to = in_place ? g : out;
  const auto got = run_everywhere(
      backends, to, "activate", [&] { g.fill(gate); },
      [&](const Ops& ops) {
        ops.activate(ops.context, to.tensor(), g.tensor(), gated ? u.tensor() : Tensor{}, act);
      });
  for (int64_t j = 0; j < n; j++) {
    const double by = gated ? up[j] : 1, x = gate[j], want = reference::activated(act, x);
    expect_stored("activate", type, got[j], want * by,
                  act_tolerance(backends, act, x, want) * std::fabs(by));
  }
}

void test_transform_logits(const Backends& backends, Random& random, int) {
  const int64_t rows = random.between(1, 9), cols = random.between(1, 3000), n = rows * cols;
  const float spread = random.pick({0.01f, 1.0f, 30.0f, 1000.0f});
  std::vector<float> logits = random_values(random, DType::kF32, n, spread);
  const float scale = random.pick({1.0f, 0.0625f, -2.0f, 1.7f});
  const float softcap = random.pick({0.0f, 0.0f, 1.0f, 30.0f, 50.0f});
  logits[random.between(0, n - 1)] = 0;
  const Values out(backends, DType::kF32, rows, cols);
  const auto got = run_everywhere(
      backends, out, "transform_logits", [&] { out.fill(logits); },
      [&](const Ops& ops) { ops.transform_logits(ops.context, out.tensor(), scale, softcap); });
  for (int64_t j = 0; j < n; j++) {
    const double want = reference::transformed_logit(logits[j], scale, softcap);
    expect_near("transform_logits", got[j], want, 1e-6 * std::fabs(want));
  }
  // A value alone, wherever it stood; and what is no number.
  const int64_t j = random.between(0, n - 1);
  const float inf = std::numeric_limits<float>::infinity();
  const Values one(backends, DType::kF32, 1, 1, {logits[j]});
  const Values edge(backends, DType::kF32, 1, 3, {kNaN, inf, -inf});
  const Ops& ops = backends.any(random);
  ops.transform_logits(ops.context, one.tensor(), scale, softcap);
  ops.transform_logits(ops.context, edge.tensor(), 0.5f, 30.0f);
  expect(one.read("transform_logits")[0] == got[j], "transform_logits: other bits alone");
  const auto capped = edge.read("transform_logits");
  expect(std::isnan(capped[0]) && capped[1] == 30 && capped[2] == -30,
         "transform_logits: no numbers");
}

void test_gather_rows(const Backends& backends, Random& random, int) {
  const DType type = random.pick({DType::kF32, backends.type()});
  const int64_t rows = random.between(1, 60), n = random.between(1, 90);
  const int64_t cols = backends.cols(random.between(1, backends.on_cpu() ? 900 : 200), 2);
  const std::vector<float> x = random_values(random, type, rows * cols);
  const std::vector<int32_t> wanted = random_ids(random, n, rows);
  const Values in(backends, type, rows, cols, x), out(backends, type, n, cols);
  const Memory ids = put(backends.ops(), wanted);
  const auto got = run_everywhere(backends, out, "gather_rows", [&](const Ops& ops) {
    ops.gather_rows(ops.context, out.tensor(), in.tensor(), ids.as<int32_t>());
  });
  for (int64_t r = 0; r < n; r++) {
    expect(std::memcmp(&got[r * cols], &x[wanted[r] * cols], cols * 4) == 0,
           "gather_rows: wrong row");
  }
}

namespace {

// Texts in a step, and their rows.
struct Texts {
  std::vector<int32_t> lengths, poolings;
  std::vector<std::vector<float>> rows;  // of each text [length, cols]
};

// The rows of some texts, in this order, pooled.
std::vector<float> pooled(const Backends& backends, const Texts& texts,
                          const std::vector<int>& order, int64_t cols, DType out_type, bool all) {
  std::vector<int32_t> starts = {0}, contexts, poolings, zeros, table_starts = {0};
  std::vector<float> values;
  for (int t : order) {
    starts.push_back(starts.back() + texts.lengths[t]);
    contexts.push_back(texts.lengths[t]);
    poolings.push_back(texts.poolings[t]);
    table_starts.push_back(0);
    values.insert(values.end(), texts.rows[t].begin(), texts.rows[t].end());
  }
  const int32_t n = starts.back(), num_seqs = static_cast<int32_t>(order.size());
  zeros.assign(static_cast<size_t>(n), 0);
  const std::vector<int64_t> slots(static_cast<size_t>(n), -1);
  BatchView batch;
  batch.num_seqs = num_seqs;
  batch.num_tokens = n;
  batch.token_ids = batch.positions = zeros.data();
  batch.query_start = starts.data();
  batch.context_len = contexts.data();
  batch.poolings = poolings.data();
  batch.groups[0] = {zeros.data(), table_starts.data(), slots.data()};
  // A model without anything to draw from.
  const ModelShape shape{64, 0, num_seqs, n, {1}, false, {64}, {}};
  const Values x(backends, backends.type(), n, cols, values);
  const Values out(backends, out_type, num_seqs, cols);
  const auto step = [&](const Ops& ops) {
    const char* why = ops.prepare(ops.context, shape);
    expect(why == nullptr, "prepare: %s", why);
    ops.pool_rows(ops.context, {out.tensor(), x.tensor()}, ops.begin_step(ops.context, batch));
    ops.end_step(ops.context);
  };
  if (all) return run_everywhere(backends, out, "pool_rows", step);
  step(backends.ops());
  return out.read("pool_rows");
}

}  // namespace

// A text has the same bits alone as beside others.
void test_pool_rows(const Backends& backends, Random& random, int) {
  const DType type = backends.type(), out_type = random.pick({DType::kF32, type});
  const int64_t cols = backends.cols(random.between(1, backends.on_cpu() ? 1200 : 90), 2);
  Texts texts;
  std::vector<int> order;
  for (int64_t t = random.between(1, 6); t > 0; t--) {
    const int64_t most = random.pick({3, 70, 200, 700});
    const int32_t length = random.chance(10) ? random.pick({63, 64, 65, 128, 512, 513})
                                             : static_cast<int32_t>(random.between(1, most));
    order.push_back(static_cast<int>(texts.lengths.size()));
    texts.lengths.push_back(length);
    texts.poolings.push_back(static_cast<int32_t>(random.pick({0, 0, 1, 2})));
    // All of one sign now and then: an error would add up.
    texts.rows.push_back(random_values(random, type, length * cols, random.pick({1.0f, 30.0f})));
    for (float& x : texts.rows.back()) x = rounded(type, t % 2 == 0 ? std::fabs(x) : x);
  }
  const std::vector<float> got = pooled(backends, texts, order, cols, out_type, true);
  for (size_t t = 0; t < order.size(); t++) {
    const int32_t length = texts.lengths[t];
    const Pooling how = static_cast<Pooling>(texts.poolings[t]);
    for (int64_t c = 0; c < cols; c++) {
      double sum = 0, size = 0;
      for (int32_t r = 0; r < length; r++) {
        if (how == Pooling::kFirst && r > 0) continue;
        if (how == Pooling::kLast && r + 1 < length) continue;
        sum += texts.rows[t][r * cols + c];
        size += std::fabs(texts.rows[t][r * cols + c]);
      }
      const double count = how == Pooling::kMean ? length : 1;
      const double tolerance = how == Pooling::kMean ? 32 * 0x1p-24 * size / count : 0;
      expect_stored("pool_rows", out_type, got[t * cols + c], sum / count, tolerance);
    }
    if (!random.chance(40)) continue;
    const auto alone = pooled(backends, texts, {static_cast<int>(t)}, cols, out_type, false);
    expect(std::memcmp(alone.data(), &got[t * cols], static_cast<size_t>(cols) * 4) == 0,
           "pool_rows: other bits alone");
  }
}

}  // namespace octavo::test
