#include "kernels/attention_plan.h"

#include <algorithm>
#include <tuple>

namespace octavo::device {

namespace {
int32_t chunks_of(int32_t tokens) { return (tokens + kChunkTokens - 1) / kChunkTokens; }
}  // namespace

const HostPlan& AttentionPlanner::build(const BatchView& batch) {
  int64_t per_item = 1;
  // Who looks ahead shares nothing: a text is computed whole, and its end differs.
  for (bool share : {shape_.share_prefixes && !shape_.reach.both, false}) {
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
  return plan_;
}

// The first position that a query with so many up to itself sees.
int32_t AttentionPlanner::first_seen(int32_t limit) const { return shape_.reach.first_seen(limit); }

// Every sequence's rows over its own chunks; before them, shared prefixes once for all sharers.
void AttentionPlanner::list_tiles(const BatchView& batch, bool share_prefixes) {
  tiles_.clear();
  plan_.token_list.clear();
  for (int32_t t = 0; t < batch.num_tokens; t++) plan_.token_list.push_back(t);
  own_begin_.assign(static_cast<size_t>(batch.num_seqs), 0);
  if (share_prefixes) {
    find_sharers(batch);
    for (Sharers begin = sharers_.begin(); begin != sharers_.end();) {
      Sharers end = begin + 1;
      while (end != sharers_.end() && end->chunk == begin->chunk && end->block == begin->block) {
        ++end;
      }
      if (end - begin > 1) share(batch, begin, end);
      begin = end;
    }
  }
  for (int32_t s = 0; s < batch.num_seqs; s++) {
    const int32_t begin = own_begin_[s], end = chunks_of(batch.context_len[s]);
    if (begin >= end) continue;
    const int32_t first = batch.query_start[s];
    add_rows(s, first, batch.query_start[s + 1] - first, begin, end, batch,
             begin > 0 ? Part::kRest : Part::kWhole);
  }
}

// Sequences by the chunk that they see first and the last block of it; all queries of a sequence
// see the same one, and see it to its end. Long queries fill wide items by themselves.
void AttentionPlanner::find_sharers(const BatchView& batch) {
  sharers_.clear();
  for (int32_t s = 0; s < batch.num_seqs; s++) {
    const int32_t queries = batch.query_start[s + 1] - batch.query_start[s];
    const int32_t context = batch.context_len[s];
    if (queries * shape_.group > shape_.wide_rows / 2) continue;
    const int32_t chunk = first_seen(context - queries + 1) / kChunkTokens;
    const int32_t chunk_end = (chunk + 1) * kChunkTokens;
    if (context - queries < chunk_end || first_seen(context) >= chunk_end) continue;
    const int32_t* table = tables_of(batch).block_tables + tables_of(batch).table_start[s];
    sharers_.push_back({chunk, table[chunk_end / shape_.block_size - 1], s});
  }
  std::sort(sharers_.begin(), sharers_.end(), [](const Sharer& a, const Sharer& b) {
    return std::tie(a.chunk, a.block, a.sequence) < std::tie(b.chunk, b.block, b.sequence);
  });
}

// Whether entry `index` names the same block for two sequences in every group.
bool AttentionPlanner::same_block(const BatchView& batch, int32_t a, int32_t b,
                                  int32_t index) const {
  for (int32_t g : shape_.kv_groups) {
    const TableView& t = batch.groups[g];
    if (t.block_tables[t.table_start[a] + index] != t.block_tables[t.table_start[b] + index]) {
      return false;
    }
  }
  return true;
}

// Up to which chunk all of them have the blocks of `lead`, as far as each sees any.
int32_t AttentionPlanner::shared_chunks(const BatchView& batch, int32_t lead, Sharers begin,
                                        Sharers end) const {
  int32_t blocks = INT32_MAX;
  for (Sharers it = begin; it != end; ++it) {
    const int32_t s = it->sequence;
    const int32_t before = batch.context_len[s] - batch.query_start[s + 1] + batch.query_start[s];
    int32_t same = first_seen(before + 1) / shape_.block_size;
    const int32_t most = std::min(blocks, before / shape_.block_size);
    while (same < most && same_block(batch, s, lead, same)) same++;
    blocks = std::min(blocks, same);
  }
  return blocks / (kChunkTokens / shape_.block_size);
}

// By the table of the one that sees furthest back: blocks that others have lost are still there.
void AttentionPlanner::share(const BatchView& batch, Sharers begin, Sharers end) {
  const auto before = [&](const Sharer& s) {
    return batch.context_len[s.sequence] - batch.query_start[s.sequence + 1] +
           batch.query_start[s.sequence];
  };
  const int32_t lead = std::min_element(begin, end, [&](const Sharer& a, const Sharer& b) {
                         return before(a) < before(b);
                       })->sequence;
  const int32_t first = begin->chunk, chunks = shared_chunks(batch, lead, begin, end);
  int64_t rows = 0, own = 0;
  for (Sharers it = begin; it != end; ++it) {
    rows += int64_t{batch.query_start[it->sequence + 1] - batch.query_start[it->sequence]} *
            shape_.group;
    own += chunks_of(batch.context_len[it->sequence]) - first;
  }
  // Worth it when a fifth of the bytes is saved, and rows fill a wide item's half.
  const int64_t saved = int64_t{chunks - first} * (end - begin - 1);
  if (chunks <= first || rows < 32 || saved * 5 <= own) return;
  const int32_t token_first = static_cast<int32_t>(plan_.token_list.size());
  for (Sharers it = begin; it != end; ++it) {
    own_begin_[it->sequence] = chunks;
    for (int32_t t = batch.query_start[it->sequence]; t < batch.query_start[it->sequence + 1];
         t++) {
      plan_.token_list.push_back(t);
    }
  }
  const int32_t tokens = static_cast<int32_t>(plan_.token_list.size()) - token_first;
  add_rows(lead, token_first, tokens, first, chunks, batch, Part::kBegin);
}

// A tile holds whole tokens, or a part of one: so all rows of a token are split alike.
int32_t AttentionPlanner::rows_of_tile(int32_t most, int32_t row) const {
  if (shape_.group <= most) return most / shape_.group * shape_.group;
  return std::min(most, shape_.group - row % shape_.group);
}

// Cuts the packed rows of a run of the token list into tiles, over those of the chunks that one of
// their rows sees.
void AttentionPlanner::add_rows(int32_t sequence, int32_t token_first, int32_t num_tokens,
                                int32_t chunk_begin, int32_t chunk_end, const BatchView& batch,
                                Part part) {
  const int32_t rows = num_tokens * shape_.group;
  for (int32_t row = 0; row < rows;) {
    Tile tile;
    tile.wide = rows - row > kNarrowRows;
    tile.part = part;
    AttentionItem& it = tile.item;
    it = {};
    it.table_start = tables_of(batch).table_start[sequence];
    it.token_first = token_first;
    it.row_begin = row;
    it.num_rows =
        std::min(rows - row, rows_of_tile(tile.wide ? shape_.wide_rows : kNarrowRows, row));
    it.context = batch.context_len[sequence];
    it.min_limit = INT32_MAX;
    int32_t max_limit = 0;
    for (int32_t i = row / shape_.group; i <= (row + it.num_rows - 1) / shape_.group; i++) {
      const int32_t limit = batch.positions[plan_.token_list[token_first + i]] + 1;
      max_limit = std::max(max_limit, limit);
      it.min_limit = std::min(it.min_limit, limit);
    }
    it.chunk_begin = std::max(chunk_begin, first_seen(it.min_limit) / kChunkTokens);
    it.max_end = shape_.reach.end_seen(max_limit, it.context);
    it.chunk_end = std::min(chunk_end, chunks_of(it.max_end));
    row += it.num_rows;
    tiles_.push_back(tile);
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
  const bool whole = pieces == 1 && tile.part == Part::kWhole;
  for (int32_t i = 0; i < pieces; i++) {
    AttentionItem item = tile.item;
    item.chunk_begin = tile.item.chunk_begin + static_cast<int32_t>(int64_t{chunks} * i / pieces);
    item.chunk_end =
        tile.item.chunk_begin + static_cast<int32_t>(int64_t{chunks} * (i + 1) / pieces);
    item.store = whole ? kToOutput : i == 0 && tile.part != Part::kRest ? kFolded : kPerChunk;
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
  for (int32_t s = 0; s < batch.num_seqs; s++) {
    for (int32_t t = batch.query_start[s]; t < batch.query_start[s + 1]; t++) {
      const int32_t folded = plan_.folded_chunks[t];
      if (folded < 0) continue;
      const int32_t end = shape_.reach.end_seen(batch.positions[t] + 1, batch.context_len[s]);
      plan_.merge_tokens.push_back({t, end});
      plan_.partial_base[t] = static_cast<int32_t>(next);
      next += 1 + std::max(0, chunks_of(end) - folded);
    }
  }
  return next <= shape_.max_partial_rows;
}

}  // namespace octavo::device
