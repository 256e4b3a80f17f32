#include "kernels/attention_plan.h"

#include <algorithm>
#include <cstring>
#include <map>

namespace octavo::device {

namespace {
int32_t chunks_of(int32_t tokens) { return (tokens + kChunkTokens - 1) / kChunkTokens; }
}  // namespace

const HostPlan& AttentionPlanner::build(const BatchView& batch) {
  int64_t per_item = 1;
  for (bool share : {shape_.share_prefixes, false}) {
    list_tiles(batch, share);
    int64_t work = 0, longest = 1;
    for (const Tile& t : tiles_) {
      const int64_t chunks = t.item.chunk_end - t.item.chunk_begin;
      work += chunks * shape_.num_kv_heads;
      longest = std::max(longest, chunks);
    }
    // About one item for each block that runs at once; fewer, if partial rows do not suffice.
    for (per_item = std::max<int64_t>(1, (work + shape_.grid - 1) / shape_.grid);; per_item *= 2) {
      if (deal(batch, per_item)) break;
      if (per_item > longest) break;  // nothing was split any more: only sharing asks for partials
    }
    if (per_item <= longest || deal(batch, per_item)) break;
  }
  const auto longer = [](const AttentionItem& a, const AttentionItem& b) {
    return a.chunk_end - a.chunk_begin > b.chunk_end - b.chunk_begin;
  };
  std::stable_sort(plan_.narrow.begin(), plan_.narrow.end(), longer);
  std::stable_sort(plan_.wide.begin(), plan_.wide.end(), longer);
  plan_.header[0] = static_cast<int32_t>(plan_.narrow.size());
  plan_.header[1] = static_cast<int32_t>(plan_.wide.size());
  plan_.header[2] = static_cast<int32_t>(plan_.merge_tokens.size());
  plan_.header[3] = static_cast<int32_t>(batch.table_stride);
  return plan_;
}

// Every sequence's rows over its own chunks; before them, shared prefixes once for all sharers.
void AttentionPlanner::list_tiles(const BatchView& batch, bool share_prefixes) {
  tiles_.clear();
  plan_.token_list.clear();
  for (int32_t t = 0; t < batch.num_tokens; t++) plan_.token_list.push_back(t);
  own_begin_.assign(static_cast<size_t>(batch.num_seqs), 0);
  if (share_prefixes) {
    for (const auto& sequences : find_sharers(batch)) {
      const int32_t chunks = shared_chunks(batch, sequences);
      int64_t rows = 0, own = 0;
      for (int32_t s : sequences) {
        rows += (batch.query_start[s + 1] - batch.query_start[s]) * shape_.group;
        own += chunks_of(batch.context_len[s]);
      }
      // Worth it when a fifth of the bytes is saved, and rows fill a wide item's half.
      const int64_t saved = chunks * (static_cast<int64_t>(sequences.size()) - 1);
      if (chunks >= 1 && rows >= 32 && saved * 5 > own) share(batch, sequences, chunks);
    }
  }
  for (int32_t s = 0; s < batch.num_seqs; s++) {
    const int32_t begin = own_begin_[s], end = chunks_of(batch.context_len[s]);
    if (begin >= end) continue;
    const int32_t first = batch.query_start[s];
    add_rows(s, first, batch.query_start[s + 1] - first, begin, end, batch, begin > 0);
  }
}

// Sequences whose first chunk lies in the same blocks. Long queries fill wide items by themselves.
std::vector<std::vector<int32_t>> AttentionPlanner::find_sharers(const BatchView& batch) const {
  const int32_t blocks = kChunkTokens / shape_.block_size;
  std::map<std::vector<int32_t>, std::vector<int32_t>> by_prefix;
  for (int32_t s = 0; s < batch.num_seqs; s++) {
    const int32_t queries = batch.query_start[s + 1] - batch.query_start[s];
    if (batch.context_len[s] - queries < kChunkTokens) continue;
    if (queries * shape_.group > shape_.wide_rows / 2) continue;
    const int32_t* table = batch.block_tables + s * batch.table_stride;
    if (table[0] == 0) continue;  // slid out of the window: nothing there to share
    by_prefix[std::vector<int32_t>(table, table + blocks)].push_back(s);
  }
  std::vector<std::vector<int32_t>> out;
  for (auto& [prefix, sequences] : by_prefix) {
    if (sequences.size() > 1) out.push_back(std::move(sequences));
  }
  return out;
}

int32_t AttentionPlanner::shared_chunks(const BatchView& batch,
                                        const std::vector<int32_t>& sequences) const {
  const int32_t* first = batch.block_tables + sequences[0] * batch.table_stride;
  int32_t blocks = INT32_MAX;
  for (int32_t s : sequences) {
    const int32_t queries = batch.query_start[s + 1] - batch.query_start[s];
    const int32_t* table = batch.block_tables + s * batch.table_stride;
    int32_t same = 0;
    const int32_t most = std::min(blocks, (batch.context_len[s] - queries) / shape_.block_size);
    while (same < most && table[same] == first[same]) same++;
    blocks = same;
  }
  return blocks * shape_.block_size / kChunkTokens;
}

void AttentionPlanner::share(const BatchView& batch, const std::vector<int32_t>& sequences,
                             int32_t chunks) {
  const int32_t begin = static_cast<int32_t>(plan_.token_list.size());
  for (int32_t s : sequences) {
    own_begin_[s] = chunks;
    for (int32_t t = batch.query_start[s]; t < batch.query_start[s + 1]; t++) {
      plan_.token_list.push_back(t);
    }
  }
  const int32_t tokens = static_cast<int32_t>(plan_.token_list.size()) - begin;
  add_rows(sequences[0], begin, tokens, 0, chunks, batch, true);
}

// A tile holds whole tokens, or a part of one: so all rows of a token are split alike.
int32_t AttentionPlanner::rows_of_tile(int32_t most, int32_t row) const {
  if (shape_.group <= most) return most / shape_.group * shape_.group;
  return std::min(most, shape_.group - row % shape_.group);
}

// Cuts the packed rows of a run of the token list into tiles.
void AttentionPlanner::add_rows(int32_t table_row, int32_t token_first, int32_t num_tokens,
                                int32_t chunk_begin, int32_t chunk_end, const BatchView& batch,
                                bool more_chunks) {
  const int32_t rows = num_tokens * shape_.group;
  for (int32_t row = 0; row < rows;) {
    Tile tile;
    tile.wide = rows - row > kNarrowRows;
    tile.more_chunks = more_chunks;
    AttentionItem& it = tile.item;
    it = {};
    it.table_row = table_row;
    it.token_first = token_first;
    it.row_begin = row;
    it.num_rows =
        std::min(rows - row, rows_of_tile(tile.wide ? shape_.wide_rows : kNarrowRows, row));
    it.max_limit = 0;
    it.min_limit = INT32_MAX;
    for (int32_t i = row / shape_.group; i <= (row + it.num_rows - 1) / shape_.group; i++) {
      const int32_t limit = batch.positions[plan_.token_list[token_first + i]] + 1;
      it.max_limit = std::max(it.max_limit, limit);
      it.min_limit = std::min(it.min_limit, limit);
    }
    it.chunk_begin = chunk_begin;
    it.chunk_end = std::min(chunk_end, chunks_of(it.max_limit));
    row += it.num_rows;
    if (it.chunk_begin < it.chunk_end || !more_chunks) tiles_.push_back(tile);
  }
}

// Splits every tile into items of at most `chunks_per_item`; false if there is no room for that.
bool AttentionPlanner::deal(const BatchView& batch, int64_t chunks_per_item) {
  plan_.narrow.clear();
  plan_.wide.clear();
  plan_.folded_chunks.assign(static_cast<size_t>(batch.num_tokens), -1);
  for (const Tile& tile : tiles_) {
    if (!deal_tile(tile, chunks_per_item)) return false;
  }
  return reserve_partials(batch);
}

bool AttentionPlanner::deal_tile(const Tile& tile, int64_t chunks_per_item) {
  auto& items = tile.wide ? plan_.wide : plan_.narrow;
  const int32_t chunks = tile.item.chunk_end - tile.item.chunk_begin;
  const int32_t pieces =
      static_cast<int32_t>(std::max<int64_t>(1, (chunks + chunks_per_item - 1) / chunks_per_item));
  if (static_cast<int64_t>(items.size()) + pieces > shape_.max_items) return false;
  const bool whole = pieces == 1 && !tile.more_chunks;
  for (int32_t i = 0; i < pieces; i++) {
    AttentionItem item = tile.item;
    item.chunk_begin = tile.item.chunk_begin + static_cast<int32_t>(int64_t{chunks} * i / pieces);
    item.chunk_end =
        tile.item.chunk_begin + static_cast<int32_t>(int64_t{chunks} * (i + 1) / pieces);
    item.store = whole ? kToOutput : item.chunk_begin == 0 ? kFolded : kPerChunk;
    items.push_back(item);
    if (item.store != kFolded) continue;
    for (int32_t r = item.row_begin / shape_.group;
         r <= (item.row_begin + item.num_rows - 1) / shape_.group; r++) {
      plan_.folded_chunks[plan_.token_list[item.token_first + r]] = item.chunk_end;
    }
  }
  return true;
}

bool AttentionPlanner::reserve_partials(const BatchView& batch) {
  plan_.merge_tokens.clear();
  plan_.partial_base.assign(static_cast<size_t>(batch.num_tokens), -1);
  int64_t next = 0;
  for (int32_t t = 0; t < batch.num_tokens; t++) {
    const int32_t folded = plan_.folded_chunks[t];
    if (folded < 0) continue;
    plan_.merge_tokens.push_back(t);
    plan_.partial_base[t] = static_cast<int32_t>(next);
    next += 1 + std::max(0, chunks_of(batch.positions[t] + 1) - folded);
  }
  return next <= shape_.max_partial_rows;
}

}  // namespace octavo::device
