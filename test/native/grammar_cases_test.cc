// What grammars of known kinds must do, and that they stay small while they do it.
#include <chrono>
#include <string>

#include "native/grammar_test.h"

namespace octavo::test {

namespace {

using grammar::Limits;
using grammar::Matcher;
using grammar::SymbolKind;

std::vector<std::string> single_bytes() {
  std::vector<std::string> out;
  for (int b = 0; b < 256; b++) out.emplace_back(1, static_cast<char>(b));
  return out;
}

bool take_text(Matcher& m, const std::string& s) {
  for (const char c : s) {
    if (!m.advance(static_cast<uint8_t>(c))) return false;
  }
  return true;
}

size_t fits(Matcher& m, const std::string& s) {
  return m.accepts_bytes(reinterpret_cast<const uint8_t*>(s.data()), s.size());
}

// Right recursion takes as few states as left: what ends with a list's rest is the list.
void test_recursion() {
  const auto vocabulary = vocabulary_of(single_bytes(), {});
  for (const bool right : {false, true}) {
    TestGrammar g;
    const TestSymbol list = g.rule(), item = g.terminal(text("x"));
    g.add(list, {item});
    g.add(list, right ? std::vector<TestSymbol>{item, list} : std::vector<TestSymbol>{list, item});
    const auto compiled = compile(vocabulary, g);
    const auto m = compiled->start();
    expect(take_text(*m, std::string(10, 'x')), "a list is not taken");
    const int64_t states = compiled->num_states();
    expect(take_text(*m, std::string(5'000, 'x')) && m->complete(), "a long list is not taken");
    expect(compiled->num_states() == states, "a list of 5,000 has %lld states, not %lld",
           static_cast<long long>(compiled->num_states()), static_cast<long long>(states));
  }
}

void test_nesting() {
  TestGrammar g;
  const TestSymbol value = g.rule(), open = g.terminal(text("[")), shut = g.terminal(text("]"));
  g.add(value, {open, shut});
  g.add(value, {open, value, shut});
  const auto m = compile(vocabulary_of(single_bytes(), {}), g)->start();
  expect(take_text(*m, std::string(500, '[') + std::string(499, ']')), "brackets are not taken");
  expect(!m->complete() && fits(*m, "]]") == 1, "brackets do not match");
  expect(m->forced_bytes() == std::vector<uint8_t>{']'}, "the last bracket is not forced");
  expect(take_text(*m, "]") && m->complete() && m->forced_bytes().empty(), "no end");
}

// Names that no property has: interior ∧ ¬words, and how many are left.
void test_strings() {
  const auto vocabulary = vocabulary_of(single_bytes(), {});
  TestGrammar g;
  const TestSymbol start = g.rule();
  const auto inside = both({repeat(json_char(), 1, 5), complement(alt({text("ab"), text("b")}))});
  g.add(start, {g.terminal(concat({text("\""), inside, text("\"")}))});
  const auto compiled = compile(vocabulary, g);
  for (const auto& [s, taken] : std::vector<std::pair<std::string, size_t>>{
           {"\"a\"", 3},
           {"\"ab\"", 3},
           {"\"b\"", 2},
           {"\"abc\"", 5},
           {"\"abcde\"", 7},
           {"\"abcdef", 6},
           {"\"\"", 1},
           {"\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3", 11},
           {"\"\\u00e9\\n\\\"\"", 12},
           {"\"\x80", 1},
           {"\"\xed\xa0\x80", 2}}) {
    const size_t got = fits(*compiled->start(), s);
    expect(got == taken, "of %s %zu bytes are taken, not %zu", s.c_str(), got, taken);
  }
}

void test_tokens() {
  std::vector<std::string> tokens = single_bytes();
  for (int i = 0; i < 4; i++) tokens.emplace_back();  // 256 … 259, 259 ends
  TestGrammar g;
  const TestSymbol start = g.rule();
  g.add(start, {g.tokens({256}), g.terminal(repeat(bytes({'a'}), 0, -1)), g.tokens({257, 258})});
  const auto m = compile(vocabulary_of(tokens, {259}), g)->start();
  expect(m->forced_bytes().empty() && fits(*m, "a") == 0, "no token first");
  expect(!m->advance('a') && !m->advance(257) && !m->advance(259) && m->advance(256), "the first");
  expect(m->advance('a') && m->advance('a'), "text behind a token");
  const auto fork = m->fork();
  expect(m->advance(257) && m->complete() && !m->advance('a') && m->advance(259), "the last");
  expect(m->length() == 5 && fork->length() == 3 && !fork->complete(), "a fork goes along");
  expect(m->rollback(2) && m->advance(258) && !m->rollback(5) && m->rollback(4), "rollback");
  expect(m->length() == 0 && m->advance(256), "rollback to the start");
}

// 2^20 derivatives, and a search through them: an error, soon, and others are not harmed.
void test_limits() {
  const auto vocabulary = vocabulary_of(single_bytes(), {});
  TestGrammar g;
  const TestSymbol start = g.rule();
  const auto any = repeat(bytes(range(0, 255)), 0, -1);
  const auto hard = concat({any, bytes({'a'}), repeat(bytes(range(0, 255)), 200, 200)});
  g.add(start, {g.terminal(hard)});
  Limits limits;
  limits.max_bytes = 4 << 20;
  limits.max_ms = 2'000;
  const auto compiled = compile(vocabulary, g, limits);
  const auto m = compiled->start();
  const auto other = m->fork();
  const auto begin = std::chrono::steady_clock::now();
  Random random(1);
  uint32_t mask[8];
  for (int i = 0; i < 3'000 && m->failure().empty(); i++) {
    m->advance(random.chance(50) ? 'a' : 'b');
    m->fill_mask(mask);
  }
  const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  expect(s < 60, "a hard grammar takes %.1f s", s);
  expect(compiled->memory() <= 5 << 20, "%lld bytes", static_cast<long long>(compiled->memory()));
  expect(other->advance('b') && other->failure().empty(), "another one fails too");

  // ¬(…¬(¬(a) a)… a), put together without calls that nest as deep.
  constexpr int32_t kLevels = 5'000;
  std::vector<int32_t> nodes = {2, 0, 0, 0}, pool(8, 0);
  pool['a' / 32] = 1 << 'a' % 32;
  for (int32_t i = 0; i < kLevels; i++) {
    nodes.insert(nodes.end(), {3, static_cast<int32_t>(pool.size()), 2, 0, 6, 2 * i + 1, 0, 0});
    pool.insert(pool.end(), {2 * i, 0});
  }
  std::vector<int32_t> words = {grammar::kProgramMagic,           2 * kLevels + 1, 1, 0, 1, 1, 1, 0,
                                static_cast<int32_t>(pool.size())};
  words.insert(words.end(), nodes.begin(), nodes.end());
  words.insert(words.end(), {2 * kLevels, 0, 1, 0, 1, 0});
  words.insert(words.end(), pool.begin(), pool.end());
  bool refused = false;
  try {
    const auto d =
        grammar::Grammar::compile(vocabulary, words.data(), words.size(), limits)->start();
    d->advance('a');
    refused = !d->failure().empty();
  } catch (const Error& e) {
    refused = e.code() == std::string(kErrGrammar);
  }
  expect(refused, "5,000 levels are taken");
}

// Any number of x, in as many ways as there are trees: what has to be looked at behind n of them
// grows with n².
TestGrammar many_trees() {
  TestGrammar g;
  const TestSymbol tree = g.rule();
  g.add(tree, {g.terminal(text("x"))});
  g.add(tree, {tree, tree});
  return g;
}

// Whether a text is beyond a limit depends on the text, not on what others have found out.
void test_limits_by_results() {
  const auto vocabulary = vocabulary_of(single_bytes(), {});
  Limits limits;
  limits.max_ms = 200;
  const auto fails_at = [&](Matcher& m) {
    uint32_t mask[8];
    int n = 0;
    for (m.fill_mask(mask); m.failure().empty() && n < 1'000 && m.advance('x'); n++) {
      m.fill_mask(mask);
    }
    return n;
  };
  const int cold = fails_at(*compile(vocabulary, many_trees(), limits)->start());
  expect(cold > 20 && cold < 1'000, "masks go on till %d", cold);
  const auto shared = compile(vocabulary, many_trees(), limits);
  const auto ahead = shared->start();
  expect(take_text(*ahead, std::string(static_cast<size_t>(cold) + 50, 'x')), "tokens are dearer");
  const auto behind = shared->start();
  const int warm = fails_at(*behind);
  expect(warm == cold, "where all is known masks go on till %d, not %d", warm, cold);
  expect(behind->rollback(1) && behind->failure().empty(), "a failure is that of its place");
  uint32_t mask[8];
  behind->fill_mask(mask);
  expect(mask['x' / 32] >> ('x' % 32) & 1, "the place before is lost");
}

// Brief calls give up; what they took on trust is known once another thread has looked.
void test_brief_calls() {
  const auto vocabulary = vocabulary_of(single_bytes(), {});
  const auto compiled = compile(vocabulary, many_trees());
  const auto m = compiled->start();
  const std::string text(400, 'x');
  for (const char c : text) expect(m->try_advance(static_cast<uint8_t>(c)), "no trust");
  uint32_t mask[8];
  expect(!m->try_complete() && !m->try_fill_mask(mask) && !m->try_forced_bytes(), "a brief call");
  const auto wrong = m->fork();
  expect(wrong->try_advance('y') && wrong->length() == 401, "no trust behind trust");
  m->fork()->settle();
  expect(m->try_complete() == true && m->try_fill_mask(mask), "it is not known yet");
  expect(m->try_forced_bytes() == std::vector<uint8_t>(), "nothing is forced");
  expect(mask['x' / 32] == 1u << ('x' % 32) && !m->try_advance('y'), "another mask");
  wrong->settle();
  expect(wrong->try_fill_mask(mask) && mask['x' / 32] == 0 && wrong->failure().empty(),
         "something is allowed behind what was not");
  expect(wrong->try_complete() == false && wrong->rollback(1) && wrong->try_complete() == true,
         "no way back from there");
}

// Where there is no room for what all matchers need, one gets what it needs, and the others come
// back to it by their tokens.
void test_room_for_one() {
  TestGrammar g = many_trees();
  g.add({SymbolKind::kRule, 0}, {g.terminal(text("y"))});
  Limits limits;
  limits.max_bytes = 1 << 20;
  const auto compiled = compile(vocabulary_of(single_bytes(), {}), g, limits);
  std::vector<std::shared_ptr<Matcher>> all;
  for (int i = 0; i < 8; i++) all.push_back(compiled->start());
  uint32_t mask[8];
  for (int n = 0; n < 80; n++) {
    for (size_t i = 0; i < all.size(); i++) {
      Matcher& m = *all[i];
      expect(m.advance(n < 3 && i >> n & 1 ? 'y' : 'x'), "token %d is not taken", n);
      m.fill_mask(mask);
      expect(m.failure().empty() && mask['x' / 32] != 0, "%d: %s", n, m.failure().c_str());
      if (!m.failure().empty()) return;
    }
  }
  expect(compiled->generation() > 0, "there was room for all");
  expect(compiled->memory() <= limits.max_bytes * 5 / 4, "it takes more than its bytes");
}

// Masks that took long are kept within an eighth of the bytes.
void test_kept_masks() {
  std::vector<std::string> tokens = single_bytes();
  for (int i = 0; i < 64 * 64; i++) {
    tokens.push_back({static_cast<char>(0x80 + i / 64), static_cast<char>(0x80 + i % 64)});
  }
  const auto vocabulary = vocabulary_of(tokens, {});
  TestGrammar g;
  const TestSymbol start = g.rule();
  g.add(start, {g.terminal(repeat(bytes(range(0x80, 0xff)), 0, 600))});
  Limits limits;
  limits.max_bytes = 1 << 20;
  const auto compiled = compile(vocabulary, g, limits);
  const auto m = compiled->start();
  std::vector<uint32_t> mask(vocabulary->mask_words());
  for (int n = 0; n <= 600; n++) {
    for (int again = 0; again < 2; again++) {
      m->fill_mask(mask.data());
      const auto bit = [&](int id) { return mask[static_cast<size_t>(id / 32)] >> (id % 32) & 1; };
      expect(bit(0x80) == (n < 600) && bit(256 + 77) == (n < 599) && !bit('a'), "mask %d", n);
    }
    if (n < 600) expect(m->advance(0x90), "byte %d", n);
  }
  expect(compiled->memory() <= (1 << 20) * 9 / 8, "%lld bytes",
         static_cast<long long>(compiled->memory()));
}

}  // namespace

void test_grammars() {
  test_recursion();
  test_nesting();
  test_strings();
  test_tokens();
  test_limits();
  test_limits_by_results();
  test_brief_calls();
  test_room_for_one();
  test_kept_masks();
}

}  // namespace octavo::test
