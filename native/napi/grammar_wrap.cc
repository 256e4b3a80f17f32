#include "napi/grammar_wrap.h"

#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "napi/args.h"
#include "napi/error.h"

namespace octavo {

namespace {

// Of an environment: worker threads have their own.
struct GrammarData {
  explicit GrammarData(Napi::Env env) : compiling(env, 2), matching(env, 1) {}
  Napi::FunctionReference vocabulary, grammar, matcher;
  Background compiling, matching;  // what is generated does not wait for what is compiled
};

constexpr int64_t kMatcherBytes = 1'024;  // of a matcher and its last places

GrammarData& data_of(Napi::Env env) { return *env.GetInstanceData<GrammarData>(); }

template <class T>
Napi::Object wrap(Napi::Env env, const Napi::FunctionReference& constructor,
                  std::shared_ptr<T> value) {
  return constructor.New({Napi::External<std::shared_ptr<T>>::New(env, &value)});
}

template <class T>
std::shared_ptr<T> unwrap(const Napi::CallbackInfo& info, const char* made_by) {
  if (!info[0].IsExternal()) {
    throw to_js(info.Env(), {kErrInvalidOption, std::string("native: made by ") + made_by});
  }
  return *info[0].As<Napi::External<std::shared_ptr<T>>>().Data();
}

// Runs fn; what it throws becomes a JS exception.
template <class Fn>
Napi::Value answer(const Napi::CallbackInfo& info, Fn&& fn) {
  Napi::Value out;
  const Failure failure = guarded([&] { out = fn(info.Env()); });
  if (failure.failed()) throw to_js(info.Env(), failure);
  return out;
}

Cancel new_cancel() { return std::make_shared<std::atomic<bool>>(false); }

template <class T>
T& open(const std::shared_ptr<T>& value, const char* what) {
  if (value == nullptr) throw Error(kErrClosed, std::string("this ") + what + " is closed");
  return *value;
}

template <class Wrap>
Wrap& wrapped(const Napi::Value& value, const Napi::FunctionReference& constructor,
              const char* what) {
  if (!value.IsObject() || !value.As<Napi::Object>().InstanceOf(constructor.Value())) {
    bad_option(what, std::string("a ") + what);
  }
  return *Wrap::Unwrap(value.As<Napi::Object>());
}

int64_t whole_number(const Napi::Value& v, const char* name, int64_t low, int64_t high) {
  const double d = v.IsNumber() ? v.As<Napi::Number>().DoubleValue() : NAN;
  if (!(d >= static_cast<double>(low) && d <= static_cast<double>(high) && d == std::floor(d))) {
    bad_option(name, "a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return static_cast<int64_t>(d);
}

}  // namespace

// --- Vocabulary ---

Napi::Function VocabularyWrap::define(Napi::Env env) {
  return DefineClass(env, "Vocabulary",
                     {StaticMethod("build", &VocabularyWrap::build),
                      InstanceAccessor<&VocabularyWrap::num_tokens>("numTokens"),
                      InstanceAccessor<&VocabularyWrap::bytes>("bytes"),
                      InstanceMethod("close", &VocabularyWrap::close)});
}

VocabularyWrap::VocabularyWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<VocabularyWrap>(info),
      vocabulary_(unwrap<const grammar::Vocabulary>(info, "Vocabulary.build()")),
      external_(info.Env()) {
  external_.set(vocabulary_->memory());
}

const std::shared_ptr<const grammar::Vocabulary>& VocabularyWrap::vocabulary() const {
  open(vocabulary_, "vocabulary");
  return vocabulary_;
}

Napi::Value VocabularyWrap::build(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  struct Input {
    std::vector<uint8_t> bytes;
    std::vector<int32_t> offsets, end_tokens;
    std::shared_ptr<const grammar::Vocabulary> built;
  };
  auto in = std::make_shared<Input>();
  const Failure failure = guarded([&] {
    in->bytes = copy_typed_array<uint8_t>(info[0], napi_uint8_array, "bytes");
    in->offsets = copy_typed_array<int32_t>(info[1], napi_int32_array, "offsets");
    in->end_tokens = copy_typed_array<int32_t>(info[2], napi_int32_array, "endTokenIds");
  });
  if (failure.failed()) return Jobs::rejected(env, failure);
  return data_of(env).compiling.run(
      env, new_cancel(),
      [in] {
        in->built = std::make_shared<const grammar::Vocabulary>(
            std::move(in->bytes), std::move(in->offsets), std::move(in->end_tokens));
      },
      [in](Napi::Env e) -> Napi::Value {
        if (e == nullptr) return Napi::Value();
        return wrap(e, data_of(e).vocabulary, std::move(in->built));
      });
}

Napi::Value VocabularyWrap::num_tokens(const Napi::CallbackInfo& info) {
  return answer(info, [&](Napi::Env env) {
    return Napi::Number::New(env, open(vocabulary_, "vocabulary").num_tokens());
  });
}

Napi::Value VocabularyWrap::bytes(const Napi::CallbackInfo& info) {
  return answer(info, [&](Napi::Env env) {
    return Napi::Number::New(env, static_cast<double>(open(vocabulary_, "vocabulary").memory()));
  });
}

void VocabularyWrap::close(const Napi::CallbackInfo&) {
  *closed_ = true;
  vocabulary_.reset();
  external_.set(0);
}

// --- Grammar ---

Napi::Function GrammarWrap::define(Napi::Env env) {
  return DefineClass(
      env, "Grammar",
      {StaticMethod("compile", &GrammarWrap::compile), InstanceMethod("start", &GrammarWrap::start),
       InstanceAccessor<&GrammarWrap::memory>("memory"),
       InstanceAccessor<&GrammarWrap::num_states>("numStates"),
       InstanceMethod("close", &GrammarWrap::close)});
}

GrammarWrap::GrammarWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<GrammarWrap>(info),
      grammar_(unwrap<grammar::Grammar>(info, "Grammar.compile()")),
      external_(info.Env()) {
  external_.set(grammar_->memory());
}

grammar::Grammar& GrammarWrap::grammar() const { return open(grammar_, "grammar"); }

Napi::Value GrammarWrap::compile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  struct Input {
    std::shared_ptr<const grammar::Vocabulary> vocabulary;
    std::vector<int32_t> words;
    grammar::Limits limits;
    std::shared_ptr<grammar::Grammar> compiled;
  };
  auto in = std::make_shared<Input>();
  Cancel cancel;
  const Failure failure = guarded([&] {
    const auto& on = wrapped<VocabularyWrap>(info[0], data_of(env).vocabulary, "vocabulary");
    in->vocabulary = on.vocabulary();
    cancel = on.closed();
    in->words = copy_typed_array<int32_t>(info[1], napi_int32_array, "program");
    if (!info[2].IsObject()) bad_option("limits", "an object");
    const auto limits = info[2].As<Napi::Object>();
    in->limits.max_states = get_int(limits, "maxStates", 1, int64_t{1} << 30);
    in->limits.max_bytes = get_int(limits, "maxBytes", 1, int64_t{1} << 40);
    in->limits.max_ms = get_int(limits, "maxMs", 1, 3'600'000);
  });
  if (failure.failed()) return Jobs::rejected(env, failure);
  return data_of(env).compiling.run(
      env, cancel,
      [in, cancel] {
        in->compiled = grammar::Grammar::compile(in->vocabulary, in->words.data(), in->words.size(),
                                                 in->limits, cancel.get());
        in->compiled->start()->settle();  // every text begins there
      },
      [in](Napi::Env e) -> Napi::Value {
        if (e == nullptr) return Napi::Value();
        return wrap(e, data_of(e).grammar, std::move(in->compiled));
      });
}

Napi::Value GrammarWrap::start(const Napi::CallbackInfo& info) {
  return answer(info, [&](Napi::Env env) {
    external_.set(grammar().memory());
    return wrap(env, data_of(env).matcher, grammar().start());
  });
}

Napi::Value GrammarWrap::memory(const Napi::CallbackInfo& info) {
  return answer(info, [&](Napi::Env env) {
    external_.set(grammar().memory());
    return Napi::Number::New(env, static_cast<double>(grammar().memory()));
  });
}

Napi::Value GrammarWrap::num_states(const Napi::CallbackInfo& info) {
  return answer(info, [&](Napi::Env env) {
    return Napi::Number::New(env, static_cast<double>(grammar().num_states()));
  });
}

void GrammarWrap::close(const Napi::CallbackInfo&) {
  grammar_.reset();
  external_.set(0);
}

// --- Matcher ---

Napi::Function MatcherWrap::define(Napi::Env env) {
  return DefineClass(
      env, "Matcher",
      {InstanceMethod("advance", &MatcherWrap::advance), InstanceMethod("fork", &MatcherWrap::fork),
       InstanceMethod("rollback", &MatcherWrap::rollback),
       InstanceAccessor<&MatcherWrap::length>("length"),
       InstanceAccessor<&MatcherWrap::failure>("failure"),
       InstanceMethod("complete", &MatcherWrap::complete),
       InstanceMethod("acceptsBytes", &MatcherWrap::accepts_bytes),
       InstanceMethod("fillMask", &MatcherWrap::fill_mask),
       InstanceMethod("forcedBytes", &MatcherWrap::forced_bytes),
       InstanceMethod("settle", &MatcherWrap::settle),
       InstanceMethod("close", &MatcherWrap::close)});
}

MatcherWrap::MatcherWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<MatcherWrap>(info),
      matcher_(unwrap<grammar::Matcher>(info, "Grammar.start() or Matcher.fork()")),
      external_(info.Env()) {
  external_.set(kMatcherBytes);
}

std::shared_ptr<grammar::Matcher> MatcherWrap::of(const Napi::Value& value) {
  const auto& wrap = wrapped<MatcherWrap>(value, data_of(value.Env()).matcher, "matcher");
  wrap.matcher();
  return wrap.matcher_;
}

grammar::Matcher& MatcherWrap::matcher() const { return open(matcher_, "matcher"); }

Napi::Value MatcherWrap::advance(const Napi::CallbackInfo& info) {
  return answer(info, [&](Napi::Env env) {
    const int64_t id = whole_number(info[0], "tokenId", 0, INT32_MAX);
    return Napi::Boolean::New(env, matcher().try_advance(static_cast<int32_t>(id)));
  });
}

Napi::Value MatcherWrap::fork(const Napi::CallbackInfo& info) {
  return answer(info,
                [&](Napi::Env env) { return wrap(env, data_of(env).matcher, matcher().fork()); });
}

Napi::Value MatcherWrap::rollback(const Napi::CallbackInfo& info) {
  return answer(info, [&](Napi::Env env) {
    const int64_t n = whole_number(info[0], "numTokens", 0, INT32_MAX);
    if (!matcher().rollback(static_cast<int32_t>(n))) {
      bad_option("numTokens", "at most as many as were taken");
    }
    return env.Undefined();
  });
}

Napi::Value MatcherWrap::length(const Napi::CallbackInfo& info) {
  return answer(info, [&](Napi::Env env) { return Napi::Number::New(env, matcher().length()); });
}

Napi::Value MatcherWrap::failure(const Napi::CallbackInfo& info) {
  return answer(info, [&](Napi::Env env) { return Napi::String::New(env, matcher().failure()); });
}

Napi::Value MatcherWrap::complete(const Napi::CallbackInfo& info) {
  return answer(info, [&](Napi::Env env) -> Napi::Value {
    const std::optional<bool> complete = matcher().try_complete();
    return complete ? Napi::Boolean::New(env, *complete) : env.Null();
  });
}

Napi::Value MatcherWrap::accepts_bytes(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  struct Input {
    std::shared_ptr<grammar::Matcher> matcher;
    std::vector<uint8_t> bytes;
    size_t taken = 0;
  };
  auto in = std::make_shared<Input>();
  const Failure failure = guarded([&] {
    in->matcher = matcher().fork();
    in->bytes = copy_typed_array<uint8_t>(info[0], napi_uint8_array, "bytes");
  });
  if (failure.failed()) return Jobs::rejected(env, failure);
  return data_of(env).matching.run(
      env, new_cancel(),
      [in] { in->taken = in->matcher->accepts_bytes(in->bytes.data(), in->bytes.size()); },
      [in](Napi::Env e) -> Napi::Value {
        if (e == nullptr) return Napi::Value();
        return Napi::Number::New(e, static_cast<double>(in->taken));
      });
}

Napi::Value MatcherWrap::fill_mask(const Napi::CallbackInfo& info) {
  return answer(info, [&](Napi::Env env) {
    if (!info[0].IsTypedArray() ||
        info[0].As<Napi::TypedArray>().TypedArrayType() != napi_int32_array) {
      bad_option("into", "an Int32Array");
    }
    auto into = info[0].As<Napi::Int32Array>();
    const auto length = static_cast<int64_t>(into.ElementLength());
    const auto words = static_cast<int64_t>(matcher().grammar()->vocabulary().mask_words());
    if (length < words) bad_option("into", "as long as a mask");
    const int64_t offset = whole_number(info[1], "offset", 0, length - words);
    auto* const to = reinterpret_cast<uint32_t*>(into.Data()) + offset;
    return Napi::Boolean::New(env, matcher().try_fill_mask(to));
  });
}

Napi::Value MatcherWrap::forced_bytes(const Napi::CallbackInfo& info) {
  return answer(info, [&](Napi::Env env) -> Napi::Value {
    const std::optional<std::vector<uint8_t>> bytes = matcher().try_forced_bytes();
    if (!bytes) return env.Null();
    Napi::Uint8Array out = Napi::Uint8Array::New(env, bytes->size());
    if (!bytes->empty()) std::memcpy(out.Data(), bytes->data(), bytes->size());
    return out;
  });
}

Napi::Value MatcherWrap::settle(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::shared_ptr<grammar::Matcher> fork;
  const Failure failure = guarded([&] { fork = matcher().fork(); });
  if (failure.failed()) return Jobs::rejected(env, failure);
  return data_of(env).matching.run(
      env, new_cancel(), [fork] { fork->settle(); },
      [](Napi::Env e) -> Napi::Value { return e == nullptr ? Napi::Value() : e.Undefined(); });
}

void MatcherWrap::close(const Napi::CallbackInfo&) {
  matcher_.reset();
  external_.set(0);
}

void define_grammar(Napi::Env env, Napi::Object exports) {
  auto* data = new GrammarData(env);
  env.SetInstanceData(data);
  const Napi::Function vocabulary = VocabularyWrap::define(env);
  const Napi::Function grammar = GrammarWrap::define(env);
  const Napi::Function matcher = MatcherWrap::define(env);
  data->vocabulary = Napi::Persistent(vocabulary);
  data->grammar = Napi::Persistent(grammar);
  data->matcher = Napi::Persistent(matcher);
  exports.Set("Vocabulary", vocabulary);
  exports.Set("Grammar", grammar);
  exports.Set("Matcher", matcher);
}

}  // namespace octavo
