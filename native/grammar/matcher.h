// How far one text has come in a grammar. A fork shares all with its origin and costs as much as a
// pointer; a rollback goes back to a place that is still there.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "grammar/grammar.h"

namespace octavo::grammar {

// Behind a token: a list back to the beginning, shared by all that have come this way. Written
// under the grammar's lock.
struct Place {
  Place() = default;
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  std::shared_ptr<Place> before;
  int32_t token = -1;
  int32_t length = 0;
  ConfigId config = kDead;  // of this generation of the grammar's space only
  int64_t generation = -1;
  bool ended = false;
};

std::string over_limits(const Limits& limits);

class Matcher {
 public:
  Matcher(std::shared_ptr<Grammar> grammar, std::shared_ptr<Place> place, std::string failure);
  ~Matcher();
  Matcher(const Matcher&) = delete;
  Matcher& operator=(const Matcher&) = delete;

  // False: not allowed here, and nothing has changed. An end token where the text is complete ends
  // it; nothing is allowed behind it.
  bool advance(int32_t token);
  std::shared_ptr<Matcher> fork();
  bool rollback(int32_t num_tokens);  // false: there are not so many
  int32_t length();                   // tokens taken, an end token with them
  bool ended();
  bool complete();                                          // an end token may come, or has come
  size_t accepts_bytes(const uint8_t* bytes, size_t size);  // how many can be taken
  // mask_words() words, bit id % 32 of word id / 32: all that advance() would take.
  void fill_mask(uint32_t* words);
  // What every text must go on with; empty where it may end, or a token of its own may come.
  std::vector<uint8_t> forced_bytes();
  // The one token that must come, as a whole; else empty.
  std::vector<int32_t> forced_tokens();
  // Why nothing is allowed any more: a limit was exceeded. Empty: none was.
  std::string failure();

  const std::shared_ptr<Grammar>& grammar() const { return grammar_; }

 private:
  friend class Grammar;
  // Runs fn(machine) with the lock; again, with emptied caches, if these became full. False: this
  // matcher has failed.
  template <class Fn>
  bool attempt(const Fn& fn);
  ConfigId after_token(Machine& machine, ConfigId config, int32_t token) const;
  ConfigId after_bytes(Machine& machine, ConfigId config, Span<uint8_t> bytes, size_t* taken) const;
  void fill(Machine& machine, uint32_t* words);
  void replay(Machine& machine, Place& place);

  std::shared_ptr<Grammar> grammar_;
  std::shared_ptr<Place> place_;
  std::string failure_;
  Matcher *last_ = nullptr, *next_ = nullptr;  // in the grammar's list
};

}  // namespace octavo::grammar
