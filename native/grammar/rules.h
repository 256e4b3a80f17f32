// The rules of a grammar as tables: items, what can be empty, what can ever be matched.
#pragma once

#include <cstdint>
#include <vector>

#include "grammar/program.h"
#include "grammar/regex.h"

namespace octavo::grammar {

// A rule with a dot at one place of one alternative. An item's next symbol is that behind its dot.
using DotId = uint32_t;

struct Rules {
  // Throws ERR_GRAMMAR where the start matches nothing.
  Rules(const Program& program, Regexes& regexes, Budget& budget);

  enum class Next : uint8_t { kEnd, kTerminal, kRule, kTokens };
  struct Dot {
    Next next;
    uint32_t symbol;  // of its kind; of kEnd 0
    uint32_t rule;    // whose alternative this is
  };
  struct Rule {
    std::vector<DotId> begins;  // alternatives that can be matched
    bool nullable = false, productive = false;
  };

  std::vector<Dot> dots;  // that behind the symbol is the next one
  std::vector<Rule> rules;
  std::vector<bool> terminal_nullable;
  uint32_t start;   // a rule of its own, whose one alternative is the grammar's start
  DotId start_end;  // its end
  bool nullable(const Dot& dot) const {
    return dot.next == Next::kRule       ? rules[dot.symbol].nullable
           : dot.next == Next::kTerminal ? terminal_nullable[dot.symbol]
                                         : false;
  }

 private:
  void add_alternatives(const Program& program, Budget& budget);
  // For each rule whether it has an alternative of symbols that all are good.
  template <class Good, class Mark>
  void spread(Budget& budget, const Good& good, const Mark& mark);
};

}  // namespace octavo::grammar
