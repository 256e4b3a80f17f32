// What compiling, masks and tokens cost, in processor time of their own thread, so that a busy
// machine does not count.
//   octavo_grammar_bench FILE [repetitions]
// FILE is little-endian int32 words: n, n + 1 offsets, the end token, the bytes of all tokens (one
// a word), then for each case: a name's length and its bytes (one a word), a program's length and
// its words, a text's length and its token ids.
#include <time.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "grammar/grammar.h"
#include "grammar/matcher.h"

namespace octavo::bench {

namespace {

using grammar::Grammar;
using grammar::Vocabulary;

double now_us() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

double quantile(std::vector<double> v, double q) {
  if (v.empty()) return 0;
  std::sort(v.begin(), v.end());
  return v[std::min(v.size() - 1, static_cast<size_t>(q * static_cast<double>(v.size())))];
}

struct Words {
  std::vector<int32_t> all;
  size_t at = 0;
  bool more() const { return at < all.size(); }
  std::vector<int32_t> take(int32_t n) {
    if (n < 0 || at + static_cast<size_t>(n) > all.size()) std::exit(2);
    const auto begin = all.begin() + static_cast<int64_t>(at);
    at += static_cast<size_t>(n);
    return {begin, begin + n};
  }
  std::vector<int32_t> counted() { return take(take(1)[0]); }
};

struct Times {
  std::vector<double> compile, cold, warm, advance;
};

void row(const char* name, const Times& t, const char* more) {
  std::printf("%-12s %8.3f %9.1f %8.1f %8.1f %8.1f %9.1f %8.1f %8.1f %8.2f  %s\n", name,
              quantile(t.compile, 0.5) / 1e3, quantile(t.cold, 0.5), quantile(t.cold, 0.9),
              quantile(t.cold, 0.99), quantile(t.cold, 1), quantile(t.warm, 0.5),
              quantile(t.warm, 0.99), quantile(t.warm, 1), quantile(t.advance, 0.5), more);
}

void add(std::vector<double>& to, const std::vector<double>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

Times measure(const std::shared_ptr<const Vocabulary>& vocabulary,
              const std::vector<int32_t>& program, const std::vector<int32_t>& ids, int repetitions,
              std::string* more) {
  Times t;
  std::vector<std::vector<double>> cold(ids.size() + 1);
  std::vector<uint32_t> mask(vocabulary->mask_words());
  for (int r = 0; r < repetitions; r++) {
    double from = now_us();
    const auto compiled = Grammar::compile(vocabulary, program.data(), program.size(), {});
    t.compile.push_back(now_us() - from);
    for (int round = 0; round < 2; round++) {
      const auto matcher = compiled->start();
      for (size_t i = 0; i <= ids.size(); i++) {
        from = now_us();
        matcher->fill_mask(mask.data());
        (round == 0 ? cold[i] : t.warm).push_back(now_us() - from);
        if (i == ids.size()) break;
        from = now_us();
        const bool taken = matcher->advance(ids[i]);
        t.advance.push_back(now_us() - from);
        if (!taken) {
          *more = "token " + std::to_string(i) + " is not taken: " + matcher->failure();
          return t;
        }
      }
    }
    char text[80];
    std::snprintf(text, sizeof text, "%" PRId64 " states, %.2f MB, %zu tokens",
                  compiled->num_states(), static_cast<double>(compiled->memory()) / 1e6,
                  ids.size());
    *more = text;
  }
  // A place's own time is the middle one: whatever else disturbed it happened once.
  for (const auto& c : cold) t.cold.push_back(quantile(c, 0.5));
  return t;
}

}  // namespace

int run(const char* path, int repetitions) {
  Words words;
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr) return 2;
  int32_t buffer[4096];
  for (size_t n; (n = std::fread(buffer, 4, 4096, file)) > 0;) {
    words.all.insert(words.all.end(), buffer, buffer + n);
  }
  std::fclose(file);
  const int32_t num_tokens = words.take(1)[0];
  const std::vector<int32_t> offsets = words.take(num_tokens + 1), end = words.take(1);
  std::vector<uint8_t> bytes;
  for (const int32_t b : words.take(offsets.back())) bytes.push_back(static_cast<uint8_t>(b));
  const double from = now_us();
  const auto vocabulary = std::make_shared<const Vocabulary>(bytes, offsets, end);
  std::printf("%d tokens: built in %.1f ms, %.1f MB\n", num_tokens, (now_us() - from) / 1e3,
              static_cast<double>(vocabulary->memory()) / 1e6);
  std::printf("%-12s %8s %9s %8s %8s %8s %9s %8s %8s %8s\n", "case", "compile", "cold p50", "p90",
              "p99", "max", "warm p50", "p99", "max", "advance");
  Times sum;
  while (words.more()) {
    std::string name, more;
    for (const int32_t c : words.counted()) name += static_cast<char>(c);
    const std::vector<int32_t> program = words.counted(), ids = words.counted();
    const Times t = measure(vocabulary, program, ids, repetitions, &more);
    row(name.c_str(), t, more.c_str());
    add(sum.compile, t.compile);
    add(sum.cold, t.cold);
    add(sum.warm, t.warm);
    add(sum.advance, t.advance);
  }
  row("all", sum, "compile in ms, the others in us");
  return 0;
}

}  // namespace octavo::bench

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "octavo_grammar_bench FILE [repetitions]\n");
    return 2;
  }
  return octavo::bench::run(argv[1], argc > 2 ? std::atoi(argv[2]) : 5);
}
