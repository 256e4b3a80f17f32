// Configurations: where a text has come to, as the rows from which terminals are under way, each
// with its lexer state, and the row of this very place if some terminals end here. A deterministic
// automaton over classes of bytes, made as it is needed: where it has been before, a step is a
// look into a table.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "grammar/chart.h"
#include "grammar/lexer.h"

namespace octavo::grammar {

using ConfigId = uint32_t;  // kDead: nothing can follow, and the text is not complete

class Machine {
 public:
  Machine(Chart& chart, Lexer& lexer, const ByteClasses& classes, const Program& program,
          Budget& budget);

  ConfigId start() const { return start_; }
  ConfigId step(ConfigId config, uint32_t cls) {
    const uint32_t* table = configs_[config].next;
    return table != nullptr && table[cls] != kUnknown ? table[cls] : compute(config, cls);
  }
  // A row of step()'s results, kUnknown where it has not been asked; it stays where it is.
  const uint32_t* table(ConfigId config) {
    Config& c = configs_[config];
    if (c.next == nullptr) c.next = arena_.take_zeros<uint32_t>(classes_.count);
    return c.next;
  }
  // The same. Where the sizes of all configurations that have been visited since begin_visits(),
  // each counted once, are more than what that was given: throws OutOfWork.
  const uint32_t* visit(ConfigId config) {
    Config& c = configs_[config];
    if (c.visits != visits_) {
      c.visits = visits_;
      if ((unvisited_ -= c.size) < 0) throw OutOfWork{};
    }
    return table(config);
  }
  void begin_visits(int64_t size) {
    ++visits_;
    unvisited_ = size;
  }
  // What going on from there costs where nothing is known yet, roughly: of the text alone, whatever
  // was asked before.
  uint32_t size(ConfigId config) const { return configs_[config].size; }
  ConfigId step_token(ConfigId config, int32_t token);
  ConfigId either(ConfigId a, ConfigId b);  // where a text may have come to both

  bool complete(ConfigId config) const;
  bool takes_bytes(ConfigId config) const { return configs_[config].pairs.size > 0; }
  // fn(id) for each token that may come as a whole; an id may come twice.
  template <class Fn>
  void each_token(ConfigId config, Fn&& fn) const {
    const RowId here = configs_[config].here;
    if (here == 0 || !chart_.expects_tokens(here)) return;
    for (const uint32_t set : chart_.token_sets(here)) {
      const Range& range = program_.token_sets[set];
      for (int32_t i = 0; i < range.count; ++i) {
        fn(program_.pool[static_cast<size_t>(range.first + i)]);
      }
    }
  }
  Room room(ConfigId config, CharKind kind);
  ConfigId adopt(const Machine& from, ConfigId config, std::unordered_map<RowId, RowId>& rows,
                 std::unordered_map<NodeId, NodeId>& nodes);

 private:
  struct Pair {
    RowId row;
    uint32_t state;
    bool operator<(const Pair& o) const { return row != o.row ? row < o.row : state < o.state; }
    bool operator==(const Pair& o) const { return row == o.row && state == o.state; }
  };
  struct Config {
    RowId here = 0;
    uint32_t size = 0;
    Span<Pair> pairs;  // ascending; the row of this place is among them if it takes bytes
    uint32_t* next = nullptr;
    uint64_t visits = 0;  // the last for which it was counted
  };
  ConfigId intern(RowId here, std::vector<Pair>& pairs);
  ConfigId compute(ConfigId config, uint32_t cls);
  void fill_alike(ConfigId config, uint32_t cls);

  Chart& chart_;
  Lexer& lexer_;
  const ByteClasses& classes_;
  const Program& program_;
  Budget& budget_;
  Arena arena_;
  std::vector<Config> configs_;
  IdTable ids_;
  ConfigId start_ = kDead;
  uint64_t visits_ = 0;
  int64_t unvisited_ = 0;
};

// All that is derived for one grammar, and dropped as a whole.
struct Space {
  Space(const Program& program, const ByteClasses& classes, const Budget& budget)
      : budget(budget), regexes(program, classes, this->budget) {}

  Budget budget;
  Regexes regexes;
  std::unique_ptr<Lexer> lexer;
  std::unique_ptr<Chart> chart;
  std::unique_ptr<Machine> machine;

  void begin(const Rules& rules, const ByteClasses& classes, const Program& program);
};

}  // namespace octavo::grammar
