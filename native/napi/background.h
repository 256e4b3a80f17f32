// Work that must not hold up the event loop and belongs to no executor: a few threads of each
// environment's own, started when first needed.
#pragma once

#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "napi/jobs.h"

namespace octavo {

// Set to true it ends work that looks at it now and then, and what has not begun does not begin.
using Cancel = std::shared_ptr<std::atomic<bool>>;

class Background {
 public:
  Background(Napi::Env env, size_t max_threads);

  // Runs work on one of the threads, then done on the JS thread: see Jobs::begin(). Where the
  // environment ends `cancel` is set. Rejects with ERR_BUSY where too much is waiting.
  Napi::Value run(Napi::Env env, Cancel cancel, std::function<void()> work,
                  std::function<Napi::Value(Napi::Env)> done);

 private:
  struct Waiting {
    std::unique_ptr<Job> job;
    Cancel cancel;
  };
  void loop();
  void join();

  const size_t max_threads_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> queue_;
  std::vector<Cancel> running_;
  size_t idle_ = 0;
  bool stopping_ = false;
  Jobs jobs_;  // goes first: it joins the threads
};

}  // namespace octavo
