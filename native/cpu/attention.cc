// paged_attention: cuts the queries of a step into tiles (one sequence, one KV head, up to 48
// query rows), walks each tile's context in chunks of 256 positions counted from position 0, and
// joins the chunks' states in their order. When there are fewer tiles than the threads can share,
// a tile's chunks are computed apart and joined afterwards, in the same order: same bits.
#include <algorithm>

#include "base/check.h"
#include "cpu/cpu_ops.h"
#include "cpu/kernels.h"

namespace octavo {
namespace {

constexpr int64_t kItemsPerThread = 4;
constexpr int64_t kMinTileRows = 6;
constexpr int64_t kMaxPartialBytes = 64 << 20;

struct Tile {
  int32_t seq;
  int32_t kv_head;
  int32_t first_row;  // row r of a sequence: query token r / group, head r % group of the KV head
  int32_t num_rows;
  int32_t chunk_begin, chunk_end;
  int64_t first_unit;  // sum of the chunks of the tiles before: where partial results lie
};

struct Plan {
  const AttentionParams* p;
  const PagedKV* kv;
  const BatchView* batch;
  int32_t group;  // query heads of a KV head
  Tile* tiles;    // [num_tiles]
  int64_t num_tiles = 0;
  int64_t num_units = 0;  // chunks of all tiles
  int64_t work = 0;
  int64_t partial_row = 0;  // floats of a partial result: acc [value_size], state

  int64_t value_size() const { return kv->value_size(); }
};

// What one row of a tile may see, and where its query and output lie.
struct Row {
  int64_t offset;      // in q
  int64_t out_offset;  // in out
  int64_t head;        // of the query
  int32_t position;    // its own
  int32_t begin, end;  // positions that it sees; none if begin ≥ end
};

Row row_of(const Plan& plan, const Tile& tile, int32_t r) {
  const BatchView& b = *plan.batch;
  const int32_t start = b.query_start[tile.seq], length = b.query_start[tile.seq + 1] - start;
  const int32_t row = tile.first_row + r;
  const int32_t token = row / plan.group;
  const int64_t head = int64_t{tile.kv_head} * plan.group + row % plan.group;
  const int32_t context = b.context_len[tile.seq], limit = context - length + token + 1;
  const Reach& reach = plan.p->reach;
  return {(start + token) * plan.p->q.cols + head * plan.kv->head_size,
          (start + token) * plan.p->out.cols + head * plan.value_size(),
          head,
          limit - 1,
          reach.first_seen(limit),
          reach.end_seen(limit, context)};
}

int32_t rows_of_seq(const Plan& plan, int32_t seq) {
  return (plan.batch->query_start[seq + 1] - plan.batch->query_start[seq]) * plan.group;
}

// Rows per tile: as many as share K and V well, fewer when that would leave threads idle. Whole
// tokens where possible.
int32_t tile_rows(const Plan& plan, int64_t wanted) {
  int64_t rows = kMaxQueryRows;
  for (;; rows /= 2) {
    int64_t tiles = 0;
    for (int32_t s = 0; s < plan.batch->num_seqs; s++) {
      tiles += (rows_of_seq(plan, s) + rows - 1) / rows * plan.kv->num_kv_heads;
    }
    if (tiles >= wanted || rows / 2 < kMinTileRows) break;
  }
  const int64_t tokens = rows / plan.group;
  return static_cast<int32_t>(tokens > 0 ? tokens * plan.group : rows);
}

void add_tile(Plan& plan, Tile tile) {
  // A later token sees no less at the end and no more at the beginning.
  const Row first = row_of(plan, tile, 0), last = row_of(plan, tile, tile.num_rows - 1);
  tile.chunk_begin = first.begin / kChunkTokens;
  tile.chunk_end = last.end <= 0 ? tile.chunk_begin : (last.end - 1) / kChunkTokens + 1;
  tile.first_unit = plan.num_units;
  plan.num_units += tile.chunk_end - tile.chunk_begin;
  const int64_t tokens = std::max(0, last.end - first.begin);
  plan.work += 2 * tokens * tile.num_rows * plan.kv->head_size;
  plan.tiles[plan.num_tiles++] = tile;
}

void add_tiles(Plan& plan, int32_t step) {
  for (int32_t s = 0; s < plan.batch->num_seqs; s++) {
    const int32_t rows = rows_of_seq(plan, s);
    for (int32_t h = 0; h < plan.kv->num_kv_heads; h++) {
      // Last tokens first: they see most, and long items should not come last.
      for (int32_t at = rows > 0 ? (rows - 1) / step * step : -1; at >= 0; at -= step) {
        add_tile(plan, {s, h, at, std::min(step, rows - at), 0, 0, 0});
      }
    }
  }
}

// The memory of one worker.
struct Workspace {
  const float* q[kMaxQueryRows];
  const char* k_pages[kChunkTokens + 1];
  const char* v_pages[kChunkTokens + 1];
  const float* k_scales[kChunkTokens + 1];
  const float* v_scales[kChunkTokens + 1];
  int32_t first[kMaxQueryRows], last[kMaxQueryRows], positions[kMaxQueryRows];
  float slopes[kMaxQueryRows];
  SoftmaxState state[kMaxQueryRows], chunk_state[kMaxQueryRows];

  // Behind it: acc and chunk_acc [kMaxQueryRows, value_size], the kernel's scratch.
  static size_t bytes(int64_t value_size, int64_t kernel_floats) {
    return sizeof(Workspace) + sizeof(float) * (2 * kMaxQueryRows * value_size + kernel_floats);
  }
  float* acc() { return reinterpret_cast<float*>(this + 1); }
};

// Pages of the blocks that hold positions [begin, end) of a chunk that starts at `origin`.
void find_pages(const Plan& plan, const Tile& tile, int32_t origin, int32_t begin, int32_t end,
                Workspace& w) {
  const PagedKV& kv = *plan.kv;
  const TableView& tables = plan.batch->groups[kv.group];
  const int32_t* table = tables.block_tables + tables.table_start[tile.seq];
  const int64_t element = block_bytes(kv.dtype);
  const char* base = static_cast<const char*>(kv.base);
  const int32_t first = origin / kv.block_size;
  for (int32_t b = (origin + begin) / kv.block_size; b * kv.block_size < origin + end; b++) {
    const int64_t page = kv.page(table[b], tile.kv_head, 0);
    w.k_pages[b - first] = base + page * element;
    w.v_pages[b - first] = base + (page + kv.v_offset) * element;
    if (!is_8bit_cache(kv.dtype)) continue;
    w.k_scales[b - first] = kv.scales + kv.scale(table[b], tile.kv_head, 0);
    w.v_scales[b - first] = w.k_scales[b - first] + kv.scale_v_offset;
  }
}

void attend(const CpuContext& c, const Plan& plan, const Tile& tile, int32_t chunk, Workspace& w,
            SoftmaxState* state, float* acc) {
  const int32_t head = plan.kv->head_size, origin = chunk * kChunkTokens;
  int32_t begin = kChunkTokens, end = 0;
  for (int32_t r = 0; r < tile.num_rows; r++) {
    const Row row = row_of(plan, tile, r);
    w.q[r] = plan.p->q.f32() + row.offset;
    w.first[r] = std::clamp(row.begin - origin, 0, kChunkTokens);
    w.last[r] = std::clamp(row.end - origin, 0, kChunkTokens);
    w.positions[r] = row.position - origin;
    if (plan.p->alibi != nullptr) w.slopes[r] = plan.p->alibi[row.head];
    if (w.first[r] >= w.last[r]) continue;
    begin = std::min(begin, w.first[r]);
    end = std::max(end, w.last[r]);
  }
  if (begin < end) find_pages(plan, tile, origin, begin, end, w);
  AttentionChunk job;
  job.num_rows = tile.num_rows;
  job.head_size = head;
  job.value_size = plan.kv->value_size();
  job.latent = plan.kv->latent > 0;
  job.scale = plan.p->scale;
  job.softcap = plan.p->softcap;
  job.slopes = plan.p->alibi == nullptr ? nullptr : w.slopes;
  job.positions = w.positions;
  job.q = w.q;
  job.first = w.first;
  job.last = w.last;
  job.dtype = plan.kv->dtype;
  job.rounds = c.rounding.bf16 && plan.kv->dtype == DType::kBF16 && head % 2 == 0;
  job.block_size = plan.kv->block_size;
  job.block_offset = origin % plan.kv->block_size;
  job.k_pages = w.k_pages;
  job.v_pages = w.v_pages;
  job.k_scales = w.k_scales;
  job.v_scales = w.v_scales;
  job.state = state;
  job.acc = acc;
  job.scratch = w.acc() + 2 * kMaxQueryRows * plan.value_size();
  c.kernels->attend_chunk(job);
}

// A row's output, once all its chunks are joined.
void finish_row(const CpuContext& c, const Plan& plan, const Tile& tile, int32_t r,
                const SoftmaxState& state, const float* acc) {
  const Row row = row_of(plan, tile, r);
  const float* const sink = plan.p->sinks == nullptr ? nullptr : plan.p->sinks + row.head;
  c.kernels->finish_softmax(&state, acc, sink, plan.p->out.f32() + row.out_offset,
                            plan.kv->value_size());
}

// All chunks of a tile, one after the other.
void run_tile(const CpuContext& c, const Plan& plan, const Tile& tile, Workspace& w) {
  const int32_t size = plan.kv->value_size();
  float* acc = w.acc();
  float* chunk_acc = acc + kMaxQueryRows * size;
  std::fill(w.state, w.state + tile.num_rows, SoftmaxState{0, 0});
  for (int32_t chunk = tile.chunk_begin; chunk < tile.chunk_end; chunk++) {
    attend(c, plan, tile, chunk, w, w.chunk_state, chunk_acc);
    for (int32_t r = 0; r < tile.num_rows; r++) {
      c.kernels->merge_softmax(&w.state[r], acc + r * size, &w.chunk_state[r], chunk_acc + r * size,
                               size);
    }
  }
  for (int32_t r = 0; r < tile.num_rows; r++)
    finish_row(c, plan, tile, r, w.state[r], acc + r * size);
}

// Partial results of a unit: acc [kMaxQueryRows, value_size], then states [kMaxQueryRows].
float* partial_of(const Plan& plan, float* partials, int64_t unit) {
  return partials + unit * kMaxQueryRows * plan.partial_row;
}
SoftmaxState* states_of(const Plan& plan, float* partial) {
  return reinterpret_cast<SoftmaxState*>(partial + kMaxQueryRows * plan.value_size());
}

void join_tile(const CpuContext& c, const Plan& plan, const Tile& tile, float* partials,
               Workspace& w) {
  const int32_t size = plan.kv->value_size();
  const int32_t num_chunks = tile.chunk_end - tile.chunk_begin;
  for (int32_t r = 0; r < tile.num_rows; r++) {
    SoftmaxState state{0, 0};
    for (int32_t i = 0; i < num_chunks; i++) {
      float* partial = partial_of(plan, partials, tile.first_unit + i);
      c.kernels->merge_softmax(&state, w.acc(), states_of(plan, partial) + r, partial + r * size,
                               size);
    }
    finish_row(c, plan, tile, r, state, w.acc());
  }
}

template <class Find>
void run_split(CpuContext& c, const Plan& plan, float* partials, Find workspace) {
  c.pool.parallel_for(plan.num_units, [&](int64_t unit, int worker) {
    const Tile* tile = std::upper_bound(plan.tiles, plan.tiles + plan.num_tiles, unit,
                                        [](int64_t u, const Tile& t) { return u < t.first_unit; });
    tile--;  // empty tiles share their first unit with the next: the last one owns it
    float* partial = partial_of(plan, partials, unit);
    const int32_t chunk = tile->chunk_begin + static_cast<int32_t>(unit - tile->first_unit);
    attend(c, plan, *tile, chunk, workspace(worker), states_of(plan, partial), partial);
  });
  c.pool.parallel_for(plan.num_tiles, [&](int64_t i, int worker) {
    join_tile(c, plan, plan.tiles[i], partials, workspace(worker));
  });
}

}  // namespace

// q [num_tokens, num_heads · head_size], out [num_tokens, num_heads · value_size]
void cpu_paged_attention(void* context, const AttentionParams& p, const PagedKV& kv,
                         const BatchView& batch) {
  OCTAVO_CHECK(is_cpu_cache(kv.dtype) && kv.block_size > 0 && kv.head_size > 0);
  OCTAVO_CHECK(p.num_heads > 0 && p.num_heads % kv.num_kv_heads == 0);
  OCTAVO_CHECK(p.softcap >= 0);
  OCTAVO_CHECK(p.q.cols == int64_t{p.num_heads} * kv.head_size);
  OCTAVO_CHECK(p.out.cols == int64_t{p.num_heads} * kv.value_size());
  OCTAVO_CHECK(kv.latent == 0 || (kv.latent <= kv.head_size && !is_8bit_cache(kv.dtype)));
  CpuContext& c = cpu_context(context);
  Plan plan;
  plan.p = &p;
  plan.kv = &kv;
  plan.batch = &batch;
  plan.group = p.num_heads / kv.num_kv_heads;
  plan.partial_row = kv.value_size() + 2;
  const int64_t wanted = kItemsPerThread * c.pool.num_threads();
  const int32_t step = tile_rows(plan, wanted);
  int64_t most = 0;
  for (int32_t s = 0; s < batch.num_seqs; s++) {
    most += int64_t{(rows_of_seq(plan, s) + step - 1) / step} * kv.num_kv_heads;
  }
  plan.tiles = c.shared_scratch.get_array<Tile>(static_cast<size_t>(most));
  add_tiles(plan, step);

  const size_t bytes =
      Workspace::bytes(kv.value_size(), c.kernels->attention_scratch(kv.head_size));
  for (Scratch& s : c.worker_scratch) s.get(bytes);
  const auto workspace = [&](int worker) -> Workspace& {
    return *static_cast<Workspace*>(c.worker_scratch[worker].get(0));
  };
  const int64_t partial_floats = plan.num_units * kMaxQueryRows * plan.partial_row;
  if (plan.work >= kInlineWork && c.pool.num_threads() > 1 && plan.num_tiles < wanted &&
      plan.num_units > plan.num_tiles && partial_floats * 4 <= kMaxPartialBytes) {
    float* partials = c.partial_scratch.get_array<float>(static_cast<size_t>(partial_floats));
    return run_split(c, plan, partials, workspace);
  }
  for_each_item(c, plan.work, plan.num_tiles, [&](int64_t i, int worker) {
    run_tile(c, plan, plan.tiles[i], workspace(worker));
  });
}

}  // namespace octavo
