// The thread pool: every item once, whatever the number of threads, and whatever the system grants.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <thread>

#include "base/thread_pool.h"
#include "native/cpu_test.h"

namespace octavo::test {

// Where the system grants no stack for more of them: those that did start do the work, and the pool
// says how many. In a process of its own, because the limit stays.
static void test_few_threads() {
  // An emulator of a machine needs more memory itself.
  if (std::getenv("OCTAVO_EMULATED") != nullptr) return;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  const pid_t child = fork();
  if (child == 0) {
    std::ifstream statm("/proc/self/statm");
    rlim_t pages = 0;
    statm >> pages;
    const rlim_t limit = pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (rlim_t{64} << 20);
    const rlimit most{limit, limit};
    if (setrlimit(RLIMIT_AS, &most) != 0) _exit(2);
    ThreadPool pool(200);
    std::atomic<int64_t> sum{0};
    std::atomic<int> strangers{0};
    pool.parallel_for(5000, [&](int64_t item, int worker) {
      sum += item;
      if (worker < 0 || worker >= pool.num_threads()) strangers++;
    });
    const bool right = sum == 5000 * 4999 / 2 && strangers == 0;
    _exit(pool.num_threads() < 200 && pool.num_threads() >= 1 && right ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  expect(status == 0, "thread pool: with few threads it ends with status %d", status);
#endif
}

void test_thread_pool(Random& random) {
  test_few_threads();
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 400; round++) {
      const int64_t items = random.between(0, round % 50 == 0 ? 5000 : 40);
      std::vector<std::atomic<int>> hits(static_cast<size_t>(items));
      std::atomic<int> strangers{0};
      pool.parallel_for(items, [&](int64_t item, int worker) {
        hits[item].fetch_add(1, std::memory_order_relaxed);
        if (worker < 0 || worker >= threads) strangers++;
      });
      for (const auto& hit : hits) {
        expect(hit.load() == 1, "thread pool: an item ran %d times", hit.load());
      }
      expect(strangers == 0, "thread pool: worker index out of range");
      // Now and then let the workers fall asleep, or meet them falling asleep.
      if (round % 20 == 0) {
        std::this_thread::sleep_for(std::chrono::microseconds(random.between(20, 200)));
      }
    }
    // What one loop wrote plainly, the next reads plainly, on any thread.
    std::vector<int64_t> plain(257, 0);
    for (int round = 0; round < 300; round++) {
      pool.parallel_for(257, [&](int64_t item, int) { plain[(item + round) % 257] += round; });
    }
    for (int64_t sum : plain) expect(sum == 299 * 300 / 2, "thread pool: lost update");
  }
}

}  // namespace octavo::test
