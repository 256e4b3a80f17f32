// octavo_grammar_test [seed] [cases] [spoilt programs]
#include <cstdlib>

#include "native/grammar_fuzz.h"

namespace octavo::test {
void test_grammars();
void test_threads(Random& random);
}  // namespace octavo::test

int main(int argc, char** argv) {
  using namespace octavo::test;
  const uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  const int64_t cases = argc > 2 ? std::strtoll(argv[2], nullptr, 10) : 400;
  const int64_t spoilt = argc > 3 ? std::strtoll(argv[3], nullptr, 10) : 5 * cases;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  Random random(seed);
  test_grammars();
  test_threads(random);
  const FuzzCounts n = fuzz_matching(random, cases);
  std::printf("%" PRId64 " grammars: %" PRId64 " refused, %" PRId64 " over a limit, %" PRId64
              " ended, caches dropped %" PRId64 " times, %" PRId64 " bytes forced; %" PRId64
              " of %" PRId64 " tokens allowed\n",
              n.cases, n.refused, n.failed, n.ended, n.dropped, n.forced, n.allowed, n.compared);
  expect(cases < 100 || (n.dropped > 0 && n.ended > 0 && n.forced > 0 && n.allowed > n.cases),
         "too little was tried");
  const int64_t taken = fuzz_programs(random, spoilt);
  std::printf("%" PRId64 " spoilt programs, %" PRId64 " of them still programs\n", spoilt, taken);
  return g_failures == 0 ? 0 : 1;
}
