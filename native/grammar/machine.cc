#include "grammar/machine.h"

#include <algorithm>

namespace octavo::grammar {

namespace {
constexpr uint32_t kMaxAlike = 4;  // pairs
}

void Space::begin(const Rules& rules, const ByteClasses& classes, const Program& program) {
  lexer = std::make_unique<Lexer>(regexes, classes, budget);
  chart = std::make_unique<Chart>(rules, *lexer, budget);
  machine = std::make_unique<Machine>(*chart, *lexer, classes, program, budget);
}

Machine::Machine(Chart& chart, Lexer& lexer, const ByteClasses& classes, const Program& program,
                 Budget& budget)
    : chart_(chart),
      lexer_(lexer),
      classes_(classes),
      program_(program),
      budget_(budget),
      arena_(budget),
      configs_(2),  // kUnknown and kDead
      ids_(budget) {
  std::vector<Pair> none;
  start_ = intern(chart_.start(), none);
}

bool Machine::complete(ConfigId config) const {
  const RowId here = configs_[config].here;
  return here != 0 && chart_.complete(here);
}

// Adds the pair of the row of this place.
ConfigId Machine::intern(RowId here, std::vector<Pair>& pairs) {
  if (here != 0 && chart_.lexer_state(here) != kDead) {
    pairs.push_back({here, chart_.lexer_state(here)});
  }
  if (pairs.empty() && (here == 0 || !(chart_.complete(here) || chart_.expects_tokens(here)))) {
    return kDead;
  }
  if (pairs.size() > 1) {
    std::sort(pairs.begin(), pairs.end());
    pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  }
  const auto* words = pairs.empty() ? nullptr : &pairs[0].row;
  const uint32_t hash = hash_words(words, 2 * pairs.size(), here);
  const uint32_t known = ids_.find(hash, [&](uint32_t id) {
    const Config& c = configs_[id];
    return c.here == here && c.pairs.size == pairs.size() &&
           std::equal(pairs.begin(), pairs.end(), c.pairs.begin());
  });
  if (known != kNone) return known;
  budget_.take_state();
  budget_.take_bytes(sizeof(Config));
  const auto id = static_cast<ConfigId>(configs_.size());
  uint64_t size = 1 + (here != 0 ? chart_.weight(here) : 0);
  for (const Pair& p : pairs) size += lexer_.weight(p.state);
  const auto most = static_cast<uint32_t>(std::min<uint64_t>(size, kMaxWeight));
  configs_.push_back({here, most, arena_.copy(pairs), nullptr, 0});
  ids_.insert(hash, id);
  return id;
}

ConfigId Machine::compute(ConfigId config, uint32_t cls) {
  table(config);
  const Span<Pair> pairs = configs_[config].pairs;
  budget_.spend(2 + pairs.size);
  std::vector<Pair> going;
  going.reserve(pairs.size + 1);
  std::vector<Item> kernel;
  RowId only_row = 0;
  uint32_t only_set = 0, num_accepting = 0;
  for (const Pair& p : pairs) {
    const LexEdge edge = lexer_.next(p.state, cls);
    if (edge.state != kDead) going.push_back({p.row, edge.state});
    if (edge.accepted == 0) continue;
    if (++num_accepting == 1) {
      only_row = p.row;
      only_set = edge.accepted;
      continue;
    }
    if (num_accepting == 2) chart_.scan(only_row, only_set, kernel);
    chart_.scan(p.row, edge.accepted, kernel);
  }
  RowId here = 0;
  if (num_accepting == 1) here = chart_.after(only_row, only_set);
  if (num_accepting > 1) here = chart_.row(kernel);
  const ConfigId out = intern(here, going);
  configs_[config].next[cls] = out;
  if (pairs.size <= kMaxAlike) fill_alike(config, cls);
  return out;
}

// Classes by which all pairs are known to go the same way lead to the same configuration.
void Machine::fill_alike(ConfigId config, uint32_t cls) {
  const Config& c = configs_[config];
  LexEdge edges[kMaxAlike];
  for (uint32_t i = 0; i < c.pairs.size; ++i) edges[i] = lexer_.known(c.pairs[i].state, cls);
  for (uint32_t other = 0; other < classes_.count; ++other) {
    if (c.next[other] != kUnknown) continue;
    bool same = true;
    for (uint32_t i = 0; i < c.pairs.size && same; ++i) {
      same = lexer_.known(c.pairs[i].state, other) == edges[i];
    }
    if (same) c.next[other] = c.next[cls];
  }
}

ConfigId Machine::step_token(ConfigId config, int32_t token) {
  const RowId here = configs_[config].here;
  if (here == 0) return kDead;
  std::vector<Item> kernel;
  for (const uint32_t set : chart_.token_sets(here)) {
    const Range& range = program_.token_sets[set];
    const int32_t* first = program_.pool.data() + range.first;
    if (std::binary_search(first, first + range.count, token)) {
      chart_.scan_token(here, set, kernel);
    }
  }
  std::vector<Pair> none;
  return intern(chart_.row(kernel), none);
}

ConfigId Machine::either(ConfigId a, ConfigId b) {
  if (a == kDead || a == b) return b;
  if (b == kDead) return a;
  const Config x = configs_[a], y = configs_[b];
  std::vector<Pair> pairs(x.pairs.begin(), x.pairs.end());
  pairs.insert(pairs.end(), y.pairs.begin(), y.pairs.end());
  return intern(chart_.either(x.here, y.here), pairs);
}

Room Machine::room(ConfigId config, CharKind kind) {
  Room out = {0, 0, true};
  for (const Pair& p : configs_[config].pairs) {
    const Room room = lexer_.room(p.state, kind);
    out.alive = std::max(out.alive, room.alive);
    out.dead = std::max(out.dead, room.dead);
    out.quiet = out.quiet && room.quiet;
  }
  return out;
}

ConfigId Machine::adopt(const Machine& from, ConfigId config,
                        std::unordered_map<RowId, RowId>& rows,
                        std::unordered_map<NodeId, NodeId>& nodes) {
  if (config == kDead) return kDead;
  const Config& c = from.configs_[config];
  std::vector<Pair> pairs;
  for (const Pair& p : c.pairs) {
    const RowId row = chart_.adopt(from.chart_, p.row, rows);
    pairs.push_back({row, lexer_.adopt(from.lexer_, p.state, nodes)});
  }
  return intern(chart_.adopt(from.chart_, c.here, rows), pairs);
}

}  // namespace octavo::grammar
