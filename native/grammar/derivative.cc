// Derivatives of regexes, and whether a regex matches anything at all.
#include <algorithm>
#include <unordered_map>

#include "grammar/regex.h"

namespace octavo::grammar {

using Kind = Node::Kind;

namespace {
// What costs more to compare than to derive is not compared.
constexpr int kMaxAlikeDepth = 12;
constexpr uint32_t kMaxAlikeParts = 16;
}  // namespace

NodeId Regexes::derive(NodeId id, uint32_t cls) {
  const Node n = nodes_[id];  // a copy: the vector grows below
  if (!n.first.has(cls)) return kEmptyNode;
  switch (n.kind) {
    case Kind::kEmpty:
    case Kind::kEpsilon:
      return kEmptyNode;
    case Kind::kBytes:
      return kEpsilonNode;
    case Kind::kSequence:
      if (nodes_[children_[n.a].node].kind == Kind::kBytes) return sequence(n.a + 1, n.b - 1);
      break;
    case Kind::kAutomaton: {
      const Automaton& dfa = program_.automata[n.a];
      const int64_t edge =
          int64_t{n.b} * dfa.num_classes + dfa.class_of(classes_.members[cls].front());
      return automaton(n.a, dfa.next[edge]);
    }
    default:
      break;
  }
  if (id == kAllNode) return kAllNode;
  const NodeId known = derivatives_.find(id, cls);
  if (known != kNone) return known;
  const Nesting nesting(depth_);
  const NodeId out = derive_compound(n, cls);
  derivatives_.insert(id, cls, out);
  return out;
}

NodeId Regexes::derive_compound(const Node& n, uint32_t cls) {
  budget_.spend(2 + n.list.size);
  std::vector<NodeId> parts;
  switch (n.kind) {
    case Kind::kSequence:
      return derive_sequence(n, cls);
    case Kind::kConcat: {
      const NodeId head = concat(derive(n.a, cls), n.b);
      if (!nodes_[n.a].nullable) return head;
      return alt({head, derive(n.b, cls)});
    }
    case Kind::kAlt:
      for (const NodeId part : n.list) {
        if (nodes_[part].first.has(cls)) parts.push_back(derive(part, cls));
      }
      return alt(std::move(parts));
    case Kind::kAnd:
      for (const NodeId part : n.list) {
        parts.push_back(derive(part, cls));
        if (parts.back() == kEmptyNode) return kEmptyNode;
      }
      return both(std::move(parts));
    case Kind::kNot:
      return complement(derive(n.a, cls));
    case Kind::kRepeat: {
      const uint32_t min = n.b == 0 ? 0 : n.b - 1;
      const uint32_t max = n.c == kForever ? kForever : n.c - 1;
      const NodeId once = derive(n.a, cls);
      return concat(once, repeat(n.a, min, max));
    }
    default:
      return kEmptyNode;
  }
}

NodeId Regexes::derive_sequence(const Node& n, uint32_t cls) {
  std::vector<NodeId> parts;
  for (uint32_t i = 0; i < n.b; ++i) {
    const NodeId child = children_[n.a + i].node;
    const NodeId once = derive(child, cls);
    if (once != kEmptyNode) {
      parts.push_back(concat(once, sequence(n.a + i + 1, n.b - i - 1)));
    }
    budget_.spend(1);
    if (!nodes_[child].nullable) break;
  }
  if (parts.size() == 1) return parts[0];
  return alt(std::move(parts));
}

// A derivative is made of those of the parts: the same where theirs are.
ClassSet Regexes::alike(NodeId id, uint32_t cls, int depth) const {
  const Node& n = nodes_[id];
  if (!n.first.has(cls)) return classes_.all.without(n.first);
  ClassSet out;
  if (depth > kMaxAlikeDepth || n.list.size > kMaxAlikeParts) {
    out.add(cls);
    return out;
  }
  switch (n.kind) {
    case Kind::kEmpty:
    case Kind::kEpsilon:
      return classes_.all;
    case Kind::kBytes:
      return n.first;
    case Kind::kSequence:
      out = alike(children_[n.a].node, cls, depth + 1);
      for (uint32_t i = 0; i + 1 < n.b && nodes_[children_[n.a + i].node].nullable; ++i) {
        if (i > kMaxAlikeParts) {
          out = ClassSet();
          out.add(cls);
          return out;
        }
        out = out & alike(children_[n.a + i + 1].node, cls, depth + 1);
      }
      return out;
    case Kind::kConcat:
      out = alike(n.a, cls, depth + 1);
      return nodes_[n.a].nullable ? out & alike(n.b, cls, depth + 1) : out;
    case Kind::kAlt:
    case Kind::kAnd:
      out = classes_.all;
      for (const NodeId part : n.list) out = out & alike(part, cls, depth + 1);
      return out;
    case Kind::kNot:
    case Kind::kRepeat:
      return alike(n.a, cls, depth + 1);
    case Kind::kAutomaton: {
      const Automaton& dfa = program_.automata[n.a];
      const int32_t* edges = dfa.next + int64_t{n.b} * dfa.num_classes;
      const auto next = [&](uint32_t c) { return edges[dfa.class_of(classes_.members[c][0])]; };
      for (uint32_t c = 0; c < classes_.count; ++c) {
        if (next(c) == next(cls)) out.add(c);
      }
      return out;
    }
  }
  return out;
}

bool Regexes::is_empty(NodeId id) {
  const Node n = nodes_[id];
  if (n.nullable) return false;
  if (!n.boolean) return id == kEmptyNode;
  if (empties_[id] != 0) return empties_[id] == 2;
  const Nesting nesting(depth_);
  bool empty = false;
  switch (n.kind) {
    case Kind::kSequence:
      for (uint32_t i = 0; i < n.b && !empty; ++i) empty = is_empty(children_[n.a + i].node);
      break;
    case Kind::kConcat:
      empty = is_empty(n.a) || is_empty(n.b);
      break;
    case Kind::kAlt:
      empty = std::all_of(n.list.begin(), n.list.end(), [this](NodeId p) { return is_empty(p); });
      break;
    case Kind::kRepeat:  // at least once, or it were nullable
      empty = is_empty(n.a);
      break;
    default:
      return search_empty(id);
  }
  empties_[id] = empty ? 2 : 1;
  return empty;
}

// Depth first for a derivative that is not empty: all on the way there are not empty either. Where
// there is none, whatever has been seen is empty.
bool Regexes::search_empty(NodeId start) {
  struct Visit {
    NodeId id;
    uint32_t cls;
  };
  std::vector<Visit> way = {{start, 0}};
  std::unordered_map<NodeId, bool> seen = {{start, true}};
  while (!way.empty()) {
    Visit& top = way.back();
    if (top.cls >= classes_.count) {
      way.pop_back();
      continue;
    }
    budget_.spend(4);
    const NodeId next = derive(top.id, top.cls++);
    if (next == kEmptyNode || seen.count(next) != 0) continue;
    const Kind kind = nodes_[next].kind;
    const bool open = nodes_[next].boolean && !nodes_[next].nullable && empties_[next] == 0 &&
                      (kind == Kind::kAnd || kind == Kind::kNot);
    if (open) {
      seen.emplace(next, true);
      way.push_back({next, 0});
    } else if (!is_empty(next)) {
      for (const Visit& v : way) empties_[v.id] = 1;
      return false;
    }
  }
  for (const auto& [id, _] : seen) empties_[id] = 2;
  return true;
}

NodeId Regexes::adopt(const Regexes& from, NodeId id, std::unordered_map<NodeId, NodeId>& known) {
  const auto found = known.find(id);
  if (found != known.end()) return found->second;
  const Nesting nesting(depth_);
  budget_.spend(4);
  const Node n = from.nodes_[id];
  std::vector<NodeId> parts;
  for (const NodeId part : n.list) parts.push_back(adopt(from, part, known));
  NodeId out = kEmptyNode;
  switch (n.kind) {
    case Kind::kEmpty:
      break;
    case Kind::kEpsilon:
      out = kEpsilonNode;
      break;
    case Kind::kBytes:
      out = bytes(n.first);
      break;
    case Kind::kSequence:
      out = sequence(n.a, n.b);
      break;
    case Kind::kConcat: {
      const NodeId head = adopt(from, n.a, known);
      out = concat(head, adopt(from, n.b, known));
      break;
    }
    case Kind::kAlt:
      out = alt(std::move(parts));
      break;
    case Kind::kAnd:
      out = both(std::move(parts));
      break;
    case Kind::kNot:
      out = complement(adopt(from, n.a, known));
      break;
    case Kind::kRepeat:
      out = repeat(adopt(from, n.a, known), n.b, n.c);
      break;
    case Kind::kAutomaton:
      out = automaton(n.a, static_cast<int32_t>(n.b));
      break;
  }
  known.emplace(id, out);
  return out;
}

}  // namespace octavo::grammar
