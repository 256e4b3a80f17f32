// The slow matcher.
#include <algorithm>
#include <tuple>

#include "native/grammar_test.h"

namespace octavo::test {

using grammar::RegexOp;
using grammar::SymbolKind;

bool Reference::Item::operator<(const Item& o) const {
  return std::tie(rule, alternative, dot, origin, terminal) <
         std::tie(o.rule, o.alternative, o.dot, o.origin, o.terminal);
}

Reference::Reference(const TestGrammar& grammar, ByteSet representatives)
    : grammar_(grammar),
      representatives_(std::move(representatives)),
      productive_(grammar.rules.size(), false) {
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t r = 0; r < grammar.rules.size(); r++) {
      for (const auto& alternative : grammar.rules[r]) {
        const bool all = std::all_of(alternative.begin(), alternative.end(),
                                     [this](const TestSymbol& s) { return good(s); });
        if (!all || productive_[r]) continue;
        changed = productive_[r] = true;
      }
    }
  }
  begin();
}

bool Reference::good(const TestSymbol& s) {
  if (s.kind == SymbolKind::kRule) return productive_[s.index];
  if (s.kind == SymbolKind::kTokens) return !grammar_.token_sets[s.index].empty();
  return !hopeless(grammar_.terminals[s.index]);
}

void Reference::begin() {
  sets_.assign(1, {});
  for (uint32_t a = 0; a < grammar_.rules[grammar_.start].size(); a++) {
    sets_[0].insert({grammar_.start, a, 0, 0, -1});
  }
  close(sets_[0]);
}

// Until nothing is added; what is empty here completes as anything else.
void Reference::close(Set& set) {
  const auto here = static_cast<uint32_t>(sets_.size() - 1);
  for (bool changed = true; changed;) {
    changed = false;
    const std::vector<Item> items(set.begin(), set.end());
    for (const Item& i : items) {
      const auto& alternative = grammar_.rules[i.rule][i.alternative];
      const bool hope = std::all_of(alternative.begin(), alternative.end(),
                                    [this](const TestSymbol& s) { return good(s); });
      if (!hope) {
        set.erase(i);
        continue;
      }
      if (i.terminal >= 0) {
        if (trees_.at(i.terminal)->nullable) {
          changed |= set.insert({i.rule, i.alternative, i.dot + 1, i.origin, -1}).second;
        }
        continue;
      }
      if (i.dot == alternative.size()) {
        const Set from = i.origin == here ? set : sets_[i.origin];
        for (const Item& w : from) {
          const auto& waiting = grammar_.rules[w.rule][w.alternative];
          if (w.terminal < 0 && w.dot < waiting.size() &&
              waiting[w.dot].kind == SymbolKind::kRule && waiting[w.dot].index == i.rule) {
            changed |= set.insert({w.rule, w.alternative, w.dot + 1, w.origin, -1}).second;
          }
        }
        continue;
      }
      const TestSymbol& s = alternative[i.dot];
      if (s.kind == SymbolKind::kRule) {
        for (uint32_t a = 0; a < grammar_.rules[s.index].size(); a++) {
          const auto& next = grammar_.rules[s.index][a];
          if (!std::all_of(next.begin(), next.end(),
                           [this](const TestSymbol& x) { return good(x); }))
            continue;
          changed |= set.insert({s.index, a, 0, here, -1}).second;
        }
      } else if (s.kind == SymbolKind::kTerminal) {
        const Tree::Ref& tree = grammar_.terminals[s.index];
        trees_.emplace(tree->id, tree);
        changed |= set.insert({i.rule, i.alternative, i.dot, i.origin, tree->id}).second;
      }
    }
  }
}

bool Reference::take(int byte) {
  Set next;
  for (const Item& i : sets_.back()) {
    if (i.terminal < 0) continue;
    const Tree::Ref tree = derive(trees_.at(i.terminal), byte);
    if (hopeless(tree)) continue;
    trees_.emplace(tree->id, tree);
    next.insert({i.rule, i.alternative, i.dot, i.origin, tree->id});
  }
  sets_.push_back(std::move(next));
  close(sets_.back());
  return viable();
}

bool Reference::take_all(const std::string& s) {
  for (const char c : s) {
    if (!take(static_cast<uint8_t>(c))) return false;
  }
  return true;
}

bool Reference::take_token(int32_t id) {
  Set next;
  for (const Item& i : sets_.back()) {
    const auto& alternative = grammar_.rules[i.rule][i.alternative];
    if (i.terminal >= 0 || i.dot == alternative.size()) continue;
    const TestSymbol& s = alternative[i.dot];
    if (s.kind != SymbolKind::kTokens) continue;
    const auto& ids = grammar_.token_sets[s.index];
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) continue;
    next.insert({i.rule, i.alternative, i.dot + 1, i.origin, -1});
  }
  sets_.push_back(std::move(next));
  close(sets_.back());
  return viable();
}

bool Reference::viable() const { return !sets_.back().empty(); }

bool Reference::complete() const {
  for (const Item& i : sets_.back()) {
    if (i.rule == grammar_.start && i.origin == 0 && i.terminal < 0 &&
        i.dot == grammar_.rules[i.rule][i.alternative].size()) {
      return true;
    }
  }
  return false;
}

Tree::Ref Reference::derive(const Tree::Ref& tree, int byte) {
  const std::pair<int, int> key = {tree->id, byte};
  const auto found = derived_.find(key);
  if (found != derived_.end()) return found->second;
  Tree::Ref out = empty();
  std::vector<Tree::Ref> parts;
  switch (tree->op) {
    case RegexOp::kEmpty:
    case RegexOp::kEpsilon:
      break;
    case RegexOp::kBytes:
      if (tree->set.count(byte) != 0) out = epsilon();
      break;
    case RegexOp::kConcat:
      for (size_t i = 0; i < tree->parts.size(); i++) {
        std::vector<Tree::Ref> rest = {derive(tree->parts[i], byte)};
        rest.insert(rest.end(), tree->parts.begin() + static_cast<int64_t>(i) + 1,
                    tree->parts.end());
        parts.push_back(concat(rest));
        if (!tree->parts[i]->nullable) break;
      }
      out = alt(parts);
      break;
    case RegexOp::kAlt:
      for (const auto& p : tree->parts) parts.push_back(derive(p, byte));
      out = alt(parts);
      break;
    case RegexOp::kAnd:
      for (const auto& p : tree->parts) parts.push_back(derive(p, byte));
      out = both(parts);
      break;
    case RegexOp::kNot:
      out = complement(derive(tree->parts[0], byte));
      break;
    case RegexOp::kRepeat: {
      // What can be empty may be there fewer times.
      const int min = tree->parts[0]->nullable ? 0 : std::max(tree->min - 1, 0);
      const int max = tree->max < 0 ? -1 : tree->max - 1;
      out = concat({derive(tree->parts[0], byte), repeat(tree->parts[0], min, max)});
      break;
    }
    case RegexOp::kAutomaton: {
      const auto& edges = (*tree->edges)[static_cast<size_t>(tree->state)];
      const auto to = edges.find(byte);
      if (to != edges.end()) out = automaton(tree->edges, tree->accepts, to->second);
      break;
    }
  }
  derived_.emplace(key, out);
  return out;
}

bool Reference::hopeless(const Tree::Ref& tree) {
  const auto found = hopeless_.find(tree->id);
  if (found != hopeless_.end()) return found->second;
  std::map<int, Tree::Ref> seen = {{tree->id, tree}};
  std::vector<Tree::Ref> open = {tree};
  bool hope = false;
  while (!open.empty() && !hope) {
    const Tree::Ref t = open.back();
    open.pop_back();
    hope = t->nullable;
    for (const int b : representatives_) {
      const Tree::Ref next = derive(t, b);
      if (seen.emplace(next->id, next).second) open.push_back(next);
    }
  }
  hopeless_.emplace(tree->id, !hope);
  return !hope;
}

}  // namespace octavo::test
