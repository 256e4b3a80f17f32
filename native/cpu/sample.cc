// One row of logits to one token, in O(V): no sort of the vocabulary. A row is worked on by one
// thread with its own scratch, so its bits depend on nothing but the row and its parameters.
#include "cpu/sample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/rng.h"
#include "cpu/cpu_ops.h"
#include "cpu/kernels.h"

namespace octavo {
namespace {

constexpr double kNegInf = -INFINITY;

// Logits, and the best of them.
struct Logits {
  const float* x;
  int32_t n;
  bool usable = false;  // finite somewhere, NaN and +inf nowhere
  int32_t best = 0;     // the first largest
  float max = 0;
};

Logits read_logits(const CpuKernels& kernels, const float* x, int32_t n) {
  Logits logits{x, n};
  logits.max = kernels.row_max(x, n);
  if (!std::isfinite(logits.max)) return logits;
  int32_t best = 0;
  while (x[best] != logits.max) ++best;
  logits.best = best;
  logits.usable = true;
  return logits;
}

// log Σ e^logit
double log_sum(const CpuKernels& kernels, const Logits& raw) {
  return static_cast<double>(raw.max) + std::log(kernels.exp_sum(raw.x, raw.n, raw.max));
}

// What a thread needs for one row of `vocab` tokens.
struct Workspace {
  double* value;   // logits after lists and penalties
  float* weight;   // unnormalised probability; 0 = cannot be drawn
  double* select;  // for selections
  int32_t* order;  // for sorting
  float* masked;   // logits that a mask leaves; where selections will come

  static size_t bytes(int64_t vocab) { return static_cast<size_t>(vocab) * 24; }
  Workspace(void* data, int64_t v)
      : value(static_cast<double*>(data)),
        weight(reinterpret_cast<float*>(value + 2 * v)),
        select(value + v),
        order(reinterpret_cast<int32_t*>(weight + v)),
        masked(reinterpret_cast<float*>(select)) {}
};

// The row as its mask leaves it.
Logits apply_mask(const CpuContext& c, const Logits& raw, int32_t mask_row, const Workspace& w) {
  c.kernels->apply_mask(raw.x, raw.n, &c.masks.bits[mask_row * c.masks.words], w.masked);
  return read_logits(*c.kernels, w.masked, raw.n);
}

bool is_plain(const SampleRow& r) {
  return r.num_allowed < 0 && r.num_banned == 0 && r.num_bias == 0 && !has_penalties(r);
}

void apply_penalties(const SampleRow& r, const TokenCounts& counts, double* value) {
  for (const auto& [id, count] : counts.entries()) {
    double& x = value[id];
    if (r.repetition != 1) x = x > 0 ? x / r.repetition : x * r.repetition;
    if (count > 0) x -= r.frequency * count + r.presence;
  }
}

// Lists, bias and penalties, in the order of ops.h.
void adjust(const Logits& logits, const SampleRow& r, const TokenCounts* counts,
            const Workspace& w) {
  if (r.num_allowed >= 0) {
    std::fill_n(w.value, logits.n, kNegInf);
    for (int32_t i = 0; i < r.num_allowed; ++i) w.value[r.allowed[i]] = logits.x[r.allowed[i]];
  } else {
    std::copy_n(logits.x, logits.n, w.value);
  }
  for (int32_t i = 0; i < r.num_banned; ++i) w.value[r.banned[i]] = kNegInf;
  for (int32_t i = 0; i < r.num_bias; ++i) w.value[r.bias_ids[i]] += r.bias[i];
  if (counts != nullptr && has_penalties(r)) apply_penalties(r, *counts, w.value);
}

// The k-th largest of values whose weight is not 0; −inf when there are fewer than k.
double kth_largest(const Workspace& w, int32_t vocab, int32_t k) {
  int32_t n = 0;
  for (int32_t i = 0; i < vocab; ++i) {
    if (w.weight[i] > 0) w.select[n++] = w.value[i];
  }
  if (n <= k) return kNegInf;
  std::nth_element(w.select, w.select + (k - 1), w.select + n, std::greater<double>());
  return w.select[k - 1];
}

// Keeps the smallest set, best first (ties: lower id), whose mass reaches top_p. Weights lie in
// (0, 1]: buckets by exponent and four bits of mantissa find the border, only its own bucket is
// sorted.
void keep_top_p(const Workspace& w, int32_t vocab, double top_p) {
  constexpr int kBuckets = 128 * 16;
  double mass[kBuckets] = {};
  double total = 0;
  const auto bucket_of = [](float weight) {
    uint32_t bits;
    std::memcpy(&bits, &weight, 4);
    return static_cast<int>(std::min<uint32_t>(bits >> 19, kBuckets - 1));
  };
  for (int32_t i = 0; i < vocab; ++i) {
    mass[bucket_of(w.weight[i])] += w.weight[i];
    total += w.weight[i];
  }
  const double wanted = top_p * total;
  double before = 0;
  int border = kBuckets - 1;
  while (border > 0 && before + mass[border] < wanted) before += mass[border--];
  int32_t n = 0;
  for (int32_t i = 0; i < vocab; ++i) {
    if (w.weight[i] == 0) continue;
    const int bucket = bucket_of(w.weight[i]);
    if (bucket == border) w.order[n++] = i;
    if (bucket < border) w.weight[i] = 0;
  }
  std::sort(w.order, w.order + n, [&](int32_t a, int32_t b) {
    return w.value[a] != w.value[b] ? w.value[a] > w.value[b] : a < b;
  });
  for (int32_t i = 0; i < n; ++i) {
    const float weight = w.weight[w.order[i]];
    if (before >= wanted && before > 0) w.weight[w.order[i]] = 0;
    before += weight;
  }
}

// The weights of a row that nothing adjusts. w.value only where it is asked for.
void weigh_plain(const CpuKernels& kernels, const Logits& logits, const SampleRow& r,
                 const Workspace& w) {
  kernels.exp_weights(logits.x, logits.n, logits.max, static_cast<float>(1 / r.temperature),
                      w.weight);
  if (r.top_k > 0 || r.top_p < 1) std::copy_n(logits.x, logits.n, w.value);
}

// The same through w.value; false when there is nothing to draw from. *best gets the first largest.
bool weigh_adjusted(const CpuContext& c, const Logits& logits, const SampleRow& r,
                    const Workspace& w, int32_t* best) {
  const auto counted = static_cast<size_t>(r.counted);
  adjust(logits, r, r.counted < 0 ? nullptr : &c.token_counts[counted], w);
  const int32_t vocab = logits.n;
  double max = kNegInf;
  for (int32_t i = 0; i < vocab; ++i) {
    if (w.value[i] > max) max = w.value[i], *best = i;
  }
  if (!std::isfinite(max)) return false;
  if (r.temperature == 0) return true;
  for (int32_t i = 0; i < vocab; ++i) {
    w.weight[i] = static_cast<float>(std::max(w.value[i] - max, -1e30));
  }
  c.kernels->exp_weights(w.weight, vocab, 0, static_cast<float>(1 / r.temperature), w.weight);
  return true;
}

// Fills w.weight; false when there is nothing to draw from. logits: those that the mask leaves.
bool weigh(const CpuContext& c, const Logits& logits, const SampleRow& r, const Workspace& w) {
  const int32_t vocab = logits.n;
  int32_t best = logits.best;
  if (!logits.usable) return false;
  if (is_plain(r) && r.temperature != 0) {
    weigh_plain(*c.kernels, logits, r, w);
  } else if (!weigh_adjusted(c, logits, r, w, &best)) {
    return false;
  }
  if (r.temperature == 0) {
    std::fill_n(w.weight, vocab, 0.0f);
    w.weight[best] = 1;
    return true;
  }
  if (r.min_p > 0) {
    // The best has weight 1, so this is the share of the best.
    const float least = static_cast<float>(r.min_p);
    for (int32_t i = 0; i < vocab; ++i) w.weight[i] = w.weight[i] < least ? 0 : w.weight[i];
    w.weight[best] = 1;
  }
  if (r.top_k > 0 && r.top_k < vocab) {
    const double edge = kth_largest(w, vocab, r.top_k);
    for (int32_t i = 0; i < vocab; ++i) {
      if (w.value[i] < edge) w.weight[i] = 0;
    }
  }
  if (r.top_p < 1) keep_top_p(w, vocab, r.top_p);
  return true;
}

// Sums of blocks find the block, its weights one by one the token.
int32_t draw(const CpuKernels& kernels, const Workspace& w, int32_t vocab, double u) {
  constexpr int32_t kBlock = static_cast<int32_t>(kSampleBlock);
  const auto length = [&](int32_t begin) { return std::min(kBlock, vocab - begin); };
  double total = 0;
  for (int32_t b = 0; b < vocab; b += kBlock) {
    total += kernels.block_sum(w.weight + b, length(b));
  }
  const double wanted = u * total;
  double before = 0;
  int32_t last = -1;
  for (int32_t b = 0; b < vocab; b += kBlock) {
    const double block = kernels.block_sum(w.weight + b, length(b));
    if (block == 0) continue;
    double sum = before;
    before += block;
    const bool here = before > wanted;
    for (int32_t i = b; i < b + length(b); ++i) {
      if (w.weight[i] == 0) continue;
      last = i;
      if (!here) continue;
      sum += w.weight[i];
      if (sum > wanted) return i;
    }
    if (here) return last;  // rounding: one by one the sum stopped just short
  }
  return last;  // or the blocks' did
}

int32_t choose(const CpuContext& c, const Logits& raw, const SampleRow& r, const Workspace& w) {
  const Logits logits = r.mask_row < 0 ? raw : apply_mask(c, raw, r.mask_row, w);
  if (r.temperature == 0 && is_plain(r)) return logits.usable ? logits.best : -1;
  if (!weigh(c, logits, r, w)) return -1;
  return draw(*c.kernels, w, logits.n, uniform(r.seed, r.position));
}

// The num_top best of a row, best first, ties lower id.
void report_top(const float* logits, int32_t vocab, double sum, const SampleRow& r,
                int32_t* order) {
  const auto better = [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  const int32_t n = r.num_top;
  int32_t kept = 0;  // order[0, kept) is a heap whose front is the worst
  for (int32_t i = 0; i < vocab; ++i) {
    if (kept < n) {
      order[kept++] = i;
      std::push_heap(order, order + kept, better);
    } else if (better(i, order[0])) {
      std::pop_heap(order, order + kept, better);
      order[kept - 1] = i;
      std::push_heap(order, order + kept, better);
    }
  }
  std::sort_heap(order, order + kept, better);
  for (int32_t i = 0; i < n; ++i) {
    r.top_ids[i] = order[i];
    r.top_logprobs[i] = logits[order[i]] - sum;
  }
}

// What of a row may be drawn, as it came; the rest is −inf.
const float* drawable(const CpuContext& c, const Logits& raw, const SampleRow& r,
                      const Workspace& w) {
  const Logits logits = r.mask_row < 0 ? raw : apply_mask(c, raw, r.mask_row, w);
  adjust(logits, r, r.counted < 0 ? nullptr : &c.token_counts[static_cast<size_t>(r.counted)], w);
  for (int32_t i = 0; i < raw.n; ++i) {
    w.weight[i] = w.value[i] == kNegInf ? static_cast<float>(kNegInf) : raw.x[i];
  }
  return w.weight;
}

void sample_row(const CpuContext& c, const float* logits, int32_t vocab, const SampleRow& r,
                const Workspace& w) {
  const Logits raw = read_logits(*c.kernels, logits, vocab);
  *r.token = -1;
  *r.logprob = NAN;
  if (!raw.usable) return;
  const int32_t token = r.target >= 0 ? r.target : choose(c, raw, r, w);
  if (token < 0) return;
  const double sum = log_sum(*c.kernels, raw);
  *r.token = token;
  *r.logprob = logits[token] - sum;
  if (r.num_top < 0) return;
  int32_t larger = 0;
  for (int32_t i = 0; i < vocab; ++i) larger += logits[i] > logits[token];
  *r.rank = 1 + larger;
  if (r.num_top == 0) return;
  report_top(r.top_drawable ? drawable(c, raw, r, w) : logits, vocab, sum, r, w.order);
}

}  // namespace

void cpu_count_tokens(void* context, const TokenUpdate* updates, int32_t num_updates) {
  std::vector<TokenCounts>& rows = cpu_context(context).token_counts;
  for (const TokenUpdate* u = updates; u < updates + num_updates; ++u) {
    OCTAVO_CHECK(u->row >= 0 && (u->begins || u->prompt_len == 0));
    const size_t row = static_cast<size_t>(u->row);
    if (row >= rows.size()) rows.resize(row + 1);
    if (u->begins) rows[row].clear();
    for (int32_t i = 0; i < u->prompt_len; ++i) rows[row].add(u->prompt[i], 0);
    for (int32_t i = 0; i < u->output_len; ++i) rows[row].add(u->output[i], 1);
  }
}

void cpu_set_masks(void* context, const MaskUpdate* updates, int32_t num_updates) {
  TokenMasks& masks = cpu_context(context).masks;
  for (const MaskUpdate* u = updates; u < updates + num_updates; ++u) {
    OCTAVO_CHECK(u->row >= 0 && u->row < masks.max_rows && masks.words > 0);
    const size_t words = static_cast<size_t>(masks.words), at = static_cast<size_t>(u->row) * words;
    if (masks.bits.size() < at + words) masks.bits.resize(at + words);
    std::copy_n(u->bits, words, &masks.bits[at]);
  }
}

void cpu_sample(void* context, Tensor logits, const SampleRow* rows, int32_t num_rows) {
  CpuContext& c = cpu_context(context);
  const int64_t mask_words = (logits.cols + 31) / 32;
  for (int32_t i = 0; i < num_rows; ++i) {
    const SampleRow& r = rows[i];
    OCTAVO_CHECK(r.counted < static_cast<int32_t>(c.token_counts.size()));
    if (r.mask_row < 0) continue;
    const size_t end = (static_cast<size_t>(r.mask_row) + 1) * static_cast<size_t>(mask_words);
    OCTAVO_CHECK(c.masks.words == mask_words && end <= c.masks.bits.size());
  }
  const int32_t vocab = static_cast<int32_t>(logits.cols);
  for (Scratch& scratch : c.worker_scratch) scratch.get(Workspace::bytes(vocab));
  c.pool.parallel_for(num_rows, [&](int64_t i, int worker) {
    const Workspace w(c.worker_scratch[worker].get(Workspace::bytes(vocab)), vocab);
    sample_row(c, logits.f32() + rows[i].logits_row * logits.cols, vocab, rows[i], w);
  });
}

void sample_distribution(void* context, const float* logits, int32_t vocab, const SampleRow& row,
                         double* probabilities) {
  const CpuContext& c = cpu_context(context);
  Scratch scratch;
  const Workspace w(scratch.get(Workspace::bytes(vocab)), vocab);
  std::fill_n(probabilities, vocab, 0.0);
  const Logits raw = read_logits(*c.kernels, logits, vocab);
  if (!raw.usable) return;
  const Logits seen = row.mask_row < 0 ? raw : apply_mask(c, raw, row.mask_row, w);
  if (!weigh(c, seen, row, w)) return;
  double total = 0;
  for (int32_t i = 0; i < vocab; ++i) total += w.weight[i];
  for (int32_t i = 0; i < vocab; ++i) probabilities[i] = w.weight[i] / total;
}

}  // namespace octavo
