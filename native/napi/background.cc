#include "napi/background.h"

#include <utility>

namespace octavo {

namespace {
constexpr size_t kMaxThreads = 2;
}

struct Background::Job {
  explicit Job(Napi::Env env) : deferred(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise::Deferred deferred;
  std::function<void()> work;
  std::function<Napi::Value(Napi::Env)> done;
  Failure failure;
};

Background::Background(Napi::Env env) : env_(env) {
  settler_ = Settler::New(env, "octavo-background", 0, 1, this);
  settler_.Unref(env);
  napi_add_env_cleanup_hook(env, &environment_ends, this);
}

Background::~Background() { stop(); }

// Before the settler's own hook, which was registered first.
void Background::environment_ends(void* self) {
  auto* background = static_cast<Background*>(self);
  background->environment_ended_ = true;
  background->stop();
}

void Background::stop() {
  if (stopped_) return;
  stopped_ = true;
  if (!environment_ended_) napi_remove_env_cleanup_hook(env_, &environment_ends, this);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    cancelled_ = true;
  }
  wake_.notify_all();
  for (std::thread& t : threads_) t.join();
  for (Job* job : queue_) delete job;
  queue_.clear();
  settler_.Release();
}

Napi::Value Background::run(Napi::Env env, std::function<void()> work,
                            std::function<Napi::Value(Napi::Env)> done) {
  auto owned = std::make_unique<Job>(env);
  owned->work = std::move(work);
  owned->done = std::move(done);
  const Napi::Value promise = owned->deferred.Promise();
  const Failure failure = guarded([&] {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (idle_ <= static_cast<int>(queue_.size()) && threads_.size() < kMaxThreads) {
      threads_.emplace_back([this] { loop(); });
    }
    queue_.push_back(owned.get());
  });
  if (failure.failed()) {
    owned->deferred.Reject(to_js(env, failure).Value());
    return promise;
  }
  owned.release();
  if (pending_++ == 0) settler_.Ref(env);
  wake_.notify_one();
  return promise;
}

void Background::loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    ++idle_;
    wake_.wait(lock, [this] { return cancelled_ || !queue_.empty(); });
    --idle_;
    if (cancelled_) return;
    Job* job = queue_.front();
    queue_.pop_front();
    lock.unlock();
    job->failure = guarded(job->work);
    job->work = nullptr;  // what it holds goes here, not on the JS thread
    if (settler_.BlockingCall(job) != napi_ok) delete job;
    lock.lock();
  }
}

void Background::settle(Napi::Env env, Napi::Function, Background* self, Job* job) {
  std::unique_ptr<Job> owned(job);
  if (env == nullptr) return;
  // A worker that is being terminated may run no JS any more: nobody is left to be told.
  try {
    Napi::HandleScope scope(env);
    if (--self->pending_ == 0) self->settler_.Unref(env);
    Napi::Value value = env.Undefined();
    if (!job->failure.failed()) job->failure = guarded([&] { value = job->done(env); });
    if (job->failure.failed()) {
      job->deferred.Reject(to_js(env, job->failure).Value());
    } else {
      job->deferred.Resolve(value);
    }
  } catch (const Napi::Error&) {
  }
}

}  // namespace octavo
