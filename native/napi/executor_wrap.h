// The JS object around one Executor: reads arguments, settles promises, joins the thread.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <vector>

#include "model/executor.h"
#include "napi/error.h"
#include "napi/jobs.h"
#include "napi/pooled_layout.h"
#include "napi/step_layout.h"

namespace octavo {

class ExecutorWrap : public Napi::ObjectWrap<ExecutorWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ExecutorWrap(const Napi::CallbackInfo& info);  // throws ERR_OUT_OF_MEMORY

 private:
  enum class State { kEmpty, kLoading, kReady, kClosing, kClosed };

  Napi::Value load(const Napi::CallbackInfo& info);  // (request) → Promise<info>
  // (words, tables, samplers, masks or undefined, capture logits, matchers or undefined) →
  // Promise<result>
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value embed(const Napi::CallbackInfo& info);  // (words) → Promise<{values, computeMs}>
  Napi::Value close(const Napi::CallbackInfo& info);  // () → Promise<void>, idempotent
  // () → Promise<{kind: 'cuda' | 'simt' | 'none', devices: [{name, major, minor, memory}],
  // reason}>. Before load(): starting a driver can take seconds.
  Napi::Value probe(const Napi::CallbackInfo& info);

  void join();               // its thread; idempotent
  void check_ready() const;  // that a step may begin

  // Runs work on the executor's thread, then done on the JS thread, which settles the promise.
  Napi::Value launch(Napi::Env env, std::function<void()> work,
                     std::function<Napi::Value(Napi::Env)> done);
  void somebody_waits();
  void nobody_waits();

  std::unique_ptr<Executor> executor_;
  Napi::Reference<Napi::Value> closing_;  // the promise of a close() under way
  State state_ = State::kEmpty;
  bool stepping_ = false;
  StepInput input_;  // of the step that runs, its thread's until stepping_ is false again
  StepOutput output_;
  PooledInput texts_;  // the same of texts that are pooled
  PooledOutput vectors_;
  std::vector<SlabRow>
      rows_;  // of the slabs; what the step reads of them does not change meanwhile
  EngineLimits limits_;
  PooledModel model_;
  Jobs jobs_;  // goes first: it joins the thread
};

}  // namespace octavo
