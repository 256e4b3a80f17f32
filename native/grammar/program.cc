#include "grammar/program.h"

#include <string>
#include <utility>

#include "base/error.h"

namespace octavo::grammar {

namespace {

constexpr int32_t kHeaderWords = 9;
constexpr int32_t kNumOps = 9;

[[noreturn]] void malformed(const char* what) {
  throw Error(kErrGrammar, std::string("a grammar's program is malformed: ") + what +
                               "; encode it with lib/grammar/program.ts");
}

void check(bool good, const char* what) {
  if (!good) malformed(what);
}

class Parser {
 public:
  Parser(const int32_t* words, int64_t num_words, int32_t num_tokens, Budget& budget)
      : words_(words), num_words_(num_words), num_tokens_(num_tokens), budget_(budget) {}

  Program parse() {
    check(num_words_ >= kHeaderWords && words_[0] == kProgramMagic, "no header");
    const int32_t* h = words_;
    int64_t sum = kHeaderWords;
    constexpr int64_t kWidths[] = {4, 1, 2, 2, 2, 1};
    for (int i = 0; i < 6; ++i) {
      check(h[i + 1] >= 0, "a negative count");
      sum += h[i + 1] * kWidths[i];
    }
    check(h[8] >= 0 && sum + h[8] == num_words_, "counts that are not its length");
    budget_.take_bytes(num_words_ * 4);
    budget_.spend(num_words_);
    p_.start = h[7];
    p_.pool.assign(words_ + sum, words_ + num_words_);
    at_ = words_ + kHeaderWords;
    read_regexes(h[1]);
    for (int32_t i = 0; i < h[2]; ++i) {
      check(*at_ >= 0 && *at_ < h[1], "a terminal without a regex");
      p_.terminals.push_back(*at_++);
    }
    read_ranges(h[3], h[8], p_.token_sets);
    read_ranges(h[4], h[5], p_.rules);
    read_ranges(h[5], h[6], p_.alternatives);
    for (const Range& set : p_.token_sets) check_tokens(set);
    read_symbols(h[6]);
    check(p_.start >= 0 && p_.start < h[4], "a start that is no rule");
    return std::move(p_);
  }

 private:
  void check_pool(int64_t offset, int64_t count) const {
    check(offset >= 0 && count >= 0 && offset + count <= static_cast<int64_t>(p_.pool.size()),
          "a place outside the pool");
  }

  void read_regexes(int32_t count) {
    p_.regexes.reserve(static_cast<size_t>(count));
    for (int32_t i = 0; i < count; ++i, at_ += 4) {
      check(at_[0] >= 0 && at_[0] < kNumOps, "an unknown operator");
      RegexNode node = {static_cast<RegexOp>(at_[0]), at_[1], at_[2], at_[3]};
      switch (node.op) {
        case RegexOp::kEmpty:
        case RegexOp::kEpsilon:
          break;
        case RegexOp::kBytes:
          check_pool(node.a, 8);
          break;
        case RegexOp::kConcat:
        case RegexOp::kAlt:
        case RegexOp::kAnd:
          check_pool(node.a, node.b);
          budget_.spend(node.b);
          for (int32_t k = 0; k < node.b; ++k) {
            const int32_t child = p_.pool[static_cast<size_t>(node.a + k)];
            check(child >= 0 && child < i, "a regex that contains a later one");
          }
          break;
        case RegexOp::kNot:
          check(node.a >= 0 && node.a < i, "a regex that contains a later one");
          break;
        case RegexOp::kRepeat:
          check(node.a >= 0 && node.a < i, "a regex that contains a later one");
          check(node.b >= 0 && (node.c == -1 || node.c >= node.b), "a repetition of no range");
          break;
        case RegexOp::kAutomaton:
          node.a = read_automaton(node.a);
          break;
      }
      p_.regexes.push_back(node);
    }
  }

  int32_t read_automaton(int32_t offset) {
    check_pool(offset, 3);
    const int32_t* at = p_.pool.data() + offset;
    Automaton a;
    a.num_states = at[0];
    a.start = at[1];
    a.num_classes = at[2];
    check(a.num_states > 0 && a.start >= 0 && a.start < a.num_states, "an automaton of no state");
    check(a.num_classes > 0 && a.num_classes <= 256, "an automaton of no class");
    const int64_t accept_words = (int64_t{a.num_states} + 31) / 32;
    const int64_t edges = int64_t{a.num_states} * a.num_classes;
    check_pool(offset, 3 + accept_words + 64 + edges);
    budget_.spend(2 * edges);
    budget_.take_bytes(edges * 8 + a.num_states * 8);
    a.accepts = at + 3;
    a.class_map = a.accepts + accept_words;
    a.next = a.class_map + 64;
    for (uint32_t b = 0; b < 256; ++b) {
      check(a.class_of(b) < a.num_classes, "an automaton's unknown class");
    }
    for (int64_t i = 0; i < edges; ++i) {
      check(a.next[i] >= -1 && a.next[i] < a.num_states, "an automaton's unknown state");
    }
    find_live(a);
    budget_.give_bytes(edges * 8 + a.num_states * 8);
    p_.automata.push_back(std::move(a));
    return static_cast<int32_t>(p_.automata.size()) - 1;
  }

  // Backwards from the accepting states.
  static void find_live(Automaton& a) {
    const auto n = static_cast<size_t>(a.num_states), width = static_cast<size_t>(a.num_classes);
    std::vector<int32_t> first(n + 1, 0), from(n * width);
    for (size_t i = 0; i < n * width; ++i) {
      if (a.next[i] >= 0) ++first[static_cast<size_t>(a.next[i])];
    }
    int32_t sum = 0;
    for (int32_t& f : first) sum += f, f = sum;
    for (size_t i = 0; i < n * width; ++i) {
      if (a.next[i] < 0) continue;
      const int32_t place = --first[static_cast<size_t>(a.next[i])];
      from[static_cast<size_t>(place)] = static_cast<int32_t>(i / width);
    }
    a.lives.assign(n, false);
    std::vector<int32_t> queue;
    for (int32_t s = 0; s < a.num_states; ++s) {
      if (!a.accepts_at(s)) continue;
      a.lives[static_cast<size_t>(s)] = true;
      queue.push_back(s);
    }
    while (!queue.empty()) {
      const auto s = static_cast<size_t>(queue.back());
      queue.pop_back();
      for (int32_t i = first[s]; i < first[s + 1]; ++i) {
        const int32_t before = from[static_cast<size_t>(i)];
        if (a.lives[static_cast<size_t>(before)]) continue;
        a.lives[static_cast<size_t>(before)] = true;
        queue.push_back(before);
      }
    }
  }

  void read_ranges(int32_t count, int32_t of, std::vector<Range>& out) {
    for (int32_t i = 0; i < count; ++i, at_ += 2) {
      const Range r = {at_[0], at_[1]};
      check(r.first >= 0 && r.count >= 0 && int64_t{r.first} + r.count <= of,
            "a range out of bounds");
      out.push_back(r);
    }
  }

  void check_tokens(const Range& set) {
    budget_.spend(set.count);
    int32_t last = -1;
    for (int32_t i = 0; i < set.count; ++i) {
      const int32_t id = p_.pool[static_cast<size_t>(set.first + i)];
      check(id > last, "token ids that do not ascend");
      if (id >= num_tokens_) {
        throw Error(kErrGrammar, "the grammar names token " + std::to_string(id) +
                                     ", but the vocabulary has " + std::to_string(num_tokens_));
      }
      last = id;
    }
  }

  void read_symbols(int32_t count) {
    for (int32_t i = 0; i < count; ++i) {
      const auto word = static_cast<uint32_t>(*at_++);
      const uint32_t kind = word >> 28, index = word & 0x0fffffff;
      check(kind < 3, "an unknown kind of symbol");
      const size_t of[] = {p_.terminals.size(), p_.rules.size(), p_.token_sets.size()};
      check(index < of[kind], "a symbol that is not there");
      p_.symbols.push_back({static_cast<SymbolKind>(kind), index});
    }
  }

  const int32_t* words_;
  int64_t num_words_;
  int32_t num_tokens_;
  Budget& budget_;
  const int32_t* at_ = nullptr;
  Program p_;
};

}  // namespace

Program parse_program(const int32_t* words, size_t num_words, int32_t num_tokens, Budget& budget) {
  return Parser(words, static_cast<int64_t>(num_words), num_tokens, budget).parse();
}

}  // namespace octavo::grammar
