// short_conv and linear_attention against float64, and against themselves: however the tokens of
// some sequences are dealt to steps, whoever shares states and records, every token has the bits of
// one that was computed alone with all before it. What nobody may read is NaN.
#include <algorithm>

#include "native/recurrent_case.h"

namespace octavo::test {
namespace {

using Case = RecurrentCase;
using Outputs = RecurrentOutputs;

// Runs a case's texts by steps, keeping states and records as an engine does: in any free place,
// shared by counts, and poisoned as soon as nobody holds them.
class Keeper {
 public:
  Keeper(const Backends& backends, const Ops& ops, const Case& c, Random& random)
      : backends_(backends),
        ops_(ops),
        c_(c),
        random_(random),
        slots_(2 * static_cast<int64_t>(c.texts.size()) + 1, c.shape.state_floats() + kGap),
        records_(kChunk * 2 * static_cast<int64_t>(c.texts.size()), c.shape.record_floats() + kGap),
        weight_(put(ops, c.weight)),
        bias_(put(ops, c.bias)),
        decay_(put(ops, c.decay)),
        dt_bias_(put(ops, c.dt_bias)),
        skip_(put(ops, c.skip)),
        sequences_(c.texts.size()) {
    prepare();
    std::fill_n(slots_.values.begin() + kGap / 2, c.shape.state_floats(), 0.0f);
    slots_.counts[0] = kForever;
    outputs.resize(c.texts.size());
    for (size_t t = 0; t < c.texts.size(); t++) {
      const Case::Text& text = c.texts[t];
      outputs[t] = {text.q, text.k, text.v, std::vector<float>(text.v.size(), kNaN)};
    }
  }

  int32_t computed(size_t text) const { return sequences_[text].computed; }
  // The next n tokens of some texts, in one step.
  void step(const std::vector<std::pair<size_t, int32_t>>& queries);
  // A text begins where the first one stands, with what that has.
  void fork(size_t text) {
    release(text);
    sequences_[text] = sequences_[0];
    slots_.counts[sequences_[0].slot]++;
    for (const int32_t id : sequences_[0].records) records_.counts[id]++;
    const RecurrentShape& s = c_.shape;
    const auto take = [&](int64_t width, std::vector<float> Outputs::*of) {
      std::copy_n((outputs[0].*of).begin(), computed(0) * width, (outputs[text].*of).begin());
    };
    for (const auto of : {&Outputs::q, &Outputs::k}) take(s.key_width(), of);
    for (const auto of : {&Outputs::v, &Outputs::out}) take(s.value_width(), of);
  }
  // Behind the last border of a text.
  std::vector<float> state(size_t text) const { return slots_.of(sequences_[text].slot); }
  void expect_clean() const {
    const std::vector<float> zeros = slots_.of(0);
    expect(std::all_of(zeros.begin(), zeros.end(), [](float x) { return x == 0; }),
           "the zero state is written");
    slots_.expect_clean("a state");
    records_.expect_clean("a record");
  }

  std::vector<Outputs> outputs;

 private:
  static constexpr int32_t kForever = 1 << 20;
  static constexpr int64_t kGap = 22;  // what other layers have, on both sides

  struct Pool {
    Pool(int64_t n, int64_t s)
        : stride(s), counts(static_cast<size_t>(n)), values(static_cast<size_t>(n * s), kNaN) {}
    int32_t take(Random& random) {
      for (;;) {
        const int64_t id = random.between(0, static_cast<int64_t>(counts.size()) - 1);
        if (counts[id] == 0) return counts[id] = 1, static_cast<int32_t>(id);
      }
    }
    void release(int32_t id) {
      if (--counts[id] == 0) std::fill_n(values.begin() + id * stride, stride, kNaN);
    }
    std::vector<float> of(int32_t id) const {
      const auto at = values.begin() + id * stride + kGap / 2;
      return {at, at + stride - kGap};
    }
    void expect_clean(const char* what) const {
      for (size_t id = 0; id < counts.size(); id++) {
        for (int64_t i = 0; i < stride; i++) {
          const bool gap = i < kGap / 2 || i >= stride - kGap / 2;
          const float value = values[id * stride + i];
          expect(!gap || std::isnan(value), "something is written beside %s", what);
          expect(counts[id] > 0 || std::isnan(value), "%s that nobody holds is written", what);
        }
      }
    }
    int64_t stride;
    std::vector<int32_t> counts;
    std::vector<float> values;
  };
  struct Sequence {
    int32_t slot = 0, computed = 0;
    std::vector<int32_t> records;
  };
  struct Step {
    std::vector<int32_t> query_start = {0}, context_len, state_in, state_out, old_records,
                         new_records;
  };

  // For some model that has recurrent layers: ops have all sizes, also those no model may have.
  void prepare() const {
    int32_t tokens = 3;
    for (const Case::Text& text : c_.texts) tokens += text.length;
    ModelShape shape{64, 0, static_cast<int32_t>(c_.texts.size()), tokens, {}, false, {64}, {}};
    shape.recurrents = {{{1, 1, 8, 8}, 8}};
    const char* const why = ops_.prepare(ops_.context, shape);
    expect(why == nullptr, "prepare: %s", why);
  }
  void release(size_t text) {
    Sequence& s = sequences_[text];
    slots_.release(s.slot);
    for (const int32_t id : s.records) records_.release(id);
    s = {};
  }
  void plan(Step& step, size_t text, int32_t n);
  void run(const Step& step, const std::vector<std::pair<size_t, int32_t>>& queries);
  void commit(size_t text, const Step& step, size_t i);

  const Backends& backends_;
  const Ops& ops_;
  const Case& c_;
  Random& random_;
  Pool slots_, records_;
  const Memory weight_, bias_, decay_, dt_bias_, skip_;
  std::vector<Sequence> sequences_;
};

void Keeper::plan(Step& step, size_t text, int32_t n) {
  const Sequence& s = sequences_[text];
  const int32_t start = s.computed, end = start + n;
  step.query_start.push_back(step.query_start.back() + n);
  step.context_len.push_back(end);
  step.state_in.push_back(s.slot);
  const bool alone = s.slot != 0 && slots_.counts[s.slot] == 1;
  int32_t out = -1;
  if (border_of(end) > border_of(start)) {
    out = alone && random_.chance(60) ? s.slot : slots_.take(random_);
  }
  step.state_out.push_back(out);
  for (int32_t i = 0; i < kChunk; i++) {
    const bool old = i < static_cast<int32_t>(s.records.size());
    step.old_records.push_back(old ? s.records[i] : -1);
  }
  for (int32_t p = start; p < end; p++) {
    step.new_records.push_back(p < border_of(end) ? -1 : records_.take(random_));
  }
}

void Keeper::run(const Step& step, const std::vector<std::pair<size_t, int32_t>>& queries) {
  const RecurrentShape& s = c_.shape;
  const int32_t n = step.query_start.back(), padding = random_.pick({0, 0, 3});
  // The rows of this step of one of the inputs or outputs, and back.
  const auto rows = [&](int64_t width, auto of) {
    std::vector<float> out;
    for (const auto& [text, length] : queries) {
      const auto at = of(text).begin() + computed(text) * width;
      out.insert(out.end(), at, at + length * width);
    }
    out.resize((n + padding) * width, kNaN);
    return out;
  };
  const auto values = [&](DType type, int64_t width, auto of) {
    return Values(backends_, type, n + padding, width, rows(width, of));
  };
  const DType a = backends_.type();
  const Values q = values(
                   a, s.key_width(), [&](size_t t) -> auto& { return outputs[t].q; }),
               k = values(
                   a, s.key_width(), [&](size_t t) -> auto& { return outputs[t].k; }),
               v = values(
                   a, s.value_width(), [&](size_t t) -> auto& { return outputs[t].v; }),
               out = values(
                   a, s.value_width(), [&](size_t t) -> auto& { return outputs[t].out; });
  const auto gate = [&](std::vector<float> Case::Text::*of) {
    return values(
        DType::kF32, s.num_value_heads, [&](size_t t) -> auto& { return c_.texts[t].*of; });
  };
  const Values beta = gate(&Case::Text::beta), dt = gate(&Case::Text::dt);
  const Memory states = put(ops_, slots_.values), records = put(ops_, records_.values);
  const RecurrentView kept{s, states.as<float>() + kGap / 2, records.as<float>() + kGap / 2,
                           slots_.stride, records_.stride};
  BatchView batch;
  batch.num_seqs = static_cast<int32_t>(queries.size());
  batch.num_tokens = n + padding;
  batch.query_start = step.query_start.data();
  batch.context_len = step.context_len.data();
  batch.state_in = step.state_in.data();
  batch.state_out = step.state_out.data();
  batch.old_records = step.old_records.data();
  std::vector<int32_t> new_records = step.new_records;
  new_records.resize(n + padding, -1);
  batch.new_records = new_records.data();
  const std::vector<int32_t> zeros(new_records.size());
  batch.token_ids = batch.positions = zeros.data();
  batch.num_groups = 0;
  const BatchView there = ops_.begin_step(ops_.context, batch);
  const float* const bias = c_.has_bias ? bias_.as<float>() : nullptr;
  ops_.short_conv(ops_.context, {q.tensor(), k.tensor(), v.tensor(), weight_.as<float>(), bias},
                  kept, there);
  const auto back = [&](const Values& from, int64_t width, std::vector<float> Outputs::*of) {
    const std::vector<float> all = from.read("recurrent");
    int64_t at = 0;
    for (const auto& [text, length] : queries) {
      std::copy_n(all.begin() + at, length * width,
                  (outputs[text].*of).begin() + computed(text) * width);
      at += length * width;
    }
    for (; at < static_cast<int64_t>(all.size()); at++) {
      expect(std::isnan(all[at]), "padding is written");
    }
  };
  back(q, s.key_width(), &Outputs::q);
  back(k, s.key_width(), &Outputs::k);
  back(v, s.value_width(), &Outputs::v);
  if (s.has_heads()) {
    LinearAttentionParams p{out.tensor(), q.tensor(), k.tensor(), v.tensor(), {}, dt.tensor()};
    if (c_.is(RecurrentKind::kDelta)) p.beta = beta.tensor();
    p.decay = decay_.as<float>(), p.dt_bias = dt_bias_.as<float>();
    p.skip = c_.skip.empty() ? nullptr : skip_.as<float>();
    p.dt_min = c_.dt_min, p.dt_max = c_.dt_max;
    ops_.linear_attention(ops_.context, p, kept, there);
  }
  back(out, s.value_width(), &Outputs::out);
  ops_.end_step(ops_.context);
  slots_.values = states.read<float>();
  records_.values = records.read<float>();
}

void Keeper::commit(size_t text, const Step& step, size_t i) {
  Sequence& s = sequences_[text];
  const int32_t out = step.state_out[i];
  const int32_t first = std::max(s.computed, border_of(step.context_len[i]));
  if (out >= 0) {
    for (const int32_t id : s.records) records_.release(id);
    s.records.clear();
    if (out != s.slot) slots_.release(s.slot);
    s.slot = out;
  }
  const auto at = step.new_records.begin() + step.query_start[i] + (first - s.computed);
  s.records.insert(s.records.end(), at, step.new_records.begin() + step.query_start[i + 1]);
  s.computed = step.context_len[i];
}

void Keeper::step(const std::vector<std::pair<size_t, int32_t>>& queries) {
  Step step;
  for (const auto& [text, n] : queries) plan(step, text, n);
  run(step, queries);
  for (size_t i = 0; i < queries.size(); i++) commit(queries[i].first, step, i);
}

// In steps of any lengths, of any texts; forks begin where they part from the first.
void run_dealt(Keeper& keeper, const Case& c, Random& random) {
  std::vector<bool> begun(c.texts.size());
  const bool by_token = random.chance(20);
  for (;;) {
    std::vector<std::pair<size_t, int32_t>> queries;
    bool left = false;
    for (size_t t = 0; t < c.texts.size(); t++) {
      if (!begun[t] && c.texts[t].shared > 0) {
        left = true;
        if (keeper.computed(0) != c.texts[t].shared) continue;
        keeper.fork(t);
      }
      begun[t] = true;
      int32_t most = c.texts[t].length - keeper.computed(t);
      if (t == 0) {  // not past where one that waits parts from it
        for (size_t f = 1; f < c.texts.size(); f++) {
          const int32_t ahead = c.texts[f].shared - keeper.computed(0);
          if (!begun[f] && ahead > 0) most = std::min(most, ahead);
        }
      }
      left = left || most > 0;
      if (most == 0 || random.chance(20)) continue;
      const int32_t n = by_token ? 1 : random.pick({1, 2, 5, kChunk, 30, 200});
      queries.push_back({t, std::min(most, n)});
    }
    if (!left) return;
    std::shuffle(queries.begin(), queries.end(), random.engine());
    if (!queries.empty()) keeper.step(queries);
  }
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * 4) == 0);
}

}  // namespace

void test_recurrent(const Backends& backends, Random& random, int i) {
  const Case c = random_recurrent_case(random, i, backends.type());
  Keeper alone(backends, backends.ops(), c, random);
  for (size_t t = 0; t < c.texts.size(); t++) {
    alone.step({{t, c.texts[t].length}});
    judge_convolution(c, c.texts[t], alone.outputs[t]);
    if (c.shape.has_heads()) judge_heads(c, c.texts[t], alone.outputs[t], alone.state(t));
  }
  alone.expect_clean();
  for (const auto& backend : backends.all) {
    Keeper keeper(backends, backend->ops(), c, random);
    run_dealt(keeper, c, random);
    keeper.expect_clean();
    for (size_t t = 0; t < c.texts.size(); t++) {
      const Outputs &a = alone.outputs[t], &b = keeper.outputs[t];
      const char* const isa = backend->ops().isa;
      expect(same_bits(a.q, b.q) && same_bits(a.k, b.k) && same_bits(a.v, b.v),
             "case %d: short_conv by %s has other bits in text %zu", i, isa, t);
      expect(same_bits(a.out, b.out), "case %d: linear_attention by %s has other bits in text %zu",
             i, isa, t);
      expect(same_bits(alone.state(t), keeper.state(t)), "case %d: another state by %s", i, isa);
    }
  }
}

// The three forms of the recurrence are one.
void test_delta_forms(Random& random) {
  for (int i = 0; i < 12; i++) {
    const size_t tokens = static_cast<size_t>(random.pick<int64_t>({1, 63, 64, 65, 150}));
    const size_t key_size = static_cast<size_t>(random.between(1, 24));
    const size_t value_size = static_cast<size_t>(random.between(1, 24));
    reference::DeltaHead h;
    const double decay = random.pick({0.0, 0.01, 1.0, 8.0});
    for (size_t t = 0; t < tokens; t++) {
      const auto row = [&](size_t n) { return random_floats(random, static_cast<int64_t>(n), 1); };
      h.q.push_back(reference::unit(row(key_size).data(), static_cast<int64_t>(key_size), 0.3));
      h.k.push_back(reference::unit(row(key_size).data(), static_cast<int64_t>(key_size), 1));
      const std::vector<float> v = row(value_size);
      h.v.emplace_back(v.begin(), v.end());
      h.beta.push_back(reference::sigmoid(random.normal()));
      h.g.push_back(-decay * reference::softplus(random.normal()));
    }
    const auto by_token = reference::delta_by_token(h);
    for (const auto& other : {reference::delta_by_solving(h), reference::delta_by_records(h)}) {
      double most = 0;
      const auto compare = [&](const reference::Rows& a, const reference::Rows& b) {
        for (size_t r = 0; r < a.size(); r++) {
          for (size_t d = 0; d < a[r].size(); d++) {
            most = std::fmax(most, std::fabs(a[r][d] - b[r][d]));
          }
        }
      };
      compare(by_token.out, other.out);
      compare(by_token.state, other.state);
      expect(most <= 1e-10, "forms of the recurrence differ by %g over %zu tokens", most, tokens);
    }
  }
}

}  // namespace octavo::test
