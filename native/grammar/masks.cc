#include "grammar/masks.h"

#include <algorithm>
#include <cstring>

namespace octavo::grammar {

namespace {
constexpr size_t kLongWalk = 1'000;  // nodes; a shorter one is as fast as a copy
}

Masks::Masks(const Vocabulary& vocabulary, const ByteClasses& classes, int64_t max_bytes)
    : vocabulary_(vocabulary),
      classes_(classes),
      max_kept_(static_cast<size_t>(max_bytes) / (vocabulary.mask_words() * 4 + 64)),
      configs_(vocabulary.max_depth() + 1),
      tables_(vocabulary.max_depth() + 1) {}

int64_t Masks::bytes() const {
  return static_cast<int64_t>(kept_.size() * (vocabulary_.mask_words() * 4 + 64));
}

void Masks::fill(Machine& machine, Budget& budget, ConfigId config, uint32_t* words) {
  const size_t num_words = vocabulary_.mask_words();
  const auto kept = kept_.find(config);
  if (kept != kept_.end()) {
    std::memcpy(words, kept->second.data(), num_words * 4);
    return;
  }
  std::memset(words, 0, num_words * 4);
  size_t seen = 0;
  if (machine.takes_bytes(config)) {
    seen = fill_bytes(machine, config, words);
    vocabulary_.add_twins(words);
  }
  machine.each_token(config, [&](int32_t id) { words[id / 32] |= 1u << (id % 32); });
  budget.spend(static_cast<int64_t>(seen / 4));
  if (seen < kLongWalk || max_kept_ == 0) return;
  if (kept_.size() >= max_kept_) kept_.clear();
  kept_.emplace(config, std::vector<uint32_t>(words, words + num_words));
}

size_t Masks::fill_bytes(Machine& machine, ConfigId config, uint32_t* words) {
  const Room plain = machine.room(config, kPlain);
  size_t covered = 0;
  while (covered < kNumSlices && vocabulary_.plain_slice(covered).max_chars <= plain.alive) {
    ++covered;
  }
  if (covered > 0) {
    const std::vector<uint32_t>& mask = vocabulary_.plain_slice(covered - 1).mask;
    std::memcpy(words, mask.data(), mask.size() * 4);
  }
  size_t seen = walk(machine, vocabulary_.rest(), config, words);
  if (covered == kNumSlices) return seen;
  seen += fill_group(machine, kOtherPlain, config, covered, plain, words);
  seen += fill_group(machine, kWords, config, covered, machine.room(config, kLetters), words);
  const ConfigId spaced = machine.step(config, classes_.of[' ']);
  if (spaced == kDead) return seen;
  Room room = machine.room(spaced, kLetters);  // and the space itself
  room.alive += room.alive != kForever;
  room.dead += room.dead != kNone;
  return seen + fill_group(machine, kSpacedWords, config, covered, room, words);
}

size_t Masks::fill_group(Machine& machine, GroupId id, ConfigId config, size_t from, Room room,
                         uint32_t* words) {
  const Group& group = vocabulary_.group(id);
  const uint32_t dead = room.quiet ? room.dead : kNone;
  size_t covered = from;
  while (covered < kNumSlices && group.slices[covered].max_chars <= room.alive) ++covered;
  if (covered > from) {
    const std::vector<uint32_t>& mask = group.slices[covered - 1].mask;
    for (size_t i = 0; i < mask.size(); ++i) words[i] |= mask[i];
  }
  size_t end = covered, open = 0;
  for (; end < kNumSlices && group.slices[end].min_chars < dead; ++end) {
    open += group.slices[end].num_tokens;
  }
  if (open > group.num_tokens / 2) return walk(machine, group.all, config, words);
  size_t seen = 0;
  for (size_t i = covered; i < end; ++i) {
    seen += walk(machine, group.slices[i].trie, config, words);
  }
  return seen;
}

size_t Masks::walk(Machine& machine, const Trie& trie, ConfigId config, uint32_t* words) {
  const TrieNode* nodes = trie.nodes.data();
  const auto end = static_cast<uint32_t>(trie.nodes.size());
  const uint8_t* class_of = classes_.of.data();
  configs_[0] = config;
  tables_[0] = machine.table(config);
  size_t seen = 0;
  for (uint32_t i = 0; i < end; ++seen) {
    const TrieNode& n = nodes[i];
    const uint32_t cls = class_of[n.byte];
    uint32_t next = tables_[n.depth][cls];
    if (next == kUnknown) next = machine.step(configs_[n.depth], cls);
    if (next == kDead) {
      i = n.end;
      continue;
    }
    if (n.token >= 0) words[n.token / 32] |= 1u << (n.token % 32);
    if (++i == n.end) continue;
    configs_[n.depth + 1u] = next;
    tables_[n.depth + 1u] = machine.table(next);
  }
  return seen;
}

}  // namespace octavo::grammar
