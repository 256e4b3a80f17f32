// Reading JS values with checks; a wrong type or a number out of range throws octavo::Error with
// the name of the field, never reads past anything.
#pragma once

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace octavo {

[[noreturn]] inline void bad_option(const std::string& name, const std::string& want) {
  throw Error(kErrInvalidOption, "native: " + name + " must be " + want);
}

inline Napi::Value get(const Napi::Object& object, const char* name) { return object.Get(name); }

inline double get_number(const Napi::Object& object, const char* name, double low, double high) {
  const Napi::Value v = get(object, name);
  const double d = v.IsNumber() ? v.As<Napi::Number>().DoubleValue() : NAN;
  if (!(d >= low && d <= high)) {
    bad_option(name, "a number from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return d;
}

inline int64_t get_int(const Napi::Object& object, const char* name, int64_t low, int64_t high) {
  const double d = get_number(object, name, static_cast<double>(low), static_cast<double>(high));
  if (d != std::floor(d)) bad_option(name, "a whole number");
  return static_cast<int64_t>(d);
}

constexpr int64_t kMaxSize = 1 << 24;  // of any one dimension of a model

inline int32_t get_size(const Napi::Object& object, const char* name, int64_t low = 1,
                        int64_t high = kMaxSize) {
  return static_cast<int32_t>(get_int(object, name, low, high));
}

inline bool get_bool(const Napi::Object& object, const char* name) {
  const Napi::Value v = get(object, name);
  if (!v.IsBoolean()) bad_option(name, "a boolean");
  return v.As<Napi::Boolean>().Value();
}

inline std::string get_string(const Napi::Object& object, const char* name) {
  const Napi::Value v = get(object, name);
  if (!v.IsString()) bad_option(name, "a string");
  return v.As<Napi::String>().Utf8Value();
}

inline Napi::Object get_object(const Napi::Object& object, const char* name) {
  const Napi::Value v = get(object, name);
  if (!v.IsObject()) bad_option(name, "an object");
  return v.As<Napi::Object>();
}

inline Napi::Array get_array(const Napi::Object& object, const char* name) {
  const Napi::Value v = get(object, name);
  if (!v.IsArray()) bad_option(name, "an array");
  return v.As<Napi::Array>();
}

inline Napi::Object get_element(const Napi::Array& array, uint32_t i, const char* name) {
  const Napi::Value v = array.Get(i);
  if (!v.IsObject()) bad_option(name, "an array of objects");
  return v.As<Napi::Object>();
}

inline std::vector<int32_t> get_sizes(const Napi::Object& object, const char* name, int64_t low,
                                      int64_t high) {
  const Napi::Array array = get_array(object, name);
  std::vector<int32_t> out;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value v = array.Get(i);
    const double d = v.IsNumber() ? v.As<Napi::Number>().DoubleValue() : NAN;
    if (!(d >= static_cast<double>(low) && d <= static_cast<double>(high) && d == std::floor(d))) {
      bad_option(name, "an array of whole numbers in range");
    }
    out.push_back(static_cast<int32_t>(d));
  }
  return out;
}

template <typename T>
std::vector<T> copy_typed_array(const Napi::Value& v, napi_typedarray_type type,
                                const std::string& name) {
  if (!v.IsTypedArray() || v.As<Napi::TypedArray>().TypedArrayType() != type) {
    bad_option(name, "a typed array of the right kind");
  }
  const auto a = v.As<Napi::TypedArrayOf<T>>();
  return std::vector<T>(a.Data(), a.Data() + a.ElementLength());
}

}  // namespace octavo
