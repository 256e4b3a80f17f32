// A compiled grammar and the matchers of the texts that it constrains. Everything but Vocabulary
// may be used from any thread: a grammar has one lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "grammar/byte_classes.h"
#include "grammar/machine.h"
#include "grammar/masks.h"
#include "grammar/program.h"
#include "grammar/rules.h"
#include "grammar/vocabulary.h"

namespace octavo::grammar {

class Matcher;

class Grammar : public std::enable_shared_from_this<Grammar> {
 public:
  // Throws ERR_GRAMMAR: a malformed program, one that matches nothing, a limit. Where *cancelled
  // becomes true it gives up.
  static std::shared_ptr<Grammar> compile(std::shared_ptr<const Vocabulary> vocabulary,
                                          const int32_t* words, size_t num_words,
                                          const Limits& limits,
                                          const std::atomic<bool>* cancelled = nullptr);
  ~Grammar();
  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;

  std::shared_ptr<Matcher> start();
  const Vocabulary& vocabulary() const { return *vocabulary_; }
  int64_t memory() const;      // bytes, without the vocabulary's
  int64_t num_states() const;  // lexer states and configurations kept
  int64_t generation() const;  // how often the caches have been dropped

 private:
  friend class Matcher;
  Grammar(std::shared_ptr<const Vocabulary> vocabulary, const int32_t* words, size_t num_words,
          const Limits& limits, const std::atomic<bool>* cancelled);
  // With the lock: a space in which work may go on.
  Machine& ready();
  void compact();

  mutable std::mutex mutex_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  Budget base_;  // the program's own bytes
  Program program_;
  std::unique_ptr<ByteClasses> classes_;
  std::unique_ptr<Space> space_;
  std::unique_ptr<Rules> rules_;
  std::unique_ptr<Masks> masks_;
  int64_t generation_ = 0;
  bool spoiled_ = false;         // something was broken off midway: the space may not be used again
  Matcher* matchers_ = nullptr;  // a list of all that live
};

}  // namespace octavo::grammar
