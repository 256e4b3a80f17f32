// A tokenizer's tokens as tries: what a prefix rules out is skipped with all that begin with it.
// Tokens of plain characters (byte_classes.h) are in groups, and there in slices by their number of
// characters, each with its mask: where a grammar takes any so many, the mask is enough.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "grammar/tables.h"

namespace octavo::grammar {

struct TrieNode {
  uint32_t end;    // behind the last node below
  int32_t token;   // −1 = none ends here
  uint16_t depth;  // of the byte: 0 of a token's first
  uint8_t byte;
};

// In preorder.
struct Trie {
  std::vector<TrieNode> nodes;
};

struct Slice {
  uint32_t min_chars = 1, max_chars = 0;  // 0: of no token
  uint32_t num_tokens = 0;
  Trie trie;
  std::vector<uint32_t> mask;  // of this slice and those before it
};

constexpr size_t kNumSlices = 15;

// Plain tokens of letters alone; of letters behind one space; all others.
enum GroupId { kWords, kSpacedWords, kOtherPlain, kNumGroups };

struct Group {
  uint32_t num_tokens = 0;
  Trie all;
  Slice slices[kNumSlices];  // by ascending numbers of characters, the same in each group
};

class Vocabulary {
 public:
  // Token i is bytes[offsets[i] … offsets[i + 1]); one of no bytes is in no trie. Throws
  // ERR_INVALID_OPTION.
  Vocabulary(std::vector<uint8_t> bytes, std::vector<int32_t> offsets,
             std::vector<int32_t> end_tokens);

  int32_t num_tokens() const { return num_tokens_; }
  size_t mask_words() const { return (static_cast<size_t>(num_tokens_) + 31) / 32; }
  int64_t memory() const;
  Span<uint8_t> token(int32_t id) const;
  const std::vector<int32_t>& end_tokens() const { return end_tokens_; }
  bool is_end(int32_t id) const;

  const Trie& rest() const { return rest_; }  // what is in no group
  const Group& group(GroupId id) const { return groups_[id]; }
  // The slices of all groups at once; without tries.
  const Slice& plain_slice(size_t i) const { return plain_slices_[i]; }
  uint32_t max_depth() const { return max_depth_; }
  // Sets the bits of tokens whose bytes another one has too, whose bit is set.
  void add_twins(uint32_t* words) const;

 private:
  void sort_tokens();
  void find_groups();
  // How many characters; −1: not plain.
  int plain_chars(int32_t id, GroupId* group) const;
  void build(Trie& trie, const std::vector<int32_t>& ids) const;

  int32_t num_tokens_ = 0;
  uint32_t max_depth_ = 0;
  std::vector<uint8_t> bytes_;
  std::vector<int32_t> offsets_, end_tokens_;
  std::vector<int32_t> sorted_;  // by bytes, each once
  std::vector<std::pair<int32_t, int32_t>> twins_;
  Trie rest_;
  Group groups_[kNumGroups];
  Slice plain_slices_[kNumSlices];
};

}  // namespace octavo::grammar
