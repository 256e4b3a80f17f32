#include "grammar/byte_classes.h"

#include <unordered_set>
#include <string>

namespace octavo::grammar {

int char_step(CharKind kind, int state, uint32_t byte) {
  if (kind == kLetters) {
    const bool letter = (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z';
    return state == 0 && letter ? 0 : -1;
  }
  const auto in = [byte](uint32_t low, uint32_t high) { return byte >= low && byte <= high; };
  switch (state) {
    case 0:
      if (in(0x20, 0x7e)) return byte == '"' || byte == '\\' ? -1 : 0;
      if (in(0xc2, 0xdf)) return 1;
      if (byte == 0xe0) return 4;
      if (byte == 0xe2) return 8;
      if (byte == 0xed) return 5;
      if (in(0xe1, 0xef)) return 2;
      if (byte == 0xf0) return 6;
      if (in(0xf1, 0xf3)) return 3;
      return byte == 0xf4 ? 7 : -1;
    case 4:
      return in(0xa0, 0xbf) ? 1 : -1;
    case 5:
      return in(0x80, 0x9f) ? 1 : -1;
    case 6:
      return in(0x90, 0xbf) ? 2 : -1;
    case 7:
      return in(0x80, 0x8f) ? 2 : -1;
    case 8:
      return byte == 0x80 ? 9 : in(0x81, 0xbf) ? 1 : -1;
    case 9:  // U+2000 to U+203F
      return in(0x80, 0xa7) || in(0xaa, 0xbf) ? 0 : -1;
    default:  // so many bytes more
      return in(0x80, 0xbf) ? state - 1 : -1;
  }
}

namespace {

// Splits every class by a label of each byte.
template <class Label>
void refine(std::array<uint8_t, 256>& of, uint32_t& count, uint32_t num_labels,
            const Label& label) {
  std::vector<int16_t> id(size_t{256} * num_labels, -1);
  uint32_t n = 0;
  for (uint32_t b = 0; b < 256; ++b) {
    int16_t& mine = id[of[b] * num_labels + label(b)];
    if (mine < 0) mine = static_cast<int16_t>(n++);
    of[b] = static_cast<uint8_t>(mine);
  }
  count = n;
}

}  // namespace

ByteClasses::ByteClasses(const Program& program, Budget& budget) {
  ClassSet singles;  // sets of one byte are many, and all split at once
  std::unordered_set<std::string> seen;
  for (const RegexNode& node : program.regexes) {
    if (node.op != RegexOp::kBytes) continue;
    const int32_t* w = program.pool.data() + node.a;
    int bits = 0;
    for (int i = 0; i < 8; ++i) bits += __builtin_popcount(static_cast<uint32_t>(w[i]));
    budget.spend(8);
    if (bits == 1) {
      for (uint32_t b = 0; b < 256; ++b) {
        if (w[b / 32] >> (b % 32) & 1) singles.add(b);
      }
    } else if (seen.insert(std::string(reinterpret_cast<const char*>(w), 32)).second) {
      budget.spend(256);
      if (count < 256) refine(of, count, 2, [w](uint32_t b) { return w[b / 32] >> (b % 32) & 1; });
    }
  }
  for (const Automaton& a : program.automata) {
    budget.spend(1024);
    if (count == 256) break;
    refine(of, count, static_cast<uint32_t>(a.num_classes),
           [&a](uint32_t b) { return static_cast<uint32_t>(a.class_of(b)); });
  }
  uint32_t rank[256];
  uint32_t num_singles = 0;
  for (uint32_t b = 0; b < 256; ++b) rank[b] = singles.has(b) ? ++num_singles : 0;
  refine(of, count, num_singles + 1, [&rank](uint32_t b) { return rank[b]; });

  members.resize(count);
  for (uint32_t b = 0; b < 256; ++b) members[of[b]].push_back(static_cast<uint8_t>(b));
  for (uint32_t c = 0; c < count; ++c) {
    all.add(c);
  }
  for (const CharKind kind : {kPlain, kLetters}) find_edges(kind);
}

void ByteClasses::find_edges(CharKind kind) {
  for (uint32_t c = 0; c < count; ++c) {
    for (int state = 0; state < kNumUtf8States; ++state) {
      uint32_t reached = 0;
      for (const uint8_t b : members[c]) {
        const int next = char_step(kind, state, b);
        if (next < 0 || reached >> next & 1) continue;
        reached |= 1u << next;
        chars[kind].edges[state].push_back({c, next});
        if (state == 0) chars[kind].first.add(c);
      }
    }
  }
}

ClassSet ByteClasses::classes_of(const int32_t* byte_words) const {
  ClassSet out;
  for (uint32_t c = 0; c < count; ++c) {
    const uint8_t b = members[c].front();
    if (byte_words[b / 32] >> (b % 32) & 1) out.add(c);
  }
  return out;
}

}  // namespace octavo::grammar
