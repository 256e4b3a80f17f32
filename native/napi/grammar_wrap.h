// The JS objects around a vocabulary, a compiled grammar and a matcher.
#pragma once

#include <napi.h>

#include <memory>

#include "grammar/grammar.h"
#include "grammar/matcher.h"
#include "grammar/vocabulary.h"
#include "napi/background.h"

namespace octavo {

// Tells the garbage collector what an object holds outside its heap.
class ExternalBytes {
 public:
  explicit ExternalBytes(Napi::Env env) : env_(env) {}
  ~ExternalBytes() { set(0); }
  ExternalBytes(const ExternalBytes&) = delete;
  ExternalBytes& operator=(const ExternalBytes&) = delete;
  void set(int64_t bytes) {
    if (bytes != told_) Napi::MemoryManagement::AdjustExternalMemory(env_, bytes - told_);
    told_ = bytes;
  }

 private:
  Napi::Env env_;
  int64_t told_ = 0;
};

class VocabularyWrap : public Napi::ObjectWrap<VocabularyWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit VocabularyWrap(const Napi::CallbackInfo& info);
  const std::shared_ptr<const grammar::Vocabulary>& vocabulary() const;  // throws ERR_CLOSED
  // What close() sets: work on it that is still under way ends.
  const Cancel& closed() const { return closed_; }

 private:
  // (bytes, offsets, endTokenIds) → Promise<Vocabulary>
  static Napi::Value build(const Napi::CallbackInfo& info);
  Napi::Value num_tokens(const Napi::CallbackInfo& info);
  Napi::Value bytes(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  std::shared_ptr<const grammar::Vocabulary> vocabulary_;
  const Cancel closed_ = std::make_shared<std::atomic<bool>>(false);
  ExternalBytes external_;
};

class GrammarWrap : public Napi::ObjectWrap<GrammarWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit GrammarWrap(const Napi::CallbackInfo& info);

 private:
  // (vocabulary, program, {maxStates, maxBytes, maxMs}) → Promise<Grammar>; ERR_CLOSED where the
  // vocabulary is closed meanwhile
  static Napi::Value compile(const Napi::CallbackInfo& info);
  Napi::Value start(const Napi::CallbackInfo& info);  // () → Matcher
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value num_states(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);
  grammar::Grammar& grammar() const;  // throws ERR_CLOSED

  std::shared_ptr<grammar::Grammar> grammar_;
  ExternalBytes external_;
};

// No call of it holds up the JS thread: see lib/native-grammar.ts.
class MatcherWrap : public Napi::ObjectWrap<MatcherWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit MatcherWrap(const Napi::CallbackInfo& info);
  // What a JS value wraps; it may be used from any thread. Throws ERR_INVALID_OPTION.
  static std::shared_ptr<grammar::Matcher> of(const Napi::Value& value);

 private:
  Napi::Value advance(const Napi::CallbackInfo& info);   // (id) → boolean
  Napi::Value fork(const Napi::CallbackInfo& info);      // () → Matcher
  Napi::Value rollback(const Napi::CallbackInfo& info);  // (numTokens) → undefined
  Napi::Value length(const Napi::CallbackInfo& info);
  Napi::Value failure(const Napi::CallbackInfo& info);
  Napi::Value complete(const Napi::CallbackInfo& info);       // () → boolean or null
  Napi::Value accepts_bytes(const Napi::CallbackInfo& info);  // (bytes) → Promise<number>
  Napi::Value fill_mask(const Napi::CallbackInfo& info);      // (words, offset) → boolean
  Napi::Value forced_bytes(const Napi::CallbackInfo& info);   // () → Uint8Array or null
  Napi::Value settle(const Napi::CallbackInfo& info);         // () → Promise<undefined>
  void close(const Napi::CallbackInfo& info);
  grammar::Matcher& matcher() const;  // throws ERR_CLOSED

  std::shared_ptr<grammar::Matcher> matcher_;
  ExternalBytes external_;
};

// Exports the three classes; once for an environment.
void define_grammar(Napi::Env env, Napi::Object exports);

}  // namespace octavo
