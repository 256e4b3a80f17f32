#include "grammar/rules.h"

#include <utility>

#include "base/error.h"

namespace octavo::grammar {

Rules::Rules(const Program& program, Regexes& regexes, Budget& budget) {
  std::vector<bool> terminal_good;
  for (uint32_t t = 0; t < program.terminals.size(); ++t) {
    terminal_nullable.push_back(regexes.nullable(regexes.root(t)));
    terminal_good.push_back(!regexes.is_empty(regexes.root(t)));
  }
  add_alternatives(program, budget);

  spread(
      budget, [&](const Dot& d) { return nullable(d); },
      [](Rule& rule) { return std::exchange(rule.nullable, true); });
  const auto good = [&](const Dot& d) {
    switch (d.next) {
      case Next::kTerminal:
        return bool{terminal_good[d.symbol]};
      case Next::kTokens:
        return program.token_sets[d.symbol].count > 0;
      default:
        return rules[d.symbol].productive;
    }
  };
  spread(budget, good, [](Rule& rule) { return std::exchange(rule.productive, true); });

  for (Rule& rule : rules) {
    size_t kept = 0;
    for (const DotId begin : rule.begins) {
      DotId d = begin;
      while (dots[d].next != Next::kEnd && good(dots[d])) ++d;
      if (dots[d].next == Next::kEnd) rule.begins[kept++] = begin;
    }
    rule.begins.resize(kept);
  }
  if (!rules[start].productive) {
    throw Error(kErrGrammar, "the grammar matches no text at all; nothing could be generated");
  }
}

void Rules::add_alternatives(const Program& program, Budget& budget) {
  const auto num_rules = static_cast<uint32_t>(program.rules.size());
  start = num_rules;
  rules.resize(num_rules + 1);
  const auto take = [&](int64_t symbols) {
    budget.spend(symbols + 1);
    budget.take_bytes((symbols + 1) * static_cast<int64_t>(sizeof(Dot)) + 8);
  };
  for (uint32_t r = 0; r < num_rules; ++r) {
    const Range& of = program.rules[r];
    for (int32_t a = of.first; a < of.first + of.count; ++a) {
      const Range& alternative = program.alternatives[static_cast<size_t>(a)];
      take(alternative.count);
      rules[r].begins.push_back(static_cast<DotId>(dots.size()));
      for (int32_t s = 0; s < alternative.count; ++s) {
        const Symbol& symbol = program.symbols[static_cast<size_t>(alternative.first + s)];
        const Next next = symbol.kind == SymbolKind::kTerminal ? Next::kTerminal
                          : symbol.kind == SymbolKind::kRule   ? Next::kRule
                                                               : Next::kTokens;
        dots.push_back({next, symbol.index, r});
      }
      dots.push_back({Next::kEnd, 0, r});
    }
  }
  rules[start].begins.push_back(static_cast<DotId>(dots.size()));
  dots.push_back({Next::kRule, static_cast<uint32_t>(program.start), start});
  start_end = static_cast<DotId>(dots.size());
  dots.push_back({Next::kEnd, 0, start});
}

// By counting, in each alternative, the symbols that are not good yet: linear in all symbols.
template <class Good, class Mark>
void Rules::spread(Budget& budget, const Good& good, const Mark& mark) {
  std::vector<std::vector<DotId>> waiting(rules.size());  // begins of alternatives, by rule
  std::vector<uint32_t> missing(dots.size(), 0);          // of an alternative, at its begin
  std::vector<uint32_t> ready;
  for (uint32_t r = 0; r < rules.size(); ++r) {
    for (const DotId begin : rules[r].begins) {
      bool never = false;
      for (DotId d = begin; dots[d].next != Next::kEnd; ++d) {
        budget.spend(1);
        if (dots[d].next == Next::kRule) {
          ++missing[begin];
          waiting[dots[d].symbol].push_back(begin);
        } else {
          never = never || !good(dots[d]);
        }
      }
      if (never) missing[begin] = kNone;
      if (missing[begin] == 0) ready.push_back(r);
    }
  }
  while (!ready.empty()) {
    const uint32_t r = ready.back();
    ready.pop_back();
    if (mark(rules[r])) continue;
    for (const DotId begin : waiting[r]) {
      budget.spend(1);
      if (missing[begin] != kNone && --missing[begin] == 0) ready.push_back(dots[begin].rule);
    }
  }
}

}  // namespace octavo::grammar
