#include "grammar/masks.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace octavo::grammar {

namespace {

constexpr size_t kLongWalk = 1'000;  // nodes; a shorter one is as fast as a copy
constexpr int64_t kKeptBytes = 96;   // of one mask, beside its words
constexpr int64_t kBranches = 8;     // ways on of a configuration that are not alike, or more

int64_t mask_bytes(const Vocabulary& vocabulary) {
  return static_cast<int64_t>(vocabulary.mask_words() * 4);
}

}  // namespace

Masks::Masks(const Vocabulary& vocabulary, const ByteClasses& classes, int64_t max_bytes)
    : vocabulary_(vocabulary),
      classes_(classes),
      max_kept_(static_cast<size_t>(max_bytes / (mask_bytes(vocabulary) + kKeptBytes))),
      configs_(vocabulary.max_depth() + 1),
      tables_(vocabulary.max_depth() + 1) {}

int64_t Masks::bytes() const {
  return static_cast<int64_t>(kept_.size()) * (mask_bytes(vocabulary_) + kKeptBytes);
}

void Masks::forget() {
  kept_.clear();
  kept_at_.clear();
  hand_ = 0;
}

void Masks::fill(Machine& machine, int64_t max_size, ConfigId config, uint32_t* words) {
  const size_t num_words = vocabulary_.mask_words();
  const auto kept = kept_at_.find(config);
  if (kept != kept_at_.end()) {
    Kept& k = kept_[kept->second];
    k.used = true;
    std::memcpy(words, k.words.data(), num_words * 4);
    return;
  }
  std::memset(words, 0, num_words * 4);
  size_t seen = 0;
  machine.begin_visits(max_size / kBranches);
  if (machine.takes_bytes(config)) {
    seen = fill_bytes(machine, config, words);
    vocabulary_.add_twins(words);
  }
  machine.each_token(config, [&](int32_t id) { words[id / 32] |= 1u << (id % 32); });
  if (seen >= kLongWalk && max_kept_ > 0) keep(config, words);
}

// Where there is no room, it takes that of one which nobody has asked for in a while.
void Masks::keep(ConfigId config, const uint32_t* words) {
  const size_t num_words = vocabulary_.mask_words();
  if (kept_.size() < max_kept_) {
    kept_at_.emplace(config, kept_.size());
    kept_.push_back({config, false, std::vector<uint32_t>(words, words + num_words)});
    return;
  }
  while (std::exchange(kept_[hand_].used, false)) hand_ = (hand_ + 1) % kept_.size();
  Kept& k = kept_[hand_];
  kept_at_.erase(k.config);
  kept_at_.emplace(config, hand_);
  hand_ = (hand_ + 1) % kept_.size();
  k.config = config;
  std::memcpy(k.words.data(), words, num_words * 4);
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
  tables_[0] = machine.visit(config);
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
    tables_[n.depth + 1u] = machine.visit(next);
  }
  return seen;
}

}  // namespace octavo::grammar
