// Pieces of work that run off the JS thread, and the promises that they settle there.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>

#include "napi/error.h"

namespace octavo {

// Made on the JS thread, run on any other one, settled on JS's.
struct Job {
  explicit Job(Napi::Env env) : deferred(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise::Deferred deferred;
  std::function<void()> work;
  std::function<Napi::Value(Napi::Env)> done;
  Failure failure;
};

class Jobs {
 public:
  struct Hooks {
    // Joins all threads that run jobs: from stop(), or where the environment ends.
    std::function<void()> join;
    std::function<void()> begin, end;  // of a time in which somebody waits for a promise
  };
  Jobs(Napi::Env env, const char* name, Hooks hooks);
  ~Jobs() { stop(); }
  Jobs(const Jobs&) = delete;
  Jobs& operator=(const Jobs&) = delete;

  // A job whose done() gives on the JS thread what its promise resolves to; where work() has thrown
  // it is called with no environment, and only tidies up. What either throws rejects the promise.
  // It must come to run() or refuse(); while it is under way the process stays alive.
  std::unique_ptr<Job> begin(Napi::Env env, std::function<void()> work,
                             std::function<Napi::Value(Napi::Env)> done);
  void run(std::unique_ptr<Job> job);  // on a thread that join() joins
  // Settles it with a failure instead; from any such thread, or from JS's.
  void refuse(std::unique_ptr<Job> job, Failure failure);
  void stop();  // on the JS thread, once for all
  static Napi::Value rejected(Napi::Env env, const Failure& failure);

 private:
  static void settle(Napi::Env env, Napi::Function, Jobs* self, Job* job);
  static void environment_ends(void* self);
  void send(std::unique_ptr<Job> job);
  void settle_in(Napi::Env env, Job& job);

  using Settler = Napi::TypedThreadSafeFunction<Jobs, Job, &Jobs::settle>;
  Napi::Env env_;
  Settler settler_;
  Hooks hooks_;
  int pending_ = 0;
  bool stopped_ = false;
  bool environment_ended_ = false;
};

}  // namespace octavo
