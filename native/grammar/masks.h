// Which tokens may come next: a walk of the vocabulary's tries through the machine, but for what a
// slice's mask says at once.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "grammar/machine.h"
#include "grammar/vocabulary.h"

namespace octavo::grammar {

class Masks {
 public:
  Masks(const Vocabulary& vocabulary, const ByteClasses& classes, int64_t max_bytes);

  // Sets the bits of all tokens that may follow, and clears the others; no end tokens. Throws
  // OutOfWork where all that has to be looked at is more than max_size.
  void fill(Machine& machine, int64_t max_size, ConfigId config, uint32_t* words);
  void forget();  // another machine begins
  int64_t bytes() const;

 private:
  // Returns how many nodes it has seen.
  size_t walk(Machine& machine, const Trie& trie, ConfigId config, uint32_t* words);
  // Of a group's tokens, whose first `from` slices have been filled.
  size_t fill_group(Machine& machine, GroupId id, ConfigId config, size_t from, Room room,
                    uint32_t* words);
  size_t fill_bytes(Machine& machine, ConfigId config, uint32_t* words);

  void keep(ConfigId config, const uint32_t* words);

  struct Kept {
    ConfigId config;
    bool used;  // since the hand came by
    std::vector<uint32_t> words;
  };
  const Vocabulary& vocabulary_;
  const ByteClasses& classes_;
  size_t max_kept_;
  std::vector<Kept> kept_;                        // those that took long
  std::unordered_map<ConfigId, size_t> kept_at_;  // where each lies
  size_t hand_ = 0;                               // the next of them that may go
  std::vector<ConfigId> configs_;                 // of the walk, by depth
  std::vector<const uint32_t*> tables_;
};

}  // namespace octavo::grammar
