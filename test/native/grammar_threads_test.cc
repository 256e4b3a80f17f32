// Matchers of one grammar on many threads, one of which may not be held up: all find the masks that
// a grammar of their own has, though its caches are dropped meanwhile.
#include <atomic>
#include <thread>

#include "native/grammar_fuzz.h"

namespace octavo::test {

namespace {

using grammar::Grammar;
using grammar::Matcher;

constexpr int kThreads = 4;

// Lists of lists of names that are no words of the grammar, and their sums in any number of ways.
TestGrammar lists() {
  TestGrammar g;
  const TestSymbol value = g.rule(), items = g.rule(), sum = g.rule();
  const auto name = both({repeat(bytes(range('a', 'd')), 1, 6),
                          complement(alt({text("ab"), text("cd"), text("abcd")}))});
  g.add(value, {g.terminal(name)});
  g.add(value, {g.terminal(text("[")), items, g.terminal(text("]"))});
  g.add(items, {sum});
  g.add(items, {sum, g.terminal(text(",")), items});
  g.add(sum, {value});
  g.add(sum, {sum, g.terminal(text("+")), sum});
  return g;
}

std::vector<std::string> tokens() {
  std::vector<std::string> out;
  for (const char* t : {"a", "b", "c",  "d",  "ab", "cd", "abc", "dd",    "[",   "]",
                        ",", "+", "[[", "]]", "a,", "+b", "],[", "a+b+c", "]+[", ""}) {
    out.emplace_back(t);
  }
  return out;
}

// All bits of a mask; of a matcher that may hold nobody up another thread finds it out.
uint32_t mask_of(Matcher& m, bool brief) {
  uint32_t mask = 0;
  if (!brief) m.fill_mask(&mask);
  while (brief && !m.try_fill_mask(&mask)) {
    std::thread([fork = m.fork()] { fork->settle(); }).join();
  }
  return mask;
}

void walk(Grammar& shared, Grammar& own, Random random, bool brief, std::atomic<int64_t>& masks,
          std::atomic<int64_t>& wrong) {
  for (int round = 0; round < 30; round++) {
    std::shared_ptr<Matcher> matcher = shared.start(), other;
    const auto reference = own.start();
    for (int step = 0; step < 40; step++) {
      const uint32_t mask = mask_of(*matcher, brief), expected = mask_of(*reference, false);
      wrong += mask != expected || !matcher->failure().empty();
      masks++;
      if (mask == 0) break;
      int32_t id = 0;
      do {
        id = static_cast<int32_t>(random.between(0, 19));
      } while ((mask >> id & 1) == 0);
      wrong += !(brief ? matcher->try_advance(id) : matcher->advance(id));
      wrong += !reference->advance(id);
      if (random.chance(20)) other = matcher->fork();
      if (random.chance(20)) matcher = matcher->fork();
      const auto back = static_cast<int32_t>(random.between(0, 3));
      if (random.chance(10) && matcher->rollback(back)) reference->rollback(back);
    }
  }
}

}  // namespace

void test_threads(Random& random) {
  const auto vocabulary = vocabulary_of(tokens(), {19});
  grammar::Limits limits;
  limits.max_bytes = compile(vocabulary, lists())->memory() + 80'000;
  const auto shared = compile(vocabulary, lists(), limits);
  std::atomic<int64_t> masks{0}, wrong{0};
  std::vector<std::shared_ptr<Grammar>> own;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; i++) own.push_back(compile(vocabulary, lists()));
  for (int i = 0; i < kThreads; i++) {
    const Random seed(static_cast<uint64_t>(random.between(1, 1'000'000)));
    threads.emplace_back([&, i, seed] { walk(*shared, *own[i], seed, i == 0, masks, wrong); });
  }
  for (std::thread& t : threads) t.join();
  expect(wrong == 0, "%lld of %lld masks on many threads are others", static_cast<long long>(wrong),
         static_cast<long long>(masks));
  expect(masks > 200 && shared->generation() > 0, "too little was tried: %lld masks, %lld drops",
         static_cast<long long>(masks), static_cast<long long>(shared->generation()));
}

}  // namespace octavo::test
