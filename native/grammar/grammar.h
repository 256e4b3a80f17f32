// A compiled grammar and the matchers of the texts that it constrains. Everything but Vocabulary
// may be used from any thread: a grammar has one lock for what is found out about it, which may be
// held as long as one mask takes.
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
struct Place;

// Whether a call may take as long as it needs, or must be over within a few milliseconds: then it
// neither waits long for the grammar's lock nor works long with it, and has no answer instead.
enum class Effort { kBrief, kFull };

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
  // As the last call left them; none of these waits for a lock.
  int64_t memory() const { return memory_; }          // bytes, without the vocabulary's
  int64_t num_states() const { return num_states_; }  // lexer states and configurations kept
  int64_t generation() const { return generation_; }  // how often the caches have been dropped

 private:
  friend class Matcher;
  Grammar(std::shared_ptr<const Vocabulary> vocabulary, const int32_t* words, size_t num_words,
          const Limits& limits, const std::atomic<bool>* cancelled);
  bool lock(std::unique_lock<std::mutex>& lock, Effort effort) const;  // false: it takes too long
  // With the lock:
  void allow(Effort effort);
  // A new space: with what this place needs and, unless it is alone, what others do, as far as half
  // of the room goes.
  void compact(Place* place, bool alone);
  void note_sizes();
  int64_t max_size() const;  // of all that one mask or one token may look at

  mutable std::mutex mutex_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  Budget base_;  // the program's own bytes
  Program program_;
  std::unique_ptr<ByteClasses> classes_;
  std::unique_ptr<Space> space_;
  std::unique_ptr<Rules> rules_;
  std::unique_ptr<Masks> masks_;
  std::atomic<int64_t> generation_{0}, memory_{0}, num_states_{0};
  bool spoiled_ = false;  // something was broken off midway: the space may not be used again
  // Never held for long, and taken behind the other one if both are.
  mutable std::mutex list_mutex_;
  Matcher* matchers_ = nullptr;  // a list of all that live
};

}  // namespace octavo::grammar
