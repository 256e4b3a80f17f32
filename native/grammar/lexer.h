// Where the terminals that have begun at one place are: a lexer state is a set of pairs of a
// terminal and the regex of what may follow. A deterministic automaton, made as it is needed.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "grammar/regex.h"
#include "grammar/tables.h"

namespace octavo::grammar {

// A table's entries: 0 = not computed, 1 = no way on, else a state.
constexpr uint32_t kUnknown = 0, kDead = 1;

struct LexPair {
  uint32_t terminal;
  NodeId node;  // neither empty nor only ε
};

struct LexEdge {
  uint32_t state;     // kDead: no terminal goes on
  uint32_t accepted;  // set of terminals that match as far as here; 0 = none
  bool operator==(const LexEdge& o) const { return state == o.state && accepted == o.accepted; }
};

class Lexer {
 public:
  Lexer(Regexes& regexes, const ByteClasses& classes, Budget& budget);

  // The state at the beginning of these terminals, ascending.
  uint32_t begin(const std::vector<uint32_t>& terminals);
  LexEdge next(uint32_t state, uint32_t cls) {
    const LexEdge* table = states_[state].next;
    if (table != nullptr && table[cls].state != kUnknown) return table[cls];
    return compute(state, cls);
  }
  // What next() has found already; kUnknown: nothing.
  LexEdge known(uint32_t state, uint32_t cls) const {
    const LexEdge* table = states_[state].next;
    return table != nullptr ? table[cls] : LexEdge{kUnknown, 0};
  }
  Span<uint32_t> accepted(uint32_t set) const { return sets_[set]; }
  uint32_t weight(uint32_t state) const { return states_[state].weight; }
  // The strictest of its terminals, where each has a bound; the most of what leaves a way on.
  Room room(uint32_t state, CharKind kind);
  uint32_t adopt(const Lexer& from, uint32_t state, std::unordered_map<NodeId, NodeId>& known);

 private:
  struct State {
    Span<LexPair> pairs;
    LexEdge* next;    // [classes], taken when first asked for
    uint32_t weight;  // of all its nodes
  };
  uint32_t intern(const std::vector<LexPair>& pairs);
  uint32_t intern_set(const std::vector<uint32_t>& terminals);
  LexEdge compute(uint32_t state, uint32_t cls);

  Regexes& regexes_;
  const ByteClasses& classes_;
  Budget& budget_;
  Arena arena_;
  std::vector<State> states_;
  std::vector<Span<uint32_t>> sets_;
  IdTable state_ids_, set_ids_;
};

}  // namespace octavo::grammar
