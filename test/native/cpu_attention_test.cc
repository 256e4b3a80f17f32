// paged_attention against float64: pools full of NaN but for the slots in use, shuffled block
// tables, shared prefixes, windows whose blocks are gone; and each row against itself alone,
// in a longer query, with other block sizes.
#include <algorithm>

#include "native/cpu_cache.h"
#include "native/op_test.h"
#include "reference/reference.h"

namespace octavo::test {
namespace {

struct Sequence {
  int32_t context, query;
  int32_t shared = 0;  // leading positions that are those of sequence 0
  Bytes q, k, v;       // q [query, heads · head], k, v [context, kv_heads · head]
};

struct Case {
  int32_t head_size, num_kv_heads, group, window;
  float scale;
  DType dtype;  // of K and V
  std::vector<Sequence> seqs;
  int32_t num_heads() const { return num_kv_heads * group; }
  int64_t q_cols() const { return int64_t{num_heads()} * head_size; }
  int64_t kv_cols() const { return int64_t{num_kv_heads} * head_size; }
};

struct Shape {
  std::initializer_list<int> head_sizes;
  int max_context, max_query, max_seqs, max_group;
};

Case random_case(Random& random, const Shape& shape) {
  Case c;
  c.head_size = static_cast<int32_t>(random.pick(shape.head_sizes));
  c.num_kv_heads = static_cast<int32_t>(random.between(1, 3));
  c.group = static_cast<int32_t>(random.between(1, shape.max_group));
  c.window = random.chance(40) ? static_cast<int32_t>(random.between(1, shape.max_context)) : 0;
  c.scale = static_cast<float>(1 / std::sqrt(c.head_size));
  c.dtype = kCacheTypes[random.between(0, std::size(kCacheTypes) - 1)];
  for (int64_t left = random.between(1, shape.max_seqs); left > 0; left--) {
    const int32_t context = static_cast<int32_t>(random.between(1, shape.max_context));
    const int32_t query = static_cast<int32_t>(
        random.chance(40) ? 1 : random.between(1, std::min(context, shape.max_query)));
    Sequence s{context,
               query,
               0,
               random_f32(random, query * c.q_cols(), 2),
               random_f32(random, context * c.kv_cols()),
               random_f32(random, context * c.kv_cols())};
    for (const Bytes* rows : {&s.k, &s.v}) {
      round_rows(c.dtype, f32(*rows), context * c.num_kv_heads, c.head_size);
    }
    if (!c.seqs.empty() && random.chance(50)) {
      const Sequence& parent = c.seqs[0];
      s.shared = std::min(parent.context, context - 1);
      std::memcpy(s.k.data(), parent.k.data(), s.shared * c.kv_cols() * 4);
      std::memcpy(s.v.data(), parent.v.data(), s.shared * c.kv_cols() * 4);
    }
    c.seqs.push_back(std::move(s));
  }
  return c;
}

// The pool of one way to lay a case out: which sequences, how many of their last queries, which
// block size, which order of blocks.
struct Layout {
  Layout(const Case& c, Random& random, std::vector<int> which, int32_t max_query, int32_t block)
      : seqs(std::move(which)), block_size(block) {
    int64_t blocks = 1, tokens = 0;
    for (int s : seqs) {
      stride = std::max<int64_t>(stride, c.seqs[s].context / block + 1);
      blocks += c.seqs[s].context / block + 1;
    }
    pool = std::make_unique<TestPool>(c.dtype, blocks, block, c.num_kv_heads, c.head_size, 2, 1);
    std::vector<int32_t> ids;
    for (int32_t b = 1; b < blocks; b++) ids.push_back(b);
    std::shuffle(ids.begin(), ids.end(), random.engine());
    starts.push_back(0);
    for (int s : seqs) {
      const int32_t query = std::min(max_query, c.seqs[s].query);
      place(c, s, query, ids);
      tokens += query;
      starts.push_back(static_cast<int32_t>(tokens));
      contexts.push_back(c.seqs[s].context);
      const float* last = f32(c.seqs[s].q) + (c.seqs[s].query - query) * c.q_cols();
      q.insert(q.end(), last, last + query * c.q_cols());
    }
    batch.num_seqs = static_cast<int32_t>(seqs.size());
    batch.num_tokens = static_cast<int32_t>(tokens);
    batch.query_start = starts.data();
    batch.context_len = contexts.data();
    batch.block_tables = tables.data();
    batch.table_stride = stride;
  }

  // Blocks of one sequence. What no query may see is left NaN, and its whole blocks are the null
  // block; full blocks of a shared prefix are sequence 0's own.
  void place(const Case& c, int s, int32_t query, std::vector<int32_t>& free_ids) {
    const Sequence& seq = c.seqs[s];
    const int32_t seen = c.window > 0 ? std::max(0, seq.context - query + 1 - c.window) : 0;
    const size_t row = tables.size();
    tables.resize(row + static_cast<size_t>(stride), -1);  // beyond the context: never read
    for (int32_t b = 0; b * block_size < seq.context; b++) {
      int32_t& id = tables[row + b];
      const bool shared =
          s != seqs[0] && seqs[0] == 0 && (b + 1) * block_size <= seq.shared && tables[b] > 0;
      if ((b + 1) * block_size <= seen) {
        id = 0;
        continue;
      }
      if (shared) {
        id = tables[b];
      } else {
        id = free_ids.back();
        free_ids.pop_back();
      }
      for (int32_t t = b * block_size; t < std::min(seq.context, (b + 1) * block_size); t++) {
        if (t < seen) continue;
        for (int32_t h = 0; h < c.num_kv_heads; h++) {
          const int64_t from = t * c.kv_cols() + int64_t{h} * c.head_size;
          put_token(pool->kv, id, t % block_size, h, f32(seq.k) + from, f32(seq.v) + from);
        }
      }
    }
  }

  std::vector<int> seqs;
  int32_t block_size;
  int64_t stride = 1;
  std::unique_ptr<TestPool> pool;
  std::vector<float> q;
  std::vector<int32_t> starts, contexts, tables;
  BatchView batch;
};

AttentionParams params(const Case& c, Layout& layout, Output& out) {
  AttentionParams p;
  p.out = out.tensor();
  p.q = {layout.q.data(), DType::kF32, layout.batch.num_tokens, c.q_cols()};
  p.num_heads = c.num_heads();
  p.scale = c.scale;
  p.window = c.window;
  return p;
}

void judge(const Case& c, const std::vector<float>& got) {
  int64_t row = 0;
  for (const Sequence& s : c.seqs) {
    for (int32_t i = 0; i < s.query; i++, row++) {
      const int32_t last = s.context - s.query + i + 1;
      const int32_t first = c.window > 0 ? std::max(0, last - c.window) : 0;
      for (int32_t h = 0; h < c.num_heads(); h++) {
        const int64_t kv_at = int64_t{h / c.group} * c.head_size;
        const auto want = reference::attention(f32(s.q) + i * c.q_cols() + int64_t{h} * c.head_size,
                                               f32(s.k) + kv_at, f32(s.v) + kv_at, c.kv_cols(),
                                               first, last, c.head_size, c.scale);
        for (int32_t d = 0; d < c.head_size; d++) {
          // Scales are multiplied in apart: a few more roundings.
          const double more = c.dtype == DType::kI8 ? 4 : 1;
          expect_near("paged_attention", got[row * c.q_cols() + h * c.head_size + d], want.out[d],
                      more * want.tolerance[d]);
        }
      }
    }
  }
}

// Some backend, the whole layout once: every row has the bits `want` gives for its token.
void same_rows(const Backends& backends, Random& random, const Case& c, Layout&& layout,
               const std::vector<float>& want, const char* what) {
  Output out(layout.batch.num_tokens, c.q_cols());
  const auto& backend = backends.all[random.between(0, backends.all.size() - 1)];
  const Ops& ops = backend->ops();
  ops.paged_attention(ops.context, params(c, layout, out), layout.pool->kv, layout.batch);
  expect(out.guards_hold(), "paged_attention: wrote outside its output");
  for (size_t i = 0; i < layout.seqs.size(); i++) {
    int64_t end = 0;  // of this sequence's queries in the full batch
    for (int s = 0; s <= layout.seqs[i]; s++) end += c.seqs[s].query;
    const int32_t query = layout.starts[i + 1] - layout.starts[i];
    expect(std::memcmp(out.data() + layout.starts[i] * c.q_cols(),
                       want.data() + (end - query) * c.q_cols(), query * c.q_cols() * 4) == 0,
           "paged_attention: other bits %s (head %d, group %d, window %d, %s)", what, c.head_size,
           c.group, c.window, ops.isa);
  }
}

int32_t random_block_size(Random& random) {
  return static_cast<int32_t>(random.pick({1, 2, 3, 7, 8, 16, 16, 32, 100, 256}));
}

void attention_case(const Backends& backends, Random& random, const Shape& shape) {
  const Case c = random_case(random, shape);
  std::vector<int> all;
  for (size_t s = 0; s < c.seqs.size(); s++) all.push_back(static_cast<int>(s));
  Layout layout(c, random, all, INT32_MAX, random_block_size(random));
  Output out(layout.batch.num_tokens, c.q_cols());
  const auto got = run_everywhere(backends, out, "paged_attention", [&](const Ops& ops) {
    ops.paged_attention(ops.context, params(c, layout, out), layout.pool->kv, layout.batch);
  });
  judge(c, got);
  same_rows(backends, random, c, Layout(c, random, all, INT32_MAX, random_block_size(random)), got,
            "with another block size");
  const int one = static_cast<int>(random.between(0, static_cast<int64_t>(all.size()) - 1));
  same_rows(backends, random, c, Layout(c, random, {one}, INT32_MAX, 16), got, "alone");
  same_rows(backends, random, c, Layout(c, random, {one}, 1, 16), got, "as a decode");
  same_rows(backends, random, c,
            Layout(c, random, all, static_cast<int32_t>(random.between(1, 20)), 16), got,
            "with fewer queries");
}

// A value that is infinite for one query must not reach an earlier one of the same tile, and a
// context of length 0 gives 0.
void edge_cases(const Backends& backends, Random& random) {
  Case c{64, 1, 2, 0, 0.125f, DType::kF32, {}};
  const int32_t n = 20;
  c.seqs.push_back({n, n, 0, random_f32(random, n * c.q_cols()), random_f32(random, n * 64),
                    random_f32(random, n * 64)});
  f32(c.seqs[0].v)[10 * 64 + 3] = std::numeric_limits<float>::infinity();
  f32(c.seqs[0].k)[15 * 64 + 3] = kNaN;
  Layout layout(c, random, {0}, INT32_MAX, 16);
  Output out(n, c.q_cols());
  const auto got = run_everywhere(backends, out, "attention of infinities", [&](const Ops& ops) {
    ops.paged_attention(ops.context, params(c, layout, out), layout.pool->kv, layout.batch);
  });
  for (int32_t t = 0; t < 15; t++) {
    for (int32_t h = 0; h < 2; h++) {
      const float at_infinity = got[t * c.q_cols() + h * 64 + 3];
      const float beside = got[t * c.q_cols() + h * 64 + 4];
      expect(std::isfinite(beside) && std::isfinite(at_infinity) == (t < 10),
             "attention: token %d sees the future", t);
    }
  }
  layout.contexts[0] = 0;
  layout.starts[1] = 1;
  layout.batch.num_tokens = 1;
  Output empty(1, c.q_cols());
  const auto zero = run_everywhere(backends, empty, "attention of nothing", [&](const Ops& ops) {
    ops.paged_attention(ops.context, params(c, layout, empty), layout.pool->kv, layout.batch);
  });
  for (float x : zero) expect(x == 0, "attention: an empty context gives %g", x);
}

}  // namespace

void test_attention(const Backends& backends, Random& random) {
  for (int i = 0; i < 25; i++) {
    attention_case(backends, random, {{2, 8, 16, 33, 48, 64}, 90, 40, 5, 6});
  }
  for (int i = 0; i < 12; i++) {
    attention_case(backends, random, {{16, 64, 80, 128}, 800, 60, 4, 4});
  }
  for (int i = 0; i < 4; i++) attention_case(backends, random, {{64}, 2500, 3, 2, 3});
  for (int i = 0; i < 3; i++) attention_case(backends, random, {{40, 256}, 300, 9, 2, 71});
  edge_cases(backends, random);
}

}  // namespace octavo::test
