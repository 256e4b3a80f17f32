// How far queries look, against counting, and what a KV group must keep for them.
#include "base/reach.h"

#include "native/model_test.h"

namespace octavo::test {
namespace {

constexpr int32_t kTokens = 160;

bool sees(const Reach& reach, int32_t position, int32_t token) {
  if (token > position && !reach.both) return false;
  if (reach.window == 0) return true;
  if (reach.chunked) return token / reach.window == position / reach.window;
  return std::abs(position - token) < reach.window;
}

}  // namespace

void test_reach(const Ops&, Random&) {
  std::vector<Reach> all = {{0, false}, {0, false, true}};
  for (const int32_t window : {1, 2, 3, 4, 6, 8, 12, 13, 24, 48}) {
    all.push_back({window, false});
    all.push_back({window, true});
    all.push_back({window, false, true});
  }
  for (const Reach& r : all) {
    expect(r.first_seen(0) == 0, "reach %d: something before nothing", r.window);
    for (int32_t position = 0; position < kTokens; position++) {
      int32_t first = position;
      while (first > 0 && sees(r, position, first - 1)) first--;
      expect(r.first_seen(position + 1) == first, "reach %d chunked %d: %d sees from %d", r.window,
             r.chunked, position, r.first_seen(position + 1));
      for (const int32_t context : {position + 1, position + 2, kTokens}) {
        int32_t end = position + 1;
        while (end < context && sees(r, position, end)) end++;
        expect(r.end_seen(position + 1, context) == end, "reach %d both %d: %d of %d sees up to %d",
               r.window, r.both, position, context, r.end_seen(position + 1, context));
      }
    }
    for (const Reach& other : all) {
      bool kept = r.both == other.both;
      for (int32_t limit = 1; limit <= kTokens; limit++) {
        kept = kept && r.first_seen(limit) <= other.first_seen(limit);
      }
      expect(r.covers(other) == kept, "reach %d chunked %d covers %d chunked %d: %d", r.window,
             r.chunked, other.window, other.chunked, r.covers(other));
    }
  }
}

}  // namespace octavo::test
