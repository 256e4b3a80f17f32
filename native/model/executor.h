// One owned thread that loads a model and runs its steps, in the order they were submitted. It
// knows nothing of JS: whoever submits a task gets word by the task's own last line.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "backends.h"
#include "model/limits.h"
#include "model/spec.h"
#include "model/step.h"
#include "model/weights.h"

namespace octavo {

struct LoadRequest {
  ModelSpec spec;
  EngineLimits limits;
  BackendOptions backend;
  std::vector<std::string> files;
  std::vector<TensorSpec> tensors;
  DType quantise = DType::kF32;   // plain matrices become kQ8_0 or kQ4_0; kF32: as they are
  bool kv_as_activation = true;   // else kv_dtype
  DType kv_dtype = DType::kBF16;  // kF8E4M3: a device; kF32, kF16, kBF16: the CPU; kI8: both
  // Of a device whose pool is measured:
  double memory_utilization = 0.9;     // share of its memory that all may take together
  int32_t max_num_blocks = INT32_MAX;  // of the pool
};

struct LoadedInfo {
  std::string backend, isa;
  int32_t num_blocks = 0;
  int64_t block_bytes = 0;
  int64_t state_bytes = 0, record_bytes = 0;  // of all recurrent layers
  int64_t weight_bytes = 0;
  std::vector<WeightKind> weight_kinds;
  int32_t num_threads = 1;  // that compute; fewer than asked for where no more could be started
};

class Executor {
 public:
  Executor();   // throws ERR_OUT_OF_MEMORY when no thread can be started
  ~Executor();  // runs what is queued, then joins
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  void submit(std::function<void()> task);
  void stop();  // idempotent

  // The rest is called on the owned thread only, from inside a task.
  LoadedInfo load(const LoadRequest& request);
  void step(StepInput& input, StepOutput& output);
  // Of a model that is loaded to pool, in place of step().
  void embed(const PooledInput& input, PooledOutput& output);
  void unload();

 private:
  struct Engine;
  void loop();

  std::unique_ptr<Engine> engine_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace octavo
