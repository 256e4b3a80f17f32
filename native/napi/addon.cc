// What the addon exports: the Executor class, those of grammars, and the tables that lib/native.ts
// verifies.
#include <napi.h>

#include <algorithm>

#include "backends.h"
#include "base/dtype.h"
#include "model/weights.h"
#include "napi/error.h"
#include "napi/executor_wrap.h"
#include "napi/grammar_wrap.h"
#include "napi/load_request.h"
#include "napi/pooled_layout.h"
#include "napi/step_layout.h"
#ifdef OCTAVO_SIMT
#include "simt/runtime_api.h"
#endif

namespace octavo {
namespace {

Napi::Object step_layout(Napi::Env env) {
  Napi::Object out = Napi::Object::New(env);
#define X(name, value) out.Set(#name, Napi::Number::New(env, layout::name));
  OCTAVO_STEP_LAYOUT(X)
#undef X
  return out;
}

Napi::Object pooled_texts_layout(Napi::Env env) {
  Napi::Object out = Napi::Object::New(env);
#define X(name, value) out.Set(#name, Napi::Number::New(env, pooled_layout::name));
  OCTAVO_POOLED_LAYOUT(X)
#undef X
  return out;
}

Napi::Object dtypes(Napi::Env env) {
  Napi::Object out = Napi::Object::New(env);
  for (int i = 0; i < kNumDTypes; ++i) out.Set(dtype_name(static_cast<DType>(i)), i);
  return out;
}

Napi::Array error_codes(Napi::Env env) {
  Napi::Array out = Napi::Array::New(env);
  uint32_t i = 0;
  for (const char* code : kErrorCodes) out.Set(i++, Napi::String::New(env, code));
  return out;
}

#ifdef OCTAVO_SIMT
// For tests: {order: 0 | 1 | 2, seed, asyncCopyLate, streamsLate, threads, memoryBytes,
// failAtLaunch, failAtCall} set what is given; returns what the emulator has counted.
Napi::Value simt_device(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object o = info[0].As<Napi::Object>();
  const auto number = [&](const char* name, double otherwise) {
    return o.Has(name) ? o.Get(name).As<Napi::Number>().DoubleValue() : otherwise;
  };
  simt::Config& c = simt::config();
  simt::Device& d = simt::device();
  c.order = static_cast<simt::Order>(number("order", static_cast<double>(c.order)));
  c.seed = static_cast<uint64_t>(number("seed", static_cast<double>(c.seed)));
  c.async_copy_late = number("asyncCopyLate", c.async_copy_late) != 0;
  c.streams_late = number("streamsLate", c.streams_late) != 0;
  c.threads = static_cast<int>(number("threads", c.threads));
  d.memory_bytes = static_cast<size_t>(number("memoryBytes", static_cast<double>(d.memory_bytes)));
  if (o.Has("failAtLaunch")) {
    const double after = number("failAtLaunch", -1);
    d.sticky = cudaSuccess;
    d.fail_at_launch = after < 0 ? -1 : d.launches + static_cast<int64_t>(after);
  }
  if (o.Has("failAtCall")) {
    const double after = number("failAtCall", -1);
    d.fail_at_call = after < 0 ? -1 : d.calls + static_cast<int64_t>(after);
  }
  Napi::Object out = Napi::Object::New(env);
  out.Set("launches", static_cast<double>(d.launches));
  out.Set("usedBytes", static_cast<double>(d.used_bytes));
  out.Set("graphLaunches", static_cast<double>(d.graph_launches));
  out.Set("graphs", static_cast<double>(d.graphs));
  out.Set("pinnedBytes", static_cast<double>(d.pinned_bytes));
  out.Set("calls", static_cast<double>(d.calls));
  return out;
}
#endif

#ifdef OCTAVO_TESTING
// For tests: (files, tensor) → a Float32Array of every value of the matrix.
Napi::Value stored_matrix(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::vector<float> values;
  const Failure failure = guarded([&] {
    std::vector<std::string> files;
    const Napi::Array list = info[0].As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); ++i) files.push_back(list.Get(i).ToString());
    values = stored_values(files, read_tensor(info[1].As<Napi::Object>()));
  });
  if (failure.failed()) throw Napi::Error::New(env, failure.message);
  Napi::Float32Array out = Napi::Float32Array::New(env, values.size());
  std::copy(values.begin(), values.end(), out.Data());
  return out;
}
#endif

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("Executor", ExecutorWrap::define(env));
  define_grammar(env, exports);
  exports.Set("stepLayout", step_layout(env));
  exports.Set("pooledLayout", pooled_texts_layout(env));
  exports.Set("dtypes", dtypes(env));
  exports.Set("errorCodes", error_codes(env));
  exports.Set("isas", [&] {
    Napi::Array out = Napi::Array::New(env);
    uint32_t i = 0;
    for (const char* const* isa = cpu_isas(); *isa; ++isa) {
      out.Set(i++, Napi::String::New(env, *isa));
    }
    return out;
  }());
#ifdef OCTAVO_TESTING
  exports.Set("storedMatrix", Napi::Function::New(env, stored_matrix));
#endif
#ifdef OCTAVO_SIMT
  exports.Set("simtDevice", Napi::Function::New(env, simt_device));
#endif
  return exports;
}

}  // namespace

NODE_API_MODULE(octavo, init)

}  // namespace octavo
