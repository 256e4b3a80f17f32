// Random grammars and vocabularies, walked at random: every mask, end, fork and rollback as the
// slow matcher says, also where the caches are dropped again and again.
#include "native/grammar_fuzz.h"

#include <algorithm>

namespace octavo::test {

namespace {

using grammar::Limits;
using grammar::Matcher;

const std::string kLetters = "ab\"\xc3\xa9z{\xe2\x82\xac";

class Generator {
 public:
  explicit Generator(Random& random) : random_(random) {}

  ByteSet set() {
    if (random_.chance(10)) return range(0, 255);
    ByteSet out;
    for (int n = static_cast<int>(random_.between(1, 3)); n > 0; n--) out.insert(letter());
    if (!random_.chance(15)) return out;
    ByteSet others = range(0, 255);
    for (const int b : out) others.erase(b);
    return others;
  }
  int letter() {
    return static_cast<uint8_t>(kLetters[static_cast<size_t>(
        random_.between(0, static_cast<int64_t>(kLetters.size()) - 1))]);
  }
  std::string word(int64_t most) {
    std::string out;
    for (int64_t n = random_.between(1, most); n > 0; n--) out += static_cast<char>(letter());
    return out;
  }
  Tree::Ref tree(int depth) {
    const int64_t kind = depth == 0 ? random_.between(0, 2) : random_.between(0, 11);
    std::vector<Tree::Ref> parts;
    for (int64_t n = random_.between(1, 3); n > 0 && depth > 0; n--)
      parts.push_back(tree(depth - 1));
    switch (kind) {
      case 0:
        return bytes(set());
      case 1:
        return text(word(4));
      case 2:
        return random_.chance(20) ? epsilon() : bytes({letter()});
      case 3:
      case 4:
        return alt(parts);
      case 5:
        return random_.chance(60) ? both(parts) : both({parts[0], complement(text(word(3)))});
      case 6:
        return complement(parts[0]);
      case 7:
      case 8: {
        const auto min = static_cast<int>(random_.between(0, 2));
        const int max = random_.chance(40) ? -1 : min + static_cast<int>(random_.between(0, 4));
        return repeat(parts[0], min, max);
      }
      case 9:
        return random_.chance(30) ? dfa() : empty();
      default:
        return concat(parts);
    }
  }
  Tree::Ref dfa() {
    auto edges = std::make_shared<std::vector<std::map<int, int>>>();
    const int n = static_cast<int>(random_.between(1, 5));
    std::set<int> accepts;
    for (int s = 0; s < n; s++) {
      edges->emplace_back();
      for (int64_t e = random_.between(0, 4); e > 0; e--) {
        edges->back()[letter()] = static_cast<int>(random_.between(0, n - 1));
      }
      if (random_.chance(40)) accepts.insert(s);
    }
    return automaton(edges, accepts, static_cast<int>(random_.between(0, n - 1)));
  }
  // A JSON string in one of the ways that schemas ask for.
  Tree::Ref string() {
    const auto character = random_.chance(50) ? plain_char() : json_char();
    const auto least = static_cast<int>(random_.between(0, 3));
    const int most = random_.chance(40) ? -1 : least + static_cast<int>(random_.between(0, 12));
    Tree::Ref inside = repeat(character, least, most);
    if (random_.chance(40)) {
      std::vector<Tree::Ref> words;
      for (int64_t n = random_.between(1, 4); n > 0; n--) words.push_back(text(word(4)));
      inside = both({inside, complement(alt(words))});
    }
    if (random_.chance(20)) inside = both({inside, tree(2)});
    return concat({text("\""), inside, text("\"")});
  }

  TestGrammar grammar(const std::vector<int32_t>& specials) {
    TestGrammar g;
    const int64_t num_terminals = random_.between(1, 4);
    for (int64_t i = 0; i < num_terminals; i++) g.terminal(random_.chance(30) ? string() : tree(3));
    for (int64_t i = random_.between(0, 2); i > 0; i--) {
      std::vector<int32_t> ids;
      for (const int32_t id : specials) {
        if (random_.chance(40)) ids.push_back(id);
      }
      g.tokens(ids);
    }
    const int64_t num_rules = random_.between(1, 5);
    for (int64_t r = 0; r < num_rules; r++) g.rule();
    for (uint32_t r = 0; r < g.rules.size(); r++) {
      for (int64_t a = random_.between(1, 3); a > 0; a--) {
        std::vector<TestSymbol> symbols;
        for (int64_t s = random_.between(0, 3); s > 0; s--) symbols.push_back(symbol(g));
        g.rules[r].push_back(symbols);
      }
    }
    return g;
  }

 private:
  TestSymbol symbol(const TestGrammar& g) {
    using grammar::SymbolKind;
    const auto of = [this](size_t n) {
      return static_cast<uint32_t>(random_.between(0, static_cast<int64_t>(n) - 1));
    };
    if (!g.token_sets.empty() && random_.chance(12))
      return {SymbolKind::kTokens, of(g.token_sets.size())};
    if (random_.chance(55)) return {SymbolKind::kTerminal, of(g.terminals.size())};
    return {SymbolKind::kRule, of(g.rules.size())};
  }

  Random& random_;
};

// Bytes that every set above tells apart from all others.
ByteSet representatives() {
  ByteSet out;
  for (const char c : kLetters + "09afAFu\\/bnrtxyZ!") out.insert(static_cast<uint8_t>(c));
  for (const int b : {0x1f, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc2, 0xe0, 0xe1, 0xed, 0xf0,
                      0xf1, 0xf4, 0xff}) {
    out.insert(b);
  }
  return out;
}

class Walk {
 public:
  Walk(Random& random, Generator& generator, FuzzCounts& counts)
      : random_(random), generator_(generator), counts_(counts) {
    for (int64_t n = random.between(20, 60); n > 0; n--) {
      tokens_.push_back(random.chance(85) ? generator.word(5)
                                          : std::string(static_cast<size_t>(random.between(1, 40)),
                                                        random.chance(50) ? 'a' : 'z'));
    }
    for (int i = 0; i < 4; i++) {
      specials_.push_back(static_cast<int32_t>(tokens_.size()));
      tokens_.push_back(i < 3 ? "" : generator.word(2));
    }
    end_ = static_cast<int32_t>(tokens_.size());
    tokens_.push_back("");
    vocabulary_ = vocabulary_of(tokens_, {end_});
    grammar_ = generator.grammar(specials_);
  }

  void run() {
    Limits limits;
    if (random_.chance(50)) limits.max_bytes = random_.pick({120'000, 160'000, 250'000});
    if (random_.chance(20)) limits.max_states = random_.between(20, 400);
    Reference reference(grammar_, representatives());
    std::shared_ptr<grammar::Grammar> compiled;
    try {
      compiled = compile(vocabulary_, grammar_, limits);
    } catch (const Error& e) {
      const bool limit = std::string(e.what()).find("limits") != std::string::npos;
      expect(limit || reference.matches_nothing(), "refused: %s", e.what());
      counts_.refused++;
      return;
    }
    expect(!reference.matches_nothing(), "a grammar that matches nothing is taken");
    if (reference.matches_nothing()) return;
    walk(reference, *compiled);
    counts_.dropped += compiled->generation();
  }

 private:
  bool viable(Reference& reference, int32_t id, bool by_bytes) {
    const size_t mark = reference.mark();
    const std::string& bytes = tokens_[static_cast<size_t>(id)];
    const bool good =
        by_bytes ? !bytes.empty() && reference.take_all(bytes) : reference.take_token(id);
    reference.restore(mark);
    return good;
  }

  // Compares all that a matcher says; gives the tokens that may come one way only.
  std::vector<int32_t> compare(Reference& reference, Matcher& matcher) {
    std::vector<uint32_t> mask(vocabulary_->mask_words(), 0xdeadbeef);
    matcher.fill_mask(mask.data());
    std::vector<int32_t> allowed;
    if (!matcher.failure().empty()) return allowed;
    const bool complete = reference.complete();
    for (int32_t id = 0; id < vocabulary_->num_tokens(); id++) {
      const bool by_bytes = viable(reference, id, true), whole = viable(reference, id, false);
      const bool want = by_bytes || whole || (id == end_ && complete);
      const bool got = mask[static_cast<size_t>(id / 32)] >> (id % 32) & 1;
      expect(got == want, "case %lld: token %d \"%s\" behind %s is %s",
             static_cast<long long>(counts_.cases), id, tokens_[static_cast<size_t>(id)].c_str(),
             so_far().c_str(), got ? "allowed" : "not");
      if (by_bytes != whole) allowed.push_back(id);
      counts_.compared++;
      counts_.allowed += want;
    }
    expect(matcher.complete() == complete || !matcher.failure().empty(), "complete differs");
    check_bytes(reference, matcher);
    return allowed;
  }

  void check_bytes(Reference& reference, Matcher& matcher) {
    const size_t mark = reference.mark();
    const std::string tried = generator_.word(6);
    size_t taken = 0;
    while (taken < tried.size() && reference.take(static_cast<uint8_t>(tried[taken]))) taken++;
    reference.restore(mark);
    const size_t got =
        matcher.accepts_bytes(reinterpret_cast<const uint8_t*>(tried.data()), tried.size());
    const std::vector<uint8_t> forced = matcher.forced_bytes();
    if (!matcher.failure().empty()) return;
    expect(got == taken, "%zu bytes are taken, not %zu", got, taken);
    for (size_t i = 0; i < std::min<size_t>(forced.size(), 6); i++) {
      expect(!reference.complete(), "bytes are forced where the text may end");
      const size_t before = reference.mark();
      for (int b = 0; b < 256; b++) {
        const bool good = reference.take(b);
        reference.restore(before);
        expect(good == (b == forced[i]), "byte %d is not the only one", forced[i]);
      }
      reference.take(forced[i]);
    }
    reference.restore(mark);
    counts_.forced += static_cast<int64_t>(forced.size());
  }

  void take(Reference& reference, int32_t id) {
    if (viable(reference, id, true)) {
      reference.take_all(tokens_[static_cast<size_t>(id)]);
    } else {
      reference.take_token(id);
    }
  }

  std::string so_far() const {
    std::string out;
    for (const int32_t id : taken_) out += "[" + tokens_[static_cast<size_t>(id)] + "]";
    return out;
  }

  void again(Reference& reference) {
    reference.begin();
    for (const int32_t id : taken_) take(reference, id);
  }

  void walk(Reference& reference, grammar::Grammar& compiled) {
    std::shared_ptr<Matcher> matcher = compiled.start();
    std::vector<std::pair<std::shared_ptr<Matcher>, std::vector<int32_t>>> forks;
    for (int step = 0; step < 14; step++) {
      const std::vector<int32_t> allowed = compare(reference, *matcher);
      if (!matcher->failure().empty()) {
        counts_.failed++;
        return;
      }
      if (random_.chance(15)) forks.emplace_back(matcher->fork(), taken_);
      if (!forks.empty() && random_.chance(15)) {
        std::tie(matcher, taken_) =
            forks[static_cast<size_t>(random_.between(0, static_cast<int64_t>(forks.size()) - 1))];
        matcher = matcher->fork();
        again(reference);
        continue;
      }
      if (!taken_.empty() && random_.chance(20)) {
        const int64_t n = random_.between(1, static_cast<int64_t>(taken_.size()));
        expect(matcher->rollback(static_cast<int32_t>(n)) || !matcher->failure().empty(),
               "no rollback");
        taken_.resize(taken_.size() - static_cast<size_t>(n));
        again(reference);
        continue;
      }
      if (allowed.empty()) {
        check_end(reference, *matcher);
        return;
      }
      const int32_t id = allowed[static_cast<size_t>(
          random_.between(0, static_cast<int64_t>(allowed.size()) - 1))];
      if (!matcher->advance(id)) {
        expect(!matcher->failure().empty(), "an allowed token is not taken");
        return;
      }
      take(reference, id);
      taken_.push_back(id);
      expect(matcher->length() == static_cast<int32_t>(taken_.size()), "another length");
    }
  }

  void check_end(Reference& reference, Matcher& matcher) {
    const bool complete = reference.complete();
    expect(matcher.advance(end_) == complete, "the end is taken or not");
    if (!complete) return;
    expect(matcher.ended() && matcher.complete() && !matcher.advance(end_), "the end is not one");
    expect(matcher.rollback(1) && !matcher.ended(), "no way back from the end");
    counts_.ended++;
  }

  Random& random_;
  Generator& generator_;
  FuzzCounts& counts_;
  std::vector<std::string> tokens_;
  std::vector<int32_t> specials_, taken_;
  int32_t end_ = 0;
  std::shared_ptr<const grammar::Vocabulary> vocabulary_;
  TestGrammar grammar_;
};

}  // namespace

FuzzCounts fuzz_matching(Random& random, int64_t cases) {
  FuzzCounts counts;
  Generator generator(random);
  for (; counts.cases < cases && g_failures < 20; counts.cases++) {
    forget_trees();
    Walk(random, generator, counts).run();
  }
  return counts;
}

// Words of a good program changed at random: refused, or compiled to something that matches.
int64_t fuzz_programs(Random& random, int64_t cases) {
  Generator generator(random);
  const auto vocabulary = vocabulary_of({"a", "b", "\"", "ab", "za\"", ""}, {5});
  int64_t taken = 0;
  for (int64_t i = 0; i < cases; i++) {
    forget_trees();
    std::vector<int32_t> words = generator.grammar({5}).encode();
    for (int64_t n = random.between(1, 4); n > 0; n--) {
      int32_t& w =
          words[static_cast<size_t>(random.between(0, static_cast<int64_t>(words.size()) - 1))];
      const auto u = static_cast<uint32_t>(w);
      w = static_cast<int32_t>(random.pick(
          {u + 1, u - 1, 0u, ~0u, 1u, 0x7fffffffu, 0x80000000u, u ^ 1u << random.between(0, 31)}));
    }
    if (random.chance(20))
      words.resize(static_cast<size_t>(random.between(0, static_cast<int64_t>(words.size()))));
    try {
      Limits limits;
      limits.max_ms = 200;
      limits.max_bytes = 4 << 20;
      const auto g = grammar::Grammar::compile(vocabulary, words.data(), words.size(), limits);
      const auto matcher = g->start();
      uint32_t mask = 0;
      for (int step = 0; step < 6; step++) {
        matcher->fill_mask(&mask);
        const auto id = static_cast<int32_t>(random.between(0, 5));
        const bool good = matcher->advance(id);
        expect(good == (mask >> id & 1) || !matcher->failure().empty(), "advance is not the mask");
      }
      taken++;
    } catch (const Error& e) {
      expect(e.code() == std::string(kErrGrammar), "refused with %s", e.code());
    }
  }
  return taken;
}

}  // namespace octavo::test
