// Native exceptions become JS errors {code, message}; lib/native.ts gives them their class.
#pragma once

#include <napi.h>

#include <new>
#include <string>

#include "base/error.h"

namespace octavo {

struct Failure {
  std::string code, message;
  bool failed() const { return !code.empty(); }
};

// Runs fn and keeps what it throws; never lets an exception cross into C.
template <typename Fn>
Failure guarded(Fn&& fn) {
  try {
    fn();
    return {};
  } catch (const Error& e) {
    return {e.code(), e.what()};
  } catch (const std::bad_alloc&) {
    return {kErrOutOfMemory, "memory ran out in the native engine; lower the engine's sizes"};
  } catch (const Napi::Error&) {
    throw;  // JS's own; it can only come from a call made on the JS thread
  } catch (const std::exception& e) {
    return {kErrInternal, std::string("native: ") + e.what()};
  }
}

inline Napi::Error to_js(Napi::Env env, const Failure& failure) {
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Set("code", Napi::String::New(env, failure.code));
  return error;
}

}  // namespace octavo
