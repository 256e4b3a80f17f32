// The plan of a step's attention, made once on the host for all layers of one shape, whichever KV
// group they are in: which block computes which rows over which chunks, those that a window leaves.
// It decides speed only; bits do not depend on it.
#pragma once

#include <vector>

#include "kernels/attention.h"
#include "ops.h"

namespace octavo::device {

struct PlanShape {
  int32_t group = 1;  // heads of a KV head
  int32_t num_kv_heads = 1;
  Reach reach{};
  int32_t wide_rows = 64;  // packed rows of a wide item
  int32_t block_size = 16;
  std::vector<int32_t> kv_groups = {0};  // that have such layers
  int32_t grid = 1;                      // blocks that run at once
  int64_t max_partial_rows = 0;
  int64_t max_items = 0;  // of a kind
  bool share_prefixes = true;
};

// What goes to the device, in host memory.
struct HostPlan {
  int32_t header[3] = {};
  std::vector<AttentionItem> narrow, wide;
  std::vector<int32_t> token_list, partial_base, folded_chunks;
  std::vector<MergeToken> merge_tokens;
};

class AttentionPlanner {
 public:
  explicit AttentionPlanner(const PlanShape& shape) : shape_(shape) {}
  // `batch` holds host pointers. The result is valid until the next call.
  const HostPlan& build(const BatchView& batch);

 private:
  // All chunks that its rows see; the first of them, others hold the rest; the rest.
  enum class Part { kWhole, kBegin, kRest };
  // Rows that go together, before they are split over blocks.
  struct Tile {
    AttentionItem item;
    bool wide;
    Part part;
  };
  // A sequence that may share what it sees first: those with the same chunk and block go together.
  struct Sharer {
    int32_t chunk, block, sequence;
  };
  using Sharers = std::vector<Sharer>::const_iterator;

  void list_tiles(const BatchView& batch, bool share);
  void find_sharers(const BatchView& batch);
  void share(const BatchView& batch, Sharers begin, Sharers end);
  int32_t shared_chunks(const BatchView& batch, int32_t lead, Sharers begin, Sharers end) const;
  const TableView& tables_of(const BatchView& batch) const {
    return batch.groups[shape_.kv_groups[0]];
  }
  bool same_block(const BatchView& batch, int32_t a, int32_t b, int32_t index) const;
  int32_t first_seen(int32_t limit) const;
  void add_rows(int32_t sequence, int32_t token_first, int32_t num_tokens, int32_t chunk_begin,
                int32_t chunk_end, const BatchView& batch, Part part);
  int32_t rows_of_tile(int32_t most, int32_t row) const;
  bool deal(const BatchView& batch, int64_t chunks_per_item);
  bool deal_tile(const Tile& tile, int64_t chunks_per_item);
  bool reserve_partials(const BatchView& batch);

  const PlanShape shape_;
  HostPlan plan_;
  std::vector<Tile> tiles_;
  std::vector<Sharer> sharers_;
  std::vector<int32_t> own_begin_;  // [num_seqs] first chunk not computed with sharers
};

}  // namespace octavo::device
