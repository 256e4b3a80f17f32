// The sizes of an engine around its model.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/recurrent.h"
#include "ops.h"

namespace octavo {

// Layers that keep their KV alike, with a table of their own per sequence; lib/native.ts,
// NativeKvGroup.
struct KvGroupSpec {
  Reach reach;                 // no layer looks further back
  int32_t block_size = 0;      // tokens per page
  int32_t blocks_per_row = 0;  // entries of its table
  std::vector<int32_t> layers;
};

// Of a model with recurrent layers: slots for states, the zero state included, and records.
struct RecurrentLimits {
  int32_t num_slots = 0, num_records = 0;  // 0 = it has none
  int32_t num_host_slots = 0;              // that states can be swapped to

  bool any() const { return num_slots > 0; }
  // That records can be swapped to: of each state the chunk's.
  int32_t num_host_records() const { return num_host_slots * kChunk; }
};

// What the scheduler may ask of one step; activations are sized by it once.
struct EngineLimits {
  int32_t num_blocks = 0;  // the null block included; 0 = as many as the device's memory holds
  // 1 to kMaxKvGroups; every layer with KV of its own is in one of them. None: no cache is kept,
  // and texts are computed whole, to pool them.
  std::vector<KvGroupSpec> groups;
  RecurrentLimits recurrent;
  int32_t block_size = 0;  // of the pages that such a text's K and V go through
  int32_t max_num_seqs = 0;
  int32_t max_num_batched_tokens = 0;
  int32_t max_model_len = 0;
  int32_t num_host_blocks = 0;  // that blocks can be swapped to

  bool pools() const { return groups.empty(); }
  // Of a text that is computed whole.
  int32_t max_text_len() const { return std::min(max_model_len, max_num_batched_tokens); }
  // Pages for as many texts as a step may have; each begins one.
  int64_t num_text_pages() const { return max_num_batched_tokens / block_size + max_num_seqs; }

  // Entries of a row of the block-table slab: the tables of all groups, one after the other.
  int64_t table_row() const {
    int64_t sum = 0;
    for (const KvGroupSpec& group : groups) sum += group.blocks_per_row;
    return sum;
  }
  // Of each sequence, in each group, the block that it is writing to.
  int64_t max_num_copies() const {
    return int64_t{max_num_seqs} * static_cast<int64_t>(groups.size());
  }
};

}  // namespace octavo
