// Nodes and their normal forms; derivatives are in derivative.cc, room for characters in room.cc.
#include "grammar/regex.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace octavo::grammar {

namespace {

using Kind = Node::Kind;
constexpr float kInfinite = std::numeric_limits<float>::infinity();

}  // namespace

Regexes::Regexes(const Program& program, const ByteClasses& classes, Budget& budget)
    : classes_(classes),
      program_(program),
      budget_(budget),
      arena_(budget),
      interned_(budget),
      sequences_(budget),
      derivatives_(budget) {
  intern(Node{});
  Node epsilon;
  epsilon.kind = Kind::kEpsilon;
  epsilon.nullable = true;
  epsilon.words = 1;
  intern(epsilon);
  Node all;
  all.kind = Kind::kNot;
  all.a = kEmptyNode;
  all.nullable = true;
  all.words = kInfinite;
  all.first = classes.all;
  intern(all);
  import(program);
}

// --- the program's own nodes, children first ---

void Regexes::import(const Program& program) {
  std::vector<NodeId> ids;
  ids.reserve(program.regexes.size());
  for (const RegexNode& r : program.regexes) {
    budget_.spend(4);
    ids.push_back(import_node(program, r, ids));
  }
  for (const int32_t t : program.terminals) roots_.push_back(ids[static_cast<size_t>(t)]);
}

NodeId Regexes::import_node(const Program& program, const RegexNode& r,
                            const std::vector<NodeId>& ids) {
  const auto child = [&](int32_t i) { return ids[static_cast<size_t>(i)]; };
  std::vector<NodeId> list;
  if (r.op == RegexOp::kConcat || r.op == RegexOp::kAlt || r.op == RegexOp::kAnd) {
    budget_.spend(4 * int64_t{r.b});
    list.reserve(static_cast<size_t>(r.b));
    for (int32_t k = 0; k < r.b; ++k) {
      list.push_back(child(program.pool[static_cast<size_t>(r.a + k)]));
    }
  }
  switch (r.op) {
    case RegexOp::kEmpty:
      return kEmptyNode;
    case RegexOp::kEpsilon:
      return kEpsilonNode;
    case RegexOp::kBytes:
      return bytes(classes_.classes_of(program.pool.data() + r.a));
    case RegexOp::kConcat:
      return import_concat(list);
    case RegexOp::kAlt:
      return alt(std::move(list));
    case RegexOp::kAnd:
      return both(std::move(list));
    case RegexOp::kNot:
      return complement(child(r.a));
    case RegexOp::kRepeat:
      return repeat(child(r.a), static_cast<uint32_t>(r.b),
                    r.c < 0 ? kForever : static_cast<uint32_t>(r.c));
    case RegexOp::kAutomaton:
      return automaton(static_cast<uint32_t>(r.a),
                       program.automata[static_cast<size_t>(r.a)].start);
  }
  return kEmptyNode;
}

// One list of children for all that begin at one of its places: a text has no node for each rest
// before somebody comes there.
NodeId Regexes::import_concat(const std::vector<NodeId>& children) {
  std::vector<NodeId> list;
  for (const NodeId id : children) {
    if (id == kEmptyNode) return kEmptyNode;
    if (id != kEpsilonNode) list.push_back(id);
  }
  if (list.empty()) return kEpsilonNode;
  if (list.size() == 1) return list[0];
  const auto n = static_cast<uint32_t>(list.size());
  const uint32_t hash = hash_words(list.data(), n, 77);
  const uint32_t known = sequences_.find(hash, [&](uint32_t id) {
    const Node& s = nodes_[id];
    for (uint32_t i = 0; i < n; ++i) {
      if (s.b != n || children_[s.a + i].node != list[i]) return false;
    }
    return true;
  });
  if (known != kNone) return known;
  const auto place = static_cast<uint32_t>(children_.size());
  budget_.take_bytes(static_cast<int64_t>(n * sizeof(Child)));
  children_.resize(place + n);
  bool nullable = true, boolean = false;
  float words = 1;
  for (uint32_t i = n; i-- > 0;) {
    const Node& child = nodes_[list[i]];
    nullable = nullable && child.nullable;
    boolean = boolean || child.boolean;
    words *= child.words;
    children_[place + i] = {list[i], nullable, boolean, words};
  }
  const NodeId id = sequence(place, n);
  sequences_.insert(hash, id);
  return id;
}

// --- interning ---

uint32_t Regexes::hash_of(const Node& n) const {
  const auto kind = static_cast<uint64_t>(n.kind);
  if (n.kind == Kind::kAlt || n.kind == Kind::kAnd) {
    return hash_words(n.list.data, n.list.size, kind);
  }
  if (n.kind == Kind::kBytes) {
    return hash_words(reinterpret_cast<const uint32_t*>(n.first.words.data()), 8, kind);
  }
  const uint32_t words[] = {n.a, n.b, n.c};
  return hash_words(words, 3, kind);
}

bool Regexes::same(const Node& a, const Node& b) const {
  if (a.kind != b.kind || a.a != b.a || a.b != b.b || a.c != b.c) return false;
  if (a.kind == Kind::kBytes) return a.first == b.first;
  return a.list.size == b.list.size && std::equal(a.list.begin(), a.list.end(), b.list.begin());
}

uint32_t Regexes::weight_of(const Node& n) const {
  uint64_t sum = 1;
  for (const NodeId part : n.list) sum += nodes_[part].weight;
  switch (n.kind) {
    case Kind::kSequence:
      for (uint32_t i = 0; i < n.b; ++i) {
        const Node& child = nodes_[children_[n.a + i].node];
        sum += child.weight;
        if (!child.nullable) break;
      }
      break;
    case Kind::kConcat:
      sum += nodes_[n.a].weight;
      if (nodes_[n.a].nullable) sum += nodes_[n.b].weight;
      break;
    case Kind::kNot:
    case Kind::kRepeat:
      sum += nodes_[n.a].weight;
      break;
    default:
      break;
  }
  return static_cast<uint32_t>(std::min<uint64_t>(sum, kMaxWeight));
}

// `list` may point to the caller's own memory.
NodeId Regexes::intern(Node node) {
  const uint32_t hash = hash_of(node);
  const uint32_t known = interned_.find(hash, [&](uint32_t id) { return same(nodes_[id], node); });
  if (known != kNone) return known;
  budget_.spend(2 + node.list.size / 8);
  budget_.take_bytes(static_cast<int64_t>(sizeof(Node) + kNumKinds * sizeof(Known) + 1));
  if (node.list.size > 0) {
    auto* own = arena_.take<NodeId>(node.list.size);
    std::copy(node.list.begin(), node.list.end(), own);
    node.list.data = own;
  }
  node.weight = weight_of(node);
  const auto id = static_cast<NodeId>(nodes_.size());
  nodes_.push_back(node);
  empties_.push_back(0);
  for (auto& known : known_) known.emplace_back();
  interned_.insert(hash, id);
  return id;
}

NodeId Regexes::bytes(const ClassSet& set) {
  if (!set.any()) return kEmptyNode;
  Node n;
  n.kind = Kind::kBytes;
  n.first = set;
  set.each([&](uint32_t c) { n.words += static_cast<float>(classes_.members[c].size()); });
  return intern(n);
}

NodeId Regexes::sequence(uint32_t place, uint32_t count) {
  if (count == 0) return kEpsilonNode;
  if (count == 1) return children_[place].node;
  Node n;
  n.kind = Kind::kSequence;
  n.a = place;
  n.b = count;
  n.nullable = children_[place].nullable;
  n.boolean = children_[place].boolean;
  n.words = children_[place].words;
  for (uint32_t i = 0; i < count; ++i) {
    const Node& child = nodes_[children_[place + i].node];
    n.first = n.first | child.first;
    if (!child.nullable) break;
    budget_.spend(1);
  }
  return intern(n);
}

NodeId Regexes::concat(NodeId a, NodeId b) {
  if (a == kEmptyNode || b == kEmptyNode) return kEmptyNode;
  if (a == kEpsilonNode) return b;
  if (b == kEpsilonNode) return a;
  if (a == kAllNode && b == kAllNode) return kAllNode;
  const Nesting nesting(depth_);
  if (nodes_[a].kind == Kind::kConcat) {
    const NodeId head = nodes_[a].a;
    return concat(head, concat(nodes_[a].b, b));
  }
  Node n;
  n.kind = Kind::kConcat;
  n.a = a;
  n.b = b;
  const Node &x = nodes_[a], &y = nodes_[b];
  n.nullable = x.nullable && y.nullable;
  n.boolean = x.boolean || y.boolean;
  n.words = x.words * y.words;
  n.first = x.nullable ? x.first | y.first : x.first;
  return intern(n);
}

// Takes in what is of the same kind below, in order, each once. False: more than can be.
bool Regexes::flatten(std::vector<NodeId>& ids, Kind kind) {
  const size_t given = ids.size();
  for (size_t i = 0; i < given; ++i) {
    const Span<NodeId> below = nodes_[ids[i]].kind == kind ? nodes_[ids[i]].list : Span<NodeId>();
    if (below.size == 0) continue;
    ids.insert(ids.end(), below.begin(), below.end());
    ids[i] = below[0];
  }
  budget_.spend(static_cast<int64_t>(ids.size() / 2));
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return !ids.empty();
}

// x{a,b} | x{c,d} is one repetition where no count lies between; ε | x{1,b} is x{0,b}.
void Regexes::merge_repeats(std::vector<NodeId>& ids) {
  const auto is_repeat = [this](NodeId id) { return nodes_[id].kind == Kind::kRepeat; };
  const auto split = std::stable_partition(ids.begin(), ids.end(), is_repeat);
  const auto count = static_cast<size_t>(split - ids.begin());
  if (count == 0) return;
  std::vector<NodeId> repeats(ids.begin(), split), out;
  ids.erase(ids.begin(), split);
  const auto epsilon = std::find(ids.begin(), ids.end(), kEpsilonNode);
  std::sort(repeats.begin(), repeats.end(), [this](NodeId x, NodeId y) {
    const Node &a = nodes_[x], &b = nodes_[y];
    return a.a != b.a ? a.a < b.a : a.b < b.b;
  });
  bool absorbed = false;
  for (size_t i = 0; i < repeats.size();) {
    const Node first = nodes_[repeats[i]];
    uint32_t min = first.b, max = first.c;
    if (min == 1 && epsilon != ids.end()) min = 0;
    absorbed = absorbed || min == 0;
    size_t next = i + 1;
    for (; next < repeats.size(); ++next) {
      const Node& n = nodes_[repeats[next]];
      if (n.a != first.a || (max != kForever && n.b > max + 1)) break;
      max = std::max(max, n.c);
    }
    out.push_back(repeat(first.a, min, max));
    i = next;
  }
  if (absorbed && epsilon != ids.end()) ids.erase(epsilon);
  ids.insert(ids.end(), out.begin(), out.end());
}

NodeId Regexes::alt(std::vector<NodeId> ids) {
  if (!flatten(ids, Kind::kAlt)) return kEmptyNode;
  if (std::binary_search(ids.begin(), ids.end(), kAllNode)) return kAllNode;
  ClassSet one;
  size_t kept = 0;
  bool nullable_else = false;
  for (const NodeId id : ids) {
    const Node& n = nodes_[id];
    if (id == kEmptyNode) continue;
    if (n.kind == Kind::kBytes) {
      one = one | n.first;
    } else {
      ids[kept++] = id;
      nullable_else = nullable_else || (n.nullable && id != kEpsilonNode);
    }
  }
  ids.resize(kept);
  if (nullable_else) ids.erase(std::remove(ids.begin(), ids.end(), kEpsilonNode), ids.end());
  merge_repeats(ids);
  if (one.any()) ids.push_back(bytes(one));
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  if (ids.empty()) return kEmptyNode;
  if (ids.size() == 1) return ids[0];
  Node n;
  n.kind = Kind::kAlt;
  n.list = {ids.data(), static_cast<uint32_t>(ids.size())};
  for (const NodeId id : ids) {
    const Node& child = nodes_[id];
    n.nullable = n.nullable || child.nullable;
    n.boolean = n.boolean || child.boolean;
    n.words += child.words;
    n.first = n.first | child.first;
  }
  return intern(n);
}

NodeId Regexes::both(std::vector<NodeId> ids) {
  if (!flatten(ids, Kind::kAnd)) return kAllNode;
  if (ids[0] == kEmptyNode) return kEmptyNode;
  std::vector<NodeId> not_these;  // ¬a ∧ ¬b = ¬(a | b)
  size_t kept = 0;
  for (const NodeId id : ids) {
    if (id == kAllNode) continue;
    if (nodes_[id].kind == Kind::kNot) {
      not_these.push_back(nodes_[id].a);
    } else {
      ids[kept++] = id;
    }
  }
  ids.resize(kept);
  if (!not_these.empty()) ids.push_back(complement(alt(std::move(not_these))));
  if (ids.empty()) return kAllNode;
  std::sort(ids.begin(), ids.end());
  if (ids.size() == 1) return ids[0];
  Node n;
  n.kind = Kind::kAnd;
  n.list = {ids.data(), static_cast<uint32_t>(ids.size())};
  n.first = classes_.all;
  n.nullable = n.boolean = true;
  n.words = kInfinite;
  for (const NodeId id : ids) {
    const Node& child = nodes_[id];
    n.nullable = n.nullable && child.nullable;
    n.words = std::min(n.words, child.words);
    n.first = n.first & child.first;
  }
  if (!n.first.any()) return n.nullable ? kEpsilonNode : kEmptyNode;
  return intern(n);
}

NodeId Regexes::complement(NodeId a) {
  if (a == kEmptyNode) return kAllNode;
  if (nodes_[a].kind == Kind::kNot) return nodes_[a].a;
  Node n;
  n.kind = Kind::kNot;
  n.a = a;
  n.nullable = !nodes_[a].nullable;
  n.boolean = true;
  n.words = kInfinite;
  n.first = classes_.all;
  return intern(n);
}

NodeId Regexes::repeat(NodeId a, uint32_t min, uint32_t max) {
  if (max == 0 || a == kEpsilonNode) return kEpsilonNode;
  if (a == kEmptyNode) return min == 0 ? kEpsilonNode : kEmptyNode;
  const Node& x = nodes_[a];
  if (x.nullable) min = 0;
  if (min == 1 && max == 1) return a;
  if (a == kAllNode) return a;
  if (x.kind == Kind::kRepeat && x.b == 0 && x.c == kForever) return a;
  Node n;
  n.kind = Kind::kRepeat;
  n.a = a;
  n.b = min;
  n.c = max;
  n.nullable = min == 0;
  n.boolean = x.boolean;
  n.words = max == kForever ? kInfinite : std::pow(1 + x.words, static_cast<float>(max));
  n.first = x.first;
  return intern(n);
}

NodeId Regexes::automaton(uint32_t index, int32_t state) {
  const Automaton& dfa = program_.automata[index];
  if (state < 0 || !dfa.lives[static_cast<size_t>(state)]) return kEmptyNode;
  Node n;
  n.kind = Kind::kAutomaton;
  n.a = index;
  n.b = static_cast<uint32_t>(state);
  n.nullable = dfa.accepts_at(state);
  n.words = kInfinite;
  budget_.spend(classes_.count / 8);
  for (uint32_t c = 0; c < classes_.count; ++c) {
    const int64_t edge = int64_t{state} * dfa.num_classes + dfa.class_of(classes_.members[c][0]);
    const int32_t next = dfa.next[edge];
    if (next >= 0 && dfa.lives[static_cast<size_t>(next)]) n.first.add(c);
  }
  if (!n.first.any()) return n.nullable ? kEpsilonNode : kEmptyNode;
  return intern(n);
}

}  // namespace octavo::grammar
