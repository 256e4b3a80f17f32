// Bytes that no regex of a grammar tells apart are one class: tables have a column for each class.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "grammar/program.h"

namespace octavo::grammar {

// A set of classes, or of bytes.
struct ClassSet {
  std::array<uint64_t, 4> words{};

  bool has(uint32_t c) const { return words[c / 64] >> (c % 64) & 1; }
  void add(uint32_t c) { words[c / 64] |= uint64_t{1} << (c % 64); }
  bool any() const { return (words[0] | words[1] | words[2] | words[3]) != 0; }
  bool meets(const ClassSet& o) const { return (*this & o).any(); }
  bool contains(const ClassSet& o) const { return (*this & o) == o; }
  ClassSet operator&(const ClassSet& o) const {
    ClassSet out;
    for (size_t i = 0; i < 4; ++i) out.words[i] = words[i] & o.words[i];
    return out;
  }
  ClassSet operator|(const ClassSet& o) const {
    ClassSet out;
    for (size_t i = 0; i < 4; ++i) out.words[i] = words[i] | o.words[i];
    return out;
  }
  ClassSet without(const ClassSet& o) const {
    ClassSet out;
    for (size_t i = 0; i < 4; ++i) out.words[i] = words[i] & ~o.words[i];
    return out;
  }
  bool operator==(const ClassSet& o) const { return words == o.words; }

  // fn(c) for each, ascending.
  template <class Fn>
  void each(Fn&& fn) const {
    for (uint32_t i = 0; i < 4; ++i) {
      for (uint64_t w = words[i]; w != 0; w &= w - 1) {
        fn(i * 64 + static_cast<uint32_t>(__builtin_ctzll(w)));
      }
    }
  }
};

// Kinds of characters of which most tokens are made. Plain ones stand in a JSON string as they are
// (but for U+007F) and are what a regex's dot takes (so U+2028 and U+2029, ends of lines, are not
// among them); letters are those of ASCII.
enum CharKind { kPlain, kLetters, kNumKinds };
// States of a decoder of UTF-8: 0 is between characters.
constexpr int kNumUtf8States = 10;

struct ByteClasses {
  ByteClasses(const Program& program, Budget& budget);

  uint32_t count = 1;
  std::array<uint8_t, 256> of{};              // a byte's class
  std::vector<std::vector<uint8_t>> members;  // a class's bytes
  ClassSet all;

  // From a state of the decoder, the classes with a byte that goes on, and whereto.
  struct Edge {
    uint32_t cls;
    int next;
  };
  struct Chars {
    std::vector<Edge> edges[kNumUtf8States];
    ClassSet first;  // classes with a byte that begins one
  };
  Chars chars[kNumKinds];

  ClassSet classes_of(const int32_t* byte_words) const;

 private:
  void find_edges(CharKind kind);
};

// The decoder's next state behind a byte of a character of a kind; −1 = not one.
int char_step(CharKind kind, int state, uint32_t byte);

}  // namespace octavo::grammar
