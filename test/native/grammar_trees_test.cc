// Trees and programs of them.
#include <algorithm>

#include "native/grammar_test.h"

namespace octavo::test {

using grammar::RegexOp;
using grammar::SymbolKind;

namespace {

std::map<std::vector<int>, Tree::Ref>& known_trees() {
  static std::map<std::vector<int>, Tree::Ref> known;
  return known;
}

Tree::Ref finish(Tree t) {
  std::vector<int> key = {static_cast<int>(t.op), t.min, t.max, t.state};
  const auto edges = reinterpret_cast<uintptr_t>(t.edges.get());
  key.push_back(static_cast<int>(edges));
  key.push_back(static_cast<int>(edges >> 32));
  for (const auto& p : t.parts) key.push_back(p->id);
  key.insert(key.end(), t.set.begin(), t.set.end());
  Tree::Ref& known = known_trees()[key];
  if (known == nullptr) {
    t.id = static_cast<int>(known_trees().size());
    known = std::make_shared<const Tree>(std::move(t));
  }
  return known;
}

// Each once, in order: enough for derivatives to be finitely many.
std::vector<Tree::Ref> sorted(std::vector<Tree::Ref> parts) {
  std::map<int, Tree::Ref> by_id;
  for (auto& p : parts) by_id.emplace(p->id, p);
  std::vector<Tree::Ref> out;
  for (auto& [_, p] : by_id) out.push_back(p);
  return out;
}

}  // namespace

void forget_trees() { known_trees().clear(); }

Tree::Ref empty() { return finish({}); }

Tree::Ref epsilon() {
  Tree t;
  t.op = RegexOp::kEpsilon;
  t.nullable = true;
  return finish(t);
}

Tree::Ref bytes(ByteSet set) {
  Tree t;
  t.op = RegexOp::kBytes;
  t.set = std::move(set);
  return finish(t);
}

Tree::Ref text(const std::string& s) {
  std::vector<Tree::Ref> parts;
  for (const char c : s) parts.push_back(bytes({static_cast<uint8_t>(c)}));
  return concat(std::move(parts));
}

Tree::Ref concat(std::vector<Tree::Ref> parts) {
  std::vector<Tree::Ref> flat;
  for (auto& p : parts) {
    if (p->op == RegexOp::kEmpty) return p;
    if (p->op == RegexOp::kConcat) {
      flat.insert(flat.end(), p->parts.begin(), p->parts.end());
    } else if (p->op != RegexOp::kEpsilon) {
      flat.push_back(p);
    }
  }
  if (flat.empty()) return epsilon();
  if (flat.size() == 1) return flat[0];
  Tree t;
  t.op = RegexOp::kConcat;
  t.nullable = true;
  for (const auto& p : flat) t.nullable = t.nullable && p->nullable;
  t.parts = std::move(flat);
  return finish(t);
}

Tree::Ref alt(std::vector<Tree::Ref> parts) {
  Tree t;
  t.op = RegexOp::kAlt;
  for (auto& p : parts) {
    if (p->op == RegexOp::kEmpty) continue;
    if (p->op == RegexOp::kAlt) {
      t.parts.insert(t.parts.end(), p->parts.begin(), p->parts.end());
    } else {
      t.parts.push_back(p);
    }
    t.nullable = t.nullable || p->nullable;
  }
  t.parts = sorted(std::move(t.parts));
  if (t.parts.empty()) return empty();
  return t.parts.size() == 1 ? t.parts[0] : finish(t);
}

Tree::Ref both(std::vector<Tree::Ref> parts) {
  Tree t;
  t.op = RegexOp::kAnd;
  t.nullable = true;
  for (auto& p : parts) {
    if (p->op == RegexOp::kEmpty) return p;
    if (p->op == RegexOp::kAnd) {
      t.parts.insert(t.parts.end(), p->parts.begin(), p->parts.end());
    } else {
      t.parts.push_back(p);
    }
    t.nullable = t.nullable && p->nullable;
  }
  t.parts = sorted(std::move(t.parts));
  return t.parts.size() == 1 ? t.parts[0] : finish(t);
}

Tree::Ref complement(Tree::Ref part) {
  Tree t;
  t.op = RegexOp::kNot;
  t.nullable = !part->nullable;
  t.parts = {std::move(part)};
  return finish(t);
}

Tree::Ref repeat(Tree::Ref part, int min, int max) {
  if (max == 0) return epsilon();
  Tree t;
  t.op = RegexOp::kRepeat;
  t.nullable = min == 0 || part->nullable;
  t.parts = {std::move(part)};
  t.min = min;
  t.max = max;
  return finish(t);
}

Tree::Ref automaton(std::shared_ptr<const std::vector<std::map<int, int>>> edges,
                    std::set<int> accepts, int state) {
  Tree t;
  t.op = RegexOp::kAutomaton;
  t.nullable = accepts.count(state) != 0;
  t.edges = std::move(edges);
  t.accepts = std::move(accepts);
  t.state = state;
  return finish(t);
}

ByteSet range(int low, int high) {
  ByteSet out;
  for (int b = low; b <= high; b++) out.insert(b);
  return out;
}

Tree::Ref plain_char() {
  ByteSet ascii = range(0x20, 0x7f);
  ascii.erase('"');
  ascii.erase('\\');
  const auto go_on = bytes(range(0x80, 0xbf));
  const auto from = [](int low, int high) { return bytes(range(low, high)); };
  return alt({bytes(ascii), concat({from(0xc2, 0xdf), go_on}),
              concat({from(0xe0, 0xe0), from(0xa0, 0xbf), go_on}),
              concat({bytes([] {
                        ByteSet s = range(0xe1, 0xef);
                        s.erase(0xed);
                        return s;
                      }()),
                      go_on, go_on}),
              concat({from(0xed, 0xed), from(0x80, 0x9f), go_on}),
              concat({from(0xf0, 0xf0), from(0x90, 0xbf), go_on, go_on}),
              concat({from(0xf1, 0xf3), go_on, go_on, go_on}),
              concat({from(0xf4, 0xf4), from(0x80, 0x8f), go_on, go_on})});
}

Tree::Ref json_char() {
  ByteSet hex = range('0', '9');
  for (int b = 'a'; b <= 'f'; b++) hex.insert(b), hex.insert(b - 32);
  const auto escape = bytes({'"', '\\', '/', 'b', 'f', 'n', 'r', 't'});
  return alt({plain_char(), concat({bytes({'\\'}), escape}),
              concat({text("\\u"), bytes(hex), bytes(hex), bytes(hex), bytes(hex)})});
}

TestSymbol TestGrammar::terminal(Tree::Ref tree) {
  terminals.push_back(std::move(tree));
  return {SymbolKind::kTerminal, static_cast<uint32_t>(terminals.size() - 1)};
}

TestSymbol TestGrammar::rule() {
  rules.emplace_back();
  return {SymbolKind::kRule, static_cast<uint32_t>(rules.size() - 1)};
}

TestSymbol TestGrammar::tokens(std::vector<int32_t> ids) {
  token_sets.push_back(std::move(ids));
  return {SymbolKind::kTokens, static_cast<uint32_t>(token_sets.size() - 1)};
}

namespace {

struct Encoder {
  std::vector<int32_t> pool, nodes;
  std::map<int, int32_t> known;

  int32_t place() const { return static_cast<int32_t>(pool.size()); }
  int32_t add(const Tree& t) {
    const auto found = known.find(t.id);
    if (found != known.end()) return found->second;
    std::vector<int32_t> parts;
    for (const auto& p : t.parts) parts.push_back(add(*p));
    int32_t a = 0, b = 0, c = 0;
    const int32_t here = place();
    switch (t.op) {
      case RegexOp::kBytes:
        a = here;
        pool.resize(pool.size() + 8, 0);
        for (const int x : t.set) {
          pool[static_cast<size_t>(here + x / 32)] |= static_cast<int32_t>(1u << (x % 32));
        }
        break;
      case RegexOp::kConcat:
      case RegexOp::kAlt:
      case RegexOp::kAnd:
        a = here;
        b = static_cast<int32_t>(parts.size());
        pool.insert(pool.end(), parts.begin(), parts.end());
        break;
      case RegexOp::kNot:
        a = parts[0];
        break;
      case RegexOp::kRepeat:
        a = parts[0];
        b = t.min;
        c = t.max;
        break;
      case RegexOp::kAutomaton:
        a = here;
        add_automaton(t);
        break;
      default:
        break;
    }
    const auto id = static_cast<int32_t>(nodes.size() / 4);
    nodes.insert(nodes.end(), {static_cast<int32_t>(t.op), a, b, c});
    known.emplace(t.id, id);
    return id;
  }
  // A class for each byte that has an edge, and one for all others.
  void add_automaton(const Tree& t) {
    std::map<int, int32_t> cls;
    for (const auto& state : *t.edges) {
      for (const auto& [b, _] : state) cls.emplace(b, 0);
    }
    int32_t n = 1;
    for (auto& [_, c] : cls) c = n++;
    const auto num_states = static_cast<int32_t>(t.edges->size());
    pool.insert(pool.end(), {num_states, t.state, n});
    std::vector<uint32_t> accepts((t.edges->size() + 31) / 32), map(64);
    for (const int s : t.accepts) accepts[static_cast<size_t>(s / 32)] |= 1u << (s % 32);
    for (const auto& [b, c] : cls) {
      map[static_cast<size_t>(b / 4)] |= static_cast<uint32_t>(c) << (b % 4 * 8);
    }
    for (const uint32_t w : accepts) pool.push_back(static_cast<int32_t>(w));
    for (const uint32_t w : map) pool.push_back(static_cast<int32_t>(w));
    for (const auto& state : *t.edges) {
      std::vector<int32_t> next(static_cast<size_t>(n), -1);
      for (const auto& [b, to] : state) next[static_cast<size_t>(cls[b])] = to;
      pool.insert(pool.end(), next.begin(), next.end());
    }
  }
};

}  // namespace

std::vector<int32_t> TestGrammar::encode() const {
  Encoder e;
  std::vector<int32_t> roots, sets, rule_words, alternatives, symbols;
  for (const auto& t : terminals) roots.push_back(e.add(*t));
  for (const auto& ids : token_sets) {
    sets.insert(sets.end(), {e.place(), static_cast<int32_t>(ids.size())});
    e.pool.insert(e.pool.end(), ids.begin(), ids.end());
  }
  for (const auto& r : rules) {
    rule_words.push_back(static_cast<int32_t>(alternatives.size() / 2));
    rule_words.push_back(static_cast<int32_t>(r.size()));
    for (const auto& a : r) {
      alternatives.push_back(static_cast<int32_t>(symbols.size()));
      alternatives.push_back(static_cast<int32_t>(a.size()));
      for (const TestSymbol& s : a) {
        symbols.push_back(static_cast<int32_t>(static_cast<uint32_t>(s.kind) << 28 | s.index));
      }
    }
  }
  const auto count = [](const auto& v, size_t width) {
    return static_cast<int32_t>(v.size() / width);
  };
  std::vector<int32_t> out = {
      grammar::kProgramMagic, count(e.nodes, 4),           count(roots, 1),
      count(sets, 2),         count(rule_words, 2),        count(alternatives, 2),
      count(symbols, 1),      static_cast<int32_t>(start), count(e.pool, 1)};
  for (const auto* part :
       {&e.nodes, &roots, &sets, &rule_words, &alternatives, &symbols, &e.pool}) {
    out.insert(out.end(), part->begin(), part->end());
  }
  return out;
}

std::shared_ptr<const grammar::Vocabulary> vocabulary_of(const std::vector<std::string>& tokens,
                                                         std::vector<int32_t> end_tokens) {
  std::vector<uint8_t> all;
  std::vector<int32_t> offsets = {0};
  for (const std::string& t : tokens) {
    all.insert(all.end(), t.begin(), t.end());
    offsets.push_back(static_cast<int32_t>(all.size()));
  }
  return std::make_shared<const grammar::Vocabulary>(std::move(all), std::move(offsets),
                                                     std::move(end_tokens));
}

std::shared_ptr<grammar::Grammar> compile(std::shared_ptr<const grammar::Vocabulary> vocabulary,
                                          const TestGrammar& g, grammar::Limits limits) {
  const std::vector<int32_t> words = g.encode();
  return grammar::Grammar::compile(std::move(vocabulary), words.data(), words.size(), limits);
}

}  // namespace octavo::test
