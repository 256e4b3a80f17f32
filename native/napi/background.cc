#include "napi/background.h"

#include <algorithm>
#include <string>
#include <utility>

namespace octavo {

namespace {
constexpr size_t kMaxWaiting = 1'024;
}

Background::Background(Napi::Env env, size_t max_threads)
    : max_threads_(max_threads), jobs_(env, "octavo-background", {[this] { join(); }, {}, {}}) {}

void Background::join() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    for (const Cancel& cancel : running_) *cancel = true;
    queue_.clear();
  }
  wake_.notify_all();
  for (std::thread& t : threads_) t.join();
}

Napi::Value Background::run(Napi::Env env, Cancel cancel, std::function<void()> work,
                            std::function<Napi::Value(Napi::Env)> done) {
  std::unique_ptr<Job> job = jobs_.begin(env, std::move(work), std::move(done));
  const Napi::Value promise = job->deferred.Promise();
  Failure failure = guarded([&] {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (queue_.size() >= kMaxWaiting) {
      throw Error(kErrBusy, std::to_string(kMaxWaiting) +
                                " grammars are waiting to be compiled; try again later");
    }
    if (idle_ <= queue_.size() && threads_.size() < max_threads_) {
      threads_.emplace_back([this] { loop(); });
    }
    queue_.emplace_back();
    queue_.back() = {std::move(job), std::move(cancel)};
  });
  if (failure.failed()) {
    jobs_.refuse(std::move(job), std::move(failure));
  } else {
    wake_.notify_one();
  }
  return promise;
}

void Background::loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    ++idle_;
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    --idle_;
    if (stopping_) return;
    Waiting next = std::move(queue_.front());
    queue_.pop_front();
    running_.push_back(next.cancel);
    lock.unlock();
    if (*next.cancel) {
      jobs_.refuse(std::move(next.job), {kErrClosed, "what was asked for was closed meanwhile"});
    } else {
      jobs_.run(std::move(next.job));
    }
    lock.lock();
    running_.erase(std::find(running_.begin(), running_.end(), next.cancel));
  }
}

}  // namespace octavo
