// What a paged attention launch needs, on both sides of it: the plan that the host makes once a
// step, and the arguments of a layer's kernels.
#pragma once

#include <cstdint>

#include "base/paged_kv.h"
#include "base/reach.h"

namespace octavo::device {

// KV is summed in chunks of this many positions, counted from position 0 whatever the query, and
// the chunks of a row are merged in order. So a row has the same bits however it was computed:
// alone or in a batch, in a long query or a short one, by one block or by several.
constexpr int kChunkTokens = 256;
constexpr int kTileTokens = 64;  // of one pass through shared memory
constexpr int kNarrowRows = 16;  // packed rows (query token × head of a group) of a narrow item

// Where an item's sums go: normalised to the output (it has all chunks of its rows); each chunk to
// a partial row of its own; or, for the first chunks of a row, all folded into one partial row.
constexpr int kToOutput = 0, kPerChunk = 1, kFolded = 2;

// Work of one block for one KV head: packed rows of some query tokens against a range of chunks.
struct AttentionItem {
  int32_t table_start;  // of its block table, into block_tables
  int32_t token_first;  // into the token list; packed row p is its token p / group, head p % group
  int32_t row_begin;    // first packed row
  int32_t num_rows;
  int32_t chunk_begin, chunk_end;
  int32_t max_end;    // one past the last position that a row of it sees
  int32_t min_limit;  // one past its first query's own: where what it sees begins
  int32_t context;    // tokens of its sequence; of use where queries look ahead
  int32_t store;      // kToOutput, kPerChunk or kFolded
};

// A token whose rows are to be merged, and one past the last position that they see.
struct MergeToken {
  int32_t token, end;
};

// Device memory, written by the host once a step.
struct AttentionPlan {
  // [0] narrow items, [1] wide items, [2] tokens to merge
  const int32_t* header = nullptr;
  const AttentionItem* narrow = nullptr;
  const AttentionItem* wide = nullptr;
  const int32_t* token_list = nullptr;
  const MergeToken* merge_tokens = nullptr;
  // Of a token with partial rows: row `base` holds chunks [0, folded), base + 1 + i the chunk
  // folded + i. [num_tokens] each.
  const int32_t* partial_base = nullptr;
  const int32_t* folded_chunks = nullptr;
};

// What a head is like: values of K, and of a latent row how many are V as well.
struct HeadForm {
  int32_t size = 0, latent = 0;
};

struct AttentionArgs {
  void* out = nullptr;      // [num_tokens][num_heads · value_size]
  const void* q = nullptr;  // [num_tokens][num_heads · head_size]
  PagedKV kv;
  const int32_t* block_tables = nullptr;
  const int32_t* positions = nullptr;  // [num_tokens]
  AttentionPlan plan;
  float* partial_out = nullptr;    // [partial rows][num_heads][value_size]
  float* partial_state = nullptr;  // [partial rows][num_heads][max, sum]
  int32_t num_heads = 0;
  int32_t block_shift = 0;  // log2 of block_size
  int32_t stages = 2;       // tiles in shared memory at once
  float scale_log2 = 0;     // scale · log2 e
  Reach reach{};
  float softcap = 0;             // s = softcap · tanh(s / softcap), 0 = none
  const float* alibi = nullptr;  // [num_heads] slopes, or null
  const float* sinks = nullptr;  // [num_heads] logits, or null
};

}  // namespace octavo::device
