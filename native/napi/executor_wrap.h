// The JS object around one Executor: reads arguments, settles promises, joins the thread.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <vector>

#include "model/executor.h"
#include "napi/error.h"
#include "napi/pooled_layout.h"
#include "napi/step_layout.h"

namespace octavo {

class ExecutorWrap : public Napi::ObjectWrap<ExecutorWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ExecutorWrap(const Napi::CallbackInfo& info);  // throws ERR_OUT_OF_MEMORY
  ~ExecutorWrap() override;

 private:
  enum class State { kEmpty, kLoading, kReady, kClosing, kClosed };
  struct Job;

  Napi::Value load(const Napi::CallbackInfo& info);  // (request) → Promise<info>
  // (words, tables, samplers, masks or undefined, capture logits, matchers or undefined) →
  // Promise<result>
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value embed(const Napi::CallbackInfo& info);  // (words) → Promise<{values, computeMs}>
  Napi::Value close(const Napi::CallbackInfo& info);  // () → Promise<void>, idempotent
  // () → Promise<{kind: 'cuda' | 'simt' | 'none', devices: [{name, major, minor, memory}],
  // reason}>. Before load(): starting a driver can take seconds.
  Napi::Value probe(const Napi::CallbackInfo& info);

  void check_ready() const;  // that a step may begin

  // Runs work on the executor's thread, then done on the JS thread, which settles the promise.
  Napi::Value launch(Napi::Env env, std::function<void()> work,
                     std::function<Napi::Value(Napi::Env)> done);
  static Napi::Value rejected(Napi::Env env, const Failure& failure);
  static void settle(Napi::Env env, Napi::Function, ExecutorWrap* self, Job* job);
  void settle_in(Napi::Env env, Job* job);
  void shut_down();  // joins; from close(), the finalizer or the environment's end
  static void environment_ends(void* self);

  using Settler = Napi::TypedThreadSafeFunction<ExecutorWrap, Job, &ExecutorWrap::settle>;
  std::unique_ptr<Executor> executor_;
  Settler settler_;
  Napi::Reference<Napi::Value> closing_;  // the promise of a close() under way
  State state_ = State::kEmpty;
  bool stepping_ = false;
  bool environment_ended_ = false;
  StepInput input_;  // of the step that runs, its thread's until stepping_ is false again
  StepOutput output_;
  PooledInput texts_;  // the same of texts that are pooled
  PooledOutput vectors_;
  std::vector<SlabRow>
      rows_;         // of the slabs; what the step reads of them does not change meanwhile
  int pending_ = 0;  // while > 0 the process stays alive
  EngineLimits limits_;
  PooledModel model_;
};

}  // namespace octavo
