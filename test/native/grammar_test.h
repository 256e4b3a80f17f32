// What the tests of native/grammar share: programs put together by hand, and a slow matcher that
// does it the obvious way: Earley's sets by position, derivatives of plain trees, no normal forms
// beyond what makes them end, no classes, no tables.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "grammar/grammar.h"
#include "grammar/matcher.h"
#include "native/op_test.h"

namespace octavo::test {

using ByteSet = std::set<int>;

// A regex as a tree; equal trees are one, known by its number.
struct Tree {
  using Ref = std::shared_ptr<const Tree>;
  grammar::RegexOp op = grammar::RegexOp::kEmpty;
  std::vector<Ref> parts;
  ByteSet set;
  int min = 0, max = -1;
  std::shared_ptr<const std::vector<std::map<int, int>>> edges;  // of an automaton: byte → state
  std::set<int> accepts;
  int state = 0;
  int id = 0;
  bool nullable = false;
};

void forget_trees();  // none of them may be used any more

Tree::Ref empty();
Tree::Ref epsilon();
Tree::Ref bytes(ByteSet set);
Tree::Ref text(const std::string& s);
Tree::Ref concat(std::vector<Tree::Ref> parts);
Tree::Ref alt(std::vector<Tree::Ref> parts);
Tree::Ref both(std::vector<Tree::Ref> parts);
Tree::Ref complement(Tree::Ref part);
Tree::Ref repeat(Tree::Ref part, int min, int max);
Tree::Ref automaton(std::shared_ptr<const std::vector<std::map<int, int>>> edges,
                    std::set<int> accepts, int state);
ByteSet range(int low, int high);
// JSON's characters as they stand in a string.
Tree::Ref plain_char();
Tree::Ref json_char();  // with escapes

struct TestSymbol {
  grammar::SymbolKind kind;
  uint32_t index;
};

struct TestGrammar {
  std::vector<Tree::Ref> terminals;
  std::vector<std::vector<int32_t>> token_sets;
  std::vector<std::vector<std::vector<TestSymbol>>> rules;  // [rule][alternative][symbol]
  uint32_t start = 0;

  TestSymbol terminal(Tree::Ref tree);
  TestSymbol rule();  // a new one
  TestSymbol tokens(std::vector<int32_t> ids);
  void add(TestSymbol rule, std::vector<TestSymbol> symbols) {
    rules[rule.index].push_back(std::move(symbols));
  }
  std::vector<int32_t> encode() const;
};

// The obvious matcher. Each byte must be as good as one of `representatives`.
class Reference {
 public:
  Reference(const TestGrammar& grammar, ByteSet representatives);
  bool matches_nothing() const { return !productive_[grammar_.start]; }
  void begin();
  bool viable() const;
  bool complete() const;
  bool take(int byte);  // false: nothing can follow; the state is spoilt then
  bool take_token(int32_t id);
  bool take_all(const std::string& s);
  size_t mark() const { return sets_.size(); }
  void restore(size_t mark) { sets_.resize(mark); }

 private:
  struct Item {
    uint32_t rule, alternative, dot, origin;
    int terminal;  // what is left of the terminal under way; −1 = none is
    bool operator<(const Item& o) const;
  };
  using Set = std::set<Item>;
  void close(Set& set);
  Tree::Ref derive(const Tree::Ref& tree, int byte);
  bool hopeless(const Tree::Ref& tree);  // matches nothing
  bool good(const TestSymbol& s);

  const TestGrammar& grammar_;
  ByteSet representatives_;
  std::vector<bool> productive_;
  std::vector<Set> sets_;
  std::map<int, Tree::Ref> trees_;
  std::map<std::pair<int, int>, Tree::Ref> derived_;
  std::map<int, bool> hopeless_;
};

std::shared_ptr<const grammar::Vocabulary> vocabulary_of(const std::vector<std::string>& tokens,
                                                         std::vector<int32_t> end_tokens);
std::shared_ptr<grammar::Grammar> compile(std::shared_ptr<const grammar::Vocabulary> vocabulary,
                                          const TestGrammar& g, grammar::Limits limits = {});

}  // namespace octavo::test
