// How much the random tests of native/grammar have seen: a run in which nothing could go wrong
// says nothing.
#pragma once

#include "native/grammar_test.h"

namespace octavo::test {

struct FuzzCounts {
  int64_t cases = 0, refused = 0, failed = 0, ended = 0, forced = 0;
  int64_t compared = 0, allowed = 0;
  int64_t dropped = 0;  // times that caches were
};

FuzzCounts fuzz_matching(Random& random, int64_t cases);
int64_t fuzz_programs(Random& random, int64_t cases);  // how many still compiled

}  // namespace octavo::test
