// Samplers against float64: the distribution decides which token a known random number must give;
// logprobs, ranks and best tokens; rows that have nothing to draw from; counts and masks that stay.
#include "base/rng.h"
#include "native/backend_under_test.h"
#include "native/sample_draw.h"
#include "reference/sample_reference.h"

namespace octavo::test {
namespace {

constexpr int32_t kMaxSeqs = 90;

void prepare(const Ops& ops, int32_t vocab) {
  const char* why =
      ops.prepare(ops.context, {64, vocab, kMaxSeqs, 64, {4}, false, {64}, {{2, 1, 32}}});
  expect(why == nullptr, "prepare: %s", why);
}

// A step of nothing but draws, and what is to be done before them.
template <class Before>
void sample_step(const Ops& ops, const Tensor& logits, std::vector<Draw>& draws, Before before) {
  BatchView nothing;
  const int32_t starts[] = {0};
  nothing.query_start = nothing.groups[0].table_start = starts;
  ops.begin_step(ops.context, nothing);
  before();
  std::vector<SampleRow> rows;
  for (Draw& d : draws) rows.push_back(d.connect());
  ops.sample(ops.context, logits, rows.data(), static_cast<int32_t>(rows.size()));
  ops.end_step(ops.context);
}

// Near a border of top-k, top-p, min-p or of the cumulated distribution either side is right.
bool may_be_drawn(const std::vector<float>& logits, const Draw& d, int32_t token) {
  const SampleRow& r = d.row;
  constexpr double kClose = 2e-5;
  for (double nudge : {0.0, -kClose, kClose}) {
    SampleRow near = r;
    if (r.top_p < 1) near.top_p = r.top_p + nudge;
    if (r.min_p > 0) near.min_p = r.min_p * (1 + nudge);
    const std::vector<double> p = reference::distribution(logits, near, d.prompt, d.output, d.mask);
    if (p.empty()) return token < 0;
    const double u = uniform(r.seed, r.position);
    double before = 0;
    for (size_t i = 0; i < p.size(); i++) {
      const double after = before + p[i];
      if (static_cast<int32_t>(i) == token && p[i] > 0 && u >= before - kClose &&
          u < after + kClose) {
        return true;
      }
      before = after;
    }
  }
  return false;
}

// The row with −inf for what mask and lists forbid.
std::vector<float> drawable(const std::vector<float>& logits, const Draw& d) {
  const auto holds = [](const std::vector<int32_t>& ids, int32_t id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  std::vector<float> left = logits;
  for (size_t i = 0; i < left.size(); i++) {
    const int32_t id = static_cast<int32_t>(i);
    const bool masked = !d.mask.empty() && (d.mask[i / 32] >> (i % 32) & 1u) == 0;
    const bool barred = !d.allowed.empty() && !holds(d.allowed, id);
    if (masked || barred || holds(d.banned, id)) left[i] = -INFINITY;
  }
  return left;
}

void judge(const std::vector<float>& logits, const Draw& d, double tolerance) {
  const SampleRow& r = d.row;
  const bool usable =
      std::all_of(logits.begin(), logits.end(), [](float x) { return x < INFINITY; }) &&
      *std::max_element(logits.begin(), logits.end()) > -INFINITY;
  if (!usable) {
    expect(d.token == -1 && std::isnan(d.logprob), "sample: token %d from a useless row", d.token);
    return;
  }
  if (r.target >= 0) {
    expect(d.token == r.target, "sample: another token than asked about");
  } else {
    expect(may_be_drawn(logits, d, d.token),
           "sample: token %d (temperature %g, top_p %g, top_k %d, min_p %g)", d.token,
           r.temperature, r.top_p, r.top_k, r.min_p);
  }
  if (d.token < 0) return;
  const auto logprobs = reference::log_softmax(logits);
  if (std::isfinite(logits[d.token])) {
    expect_near("logprob", d.logprob, logprobs[d.token], tolerance * (1 + std::fabs(d.logprob)));
  }
  if (r.num_top < 0) return;
  int32_t rank = 1;
  for (float x : logits) rank += x > logits[d.token];
  expect(d.rank == rank, "sample: rank %d, want %d", d.rank, rank);
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const std::vector<float> listed = r.top_drawable ? drawable(logits, d) : logits;
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return listed[a] > listed[b]; });
  for (int32_t i = 0; i < r.num_top; i++) {
    expect(d.top_ids[i] == order[i], "sample: best token %d is %d, want %d", i, d.top_ids[i],
           order[i]);
    const double wanted = listed[order[i]] == -INFINITY ? -INFINITY : logprobs[order[i]];
    expect(d.top_logprobs[i] == wanted ||
               std::fabs(d.top_logprobs[i] - wanted) <= tolerance * (1 + std::fabs(wanted)),
           "sample: logprob %g of best token %d, want %g", d.top_logprobs[i], i, wanted);
  }
}

// What the draws' penalties look at, each in a row of its own, over a few calls: a row may have
// belonged to somebody before, and only the counts of its last beginning matter.
void count(Random& random, const Ops& ops, std::vector<Draw>& draws) {
  std::vector<TokenUpdate> first, second;
  for (size_t i = 0; i < draws.size(); i++) {
    Draw& d = draws[i];
    d.row.counted = static_cast<int32_t>(i);
    const int32_t prompt_len = static_cast<int32_t>(d.prompt.size());
    const int32_t output_len = static_cast<int32_t>(d.output.size());
    const int32_t early = static_cast<int32_t>(random.between(0, output_len));
    first.push_back({d.row.counted, true, prompt_len, early, d.prompt.data(), d.output.data()});
    if (early == output_len) continue;
    second.push_back(
        {d.row.counted, false, 0, output_len - early, nullptr, d.output.data() + early});
  }
  // What is left of one, an id at a time.
  std::vector<std::vector<TokenUpdate>> rest = {second};
  if (!second.empty()) {
    TokenUpdate slow = rest[0].back();
    rest[0].pop_back();
    for (int32_t n = slow.output_len; n > 0; n--, slow.output++) {
      slow.output_len = 1;
      rest.push_back({slow});
    }
  }
  std::vector<TokenUpdate> before = first;
  for (TokenUpdate& u : before) u.row = static_cast<int32_t>(first.size()) - 1 - u.row;
  rest.insert(rest.begin(), {before, first});
  for (const auto& updates : rest) {
    if (updates.empty()) continue;
    ops.count_tokens(ops.context, updates.data(), static_cast<int32_t>(updates.size()));
  }
}

// The draws' masks, each in a row of its own that held another before.
void mask(const Ops& ops, std::vector<Draw>& draws, int32_t vocab) {
  const std::vector<uint32_t> all(static_cast<size_t>(vocab + 31) / 32, ~0u);
  std::vector<MaskUpdate> before, now;
  for (Draw& d : draws) {
    if (d.mask.empty()) continue;
    d.row.mask_row = static_cast<int32_t>(draws.size() - now.size()) - 1;
    before.push_back({d.row.mask_row, all.data()});
    now.push_back({d.row.mask_row, d.mask.data()});
  }
  for (const auto* updates : {&before, &now}) {
    ops.set_masks(ops.context, updates->data(), static_cast<int32_t>(updates->size()));
  }
}

// Of every backend and of any of the draws alone, in a later step: the same answers.
void sample_case(const Backends& backends, Random& random) {
  const int32_t vocab = static_cast<int32_t>(random.pick({1, 2, 31, 600, 1500, 4097}));
  const int64_t rows = random.between(1, 6);
  std::vector<std::vector<float>> logits;
  std::vector<float> all;
  for (int64_t i = 0; i < rows; i++) {
    std::vector<float> row = random_logits(random, vocab);
    if (random.chance(10)) row[random.between(0, vocab - 1)] = random.chance(50) ? kNaN : INFINITY;
    if (random.chance(5)) row.assign(row.size(), -INFINITY);
    logits.push_back(row);
    all.insert(all.end(), row.begin(), row.end());
  }
  std::vector<Draw> draws, first;
  for (int64_t n = random.between(1, kMaxSeqs); n > 0; n--) {
    draws.push_back(random_draw(random, vocab, backends.on_cpu()));
    draws.back().row.logits_row = random.between(0, rows - 1);
  }
  const Values values(backends, DType::kF32, rows, vocab, all);
  for (const auto& backend : backends.all) {
    const Ops& ops = backend->ops();
    prepare(ops, vocab);
    sample_step(ops, values.tensor(), draws, [&] {
      count(random, ops, draws);
      mask(ops, draws, vocab);
    });
    if (first.empty()) first = draws;
    for (size_t i = 0; i < draws.size(); i++) {
      expect(draws[i].same_answer(first[i]), "sample: %s with %d threads gives another answer",
             ops.isa, backend->num_threads());
    }
    const size_t at =
        static_cast<size_t>(random.between(0, static_cast<int64_t>(first.size()) - 1));
    std::vector<Draw> one = {first[at]};
    sample_step(ops, values.tensor(), one, [] {});
    expect(one[0].same_answer(first[at]), "sample: another answer alone (%s)", ops.isa);
  }
  expect(values.bits("sample") == narrowed(DType::kF32, all), "sample: the logits were changed");
  for (const Draw& d : first) {
    judge(logits[static_cast<size_t>(d.row.logits_row)], d, backends.on_cpu() ? 1e-6 : 1e-5);
  }
}

// The penalties make every token's logit the same but one's, so a single count that is wrong
// shows: too few with the positive ones, too many with the negative.
void counts_case(const Backends& backends, Random& random) {
  const int32_t vocab = static_cast<int32_t>(random.pick({33, 700, 1500}));
  const auto ids = [&](int64_t most) { return some_ids(random, vocab, most, false); };
  const std::vector<int32_t> prompt = ids(2 * vocab), output = ids(3 * vocab), stale = ids(vocab);
  std::vector<float> times(static_cast<size_t>(vocab)), seen(times.size());
  for (int32_t id : prompt) seen[static_cast<size_t>(id)] = 1;
  for (int32_t id : output) times[static_cast<size_t>(id)]++, seen[static_cast<size_t>(id)] = 1;

  constexpr int64_t kRows = 4;
  std::vector<Draw> draws(kRows);
  std::vector<float> logits;
  std::vector<int32_t> wanted;
  for (size_t i = 0; i < draws.size(); i++) {
    SampleRow& r = draws[i].row;
    const double sign = i % 2 == 0 ? 1 : -1;
    r.logits_row = static_cast<int64_t>(i);
    r.temperature = 0;
    r.counted = 0;
    if (i < 2) r.frequency = sign;
    if (i >= 2) r.repetition = sign > 0 ? 2 : 0.5;
    wanted.push_back(static_cast<int32_t>(random.between(0, vocab - 1)));
    for (int32_t id = 0; id < vocab; id++) {
      const size_t at = static_cast<size_t>(id);
      const double level = id == wanted[i] ? 1.5 : 1;
      const double penalised = seen[at] != 0 ? level * r.repetition : level;
      logits.push_back(static_cast<float>(penalised + r.frequency * times[at]));
    }
  }

  const int32_t num_stale = static_cast<int32_t>(stale.size());
  const TokenUpdate before{0, true, num_stale, num_stale, stale.data(), stale.data()};
  const TokenUpdate now{0,
                        true,
                        static_cast<int32_t>(prompt.size()),
                        static_cast<int32_t>(output.size()),
                        prompt.data(),
                        output.data()};
  const Values values(backends, DType::kF32, kRows, vocab, logits);
  for (const auto& backend : backends.all) {
    const Ops& ops = backend->ops();
    prepare(ops, vocab);
    sample_step(ops, values.tensor(), draws, [&] {
      for (const TokenUpdate* update : {&before, &now}) ops.count_tokens(ops.context, update, 1);
    });
    for (size_t i = 0; i < draws.size(); i++) {
      expect(draws[i].token == wanted[i], "counts: token %d of draw %zu, want %d of %d",
             draws[i].token, i, wanted[i], vocab);
    }
  }
}

// A mask stays until it is set again, whatever other rows are named; raw figures do not know it.
void masks_stay(const Backends& backends) {
  constexpr int32_t kVocab = 70;
  std::vector<float> logits;
  for (int32_t i = 0; i < kVocab; i++) logits.push_back(static_cast<float>(i % 64));
  const Values values(backends, DType::kF32, 1, kVocab, logits);
  for (const auto& backend : backends.all) {
    const Ops& ops = backend->ops();
    prepare(ops, kVocab);
    const auto set = [&](int32_t row, const std::vector<uint32_t>& bits) {
      const MaskUpdate update{row, bits.data()};
      ops.set_masks(ops.context, &update, 1);
    };
    const std::vector<uint32_t> three = {0x80000001u, 0, 1u << 3}, first = {1, 0, 0},
                                beyond = {0, 0, 0xffffffc0u};  // the vocabulary
    std::vector<Draw> draws(3);
    for (Draw& d : draws)
      d.row.temperature = 0, d.row.num_top = 2, d.row.mask_row = 1, d.mask = three;
    draws[1].row.mask_row = 40, draws[1].mask = first;
    draws[2].row.target = 50;
    sample_step(ops, values.tensor(), draws, [&] {
      set(1, three);
      set(40, first);
      set(0, first);
    });
    const Draw& d = draws[0];
    expect(d.token == 31 && d.rank == 33 && d.top_ids[0] == 63, "a mask of three tokens");
    expect(draws[1].token == 0, "a mask of one token");
    expect(draws[2].token == 50, "a masked target is reported on");
    for (const Draw& each : draws) judge(logits, each, 1e-5);
    sample_step(ops, values.tensor(), draws, [&] { set(1, beyond); });
    expect(d.token == -1 && std::isnan(d.logprob), "drawn from nothing but a mask");
  }
}

}  // namespace

// count_tokens and set_masks are seen through what is drawn.
void test_sample(const Backends& backends, Random& random, int i) {
  sample_case(backends, random);
  counts_case(backends, random);
  if (i == 0) masks_stay(backends);
}

}  // namespace octavo::test
