// What a step's attention plans cost the host: one for each shape of a model's layers.
#include "bench/native/kernel_bench.h"
#include "kernels/attention_plan.h"

namespace octavo::bench {
namespace {

constexpr int32_t kContext = 4096, kBlock = 16, kWindow = 1024;

// Decodes of about 4,096 tokens, of which the first `shared` are in the same blocks.
struct Decodes {
  Decodes(int32_t n, int32_t shared) {
    int32_t next = 1;
    for (int32_t s = 0; s < n; s++) {
      const int32_t context = kContext + s % 7;
      for (int32_t b = 0; b <= context / kBlock; b++) {
        tables.push_back(s > 0 && b < shared / kBlock ? tables[b] : next++);
      }
      table_starts.push_back(static_cast<int32_t>(tables.size()));
      contexts.push_back(context);
      positions.push_back(context - 1);
      starts.push_back(s + 1);
    }
    batch.num_seqs = batch.num_tokens = n;
    batch.query_start = starts.data();
    batch.context_len = contexts.data();
    batch.groups[0].block_tables = tables.data();
    batch.groups[0].table_start = table_starts.data();
    batch.positions = positions.data();
  }
  std::vector<int32_t> starts = {0}, table_starts = {0}, contexts, tables, positions;
  BatchView batch;
};

}  // namespace

void bench_plan(Session& s) {
  for (int32_t n : s.smoke ? std::vector<int32_t>{3} : std::vector<int32_t>{1, 64, 256}) {
    for (int32_t shared : {0, 2048}) {
      const Decodes decodes(n, shared);
      for (int32_t window : {0, kWindow}) {
        device::PlanShape shape;  // of Llama-3-8B on an H200
        shape.group = 4;
        shape.num_kv_heads = 8;
        shape.reach.window = window;
        shape.wide_rows = 128;
        shape.grid = 264;
        shape.max_partial_rows = 4000;
        shape.max_items = 4096 + 4 * shape.grid;
        device::AttentionPlanner planner(shape);
        const double us = s.host_micros([&] { planner.build(decodes.batch); });
        const std::string name = std::to_string(n) + " x 4k" + (shared > 0 ? ", 2k shared" : "") +
                                 (window > 0 ? ", window 1k" : "");
        s.add({"plan", name, us});
      }
    }
  }
}

}  // namespace octavo::bench
