// How many characters of a kind, whichever they are, leave a regex a way on: then all tokens of so
// many are allowed, and none of them need be walked. Bounds are safe, not always the best.
#include <algorithm>
#include <utility>
#include <vector>

#include "grammar/regex.h"

namespace octavo::grammar {

namespace {

using Kind = Node::Kind;
constexpr uint32_t kAlways = kForever;
// Fewer words than this are not all strings of one plain character, or of three letters.
constexpr float kFewWords = 100'000;
constexpr uint32_t kCharsOfMore[] = {1, 3};
constexpr size_t kMaxExplored = 48;  // nodes
constexpr uint32_t kMaxLevels = 40;
constexpr int64_t kMaxSteps = 4'000;
constexpr int kMaxDepth = 200;  // of nested nodes; nothing is known of deeper ones

}  // namespace

Room Regexes::room(NodeId id, CharKind kind) {
  if (known_[kind][id].state == 1) return known_[kind][id].room;
  if (known_[kind][id].state == 2 || depth_ > kMaxDepth) return {};
  const Nesting nesting(depth_);
  // Whatever breaks off midway may begin again.
  struct Finding {
    std::vector<Known>& known;
    NodeId id;
    ~Finding() {
      if (known[id].state == 2) known[id].state = 0;
    }
  } finding{known_[kind], id};
  known_[kind][id].state = 2;
  Room out = compute_room(id, kind);
  if (out.alive == 0 && nodes_[id].first.contains(classes_.chars[kind].first)) {
    out.alive = explore(id, kind);
  }
  known_[kind][id].room = out;
  known_[kind][id].state = 1;
  return out;
}

Room Regexes::compute_room(NodeId id, CharKind kind) {
  const Node n = nodes_[id];
  budget_.spend(1 + n.list.size);
  if (!n.first.meets(classes_.chars[kind].first)) return {0, 1, true};
  switch (n.kind) {
    case Kind::kSequence:
      return room_of_pair(children_[n.a].node, sequence(n.a + 1, n.b - 1), kind);
    case Kind::kConcat:
      return room_of_pair(n.a, n.b, kind);
    case Kind::kAlt: {
      Room out = {0, 0, true};
      for (const NodeId part : n.list) {
        const Room p = room(part, kind);
        out.alive = std::max(out.alive, p.alive);
        out.dead = std::max(out.dead, p.dead);
        out.quiet = out.quiet && p.quiet;
      }
      return out;
    }
    case Kind::kAnd:
      return room_of_both(n, kind);
    case Kind::kNot:
      return {nodes_[n.a].words < kFewWords ? kAlways : 0, kNone, false};
    case Kind::kRepeat:
      if (!is_unit(n.a, kind)) return {};
      return {n.c, n.c == kForever ? kNone : n.c + 1, false};
    default:
      return {};
  }
}

Room Regexes::room_of_pair(NodeId head, NodeId tail, CharKind kind) {
  const Room h = room(head, kind);
  const Node t = nodes_[tail];
  Room out = {is_empty(tail) ? 0 : h.alive, kNone, false};
  if (!t.first.meets(classes_.chars[kind].first)) {
    // What follows the head takes no such character.
    out.dead = std::max(h.dead, 1u);
    out.quiet = !t.nullable;
  } else if (nodes_[head].nullable) {
    out.alive = std::max(out.alive, room(tail, kind).alive);
  }
  return out;
}

// x{a,b} of such characters without a few words: before the last ones there are more ways on than
// words.
Room Regexes::room_of_both(const Node& n, CharKind kind) {
  Room out = {0, kNone, false};
  uint32_t most = kAlways;
  bool all_known = true, repeats = false;
  for (const NodeId part : n.list) {
    const Room p = room(part, kind);
    out.dead = std::min(out.dead, p.dead);
    out.quiet = out.quiet || p.quiet;
    const Node& x = nodes_[part];
    if (x.kind == Kind::kRepeat && p.alive > 0 && !repeats) {
      most = p.alive == kAlways ? kAlways : p.alive - std::min(p.alive, kCharsOfMore[kind]);
      repeats = true;
    } else if (x.kind != Kind::kNot || !(nodes_[x.a].words < kFewWords)) {
      all_known = false;
    }
  }
  if (all_known) out.alive = most;
  return out;
}

// The node matches each of these characters, and nothing else that begins with one.
bool Regexes::is_unit(NodeId id, CharKind kind) {
  if (known_[kind][id].unit != 0) return known_[kind][id].unit == 2;
  bool unit = nodes_[id].first.contains(classes_.chars[kind].first);
  std::vector<std::pair<NodeId, int>> open = {{id, 0}};
  size_t steps = 0;
  while (unit && !open.empty()) {
    const auto [node, state] = open.back();
    open.pop_back();
    for (const ByteClasses::Edge& edge : classes_.chars[kind].edges[state]) {
      const NodeId next = derive(node, edge.cls);
      unit = unit && ++steps < 1000 && (edge.next == 0 ? next == kEpsilonNode : !is_empty(next));
      if (unit && edge.next != 0) open.emplace_back(next, edge.next);
    }
  }
  known_[kind][id].unit = unit ? 2 : 1;
  return unit;
}

// Nodes behind one character; false where some character has no way on.
bool Regexes::successors(NodeId id, CharKind kind, std::vector<NodeId>& out, int64_t& steps) {
  std::vector<std::pair<NodeId, int>> open = {{id, 0}}, seen;
  while (!open.empty()) {
    const auto [node, state] = open.back();
    open.pop_back();
    for (const ByteClasses::Edge& edge : classes_.chars[kind].edges[state]) {
      if (++steps > kMaxSteps) return false;
      budget_.spend(1);
      const NodeId next = derive(node, edge.cls);
      if (next == kEmptyNode || is_empty(next)) return false;
      if (edge.next == 0) {
        if (std::find(out.begin(), out.end(), next) == out.end()) out.push_back(next);
        continue;
      }
      const std::pair<NodeId, int> pair = {next, edge.next};
      if (std::find(seen.begin(), seen.end(), pair) != seen.end()) continue;
      seen.push_back(pair);
      open.push_back(pair);
    }
  }
  return true;
}

// By trying all characters, level by level, until some has no way on or nothing new is reached.
uint32_t Regexes::explore(NodeId id, CharKind kind) {
  std::vector<NodeId> seen = {id}, level = {id};
  int64_t steps = 0;
  for (uint32_t k = 0; k < kMaxLevels; ++k) {
    std::vector<NodeId> next;
    for (const NodeId node : level) {
      if (!successors(node, kind, next, steps)) return k;
    }
    std::vector<NodeId> fresh;
    for (const NodeId node : next) {
      if (std::find(seen.begin(), seen.end(), node) == seen.end()) fresh.push_back(node);
    }
    if (fresh.empty()) return kAlways;
    seen.insert(seen.end(), fresh.begin(), fresh.end());
    if (seen.size() > kMaxExplored) return k + 1;
    level = std::move(fresh);
  }
  return kMaxLevels;
}

}  // namespace octavo::grammar
