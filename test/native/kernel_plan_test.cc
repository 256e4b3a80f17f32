// The plans of attention, on the host: every row's chunks are there exactly once, where the merge
// will look for them, by a table that has the row's blocks; and no chunk is there that nobody sees.
#include <algorithm>
#include <map>

#include "kernels/attention_plan.h"
#include "native/kernel_test.h"

namespace octavo::test {
namespace {

using device::AttentionItem;
using device::HostPlan;
using device::kChunkTokens;
using device::PlanShape;

constexpr int32_t kOther = 1 << 20;

// Two KV groups: the tables of the second have the same pattern of blocks, unless a test breaks it.
struct Batch {
  std::vector<int32_t> starts = {0}, contexts, tables, others, table_starts = {0}, positions,
                       sequences;

  // The last `query` tokens of a context, in these blocks.
  void add(int32_t context, int32_t query, const std::vector<int32_t>& blocks) {
    for (int32_t i = context - query; i < context; i++) {
      positions.push_back(i);
      sequences.push_back(static_cast<int32_t>(contexts.size()));
    }
    starts.push_back(static_cast<int32_t>(positions.size()));
    contexts.push_back(context);
    tables.insert(tables.end(), blocks.begin(), blocks.end());
    for (int32_t block : blocks) others.push_back(block == 0 ? 0 : block + kOther);
    table_starts.push_back(static_cast<int32_t>(tables.size()));
  }
  BatchView view() const {
    BatchView b;
    b.num_seqs = static_cast<int32_t>(contexts.size());
    b.num_tokens = static_cast<int32_t>(positions.size());
    b.query_start = starts.data();
    b.context_len = contexts.data();
    b.positions = positions.data();
    b.num_groups = 2;
    b.groups[0] = {others.data(), table_starts.data(), nullptr};
    b.groups[1] = {tables.data(), table_starts.data(), nullptr};
    return b;
  }
};

int32_t chunks_of(int32_t tokens) { return (tokens + kChunkTokens - 1) / kChunkTokens; }
int32_t first_seen(const PlanShape& shape, int32_t limit) {
  const int32_t window = shape.reach.window;
  if (window == 0) return 0;
  return shape.reach.chunked ? (limit - 1) - (limit - 1) % window : std::max(0, limit - window);
}

int32_t end_seen(const PlanShape& shape, int32_t limit, int32_t context) {
  if (!shape.reach.both) return limit;
  return shape.reach.window == 0 ? context : std::min(context, limit + shape.reach.window - 1);
}

// What the items of a plan do, row by row.
struct Checker {
  const PlanShape& shape;
  const Batch& batch;
  const HostPlan& plan;
  std::map<std::pair<int32_t, int32_t>, std::map<int32_t, int32_t>> seen = {};  // chunk → times
  int64_t planned = 0;                                                          // chunks of items

  int32_t end_of(int32_t token) const {
    return end_seen(shape, batch.positions[token] + 1, batch.contexts[batch.sequences[token]]);
  }

  void check_item(const AttentionItem& it) {
    const int32_t chunks = it.chunk_end - it.chunk_begin;
    std::vector<char> wanted(static_cast<size_t>(std::max(0, chunks)), 0);
    int32_t most = 0, least = INT32_MAX;
    for (int32_t row = it.row_begin; row < it.row_begin + it.num_rows; row++) {
      const int32_t token = plan.token_list[it.token_first + row / shape.group];
      const int32_t limit = batch.positions[token] + 1;
      most = std::max(most, end_of(token));
      least = std::min(least, limit);
      check_row(it, token, row % shape.group, limit, wanted);
    }
    planned += chunks;
    expect(chunks > 0 && it.max_end == most && it.min_limit == least, "plan: an item's range");
    for (char w : wanted) expect(w != 0, "plan: a chunk that no row of its item sees");
  }

  void check_row(const AttentionItem& it, int32_t token, int32_t head, int32_t limit,
                 std::vector<char>& wanted) {
    const int32_t begin = first_seen(shape, limit), end = end_of(token);
    const int32_t folded = plan.folded_chunks[token];
    const int32_t* own = &batch.tables[batch.table_starts[batch.sequences[token]]];
    for (int32_t c = it.chunk_begin; c < it.chunk_end; c++) {
      if (c < begin / kChunkTokens || c >= chunks_of(end)) continue;
      wanted[static_cast<size_t>(c - it.chunk_begin)] = 1;
      seen[{token, head}][c]++;
      const bool right = it.store == device::kToOutput ? folded < 0
                         : it.store == device::kFolded ? c < folded
                                                       : folded >= 0 && c >= folded;
      expect(right, "plan: chunk %d of a row stored where the merge does not look", c);
      for (int32_t t = std::max(begin, c * kChunkTokens); t < std::min(end, (c + 1) * kChunkTokens);
           t += shape.block_size) {
        const int32_t b = t / shape.block_size;
        const int32_t at = it.table_start + b;
        const int64_t mine = own + b - batch.tables.data();
        expect(batch.tables[at] == batch.tables[mine], "plan: another sequence's block");
        const bool same = shape.kv_groups.size() < 2 || batch.others[at] == batch.others[mine];
        expect(same, "plan: another sequence's block in the second group");
      }
    }
  }

  void check_rows() {
    for (size_t t = 0; t < batch.positions.size(); t++) {
      const int32_t limit = batch.positions[t] + 1;
      const int32_t first = first_seen(shape, limit) / kChunkTokens;
      for (int32_t h = 0; h < shape.group; h++) {
        const auto& chunks = seen[{static_cast<int32_t>(t), h}];
        const int32_t want = chunks_of(end_of(static_cast<int32_t>(t))) - first;
        bool once = static_cast<int32_t>(chunks.size()) == want;
        for (const auto& [chunk, times] : chunks) once = once && times == 1;
        expect(once, "plan: chunks of token %zu missing or there twice", t);
      }
    }
  }

  // Partial rows: base is the folded one, then a row for each chunk that is left.
  void check_partials() {
    int64_t next = 0;
    for (const auto& [t, end] : plan.merge_tokens) {
      expect(end == end_of(t), "plan: where a merge ends");
      const int32_t left = chunks_of(end) - plan.folded_chunks[t];
      expect(plan.partial_base[t] >= next, "plan: partial rows of two tokens");
      next = plan.partial_base[t] + 1 + std::max(0, left);
    }
    expect(next <= shape.max_partial_rows, "plan: more partial rows than there are");
    const auto merged = [](int32_t folded) { return folded >= 0; };
    expect(std::count_if(plan.folded_chunks.begin(), plan.folded_chunks.end(), merged) ==
               static_cast<int64_t>(plan.merge_tokens.size()),
           "plan: split rows that nobody merges");
  }
};

// Checks a plan; returns the chunks in it.
int64_t check_plan(const PlanShape& shape, const Batch& batch) {
  device::AttentionPlanner planner(shape);
  const HostPlan& plan = planner.build(batch.view());
  Checker checker{shape, batch, plan};
  for (const AttentionItem& it : plan.narrow) {
    expect(it.num_rows <= device::kNarrowRows, "plan: a narrow item's rows");
    checker.check_item(it);
  }
  for (const AttentionItem& it : plan.wide) {
    expect(it.num_rows <= shape.wide_rows, "plan: a wide item's rows");
    checker.check_item(it);
  }
  checker.check_rows();
  checker.check_partials();
  return checker.planned;
}

PlanShape random_shape(Random& random) {
  PlanShape s;
  s.group = static_cast<int32_t>(random.pick({1, 2, 4, 7, 8, 20, 71}));
  s.num_kv_heads = static_cast<int32_t>(random.between(1, 8));
  s.reach.window = static_cast<int32_t>(random.pick({0, 1, 40, 256, 300, 1000, 4096}));
  s.reach.both = random.chance(30);
  s.reach.chunked = !s.reach.both && random.chance(40);
  s.wide_rows = static_cast<int32_t>(random.pick({32, 64, 128}));
  s.block_size = static_cast<int32_t>(random.pick({8, 16, 32, 256}));
  s.grid = static_cast<int32_t>(random.pick({1, 10, 264}));
  s.max_partial_rows = random.pick({40, 400, 100000});
  s.share_prefixes = random.chance(80);
  s.kv_groups = random.chance(50) ? std::vector<int32_t>{1} : std::vector<int32_t>{1, 0};
  return s;
}

// Families of sequences with a prefix in common. What slid out of a window is the null block in
// some tables, in others it is still there.
Batch random_batch(Random& random, const PlanShape& shape) {
  Batch batch;
  int32_t next_block = 1;
  for (int64_t families = random.between(1, 3); families > 0; families--) {
    std::vector<int32_t> common;
    const int32_t prefix = static_cast<int32_t>(random.between(0, 3000) / shape.block_size);
    for (int32_t b = 0; b < prefix; b++) common.push_back(next_block++);
    for (int64_t n = random.chance(50) ? 1 : random.between(2, 50); n > 0; n--) {
      const int32_t context = prefix * shape.block_size +
                              static_cast<int32_t>(random.between(1, random.chance(80) ? 60 : 900));
      const int32_t query = random.chance(70) ? 1 : static_cast<int32_t>(random.between(1, 90));
      const int32_t own_query = std::min(query, context);
      std::vector<int32_t> blocks = common;
      while (static_cast<int32_t>(blocks.size()) * shape.block_size < context) {
        blocks.push_back(next_block++);
      }
      const int32_t unseen = first_seen(shape, context - own_query + 1) / shape.block_size;
      if (random.chance(70)) std::fill_n(blocks.begin(), unseen, 0);
      batch.add(context, own_query, blocks);
    }
  }
  // Blocks that the second group does not share, or has lost.
  const auto count = static_cast<int64_t>(batch.others.size());
  for (int64_t n = random.chance(50) ? random.between(0, 20) : 0; n > 0; n--) {
    batch.others[static_cast<size_t>(random.between(0, count - 1))] =
        2 * kOther + static_cast<int32_t>(n);
  }
  return batch;
}

std::vector<int32_t> blocks_from(int32_t first, int32_t tokens) {
  std::vector<int32_t> blocks;
  for (int32_t t = 0; t < tokens; t += 16) blocks.push_back(first + t / 16);
  return blocks;
}

// Five layers of six with a window, as Gemma has them: at a long context those plan their window.
void plan_of_windows() {
  PlanShape shape;
  shape.kv_groups = {1};
  shape.group = 2;
  shape.grid = 264;
  shape.max_partial_rows = 100000;
  shape.max_items = 10000;
  Batch batch;
  std::vector<int32_t> contexts = {32768, 32769, 20000, 1023, 1024, 1025, 100};
  int64_t full = 0, windowed = 0;
  for (int32_t context : contexts) {
    batch.add(context, 1, blocks_from(static_cast<int32_t>(batch.tables.size()) + 1, context));
    full += chunks_of(context);
    windowed += chunks_of(context) - std::max(0, context - 1024) / kChunkTokens;
  }
  expect(check_plan(shape, batch) == full, "plan: not every chunk of a full layer");
  shape.reach.window = 1024;
  const int64_t planned = check_plan(shape, batch);
  expect(planned == windowed, "plan: %d chunks for windows, want %d", static_cast<int>(planned),
         static_cast<int>(windowed));
  expect(6 * (full + 5 * windowed) < 2 * 6 * full, "plan: windows save nothing");
}

// A sequence whose blocks up to `shared` are the same in all; what it sees no more is null.
void add_sharer(Batch& batch, const PlanShape& shape, int32_t context, int32_t query,
                int32_t shared) {
  std::vector<int32_t> blocks = blocks_from(1, shared);
  const int32_t own = 1000 + static_cast<int32_t>(batch.tables.size());
  for (int32_t b : blocks_from(own, context - shared)) blocks.push_back(b);
  std::fill_n(blocks.begin(), first_seen(shape, context - query + 1) / 16, 0);
  batch.add(context, query, blocks);
}

// Rows of a shared prefix are planned once, with a window too: from the chunk where all begin, by
// the table of the shortest, wherever that stands.
void plan_of_sharers() {
  PlanShape shape;
  shape.kv_groups = {1, 0};
  shape.group = 4;
  shape.grid = 1;
  shape.max_partial_rows = 100000;
  shape.max_items = 10000;
  for (const auto& [window, shared] : {std::pair{0, 16}, {1124, 5}, {612, 3}, {100, 1}}) {
    shape.reach.window = window;
    for (bool longest_first : {false, true}) {
      Batch batch;
      for (int32_t s = 0; s < 40; s++) {
        add_sharer(batch, shape, 4097 + (longest_first ? 39 - s : s), 1, 4096);
      }
      const int64_t tiles = (40 * 4 + 63) / 64, want = shared * tiles + 40;
      const int64_t planned = check_plan(shape, batch);
      expect(planned == want, "plan: %d chunks for sharers with window %d, want %d",
             static_cast<int>(planned), window, static_cast<int>(want));
      // Where one group has blocks of its own, nothing is shared.
      for (size_t i = 0; i < batch.others.size(); i++) {
        batch.others[i] = 2 * kOther + static_cast<int32_t>(i);
      }
      check_plan(shape, batch);
    }
  }
  // Queries whose windows begin on both sides of a chunk's border.
  shape.reach.window = 100;
  Batch batch;
  for (int32_t s = 0; s < 7; s++) add_sharer(batch, shape, 4199, 7, 4112);
  check_plan(shape, batch);
}

}  // namespace

void test_kernel_plan(Random& random, const Effort& effort) {
  plan_of_windows();
  plan_of_sharers();
  for (int i = 0; i < effort.cases * 4; i++) {
    PlanShape shape = random_shape(random);
    const Batch batch = random_batch(random, shape);
    // As many items as prepare() makes room for.
    shape.max_items = static_cast<int64_t>(batch.positions.size()) * ((shape.group + 15) / 16) +
                      4 * int64_t{shape.grid};
    check_plan(shape, batch);
  }
}

}  // namespace octavo::test
