// The plan of a step's attention, made once on the host: which block computes which rows over which
// chunks. It decides speed only; bits do not depend on it.
#pragma once

#include <vector>

#include "kernels/attention.h"
#include "ops.h"

namespace octavo::device {

struct PlanShape {
  int32_t group = 1;  // heads of a KV head
  int32_t num_kv_heads = 1;
  int32_t wide_rows = 64;  // packed rows of a wide item
  int32_t block_size = 16;
  int32_t grid = 1;  // blocks that run at once
  int64_t max_partial_rows = 0;
  int64_t max_items = 0;  // of a kind
  bool share_prefixes = true;
};

// What goes to the device, in host memory.
struct HostPlan {
  int32_t header[4] = {};
  std::vector<AttentionItem> narrow, wide;
  std::vector<int32_t> token_list, merge_tokens, partial_base, folded_chunks;
};

class AttentionPlanner {
 public:
  explicit AttentionPlanner(const PlanShape& shape) : shape_(shape) {}
  // `batch` holds host pointers. The result is valid until the next call.
  const HostPlan& build(const BatchView& batch);

 private:
  // Rows that go together, before they are split over blocks.
  struct Tile {
    AttentionItem item;
    bool wide;
    bool more_chunks;  // other tiles hold the rest of these rows: partial in any case
  };
  void list_tiles(const BatchView& batch, bool share);
  std::vector<std::vector<int32_t>> find_sharers(const BatchView& batch) const;
  int32_t shared_chunks(const BatchView& batch, const std::vector<int32_t>& sequences) const;
  void share(const BatchView& batch, const std::vector<int32_t>& sequences, int32_t chunks);
  void add_rows(int32_t table_row, int32_t token_first, int32_t num_tokens, int32_t chunk_begin,
                int32_t chunk_end, const BatchView& batch, bool more_chunks);
  int32_t rows_of_tile(int32_t most, int32_t row) const;
  bool deal(const BatchView& batch, int64_t chunks_per_item);
  bool deal_tile(const Tile& tile, int64_t chunks_per_item);
  bool reserve_partials(const BatchView& batch);

  const PlanShape shape_;
  HostPlan plan_;
  std::vector<Tile> tiles_;
  std::vector<int32_t> own_begin_;  // [num_seqs] first chunk not computed with sharers
};

}  // namespace octavo::device
