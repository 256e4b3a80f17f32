#include "base/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <exception>

#include "base/check.h"

namespace octavo {
namespace {

// Long enough to bridge the gap between two ops of a forward pass, short enough that an idle pool
// costs nothing worth measuring.
constexpr auto kSpinTime = std::chrono::microseconds(40);
constexpr int64_t kMaxItems = INT32_MAX;  // the low half of a ticket counts them
constexpr int kMaxShares = 16;            // everybody looks into all of them before a loop ends

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

// Polls `done` for kSpinTime, reading the clock only now and then.
template <class Done>
bool spin_until(Done done) {
  const auto deadline = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < 32; i++) {
      if (done()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return done();
}

constexpr uint64_t items_left(uint64_t ticket) { return ticket & 0xffffffffu; }

}  // namespace

ThreadPool::ThreadPool(int num_threads)
    : num_threads_(num_threads < 1 ? 1 : num_threads), shares_(std::min(num_threads_, kMaxShares)) {
  threads_.reserve(num_threads_ - 1);
  for (int worker = 1; worker < num_threads_; worker++) {
    try {
      threads_.emplace_back([this, worker] { worker_main(worker); });
    } catch (const std::exception&) {
      num_threads_ = worker;  // a limit of the system: those that did start do the work
      break;
    }
  }
}

ThreadPool::~ThreadPool() {
  stopping_.store(true);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    work_ready_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::run(int64_t num_items, Call call, void* fn) {
  if (threads_.empty() || num_items <= 1) {
    for (int64_t item = 0; item < num_items; item++) call(fn, item, 0);
    return;
  }
  OCTAVO_CHECK(num_items <= kMaxItems);
  job_ = {call, fn};
  pending_.store(num_items, std::memory_order_relaxed);
  const uint64_t loop = num_loops_.load(std::memory_order_relaxed) + 1;
  const int64_t num_shares = static_cast<int64_t>(shares_.size());
  for (int64_t i = 0; i < num_shares; i++) {
    const int64_t first = num_items * i / num_shares, end = num_items * (i + 1) / num_shares;
    shares_[i].end = end;
    shares_[i].ticket.store(loop << 32 | static_cast<uint64_t>(end - first),
                            std::memory_order_release);
  }
  // seq_cst, as is the sleeper's side: either it sees the new loop or we see it sleeping.
  num_loops_.store(loop);
  if (num_sleeping_.load() > 0) wake_workers();
  work(0);
  wait_until_done();
}

void ThreadPool::wake_workers() {
  std::lock_guard<std::mutex> lock(mutex_);
  work_ready_.notify_all();
}

// Grabs and runs items until none is left, those of its own share first.
void ThreadPool::work(int worker) {
  const size_t num_shares = shares_.size();
  for (size_t i = 0; i < num_shares; i++) work_on(shares_[(worker + i) % num_shares], worker);
}

void ThreadPool::work_on(Share& share, int worker) {
  uint64_t ticket = share.ticket.load(std::memory_order_acquire);
  while (items_left(ticket) > 0) {
    if (!share.ticket.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel,
                                            std::memory_order_acquire)) {
      continue;
    }
    // From here on the loop cannot end without us, so its plain fields stand still.
    job_.call(job_.fn, share.end - static_cast<int64_t>(items_left(ticket)), worker);
    if (pending_.fetch_sub(1) == 1 && caller_sleeping_.load()) {
      std::lock_guard<std::mutex> lock(mutex_);
      work_done_.notify_one();
    }
    ticket = share.ticket.load(std::memory_order_acquire);
  }
}

void ThreadPool::wait_until_done() {
  const auto done = [this] { return pending_.load(std::memory_order_acquire) == 0; };
  if (spin_until(done)) return;
  std::unique_lock<std::mutex> lock(mutex_);
  caller_sleeping_.store(true);
  work_done_.wait(lock, [this] { return pending_.load() == 0; });
  caller_sleeping_.store(false);
}

void ThreadPool::worker_main(int worker) {
  uint64_t seen = 0;
  while (wait_for_work(seen)) {
    seen = num_loops_.load(std::memory_order_acquire);
    work(worker);
  }
}

// Until there is a loop after `seen`; false when the pool is being destroyed.
bool ThreadPool::wait_for_work(uint64_t seen) {
  const auto ready = [&] { return num_loops_.load() != seen || stopping_.load(); };
  if (!spin_until(ready)) {
    std::unique_lock<std::mutex> lock(mutex_);
    num_sleeping_.fetch_add(1);
    work_ready_.wait(lock, ready);
    num_sleeping_.fetch_sub(1);
  }
  return !stopping_.load();
}

}  // namespace octavo
