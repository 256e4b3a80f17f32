// Regular expressions as interned nodes, matched by derivatives (Brzozowski 1964): the derivative
// of a node by a byte matches what may follow that byte. Nodes are kept in a normal form, so that
// equal languages are mostly the same node and few are ever made.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "grammar/byte_classes.h"
#include "grammar/program.h"
#include "grammar/tables.h"

namespace octavo::grammar {

using NodeId = uint32_t;
constexpr NodeId kEmptyNode = 0, kEpsilonNode = 1, kAllNode = 2;  // kAllNode: every byte string
constexpr uint32_t kForever = UINT32_MAX;
constexpr uint32_t kMaxWeight = 1u << 30;  // whatever is heavier weighs so much

struct Node {
  enum class Kind : uint8_t {
    kEmpty,
    kEpsilon,
    kBytes,      // one byte of `first`
    kSequence,   // a = place in the children, b = how many: one after the other
    kConcat,     // a, then b
    kAlt,        // `list`
    kAnd,        // `list`
    kNot,        // a
    kRepeat,     // a, from b to c times
    kAutomaton,  // automaton a from its state b
  };
  Kind kind = Kind::kEmpty;
  bool nullable = false;
  bool boolean = false;  // holds an `and` or a `not`, so that it may be empty without looking so
  uint32_t a = 0, b = 0, c = 0;
  float words = 0;      // no more strings than this match; infinite where there is no end of them
  uint32_t weight = 1;  // nodes that a derivative looks at, or more; counted as in a tree
  Span<NodeId> list;
  ClassSet first;  // classes that a match may begin with, or more
};

// What is known of a node and characters of a kind.
struct Room {
  uint32_t alive = 0;     // up to so many of any kind leave a way on
  uint32_t dead = kNone;  // so many or more leave none; kNone = not known
  bool quiet = false;     // it matches none of 1 to dead − 1 of them
};

class Regexes {
 public:
  Regexes(const Program& program, const ByteClasses& classes, Budget& budget);

  NodeId root(uint32_t terminal) const { return roots_[terminal]; }
  const Node& at(NodeId id) const { return nodes_[id]; }
  bool nullable(NodeId id) const { return nodes_[id].nullable; }
  NodeId derive(NodeId id, uint32_t cls);
  // Classes by which the derivative is the same as by cls, itself among them; maybe not all.
  ClassSet alike(NodeId id, uint32_t cls) const { return alike(id, cls, 0); }
  bool is_empty(NodeId id);  // matches no string
  Room room(NodeId id, CharKind kind);
  // The same node of another space, whose program was the same.
  NodeId adopt(const Regexes& from, NodeId id, std::unordered_map<NodeId, NodeId>& known);

 private:
  // A child of a sequence, and what is true of all from here to its end.
  struct Child {
    NodeId node;
    bool nullable, boolean;
    float words;
  };

  void import(const Program& program);
  NodeId import_concat(const std::vector<NodeId>& children);
  NodeId import_node(const Program& program, const RegexNode& r, const std::vector<NodeId>& ids);
  NodeId intern(Node node);
  uint32_t weight_of(const Node& node) const;
  bool same(const Node& a, const Node& b) const;
  uint32_t hash_of(const Node& n) const;

  NodeId bytes(const ClassSet& set);
  NodeId sequence(uint32_t place, uint32_t count);
  NodeId concat(NodeId a, NodeId b);
  NodeId alt(std::vector<NodeId> ids);
  NodeId both(std::vector<NodeId> ids);
  NodeId complement(NodeId a);
  NodeId repeat(NodeId a, uint32_t min, uint32_t max);
  NodeId automaton(uint32_t index, int32_t state);
  bool flatten(std::vector<NodeId>& ids, Node::Kind kind);
  void merge_repeats(std::vector<NodeId>& ids);

  ClassSet alike(NodeId id, uint32_t cls, int depth) const;
  NodeId derive_compound(const Node& n, uint32_t cls);
  NodeId derive_sequence(const Node& n, uint32_t cls);
  bool search_empty(NodeId id);

  Room compute_room(NodeId id, CharKind kind);
  Room room_of_pair(NodeId head, NodeId tail, CharKind kind);
  Room room_of_both(const Node& n, CharKind kind);
  bool is_unit(NodeId id, CharKind kind);
  uint32_t explore(NodeId id, CharKind kind);
  bool successors(NodeId id, CharKind kind, std::vector<NodeId>& out, int64_t& steps);

  const ByteClasses& classes_;
  const Program& program_;
  Budget& budget_;
  Arena arena_;
  std::vector<Node> nodes_;
  std::vector<NodeId> roots_;
  std::vector<Child> children_;
  IdTable interned_, sequences_;
  Memo derivatives_;
  std::vector<uint8_t> empties_;  // of a node: 0 not known, 1 not empty, 2 empty
  struct Known {
    Room room;
    uint8_t state = 0;  // 1 known, 2 being found
    uint8_t unit = 0;   // 0 not known, 1 no, 2 yes
  };
  std::vector<Known> known_[kNumKinds];  // of a node
  int depth_ = 0;
};

}  // namespace octavo::grammar
