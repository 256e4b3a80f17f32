// Work that must not hold up the event loop and belongs to no executor: a few threads of each
// environment's own, started when first needed; promises are settled on the JS thread.
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

#include "napi/error.h"

namespace octavo {

class Background {
 public:
  explicit Background(Napi::Env env);
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  // Runs work on one of the threads, then done on the JS thread, which gives what the promise
  // resolves to. What either of them throws rejects it.
  Napi::Value run(Napi::Env env, std::function<void()> work,
                  std::function<Napi::Value(Napi::Env)> done);
  // Becomes true when the environment ends: long work should look at it and throw.
  const std::atomic<bool>* cancelled() const { return &cancelled_; }

 private:
  struct Job;

  void loop();
  void stop();  // joins; from the destructor or the environment's end
  static void settle(Napi::Env env, Napi::Function, Background* self, Job* job);
  static void environment_ends(void* self);

  using Settler = Napi::TypedThreadSafeFunction<Background, Job, &Background::settle>;
  Napi::Env env_;
  Settler settler_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job*> queue_;
  std::atomic<bool> cancelled_{false};
  int idle_ = 0;
  int pending_ = 0;  // JS's: while > 0 the process stays alive
  bool stopped_ = false;
  bool environment_ended_ = false;
};

}  // namespace octavo
