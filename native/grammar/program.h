// A grammar as lib/grammar/program.ts encodes it, checked word by word: what it says is never
// trusted. The layout is described there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "grammar/budget.h"
#include "grammar/tables.h"

namespace octavo::grammar {

constexpr int32_t kProgramMagic = 0x4f474731;

enum class RegexOp : int32_t {
  kEmpty,      // no string
  kEpsilon,    // the empty string
  kBytes,      // a = offset of a set of 256 bits in the pool
  kConcat,     // a = offset of b node ids in the pool
  kAlt,        // the same
  kAnd,        // the same
  kNot,        // a = node; all byte strings that it does not match
  kRepeat,     // a = node, from b to c times; c = −1: any number
  kAutomaton,  // a = offset in the pool: see Automaton
};

struct RegexNode {
  RegexOp op;
  int32_t a, b, c;
};

// A deterministic automaton over classes of bytes.
struct Automaton {
  int32_t num_states, start, num_classes;
  const int32_t* accepts;    // bits, ⌈numStates / 32⌉ words
  const int32_t* class_map;  // 64 words of four classes, the lowest byte first
  const int32_t* next;       // [numStates, numClasses], −1 = no way on
  std::vector<bool> lives;   // an accepting state can be reached

  bool accepts_at(int32_t state) const { return accepts[state / 32] >> (state % 32) & 1; }
  int32_t class_of(uint32_t byte) const { return class_map[byte / 4] >> (byte % 4 * 8) & 255; }
};

enum class SymbolKind : uint32_t { kTerminal, kRule, kTokens };

struct Symbol {
  SymbolKind kind;
  uint32_t index;
};

struct Range {
  int32_t first, count;
};

// Moved, never copied: automata point into the pool.
struct Program {
  Program() = default;
  Program(Program&&) = default;
  Program& operator=(Program&&) = default;

  std::vector<RegexNode> regexes;
  std::vector<Automaton> automata;  // RegexNode.a of a kAutomaton becomes an index into these
  std::vector<int32_t> terminals;   // a regex node each
  std::vector<Range> token_sets;    // in the pool, ascending ids
  std::vector<Range> rules;         // of alternatives
  std::vector<Range> alternatives;  // of symbols
  std::vector<Symbol> symbols;
  std::vector<int32_t> pool;
  int32_t start = 0;
};

// Throws ERR_GRAMMAR where anything is out of place.
Program parse_program(const int32_t* words, size_t num_words, int32_t num_tokens, Budget& budget);

}  // namespace octavo::grammar
