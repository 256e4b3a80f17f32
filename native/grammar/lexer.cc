#include "grammar/lexer.h"

#include <algorithm>

namespace octavo::grammar {

namespace {
constexpr uint32_t kMaxAlike = 4;  // pairs: of more few classes are alike
}

Lexer::Lexer(Regexes& regexes, const ByteClasses& classes, Budget& budget)
    : regexes_(regexes),
      classes_(classes),
      budget_(budget),
      arena_(budget),
      state_ids_(budget),
      set_ids_(budget) {
  states_.resize(2);  // kUnknown and kDead
  sets_.resize(1);    // no terminal
}

uint32_t Lexer::begin(const std::vector<uint32_t>& terminals) {
  std::vector<LexPair> pairs;
  for (const uint32_t t : terminals) {
    const NodeId root = regexes_.root(t);
    if (root != kEpsilonNode) pairs.push_back({t, root});
  }
  return intern(pairs);
}

uint32_t Lexer::intern(const std::vector<LexPair>& pairs) {
  if (pairs.empty()) return kDead;
  const auto size = static_cast<uint32_t>(pairs.size());
  const uint32_t hash = hash_words(&pairs[0].terminal, 2 * pairs.size(), 1);
  const uint32_t known = state_ids_.find(hash, [&](uint32_t id) {
    const Span<LexPair>& p = states_[id].pairs;
    return p.size == size && std::memcmp(p.data, pairs.data(), size * sizeof(LexPair)) == 0;
  });
  if (known != kNone) return known;
  budget_.take_state();
  budget_.take_bytes(sizeof(State));
  const auto id = static_cast<uint32_t>(states_.size());
  uint64_t weight = size;
  for (const LexPair& p : pairs) weight += regexes_.at(p.node).weight;
  const auto most = static_cast<uint32_t>(std::min<uint64_t>(weight, kMaxWeight));
  states_.push_back({arena_.copy(pairs), nullptr, most});
  state_ids_.insert(hash, id);
  return id;
}

uint32_t Lexer::intern_set(const std::vector<uint32_t>& terminals) {
  if (terminals.empty()) return 0;
  const uint32_t hash = hash_words(terminals.data(), terminals.size(), 2);
  const uint32_t known = set_ids_.find(hash, [&](uint32_t id) {
    const Span<uint32_t>& s = sets_[id];
    return s.size == terminals.size() && std::equal(s.begin(), s.end(), terminals.begin());
  });
  if (known != kNone) return known;
  budget_.take_bytes(sizeof(Span<uint32_t>));
  const auto id = static_cast<uint32_t>(sets_.size());
  sets_.push_back(arena_.copy(terminals));
  set_ids_.insert(hash, id);
  return id;
}

LexEdge Lexer::compute(uint32_t state, uint32_t cls) {
  const Span<LexPair> pairs = states_[state].pairs;
  budget_.spend(1 + pairs.size);
  std::vector<LexPair> going;
  std::vector<uint32_t> accepted;
  for (const LexPair& p : pairs) {
    const NodeId node = regexes_.derive(p.node, cls);
    if (node == kEmptyNode || regexes_.is_empty(node)) continue;
    if (regexes_.nullable(node)) accepted.push_back(p.terminal);
    if (node != kEpsilonNode) going.push_back({p.terminal, node});
  }
  const uint32_t next = intern(going);
  const LexEdge edge = {next, intern_set(accepted)};
  State& s = states_[state];
  if (s.next == nullptr) s.next = arena_.take_zeros<LexEdge>(classes_.count);
  s.next[cls] = edge;
  if (pairs.size > kMaxAlike) return edge;
  ClassSet alike = classes_.all;
  for (const LexPair& p : pairs) alike = alike & regexes_.alike(p.node, cls);
  alike.each([&](uint32_t c) { s.next[c] = edge; });
  return edge;
}

Room Lexer::room(uint32_t state, CharKind kind) {
  Room out = {0, 0, true};
  for (const LexPair& p : states_[state].pairs) {
    const Room room = regexes_.room(p.node, kind);
    out.alive = std::max(out.alive, room.alive);
    out.dead = std::max(out.dead, room.dead);
    out.quiet = out.quiet && room.quiet;
  }
  return out;
}

uint32_t Lexer::adopt(const Lexer& from, uint32_t state,
                      std::unordered_map<NodeId, NodeId>& known) {
  std::vector<LexPair> pairs;
  for (const LexPair& p : from.states_[state].pairs) {
    pairs.push_back({p.terminal, regexes_.adopt(from.regexes_, p.node, known)});
  }
  return intern(pairs);
}

}  // namespace octavo::grammar
