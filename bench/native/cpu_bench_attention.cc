// What works on the paged cache: attention, rotation and writing, moving blocks.
#include <algorithm>

#include "base/paged_kv.h"
#include "bench/native/cpu_bench.h"

namespace octavo::bench {
namespace {

struct Cache {
  Buffer pool;
  std::vector<int32_t> tables, table_starts{0}, starts{0}, contexts, positions;
  std::vector<int64_t> slots;
  PagedKV kv;
  BatchView batch;
};
constexpr int32_t kHead = 64, kKvHeads = 3, kHeads = 9, kBlock = 16;

Cache make_cache(Session& s, DType dtype, int32_t seqs, int32_t context, int32_t query) {
  Cache c;
  const int64_t page = int64_t{kKvHeads} * kBlock * kHead, size = block_bytes(dtype);
  const int64_t per_seq = (context + kBlock - 1) / kBlock;
  const int64_t scales = dtype == DType::kI8 ? 2 * kKvHeads * kBlock : 0;
  const int64_t stride = 2 * page * size + scales * 4;
  c.pool = s.stored((per_seq * seqs + 1) * stride);
  char* const base = static_cast<char*>(c.pool.data());
  c.kv = {base, dtype, kBlock, kKvHeads, kHead, stride / size, page, int64_t{kBlock} * kHead};
  if (scales > 0) {
    c.kv.scales = reinterpret_cast<float*>(base + 2 * page);
    c.kv.scale_block_stride = stride / 4;
    c.kv.scale_v_offset = scales / 2;
  }
  for (int32_t b = 1; b <= per_seq * seqs; b++) c.tables.push_back(b);
  std::shuffle(c.tables.begin(), c.tables.end(), s.random);
  for (int32_t s = 0; s < seqs; s++) {
    c.contexts.push_back(context);
    c.table_starts.push_back((s + 1) * per_seq);
    c.starts.push_back((s + 1) * query);
    for (int32_t i = 0; i < query; i++) {
      c.positions.push_back(context - query + i);
      c.slots.push_back(slot_of(&c.tables[s * per_seq], c.positions.back(), kBlock));
    }
  }
  c.batch.num_seqs = seqs;
  c.batch.num_tokens = seqs * query;
  c.batch.query_start = c.starts.data();
  c.batch.context_len = c.contexts.data();
  c.batch.groups[0].block_tables = c.tables.data();
  c.batch.groups[0].table_start = c.table_starts.data();
  c.batch.positions = c.positions.data();
  c.batch.groups[0].slots = c.slots.data();
  return c;
}

void attention(Session& s, const std::string& name, DType dtype, int32_t seqs, int32_t context,
               int32_t query, Reach reach = {}) {
  Cache c = make_cache(s, dtype, seqs, context, query);
  const int64_t cols = kHeads * kHead, tokens = c.batch.num_tokens;
  const Buffer q = s.random_floats(tokens * cols), out = s.buffer(tokens * cols * 4);
  AttentionParams p;
  p.out = tensor(out, tokens, cols);
  p.q = tensor(q, tokens, cols);
  p.num_heads = kHeads;
  p.scale = 0.125f;
  p.reach = reach;
  const double seconds =
      seconds_of([&] { s.ops.paged_attention(s.ops.context, p, c.kv, c.batch); });
  if (query == 1) {
    const double bytes = 2.0 * seqs * context * kKvHeads * kHead * block_bytes(dtype);
    s.rows.push_back({name, 1e-9 * bytes / seconds, "GB/s", s.gbytes});
  } else {
    const double seen = reach.both ? context : context - 0.5 * (query - 1);  // on average
    const double flops = 4.0 * kHeads * kHead * seqs * query * seen;
    s.rows.push_back({name, 1e-9 * flops / seconds, "GFLOP/s", s.gflops});
  }
}

void rope(Session& s) {
  Cache c = make_cache(s, DType::kF32, 1, 512, 512);
  const int64_t cols = kHeads * kHead, kv_cols = kKvHeads * kHead, n = 512;
  const Buffer q = s.random_floats(n * cols), k = s.random_floats(n * kv_cols),
               v = s.random_floats(n * kv_cols);
  std::vector<float> inv_freq(kHead / 2, 0.5f);
  const RopeCacheParams p{tensor(q, n, cols),
                          tensor(k, n, kv_cols),
                          tensor(v, n, kv_cols),
                          inv_freq.data(),
                          nullptr,
                          kHead,
                          false,
                          1.0f};
  const double seconds = seconds_of([&] { s.ops.rope_and_cache(s.ops.context, p, c.kv, c.batch); });
  s.add_rate("rope_and_cache 512 tokens", 4.0 * n * (2 * cols + 5 * kv_cols), seconds);
}

}  // namespace

void bench_attention(Session& s) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kI8}) {
    const std::string type = std::string(" ") + dtype_name(dtype);
    attention(s, "paged_attention decode 8k" + type, dtype, 1, 8192, 1);
    attention(s, "paged_attention decode 16 x 1k" + type, dtype, 16, 1024, 1);
    attention(s, "paged_attention prefill 1k" + type, dtype, 1, 1024, 1024);
    attention(s, "paged_attention texts 4 x 512, both ways" + type, dtype, 4, 512, 512,
              {0, false, true});
  }
  rope(s);
}

void bench_blocks(Session& s) {
  const int64_t block_bytes = 30 * 2 * kKvHeads * kBlock * kHead * 4, pairs = 8;
  const Buffer pool = s.random_floats(2 * pairs * block_bytes / 4);
  std::vector<BlockCopy> copies;
  for (int32_t i = 0; i < pairs; i++) copies.push_back({2 * i, 2 * i + 1});
  const double seconds = seconds_of(
      [&] { s.ops.copy_blocks(s.ops.context, pool.data(), block_bytes, copies.data(), pairs); });
  s.add_rate("copy_blocks 8 x 720 KB", 2.0 * pairs * block_bytes, seconds);
  const Buffer host = s.random_floats(pairs * block_bytes / 4);
  std::vector<BlockSwap> swaps;
  for (int32_t i = 0; i < pairs; i++) swaps.push_back({2 * i + 1, i});
  s.add_rate("swap_blocks 8 x 720 KB", 2.0 * pairs * block_bytes, seconds_of([&] {
               s.ops.swap_blocks(s.ops.context, pool.data(), host.data(), block_bytes, swaps.data(),
                                 pairs, true);
             }));
}

}  // namespace octavo::bench
