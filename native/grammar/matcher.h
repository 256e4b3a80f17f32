// How far one text has come in a grammar. A fork shares all with its origin and costs as much as a
// pointer; a rollback goes back to a place that is still there.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "grammar/grammar.h"

namespace octavo::grammar {

// Behind a token: a list back to the beginning, shared by all that have come this way.
struct Place {
  Place() = default;
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  std::shared_ptr<Place> before;
  int32_t token = -1;
  int32_t length = 0;
  // Under the grammar's lock, found out when somebody asks: of another generation of its space (or
  // of none yet) it says nothing.
  ConfigId config = kDead;
  int64_t generation = -1;
  std::atomic<bool> ended{false};
  std::string failure;  // under the lock of the grammar's list
};

std::string over_limits(const Limits& limits);
std::string over_work(const char* to_do);

// One thread at a time may use a matcher; its forks are others.
class Matcher {
 public:
  Matcher(std::shared_ptr<Grammar> grammar, std::shared_ptr<Place> place);
  ~Matcher();
  Matcher(const Matcher&) = delete;
  Matcher& operator=(const Matcher&) = delete;

  // False: not allowed here, and nothing has changed. An end token where the text is complete ends
  // it; nothing is allowed behind it.
  bool advance(int32_t token);
  std::shared_ptr<Matcher> fork();
  bool rollback(int32_t num_tokens);                 // false: there are not so many
  int32_t length() const { return place_->length; }  // tokens taken, an end token with them
  bool ended();
  bool complete();                                          // an end token may come, or has come
  size_t accepts_bytes(const uint8_t* bytes, size_t size);  // how many can be taken
  // mask_words() words, bit id % 32 of word id / 32: all that advance() would take.
  void fill_mask(uint32_t* words);
  // What every text must go on with; empty where it may end, or a token of its own may come.
  std::vector<uint8_t> forced_bytes();
  // Why nothing is allowed here any more: a limit was exceeded. Empty: none was.
  std::string failure();

  // The same for a thread that nothing may hold up: nullopt, where they would take longer than a
  // few milliseconds. Once another thread has been through settle() of a fork, they do not.
  std::optional<bool> try_complete();
  bool try_fill_mask(uint32_t* words);  // false for nullopt
  std::optional<std::vector<uint8_t>> try_forced_bytes();
  // A token that would take longer is taken on trust: if it is not allowed, nothing is behind it.
  bool try_advance(int32_t token);
  void settle();

  const std::shared_ptr<Grammar>& grammar() const { return grammar_; }

 private:
  friend class Grammar;
  // Runs fn(machine) with the lock, where the place is found out; again, with emptied caches, if
  // these became full. False: a limit was exceeded, or it would take more than a brief effort.
  template <class Fn>
  bool attempt(Effort effort, const Fn& fn);
  void find_out(Effort effort);
  void follow(const Place& from, Place& to) const;
  bool take(int32_t token, Effort effort);
  void go(std::shared_ptr<Place> place);
  void fail(const std::string& why);
  ConfigId after_token(Machine& machine, ConfigId config, int32_t token) const;
  ConfigId after_bytes(Machine& machine, ConfigId config, Span<uint8_t> bytes, size_t* taken) const;
  bool fill(Effort effort, uint32_t* words);
  std::optional<std::vector<uint8_t>> forced_bytes(Effort effort);

  const std::shared_ptr<Grammar> grammar_;
  std::shared_ptr<Place> place_;               // written under the lock of the grammar's list
  Matcher *last_ = nullptr, *next_ = nullptr;  // in that list
};

}  // namespace octavo::grammar
