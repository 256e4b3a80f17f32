// paged_attention against float64: pools full of NaN but for the slots in use, shuffled and aliased
// block tables, windows whose blocks are gone, all types of caches. And in bits: the same rows
// alone, as a decode, in another order with other blocks.
#include "native/attention_case.h"

namespace octavo::test {
namespace {

int32_t random_block_size(const Backends& backends, Random& random) {
  const std::vector<int32_t> sizes = backends.on_cpu()
                                         ? std::vector<int32_t>{1, 2, 3, 7, 8, 16, 32, 100, 256}
                                         : std::vector<int32_t>{8, 16, 32, 64, 128, 256};
  return sizes[random.between(0, static_cast<int64_t>(sizes.size()) - 1)];
}

}  // namespace

Attended attention_case(const Backends& backends, Random& random, const Case& c) {
  Attended a;
  a.data = random_data(c, random);
  std::vector<int> all;
  for (size_t s = 0; s < c.seqs.size(); s++) all.push_back(static_cast<int>(s));
  a.layout = std::make_unique<Layout>(backends, c, a.data, random, all, INT32_MAX);
  const Layer layer(backends, a.data, *a.layout);
  a.got = run_everywhere(backends, layer.out(), "paged_attention",
                         [&](const Ops& ops) { layer.step(ops, *a.layout); });
  judge(a.data, *a.layout, a.got, backends.rounding.bf16);
  const auto same = [&](const Case& like, std::vector<int> which, int64_t most, const char* what) {
    const Layout other(backends, like, a.data, random, std::move(which),
                       static_cast<int32_t>(most));
    const auto got = run_once(backends, backends.any(random), a.data, other);
    same_bits(*a.layout, a.got, other, got, what);
  };
  const int one = static_cast<int>(random.between(0, static_cast<int64_t>(all.size()) - 1));
  same(c, {one}, random.chance(50) ? INT32_MAX : random.between(1, 20), "alone");
  same(c, {one}, 1, "as a decode alone");
  std::reverse(all.begin(), all.end());
  Case otherwise = c;
  otherwise.block_size = random_block_size(backends, random);
  same(otherwise, all, random.between(1, 20), "in another order and other blocks");
  return a;
}

void attention_grid(const std::vector<const Backends*>& of_types, Random& random,
                    const Effort& effort, const std::function<void(const Attended&)>& more) {
  using Sizes = std::vector<int32_t>;
  const bool cpu = of_types[0]->on_cpu();
  const Sizes groups = {1, 2, 4, 5, 7, 8, 16, 32, 71},
              heads = cpu ? Sizes{2, 8, 16, 33, 40, 48, 64, 80, 128, 256, 512}
                          : Sizes{32, 64, 80, 96, 112, 128, 256, 40, 72, 512},
              windows = {0, 1, 40, 300}, queries = {1, 1, 2, 5, 17, 40};
  Sizes contexts = {1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 1000};
  if (cpu) contexts.push_back(2500);
  const auto size = [](const Sizes& list) { return static_cast<int>(list.size()); };
  const auto rows = pairwise(
      random, {size(groups), size(heads), size(windows), size(contexts), size(queries), 4, 4, 4, 3},
      effort.cases);
  for (const auto& r : rows) {
    const Backends& backends =
        *of_types[random.between(0, static_cast<int64_t>(of_types.size()) - 1)];
    Case c{};
    c.type = backends.type();
    c.kv_type = cache_types(backends)[r[5]];
    c.kv_group = static_cast<int32_t>(random.between(0, kNumGroups - 1));
    c.group = groups[r[0]];
    c.head_size = heads[r[1]];
    c.num_kv_heads = c.group > 8 ? 1 : static_cast<int32_t>(random.between(1, cpu ? 3 : 2));
    if (random.chance(15)) {
      c.head_size = random.pick({32, 72, 64, 576});
      c.latent = c.head_size - (c.head_size > 512 ? 64 : random.pick({8, 16, 24}));
      c.num_kv_heads = 1;
    }
    const bool made = std::find(heads.begin(), heads.end(), c.head_size) - heads.begin() < 7;
    if (c.latent > 0 || (!cpu && !made)) {  // none of eight bits
      if (is_8bit_cache(c.kv_type)) c.kv_type = c.type;
    }
    c.block_size = random_block_size(backends, random);
    c.reach = {windows[r[2]], r[7] % 2 == 1 && r[8] > 0, r[8] == 0};
    c.sinks = r[7] >= 2;
    c.softcap = r[6] % 2 == 1 ? random.pick({0.5f, 5.0f, 20.0f, 50.0f}) : 0.0f;
    c.alibi = r[6] >= 2;
    const int32_t context = effort.small ? std::min(contexts[r[3]], 300) : contexts[r[3]];
    // Texts of encoders are computed whole.
    const bool whole = c.reach.both && c.group <= 4 && context <= 130 && !effort.small;
    const int32_t query = whole         ? context
                          : c.group > 8 ? std::min(queries[r[4]], 5)
                                        : queries[r[4]];
    c.seqs.push_back({context, std::min(context, query)});
    const int64_t others = effort.small ? 1 : random.between(0, 3);
    for (int64_t i = 0; i < others; i++) {
      const int32_t own = static_cast<int32_t>(random.between(1, context));
      const int32_t shared = random.chance(50) ? own - 1 : 0;
      c.seqs.push_back({own, static_cast<int32_t>(random.between(1, std::min(own, 3))), shared});
    }
    more(attention_case(backends, random, c));
  }
}

// A value that is infinite for one query must not reach an earlier one of the same tile, and a
// context of length 0 gives 0. The CPU's own: matrix units multiply what is masked by 0, and 0 · ∞
// is none.
void attention_edges(const Backends& backends, Random& random) {
  Case c{};
  c.type = c.kv_type = backends.type();
  c.head_size = 64, c.group = 2, c.num_kv_heads = 1, c.block_size = 16;
  c.seqs.push_back({20, 20});
  Data data = random_data(c, random);
  data.v[0].values[10 * 64 + 3] = std::numeric_limits<float>::infinity();
  data.k[0].values[15 * 64 + 3] = kNaN;
  data.v[0].cached[10].bytes = narrowed(c.type, {&data.v[0].values[640], &data.v[0].values[704]});
  data.k[0].cached[15].bytes = narrowed(c.type, {&data.k[0].values[960], &data.k[0].values[1024]});
  Layout layout(backends, c, data, random, {0}, INT32_MAX);
  const Layer layer(backends, data, layout);
  const auto got = run_everywhere(backends, layer.out(), "attention of infinities",
                                  [&](const Ops& ops) { layer.step(ops, layout); });
  for (int32_t t = 0; t < 15; t++) {
    for (int32_t h = 0; h < 2; h++) {
      const float* const row = &got[t * c.q_cols() + h * 64];
      expect(std::isfinite(row[4]) && std::isfinite(row[3]) == (t < 10),
             "attention: token %d sees the future", t);
    }
  }
  BatchView nothing = layout.batch();
  layout.contexts[0] = 0;
  layout.starts[1] = nothing.num_tokens = 1;
  const auto zero = run_everywhere(backends, layer.out(), "attention of nothing",
                                   [&](const Ops& ops) { layer.launch(ops, nothing); });
  for (int64_t i = 0; i < c.q_cols(); i++) {
    expect(zero[i] == 0, "attention: an empty context gives %g", zero[i]);
  }
}

}  // namespace octavo::test
