// What the addon exports: the Executor class, and the tables that lib/native.ts verifies.
#include <napi.h>

#include "base/dtype.h"
#include "cpu/cpu_backend.h"
#include "kernels/device.h"
#include "napi/error.h"
#include "napi/executor_wrap.h"
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

// () → {kind: 'cuda' | 'simt' | 'none', devices: [{name, major, minor, memory}], reason: string}
Napi::Value cuda_probe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const DeviceProbe probe = probe_devices();
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

#ifdef OCTAVO_SIMT
// For tests: {order: 0 | 1 | 2, seed, asyncCopyLate, threads, memoryBytes, failAtLaunch} set what
// is given; returns what the emulator has counted.
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
  c.threads = static_cast<int>(number("threads", c.threads));
  d.memory_bytes = static_cast<size_t>(number("memoryBytes", static_cast<double>(d.memory_bytes)));
  if (o.Has("failAtLaunch")) {
    const double after = number("failAtLaunch", -1);
    d.sticky = cudaSuccess;
    d.fail_at_launch = after < 0 ? -1 : d.launches + static_cast<int64_t>(after);
  }
  Napi::Object out = Napi::Object::New(env);
  out.Set("launches", static_cast<double>(d.launches));
  out.Set("usedBytes", static_cast<double>(d.used_bytes));
  out.Set("graphLaunches", static_cast<double>(d.graph_launches));
  return out;
}
#endif

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("Executor", ExecutorWrap::define(env));
  exports.Set("stepLayout", step_layout(env));
  exports.Set("dtypes", dtypes(env));
  exports.Set("errorCodes", error_codes(env));
  exports.Set("isas", [&] {
    Napi::Array out = Napi::Array::New(env);
    uint32_t i = 0;
    for (const char* const* isa = CpuBackend::available_isas(); *isa; ++isa) {
      out.Set(i++, Napi::String::New(env, *isa));
    }
    return out;
  }());
  exports.Set("cudaProbe", Napi::Function::New(env, cuda_probe));
#ifdef OCTAVO_SIMT
  exports.Set("simtDevice", Napi::Function::New(env, simt_device));
#endif
  return exports;
}

}  // namespace

NODE_API_MODULE(octavo, init)

}  // namespace octavo
