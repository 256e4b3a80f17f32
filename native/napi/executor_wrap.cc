#include "napi/executor_wrap.h"

#include <cstring>
#include <utility>
#include <vector>

#include "backends.h"
#include "napi/args.h"
#include "napi/error.h"
#include "napi/load_request.h"
#include "napi/mask_sources.h"
#include "napi/step_layout.h"

namespace octavo {

namespace {

template <typename Array, typename T>
Array typed(Napi::Env env, const T* data, size_t n) {
  Array out = Array::New(env, n);
  if (n > 0) std::memcpy(out.Data(), data, n * sizeof(T));
  return out;
}

Napi::Object result_to_js(Napi::Env env, const StepInput& in, const StepOutput& out) {
  const size_t draws = static_cast<size_t>(in.num_samples);
  const size_t prompts = in.rows.size() - draws;
  Napi::Object r = Napi::Object::New(env);
  r.Set("tokenIds", typed<Napi::Int32Array>(env, out.tokens.data(), draws));
  r.Set("logprobs", typed<Napi::Float64Array>(env, out.logprobs.data(), draws));
  r.Set("ranks", typed<Napi::Int32Array>(env, out.ranks.data(), draws));
  r.Set("promptLogprobs", typed<Napi::Float64Array>(env, out.logprobs.data() + draws, prompts));
  r.Set("promptRanks", typed<Napi::Int32Array>(env, out.ranks.data() + draws, prompts));
  r.Set("topTokenIds", typed<Napi::Int32Array>(env, out.top_ids.data(), out.top_ids.size()));
  r.Set("topLogprobs",
        typed<Napi::Float64Array>(env, out.top_logprobs.data(), out.top_logprobs.size()));
  r.Set("computeMs", out.compute_ms);
  if (in.capture_logits) {
    r.Set("logits", typed<Napi::Float32Array>(env, out.logits.data(), out.logits.size()));
  }
  return r;
}

Napi::Object probe_to_js(Napi::Env env, const DeviceProbe& probe) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("kind", probe.kind);
  out.Set("reason", probe.reason);
  Napi::Array devices = Napi::Array::New(env);
  for (uint32_t i = 0; i < probe.devices.size(); ++i) {
    const DeviceInfo& d = probe.devices[i];
    Napi::Object o = Napi::Object::New(env);
    o.Set("name", d.name);
    o.Set("major", d.major);
    o.Set("minor", d.minor);
    o.Set("memory", static_cast<double>(d.memory_bytes));
    devices.Set(i, o);
  }
  out.Set("devices", devices);
  return out;
}

Napi::Array kinds_to_js(Napi::Env env, const std::vector<WeightKind>& kinds) {
  Napi::Array out = Napi::Array::New(env);
  for (uint32_t i = 0; i < kinds.size(); ++i) {
    Napi::Object o = Napi::Object::New(env);
    o.Set("stored", dtype_name(kinds[i].stored));
    o.Set("kept", dtype_name(kinds[i].kept));
    o.Set("numMatrices", static_cast<double>(kinds[i].num_matrices));
    o.Set("bytes", static_cast<double>(kinds[i].bytes));
    out.Set(i, o);
  }
  return out;
}

template <typename T>
const T* typed_data(const Napi::Value& v, napi_typedarray_type type, int64_t* length) {
  if (!v.IsTypedArray() || v.As<Napi::TypedArray>().TypedArrayType() != type) {
    throw Error(kErrInvalidStep, "a step is an Int32Array and its slabs");
  }
  const auto a = v.As<Napi::TypedArrayOf<T>>();
  *length = static_cast<int64_t>(a.ElementLength());
  return a.Data();
}

}  // namespace

Napi::Function ExecutorWrap::define(Napi::Env env) {
  return DefineClass(
      env, "Executor",
      {InstanceMethod("load", &ExecutorWrap::load), InstanceMethod("step", &ExecutorWrap::step),
       InstanceMethod("embed", &ExecutorWrap::embed), InstanceMethod("close", &ExecutorWrap::close),
       InstanceMethod("probe", &ExecutorWrap::probe)});
}

ExecutorWrap::ExecutorWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<ExecutorWrap>(info),
      jobs_(info.Env(), "octavo",
            {[this] { join(); }, [this] { somebody_waits(); }, [this] { nobody_waits(); }}) {
  const Failure failure = guarded([&] { executor_ = std::make_unique<Executor>(); });
  if (failure.failed()) throw to_js(info.Env(), failure);
}

// What is queued runs yet, and asks for the executor: so it goes only behind its thread.
void ExecutorWrap::join() {
  if (executor_) executor_->stop();
  executor_.reset();
}

// The object stays while somebody does.
void ExecutorWrap::somebody_waits() { Ref(); }
void ExecutorWrap::nobody_waits() {
  Unref();
  if (state_ == State::kClosed) jobs_.stop();  // the thread is idle: joined at once
}

Napi::Value ExecutorWrap::launch(Napi::Env env, std::function<void()> work,
                                 std::function<Napi::Value(Napi::Env)> done) {
  Job* const job = jobs_.begin(env, std::move(work), std::move(done)).release();
  const Napi::Value promise = job->deferred.Promise();
  executor_->submit([this, job] { jobs_.run(std::unique_ptr<Job>(job)); });
  return promise;
}

Napi::Value ExecutorWrap::load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto request = std::make_shared<LoadRequest>();
  const Failure failure = guarded([&] {
    if (state_ != State::kEmpty) throw Error(kErrBusy, "this executor was loaded already");
    if (!info[0].IsObject()) bad_option("load()", "called with an object");
    *request = read_load_request(info[0].As<Napi::Object>());
    rows_.resize(static_cast<size_t>(request->limits.max_num_seqs));
  });
  if (failure.failed()) return Jobs::rejected(env, failure);
  state_ = State::kLoading;
  limits_ = request->limits;
  const ModelSpec& spec = request->spec;
  model_ = {spec.vocab_size, spec.num_token_types, spec.has_head};
  auto loaded = std::make_shared<LoadedInfo>();
  Executor* executor = executor_.get();
  return launch(
      env, [executor, request, loaded] { *loaded = executor->load(*request); },
      [this, loaded](Napi::Env e) -> Napi::Value {
        if (state_ == State::kLoading) state_ = e == nullptr ? State::kEmpty : State::kReady;
        if (e == nullptr) return Napi::Value();
        Napi::Object out = Napi::Object::New(e);
        out.Set("backend", loaded->backend);
        out.Set("isa", loaded->isa);
        limits_.num_blocks = loaded->num_blocks;
        out.Set("numBlocks", loaded->num_blocks);
        out.Set("blockBytes", static_cast<double>(loaded->block_bytes));
        out.Set("stateBytes", static_cast<double>(loaded->state_bytes));
        out.Set("recordBytes", static_cast<double>(loaded->record_bytes));
        out.Set("weightBytes", static_cast<double>(loaded->weight_bytes));
        out.Set("weights", kinds_to_js(e, loaded->weight_kinds));
        out.Set("numThreads", loaded->num_threads);
        return out;
      });
}

Napi::Value ExecutorWrap::probe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (state_ != State::kEmpty) {
    return Jobs::rejected(env, {kErrBusy, "ask an executor for the devices before it is loaded"});
  }
  auto found = std::make_shared<DeviceProbe>();
  return launch(
      env, [found] { *found = probe_devices(); },
      [found](Napi::Env e) -> Napi::Value {
        return e == nullptr ? Napi::Value() : probe_to_js(e, *found);
      });
}

void ExecutorWrap::check_ready() const {
  if (state_ == State::kClosing || state_ == State::kClosed) {
    throw Error(kErrClosed, "the executor is closed");
  }
  if (state_ != State::kReady) throw Error(kErrBusy, "the executor has no model loaded");
  if (stepping_) throw Error(kErrBusy, "a step is running; wait for its promise");
}

Napi::Value ExecutorWrap::embed(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Failure failure = guarded([&] {
    check_ready();
    if (!limits_.pools()) {
      throw Error(kErrInvalidStep, "the model is loaded to generate; load it without KV groups");
    }
    int64_t num_words = 0;
    const int32_t* const words = typed_data<int32_t>(info[0], napi_int32_array, &num_words);
    parse_pooled(words, num_words, limits_, model_, &texts_);
  });
  if (failure.failed()) return Jobs::rejected(env, failure);
  stepping_ = true;
  return launch(
      env, [this] { executor_->embed(texts_, vectors_); },
      [this](Napi::Env e) -> Napi::Value {
        stepping_ = false;
        if (e == nullptr) return Napi::Value();
        Napi::Object out = Napi::Object::New(e);
        const std::vector<float>& values = vectors_.values;
        out.Set("values", typed<Napi::Float32Array>(e, values.data(), values.size()));
        out.Set("computeMs", vectors_.compute_ms);
        return out;
      });
}

Napi::Value ExecutorWrap::step(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Failure failure = guarded([&] {
    check_ready();
    if (limits_.pools()) {
      throw Error(kErrInvalidStep, "the model is loaded to pool; load it with KV groups");
    }
    StepBuffers b;
    b.words = typed_data<int32_t>(info[0], napi_int32_array, &b.num_words);
    b.tables = typed_data<int32_t>(info[1], napi_int32_array, &b.num_table_words);
    b.samplers = typed_data<double>(info[2], napi_float64_array, &b.num_sampler_doubles);
    if (!info[3].IsUndefined()) {
      b.masks = typed_data<int32_t>(info[3], napi_int32_array, &b.num_mask_words);
    }
    if (!info[5].IsUndefined()) b.matchers = read_mask_sources(info[5], model_.vocab_size);
    parse_step(b, limits_, model_.vocab_size, &rows_, &input_);
#ifdef OCTAVO_TESTING
    input_.capture_logits = info[4].IsBoolean() && info[4].As<Napi::Boolean>().Value();
#endif
  });
  if (failure.failed()) {
    input_.mask_tasks.clear();
    return Jobs::rejected(env, failure);
  }
  stepping_ = true;
  return launch(
      env, [this] { executor_->step(input_, output_); },
      [this](Napi::Env e) -> Napi::Value {
        stepping_ = false;
        if (e == nullptr) return Napi::Value();
        return result_to_js(e, input_, output_);
      });
}

Napi::Value ExecutorWrap::close(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (state_ == State::kClosing && !closing_.IsEmpty()) return closing_.Value();
  if (state_ == State::kClosed) {
    auto deferred = Napi::Promise::Deferred::New(env);
    deferred.Resolve(env.Undefined());
    return deferred.Promise();
  }
  state_ = State::kClosing;
  Executor* executor = executor_.get();
  const Napi::Value promise = launch(
      env, [executor] { executor->unload(); },
      [this](Napi::Env e) -> Napi::Value {
        state_ = State::kClosed;
        closing_.Reset();
        if (e == nullptr) return Napi::Value();
        return e.Undefined();
      });
  closing_ = Napi::Persistent(promise);
  return promise;
}

}  // namespace octavo
