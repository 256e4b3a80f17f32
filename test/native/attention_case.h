// Attention cases: sequences and their K and V, a pool full of NaN but for the slots in use, layers
// of a backend, and the judge in float64.
#pragma once

#include <algorithm>

#include "native/test_pool.h"
#include "reference/reference.h"

namespace octavo::test {

struct Sequence {
  int32_t context, query;
  int32_t shared = 0;  // leading positions that are those of sequence 0
};

constexpr int32_t kNumGroups = 4;

struct Case {
  DType type, kv_type;
  int32_t head_size, group, num_kv_heads, block_size;
  Reach reach{};
  float softcap = 0;
  bool alibi = false, sinks = false;
  int32_t kv_group = 0;
  std::vector<Sequence> seqs;
  int32_t latent = 0;  // not 0: so many values of K are V
  int32_t num_heads() const { return group * num_kv_heads; }
  int32_t value_size() const { return latent > 0 ? latent : head_size; }
  int64_t out_cols() const { return int64_t{num_heads()} * value_size(); }
  int64_t q_cols() const { return int64_t{num_heads()} * head_size; }
  int64_t kv_cols() const { return int64_t{num_kv_heads} * head_size; }
  float scale() const { return static_cast<float>(1 / std::sqrt(head_size)); }
  AttentionShape shape() const {
    return {num_heads(), num_kv_heads, head_size, reach, block_size, {kv_group}, latent};
  }
};

// The first position that a query sees, itself the last before `end`.
inline int32_t first_seen(const Case& c, int32_t end) {
  const int32_t position = end - 1, window = c.reach.window;
  if (window == 0) return 0;
  return c.reach.chunked ? position - position % window : std::max(0, end - window);
}

// One past the last, of a context.
inline int32_t end_seen(const Case& c, int32_t end, int32_t context) {
  if (!c.reach.both) return end;
  return c.reach.window == 0 ? context : std::min(context, end + c.reach.window - 1);
}

// K and V of a sequence as the cache holds them and what that means, and the queries.
struct Data {
  struct Rows {
    std::vector<CachedRow> cached;  // [context · kv_heads]
    std::vector<float> values;      // [context][kv_heads][head]
  };
  std::vector<Rows> k, v;  // of each sequence
  std::vector<float> q;    // [tokens][heads][head]
  std::vector<float> slopes, sinks;
};

inline Data random_data(const Case& c, Random& random) {
  Data data;
  int64_t tokens = 0;
  for (const Sequence& s : c.seqs) {
    for (std::vector<Data::Rows>* all : {&data.k, &data.v}) {
      Data::Rows rows;
      rows.values = random_values(random, c.type, s.context * c.kv_cols());
      for (int64_t r = 0; r < int64_t{s.context} * c.num_kv_heads; r++) {
        float* const row = &rows.values[r * c.head_size];
        const bool same = r < int64_t{s.shared} * c.num_kv_heads;
        rows.cached.push_back(same ? (*all)[0].cached[r] : cached_row(c.kv_type, row, c.head_size));
        read_cached(c.kv_type, rows.cached.back(), row);
      }
      all->push_back(std::move(rows));
    }
    tokens += s.query;
  }
  data.q = random_values(random, c.type, tokens * c.q_cols(), 2);
  for (int h = 0; h < c.num_heads(); h++) data.slopes.push_back(std::exp2(-0.7f * (h + 1)));
  // Of the size of scores, or beyond all of them on either side.
  data.sinks = random_values(random, DType::kF32, c.num_heads(), random.pick({2.0f, 2.0f, 60.0f}));
  return data;
}

// Which sequences, in which order, with how many of their last queries; blocks placed at random.
struct Layout {
  static constexpr int32_t kNowhere = INT32_MAX / 2;

  Layout(const Backends& backends, const Case& c, const Data& data, Random& random,
         std::vector<int> which, int32_t most)
      : c(c),
        seqs(std::move(which)),
        pool(backends, c.kv_type, count_blocks(), c.block_size, c.num_kv_heads, c.head_size,
             c.latent),
        slid(backends.on_cpu() ? kNowhere : 0) {
    std::vector<int32_t> ids;
    for (int64_t b = 1; b < count_blocks(); b++) ids.push_back(static_cast<int32_t>(b));
    std::shuffle(ids.begin(), ids.end(), random.engine());
    starts.push_back(0);
    table_starts.push_back(0);
    for (int s : seqs) {
      const int32_t query = std::min(most, c.seqs[s].query);
      longest = std::max<int32_t>(longest, c.seqs[s].context / c.block_size + 1);
      place(data, s, query, ids);
      int64_t first = c.seqs[s].query - query;
      for (int before = 0; before < s; before++) first += c.seqs[before].query;
      for (int32_t i = 0; i < query; i++) {
        rows.push_back(first + i);
        positions.push_back(c.seqs[s].context - query + i);
        slots.push_back(-1);
        const float* from = &data.q[(first + i) * c.q_cols()];
        queries.insert(queries.end(), from, from + c.q_cols());
      }
      starts.push_back(static_cast<int32_t>(rows.size()));
      contexts.push_back(c.seqs[s].context);
    }
    tokens.assign(rows.size(), 0);
    decoy.assign(tables.size(), kNowhere);
  }

  int64_t count_blocks() const {
    int64_t blocks = 1;
    for (int s : seqs) blocks += c.seqs[s].context / c.block_size + 1;
    return blocks;
  }

  // Blocks of one sequence. What no query may see is left NaN. Whole blocks that slid out of the
  // window are the null block to a device, and to the CPU terabytes outside the pool, as are blocks
  // beyond the context: who reads them, crashes. Full blocks of a shared prefix are sequence 0's.
  void place(const Data& data, int s, int32_t query, std::vector<int32_t>& ids) {
    const Sequence& seq = c.seqs[s];
    const int32_t unseen = first_seen(c, seq.context - query + 1);
    const size_t row = tables.size();
    tables.resize(row + static_cast<size_t>(seq.context / c.block_size + 1), kNowhere);
    table_starts.push_back(static_cast<int32_t>(tables.size()));
    for (int32_t b = 0; b * c.block_size < seq.context; b++) {
      int32_t& id = tables[row + b];
      const int32_t end = (b + 1) * c.block_size;
      if (end <= unseen) {
        id = slid;
        continue;
      }
      if (s != seqs[0] && seqs[0] == 0 && end <= seq.shared && tables[b] != slid) {
        id = tables[b];
      } else {
        id = ids.back();
        ids.pop_back();
      }
      for (int32_t t = std::max(unseen, b * c.block_size); t < std::min(seq.context, end); t++) {
        for (int32_t h = 0; h < c.num_kv_heads; h++) {
          const size_t at = static_cast<size_t>(t * c.num_kv_heads + h);
          pool.put_row(id, t % c.block_size, h, false, data.k[s].cached[at]);
          if (c.latent > 0) continue;
          pool.put_row(id, t % c.block_size, h, true, data.v[s].cached[at]);
        }
      }
    }
  }

  BatchView batch() const {
    BatchView b;
    b.num_seqs = static_cast<int32_t>(seqs.size());
    b.num_tokens = static_cast<int32_t>(rows.size());
    b.token_ids = tokens.data();
    b.query_start = starts.data();
    b.context_len = contexts.data();
    b.positions = positions.data();
    b.num_groups = kNumGroups;
    b.groups[c.kv_group] = {tables.data(), table_starts.data(), slots.data()};
    for (TableView& tables_of : b.groups) {  // others name nothing that is there
      if (tables_of.slots == nullptr) tables_of = {decoy.data(), table_starts.data(), slots.data()};
    }
    return b;
  }
  ModelShape model_shape(std::vector<AttentionShape> attentions) const {
    return {64,
            64,
            static_cast<int32_t>(seqs.size()),
            static_cast<int32_t>(rows.size()),
            std::vector<int32_t>(kNumGroups, longest),
            is_8bit_cache(c.kv_type),
            {64},
            std::move(attentions)};
  }

  Case c;
  std::vector<int> seqs;
  TestPool pool;
  int32_t slid, longest = 1;  // entries of a table
  std::vector<int64_t> rows;  // of the case's queries
  std::vector<float> queries;
  std::vector<int32_t> starts, contexts, tables, decoy, table_starts, positions, tokens;
  std::vector<int64_t> slots;
};

// One layer on a backend: its pool, its queries, where its output goes.
class Layer {
 public:
  Layer(const Backends& backends, const Data& data, const Layout& layout)
      : case_(layout.c),
        pool_(put(backends.ops(), layout.pool.bytes)),
        kv_(layout.pool.view(pool_.data(), case_.kv_group)),
        queries_(backends, case_.type, static_cast<int64_t>(layout.rows.size()), case_.q_cols(),
                 layout.queries),
        out_(backends, case_.type, static_cast<int64_t>(layout.rows.size()), case_.out_cols()),
        slopes_(put(backends.ops(), data.slopes)),
        sinks_(put(backends.ops(), data.sinks)) {}
  // Another layout of as many blocks and rows at the same addresses.
  void write(const Layout& layout) const {
    pool_.write(layout.pool.bytes.data());
    queries_.fill(layout.queries);
    out_.poison();
  }
  void launch(const Ops& ops, const BatchView& batch) const {
    AttentionParams p;
    p.out = out_.tensor();
    p.q = queries_.tensor();
    p.num_heads = case_.num_heads();
    p.scale = case_.scale();
    p.reach = case_.reach;
    p.softcap = case_.softcap;
    p.alibi = case_.alibi ? slopes_.as<float>() : nullptr;
    p.sinks = case_.sinks ? sinks_.as<float>() : nullptr;
    ops.paged_attention(ops.context, p, kv_, batch);
  }
  // A step of it alone.
  void step(const Ops& ops, const Layout& layout) const {
    const char* why = ops.prepare(ops.context, layout.model_shape({case_.shape()}));
    expect(why == nullptr, "prepare: %s", why);
    launch(ops, ops.begin_step(ops.context, layout.batch()));
    ops.end_step(ops.context);
  }
  const Values& out() const { return out_; }
  std::vector<float> result() const { return out_.read("paged_attention"); }

 private:
  Case case_;
  Memory pool_;
  PagedKV kv_;
  Values queries_, out_;
  Memory slopes_, sinks_;
};

// Of F32 every value, by what float32 arithmetic may be off by; of 16 bits ‖got − want‖ / ‖want‖.
// `rounds`: products with a BF16 cache are those of BF16.
inline void judge(const Data& data, const Layout& layout, const std::vector<float>& got,
                  bool rounds = false) {
  const Case& c = layout.c;
  const bool rounded = rounds && c.kv_type == DType::kBF16 && c.head_size % 2 == 0;
  double error = 0, size = 1e-30;
  const size_t values = static_cast<size_t>(c.value_size());
  size_t at = 0, asked = 0;
  for (size_t i = 0; i < layout.seqs.size(); i++) {
    const int s = layout.seqs[i];
    for (int32_t r = layout.starts[i]; r < layout.starts[i + 1]; r++) {
      const int32_t end = layout.positions[r] + 1;
      for (int32_t h = 0; h < c.num_heads(); h++, at += values) {
        const int64_t head = int64_t{h / c.group} * c.head_size;
        reference::ScoreShape shape{c.softcap, c.alibi ? data.slopes[h] : 0, end - 1};
        if (c.sinks) shape.sink = data.sinks[h];
        if (rounded) shape.rounding = 0x1p-8;
        const auto q = reference::left_row(rounded ? DType::kBF16 : DType::kF32,
                                           &layout.queries[asked], c.head_size);
        asked += static_cast<size_t>(c.head_size);
        const auto& v = c.latent > 0 ? data.k : data.v;
        const auto want = reference::attention(
            q.data(), &data.k[s].values[head], &v[s].values[head], c.kv_cols(), first_seen(c, end),
            end_seen(c, end, layout.contexts[i]), c.head_size, c.scale(), shape);
        for (size_t d = 0; d < values; d++) {
          double off = std::isfinite(got[at + d]) ? got[at + d] - want.out[d] : INFINITY;
          // Behind a sink far beyond the scores all outputs may be subnormal.
          if (c.type == DType::kF16) off = std::max(0.0, std::abs(off) - 0x1p-25);
          error += off * off;
          size += want.out[d] * want.out[d];
          // Scales are multiplied in apart: a few more roundings.
          const double more = c.kv_type == DType::kI8 ? 4 : 1;
          if (c.type != DType::kF32) continue;
          expect_near("paged_attention", got[at + d], want.out[d], more * want.tolerance[d]);
        }
      }
    }
  }
  error = std::sqrt(error / size);
  const double most = c.type == DType::kF32 ? INFINITY : c.type == DType::kF16 ? 6e-4 : 4e-3;
  expect(error <= most,
         "attention: error %.2e (%s, cache %s, head %d, latent %d, group %d, block %d, window %d "
         "chunked %d "
         "both %d, "
         "softcap %g, alibi %d, sinks %d, context %d, query %d)",
         error, dtype_name(c.type), dtype_name(c.kv_type), c.head_size, c.latent, c.group,
         c.block_size, c.reach.window, c.reach.chunked, c.reach.both, c.softcap, c.alibi, c.sinks,
         c.seqs[0].context, c.seqs[0].query);
}

inline void same_bits(const Layout& a, const std::vector<float>& first, const Layout& b,
                      const std::vector<float>& second, const char* what) {
  const Case& c = a.c;
  for (size_t i = 0; i < b.rows.size(); i++) {
    const auto at = std::find(a.rows.begin(), a.rows.end(), b.rows[i]) - a.rows.begin();
    const bool same = std::memcmp(&first[at * c.out_cols()], &second[i * c.out_cols()],
                                  static_cast<size_t>(c.out_cols()) * sizeof(float)) == 0;
    expect(same, "attention: other bits %s (head %d, group %d, context %d, position %d)", what,
           c.head_size, c.group, b.contexts[0], b.positions[i]);
  }
}

inline std::vector<float> run_once(const Backends& backends, const Ops& ops, const Data& data,
                                   const Layout& layout) {
  const Layer layer(backends, data, layout);
  layer.step(ops, layout);
  return layer.result();
}

// A case that was computed by all its backends and judged.
struct Attended {
  Data data;
  std::unique_ptr<Layout> layout;
  std::vector<float> got;
  void same_on(const Backends& others, const char* what) const {
    same_bits(*layout, got, *layout, run_once(others, others.ops(), data, *layout), what);
  }
};
// Also against itself: alone, as a decode, in another order with blocks of another size.
Attended attention_case(const Backends& backends, Random& random, const Case& c);

// Sizes of all kinds that a kind of backend has, by pairs; `more` is done with each case.
void attention_grid(const std::vector<const Backends*>& of_types, Random& random,
                    const Effort& effort, const std::function<void(const Attended&)>& more);
void attention_edges(const Backends& backends, Random& random);

}  // namespace octavo::test
