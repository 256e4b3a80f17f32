#include "grammar/chart.h"

#include <algorithm>

namespace octavo::grammar {

using Next = Rules::Next;

bool Chart::ItemSet::insert(Item item) {
  if (++size_ * 2 > slots_.size()) {
    std::vector<std::pair<Item, uint32_t>> old(slots_.size() * 2);
    old.swap(slots_);
    size_ = 1;
    for (const auto& [i, stamp] : old) {
      if (stamp == stamp_) insert(i);
    }
  }
  const size_t mask = slots_.size() - 1;
  size_t i = mix(uint64_t{item.dot} << 32 | item.origin) & mask;
  for (; slots_[i].second == stamp_; i = (i + 1) & mask) {
    if (slots_[i].first == item) {
      --size_;
      return false;
    }
  }
  slots_[i] = {item, stamp_};
  return true;
}

void Chart::ItemSet::clear() {
  size_ = 0;
  if (++stamp_ != 0) return;
  std::fill(slots_.begin(), slots_.end(), std::pair<Item, uint32_t>{});
  stamp_ = 1;
}

Chart::Chart(const Rules& rules, Lexer& lexer, Budget& budget)
    : rules_(rules),
      lexer_(lexer),
      budget_(budget),
      arena_(budget),
      rows_(1),
      ids_(budget),
      shortcut_ids_(budget),
      after_(budget),
      predicted_(rules.rules.size(), 0) {
  budget_.take_bytes(static_cast<int64_t>(rules.rules.size() * 4));
  start_ = build({}, 0);
}

Span<Chart::Waiter> Chart::waiters_of(const Span<Waiter>& all, uint32_t symbol) {
  const Waiter* low = std::lower_bound(all.begin(), all.end(), symbol,
                                       [](const Waiter& w, uint32_t s) { return w.symbol < s; });
  const Waiter* high = low;
  while (high != all.end() && high->symbol == symbol) ++high;
  return {low, static_cast<uint32_t>(high - low)};
}

const Chart::Shortcut* Chart::shortcut(RowId row, uint32_t rule) const {
  const Span<Shortcut>& all = rows_[row].shortcuts;
  const Shortcut* s = std::lower_bound(all.begin(), all.end(), rule,
                                       [](const Shortcut& x, uint32_t r) { return x.rule < r; });
  return s != all.end() && s->rule == rule ? s : nullptr;
}

// Of an item of an earlier row, or one of this row's own (whose shortcuts are not there yet).
Item Chart::canonical(Item item) const {
  const Rules::Dot& dot = rules_.dots[item.dot];
  const Shortcut* s = shortcut(item.origin, dot.rule);
  if (s == nullptr) return item;
  if (dot.next == Next::kEnd) return s->top;
  return {item.dot, s->origin};
}

void Chart::scan(RowId row, uint32_t accepted, std::vector<Item>& kernel) {
  for (const uint32_t terminal : lexer_.accepted(accepted)) {
    const Span<Waiter> waiters = waiters_of(rows_[row].terminals, terminal);
    budget_.spend(1 + waiters.size);
    for (const Waiter& w : waiters) kernel.push_back(advanced(w.item));
  }
}

void Chart::scan_token(RowId row, uint32_t token_set, std::vector<Item>& kernel) {
  for (const Waiter& w : waiters_of(rows_[row].tokens, token_set)) {
    budget_.spend(1);
    kernel.push_back(advanced(w.item));
  }
}

RowId Chart::after(RowId row_id, uint32_t accepted) {
  const uint32_t known = after_.find(row_id, accepted);
  if (known != kNone) return known;
  std::vector<Item> kernel;
  scan(row_id, accepted, kernel);
  const RowId out = row(kernel);
  after_.insert(row_id, accepted, out);
  return out;
}

RowId Chart::row(std::vector<Item>& kernel) {
  if (kernel.empty()) return 0;
  std::sort(kernel.begin(), kernel.end(), [](const Item& a, const Item& b) {
    return a.dot != b.dot ? a.dot < b.dot : a.origin < b.origin;
  });
  kernel.erase(std::unique(kernel.begin(), kernel.end()), kernel.end());
  const uint32_t hash = hash_words(&kernel[0].dot, 2 * kernel.size(), 3);
  const uint32_t known = ids_.find(hash, [&](uint32_t id) {
    const Span<Item>& k = rows_[id].kernel;
    return k.size == kernel.size() && std::equal(k.begin(), k.end(), kernel.begin());
  });
  return known != kNone ? known : build(kernel, hash);
}

// The start has no kernel; but no text comes there again.
RowId Chart::either(RowId a, RowId b) {
  if (a == 0 || a == b) return b;
  if (b == 0) return a;
  std::vector<Item> kernel(rows_[a].kernel.begin(), rows_[a].kernel.end());
  kernel.insert(kernel.end(), rows_[b].kernel.begin(), rows_[b].kernel.end());
  return row(kernel);
}

// A row of no kernel is that of the start.
RowId Chart::build(const std::vector<Item>& kernel, uint32_t hash) {
  budget_.spend(8);
  budget_.take_bytes(sizeof(Row));
  const auto self = static_cast<RowId>(rows_.size());
  Row row;
  row.kernel = arena_.copy(kernel);
  ++stamp_;
  seen_.clear();
  items_.clear();
  for (const Item& item : kernel) add(item);
  if (kernel.empty()) predict(rules_.start, self);
  // While it is built, advanced() must find the row, without shortcuts.
  rows_.emplace_back();
  struct Unfinished {
    std::vector<Row>& rows;
    bool done = false;
    ~Unfinished() {
      if (!done) rows.pop_back();
    }
  } unfinished{rows_};
  row.weight = static_cast<uint32_t>(std::min<int64_t>(close(self), kMaxWeight));

  std::vector<Waiter> rules, terminals, tokens;
  std::vector<uint32_t> symbols;
  for (const Item& item : items_) {
    const Rules::Dot& dot = rules_.dots[item.dot];
    if (dot.next == Next::kRule) rules.push_back({dot.symbol, item});
    if (dot.next == Next::kTokens) tokens.push_back({dot.symbol, item});
    if (item.dot == rules_.start_end) row.complete = true;
    if (dot.next != Next::kTerminal) continue;
    terminals.push_back({dot.symbol, item});
    symbols.push_back(dot.symbol);
  }
  const auto by_symbol = [](const Waiter& a, const Waiter& b) { return a.symbol < b.symbol; };
  for (auto* list : {&rules, &terminals, &tokens}) {
    std::stable_sort(list->begin(), list->end(), by_symbol);
  }
  row.rules = arena_.copy(rules);
  row.terminals = arena_.copy(terminals);
  row.tokens = arena_.copy(tokens);
  std::sort(symbols.begin(), symbols.end());
  symbols.erase(std::unique(symbols.begin(), symbols.end()), symbols.end());
  row.lexer_state = lexer_.begin(symbols);
  find_shortcuts(self, row);
  rows_[self] = row;
  unfinished.done = true;
  if (!kernel.empty()) ids_.insert(hash, self);
  return self;
}

void Chart::add(Item item) {
  if (seen_.insert(item)) items_.push_back(item);
}

int64_t Chart::close(RowId self) {
  int64_t looks = 0;
  for (size_t i = 0; i < items_.size(); ++i) {
    const Item item = items_[i];
    const Rules::Dot dot = rules_.dots[item.dot];
    budget_.spend(1);
    ++looks;
    if (dot.next == Next::kEnd) {
      // What is empty at this row has been stepped over when it was predicted.
      if (item.origin == self || dot.rule == rules_.start) continue;
      const Span<Waiter> waiters = waiters_of(rows_[item.origin].rules, dot.rule);
      budget_.spend(waiters.size);
      looks += waiters.size;
      for (const Waiter& w : waiters) add(advanced(w.item));
      continue;
    }
    if (dot.next == Next::kRule) predict(dot.symbol, self);
    if (rules_.nullable(dot)) add(advanced(item));
  }
  return looks;
}

void Chart::predict(uint32_t rule, RowId self) {
  if (predicted_[rule] == stamp_) return;
  predicted_[rule] = stamp_;
  for (const DotId begin : rules_.rules[rule].begins) add({begin, self});
}

void Chart::find_shortcuts(RowId self, Row& row) {
  std::vector<Shortcut> found;
  for (uint32_t i = 0; i < row.rules.size; ++i) {
    const uint32_t rule = row.rules[i].symbol;
    Item top;
    if ((i == 0 || row.rules[i - 1].symbol != rule) && find_top(row, self, rule, 0, &top)) {
      const uint32_t words[] = {rule, top.dot, top.origin};
      const uint32_t hash = hash_words(words, 3, 4);
      uint32_t known = shortcut_ids_.find(
          hash, [&](uint32_t id) { return tops_[id].rule == rule && tops_[id].top == top; });
      if (known == kNone) {
        budget_.take_bytes(sizeof(TopRow));
        known = static_cast<uint32_t>(tops_.size());
        tops_.push_back({rule, top, self});
        shortcut_ids_.insert(hash, known);
      }
      found.push_back({rule, top, tops_[known].row});
    }
  }
  row.shortcuts = arena_.copy(found);
}

bool Chart::find_top(const Row& row, RowId self, uint32_t rule, int depth, Item* top) const {
  const Span<Waiter> waiters = waiters_of(row.rules, rule);
  if (waiters.size != 1 || depth > 64) return false;
  const Item item = {waiters[0].item.dot + 1, waiters[0].item.origin};
  const Rules::Dot& dot = rules_.dots[item.dot];
  if (dot.next != Next::kEnd) return false;
  *top = item;
  if (item.origin == self) {
    Item above;
    if (dot.rule != rules_.start && find_top(row, self, dot.rule, depth + 1, &above)) *top = above;
  } else if (const Shortcut* s = shortcut(item.origin, dot.rule)) {
    *top = s->top;
  }
  return true;
}

// Rows begin with lower ones: these come first.
RowId Chart::adopt(const Chart& from, RowId row_id, std::unordered_map<RowId, RowId>& known) {
  known.emplace(0, 0);
  known.emplace(from.start_, start_);
  std::vector<RowId> open = {row_id}, order;
  std::unordered_map<RowId, bool> seen;
  while (!open.empty()) {
    const RowId r = open.back();
    open.pop_back();
    if (known.count(r) != 0 || !seen.emplace(r, true).second) continue;
    order.push_back(r);
    budget_.spend(1 + from.rows_[r].kernel.size);
    for (const Item& item : from.rows_[r].kernel) open.push_back(item.origin);
  }
  std::sort(order.begin(), order.end());
  for (const RowId r : order) {
    std::vector<Item> kernel;
    for (const Item& item : from.rows_[r].kernel) {
      kernel.push_back(canonical({item.dot, known.at(item.origin)}));
    }
    known.emplace(r, row(kernel));
  }
  return known.at(row_id);
}

std::vector<uint32_t> Chart::token_sets(RowId row) const {
  std::vector<uint32_t> out;
  for (const Waiter& w : rows_[row].tokens) {
    if (out.empty() || out.back() != w.symbol) out.push_back(w.symbol);
  }
  return out;
}

}  // namespace octavo::grammar
