// Earley's sets (Earley 1970) as values: a row is what is expected at one place of the text, told
// by the items that came there and the rows where their rules began. Equal rows are one row, so
// that lists and loops come back to rows that are there. Empty rules are predicted as Aycock and
// Horspool do (2002); right recursion is cut short as by Leo (1991), and an item whose end would
// only end another one begins where that one does, so that a right-recursive loop is a loop too.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "grammar/lexer.h"
#include "grammar/rules.h"
#include "grammar/tables.h"

namespace octavo::grammar {

using RowId = uint32_t;  // 0 = none

struct Item {
  DotId dot;
  RowId origin;
  bool operator==(const Item& o) const { return dot == o.dot && origin == o.origin; }
};

class Chart {
 public:
  Chart(const Rules& rules, Lexer& lexer, Budget& budget);

  RowId start() const { return start_; }
  // Adds the items behind what a row has matched: these terminals of the lexer's set; a token of
  // this set.
  void scan(RowId row, uint32_t accepted, std::vector<Item>& kernel);
  void scan_token(RowId row, uint32_t token_set, std::vector<Item>& kernel);
  RowId row(std::vector<Item>& kernel);       // 0 where it has no item
  RowId after(RowId row, uint32_t accepted);  // the row of scan() alone, remembered
  RowId either(RowId a, RowId b);             // what is expected at either of them
  // The same row of another space.
  RowId adopt(const Chart& from, RowId row, std::unordered_map<RowId, RowId>& known);

  bool complete(RowId row) const { return rows_[row].complete; }
  uint32_t lexer_state(RowId row) const { return rows_[row].lexer_state; }
  uint32_t weight(RowId row) const { return rows_[row].weight; }
  // Sets of tokens that may come, each once.
  std::vector<uint32_t> token_sets(RowId row) const;
  bool expects_tokens(RowId row) const { return rows_[row].tokens.size > 0; }

 private:
  // An item that waits for a symbol.
  struct Waiter {
    uint32_t symbol;
    Item item;
  };
  // Where the only item that waits for a rule ends with it: what then ends, at last; and the first
  // row for which the same holds.
  struct Shortcut {
    uint32_t rule;
    Item top;
    RowId origin;
  };
  struct Row {
    Span<Item> kernel;
    Span<Waiter> rules, terminals, tokens;  // by symbol
    Span<Shortcut> shortcuts;               // by rule
    uint32_t lexer_state = kDead;
    uint32_t weight = 0;  // items that were looked at to build it
    bool complete = false;
  };
  class ItemSet {
   public:
    bool insert(Item item);  // false: was there
    void clear();

   private:
    std::vector<std::pair<Item, uint32_t>> slots_ = std::vector<std::pair<Item, uint32_t>>(256);
    uint32_t stamp_ = 1;
    size_t size_ = 0;
  };

  const Shortcut* shortcut(RowId row, uint32_t rule) const;
  Item canonical(Item item) const;  // through shortcuts
  Item advanced(Item item) const { return canonical({item.dot + 1, item.origin}); }
  void add(Item item);
  RowId build(const std::vector<Item>& kernel, uint32_t hash);
  int64_t close(RowId self);  // how many items it has looked at
  void predict(uint32_t rule, RowId self);
  void find_shortcuts(RowId self, Row& row);
  bool find_top(const Row& row, RowId self, uint32_t rule, int depth, Item* top) const;
  static Span<Waiter> waiters_of(const Span<Waiter>& all, uint32_t symbol);

  const Rules& rules_;
  Lexer& lexer_;
  Budget& budget_;
  Arena arena_;
  std::vector<Row> rows_;
  IdTable ids_, shortcut_ids_;
  struct TopRow {
    uint32_t rule;
    Item top;
    RowId row;
  };
  std::vector<TopRow> tops_;
  Memo after_;
  RowId start_ = 0;
  // Of the row being built.
  ItemSet seen_;
  std::vector<Item> items_;
  std::vector<uint32_t> predicted_;  // stamps by rule
  uint32_t stamp_ = 0;
};

}  // namespace octavo::grammar
