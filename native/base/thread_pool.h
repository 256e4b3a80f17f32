// A small pool for loops of a few microseconds to a few milliseconds. The caller works too. Every
// worker starts on a run of neighbouring items, the same in every loop of that length, grabs them
// one by one and then what others have left; nobody ever waits for a thread that has not grabbed an
// item: when a busy neighbour keeps a worker off its core, the others take its share.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace octavo {

class ThreadPool {
 public:
  // `num_threads` counts the caller; 1 starts no thread and runs every loop inline.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // That run: fewer than asked for where the system grants no more.
  int num_threads() const { return num_threads_; }

  // Calls fn(int64_t item, int worker) once for every item in [0, num_items), in any order, with
  // worker in [0, num_threads()); returns when all are done. Allocates nothing. One loop at a
  // time, from one thread at a time; fn must not throw and must not call parallel_for.
  template <class Fn>
  void parallel_for(int64_t num_items, Fn&& fn) {
    using Plain = std::remove_reference_t<Fn>;
    run(
        num_items,
        [](void* f, int64_t item, int worker) { (*static_cast<Plain*>(f))(item, worker); },
        const_cast<void*>(static_cast<const void*>(&fn)));
  }

 private:
  using Call = void (*)(void* fn, int64_t item, int worker);

  struct Job {
    Call call = nullptr;
    void* fn = nullptr;
  };
  // A worker's run of items. High half of the ticket: number of the loop; low half: items not yet
  // grabbed. One word, so a thread that slept through a whole loop cannot grab from the next one by
  // mistake: its exchange fails.
  struct alignas(64) Share {
    std::atomic<uint64_t> ticket{0};
    int64_t end = 0;
  };

  void run(int64_t num_items, Call call, void* fn);
  void work(int worker);
  void work_on(Share& share, int worker);
  void worker_main(int worker);
  bool wait_for_work(uint64_t seen);
  void wait_until_done();
  void wake_workers();

  int num_threads_;
  std::vector<std::thread> threads_;

  // The loop in progress. This and Share::end are written only while no item is left and none is
  // pending, and read only by a thread that has just grabbed an item, so plain fields are enough.
  Job job_;
  std::vector<Share> shares_;  // one per worker; a few workers each where there are many
  // Loops so far: what idle workers watch. Written when all shares of a loop are.
  alignas(64) std::atomic<uint64_t> num_loops_{0};
  // Items not yet finished.
  alignas(64) std::atomic<int64_t> pending_{0};

  alignas(64) std::atomic<int> num_sleeping_{0};
  std::atomic<bool> caller_sleeping_{false};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable work_ready_;
  std::condition_variable work_done_;
};

}  // namespace octavo
