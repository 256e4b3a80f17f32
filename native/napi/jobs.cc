#include "napi/jobs.h"

#include <utility>

namespace octavo {

Jobs::Jobs(Napi::Env env, const char* name, Hooks hooks) : env_(env), hooks_(std::move(hooks)) {
  settler_ = Settler::New(env, name, 0, 1, this);
  settler_.Unref(env);
  napi_add_env_cleanup_hook(env, &environment_ends, this);
}

// Hooks run in the reverse order of their registration: before the settler's own, which frees it,
// and before any object is destroyed. After this nothing native touches the environment.
void Jobs::environment_ends(void* self) {
  auto* jobs = static_cast<Jobs*>(self);
  jobs->environment_ended_ = true;
  jobs->stop();
}

void Jobs::stop() {
  if (stopped_) return;
  stopped_ = true;
  if (!environment_ended_) napi_remove_env_cleanup_hook(env_, &environment_ends, this);
  hooks_.join();
  settler_.Release();
}

Napi::Value Jobs::rejected(Napi::Env env, const Failure& failure) {
  auto deferred = Napi::Promise::Deferred::New(env);
  deferred.Reject(to_js(env, failure).Value());
  return deferred.Promise();
}

std::unique_ptr<Job> Jobs::begin(Napi::Env env, std::function<void()> work,
                                 std::function<Napi::Value(Napi::Env)> done) {
  auto job = std::make_unique<Job>(env);
  job->work = std::move(work);
  job->done = std::move(done);
  if (pending_++ == 0) {
    settler_.Ref(env);
    if (hooks_.begin) hooks_.begin();
  }
  return job;
}

void Jobs::run(std::unique_ptr<Job> job) {
  job->failure = guarded(job->work);
  send(std::move(job));
}

void Jobs::refuse(std::unique_ptr<Job> job, Failure failure) {
  job->failure = std::move(failure);
  send(std::move(job));
}

// The settler is there as long as the threads are.
void Jobs::send(std::unique_ptr<Job> job) {
  job->work = nullptr;  // what it holds goes here, not on the JS thread
  Job* const sent = job.release();
  if (settler_.NonBlockingCall(sent) != napi_ok) delete sent;
}

void Jobs::settle(Napi::Env env, Napi::Function, Jobs* self, Job* job) {
  std::unique_ptr<Job> owned(job);
  if (env == nullptr) return;
  // A worker that is being terminated may run no JS any more: then every call throws, and nobody
  // is left to be told.
  try {
    self->settle_in(env, *owned);
  } catch (const Napi::Error&) {
  }
}

void Jobs::settle_in(Napi::Env env, Job& job) {
  Napi::HandleScope scope(env);
  Napi::Value value = env.Undefined();
  if (job.failure.failed()) {
    guarded([&] { job.done(nullptr); });
  } else {
    job.failure = guarded([&] { value = job.done(env); });
  }
  const bool last = --pending_ == 0;
  if (last) settler_.Unref(env);
  if (job.failure.failed()) {
    job.deferred.Reject(to_js(env, job.failure).Value());
  } else {
    job.deferred.Resolve(value);
  }
  if (last && hooks_.end) hooks_.end();
}

}  // namespace octavo
