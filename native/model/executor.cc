#include "model/executor.h"

#include "base/error.h"
#include "cpu/cpu_backend.h"
#include "model/forward.h"
#include "model/weights.h"

namespace octavo {

// Everything a loaded model holds; destroyed as one, in reverse order of construction.
struct Executor::Engine {
  explicit Engine(const LoadRequest& r)
      : backend(CpuBackend::create(r.num_threads, r.isa.empty() ? nullptr : r.isa.c_str())),
        config(r.config),
        weights(r.config, r.files, r.tensors),
        forward(backend->ops(), r.config, r.limits, weights) {}

  std::unique_ptr<CpuBackend> backend;
  ModelConfig config;
  Weights weights;
  Forward forward;
};

Executor::Executor() : thread_([this] { loop(); }) {}

Executor::~Executor() { stop(); }

void Executor::submit(std::function<void()> task) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  wake_.notify_one();
}

void Executor::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Executor::loop() {
  for (;;) {
    std::function<void()> task;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) break;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
  engine_.reset();
}

LoadedInfo Executor::load(const LoadRequest& request) {
  if (engine_ != nullptr) throw Error(kErrInternal, "this executor has a model already");
  engine_ = std::make_unique<Engine>(request);
  LoadedInfo info;
  info.backend = engine_->backend->ops().name;
  info.isa = engine_->backend->ops().isa;
  info.kv_bytes = engine_->forward.kv_bytes();
  for (const TensorSpec& t : request.tensors) info.weight_bytes += t.bytes;
  return info;
}

void Executor::step(StepInput& input, StepOutput& output) {
  if (engine_ == nullptr) throw Error(kErrClosed, "the executor has no model loaded");
  const size_t n = input.rows.size();
  output.tokens.assign(n, -1);
  output.logprobs.assign(n, 0.0);
  output.ranks.assign(n, 0);
  size_t tops = 0;
  for (const SampleRow& r : input.rows) tops += r.num_top > 0 ? static_cast<size_t>(r.num_top) : 0;
  output.top_ids.assign(tops, -1);
  output.top_logprobs.assign(tops, 0.0);
  size_t at = 0;
  for (size_t i = 0; i < n; ++i) {
    SampleRow& r = input.rows[i];
    r.token = &output.tokens[i];
    r.logprob = &output.logprobs[i];
    r.rank = &output.ranks[i];
    if (r.num_top <= 0) continue;
    r.top_ids = &output.top_ids[at];
    r.top_logprobs = &output.top_logprobs[at];
    at += static_cast<size_t>(r.num_top);
  }
  engine_->forward.run(input, output);
}

void Executor::unload() { engine_.reset(); }

}  // namespace octavo
