#include "grammar/vocabulary.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>

#include "base/error.h"
#include "grammar/byte_classes.h"

namespace octavo::grammar {

namespace {

// Finer where a grammar's limits lie more often.
constexpr uint32_t kSliceEnds[kNumSlices] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 22, 30, kNone};
constexpr int32_t kMaxTokens = 1 << 23;

void check(bool good, const char* what) {
  if (!good) throw Error(kErrInvalidOption, std::string("native: a vocabulary needs ") + what);
}

void set_bit(uint32_t* words, int32_t id) { words[id / 32] |= 1u << (id % 32); }

}  // namespace

Vocabulary::Vocabulary(std::vector<uint8_t> bytes, std::vector<int32_t> offsets,
                       std::vector<int32_t> end_tokens)
    : bytes_(std::move(bytes)), offsets_(std::move(offsets)), end_tokens_(std::move(end_tokens)) {
  check(!offsets_.empty() && offsets_.size() <= size_t{kMaxTokens} + 1, "1 to 2²³ offsets");
  num_tokens_ = static_cast<int32_t>(offsets_.size()) - 1;
  check(offsets_.front() == 0, "offsets from 0 on");
  for (int32_t i = 0; i < num_tokens_; ++i) {
    const int64_t length =
        int64_t{offsets_[static_cast<size_t>(i) + 1]} - offsets_[static_cast<size_t>(i)];
    check(length >= 0 && length < 65'536, "offsets that ascend, by less than 65,536");
    max_depth_ = std::max(max_depth_, static_cast<uint32_t>(length));
  }
  check(static_cast<size_t>(offsets_.back()) == bytes_.size(), "offsets to the end of its bytes");
  for (const int32_t id : end_tokens_) {
    check(id >= 0 && id < num_tokens_, "end tokens that are tokens");
  }
  std::sort(end_tokens_.begin(), end_tokens_.end());
  end_tokens_.erase(std::unique(end_tokens_.begin(), end_tokens_.end()), end_tokens_.end());
  sort_tokens();
  find_groups();
}

Span<uint8_t> Vocabulary::token(int32_t id) const {
  const auto i = static_cast<size_t>(id);
  return {bytes_.data() + offsets_[i], static_cast<uint32_t>(offsets_[i + 1] - offsets_[i])};
}

bool Vocabulary::is_end(int32_t id) const {
  return std::binary_search(end_tokens_.begin(), end_tokens_.end(), id);
}

void Vocabulary::add_twins(uint32_t* words) const {
  for (const auto& [id, twin] : twins_) {
    if (words[id / 32] >> (id % 32) & 1) set_bit(words, twin);
  }
}

int64_t Vocabulary::memory() const {
  const auto of = [](const auto& v) { return v.capacity() * sizeof(v[0]); };
  size_t sum = of(bytes_) + of(offsets_) + of(sorted_) + of(twins_);
  sum += of(rest_.nodes);
  for (const Slice& s : plain_slices_) sum += of(s.mask);
  for (const Group& g : groups_) {
    sum += of(g.all.nodes);
    for (const Slice& s : g.slices) sum += of(s.trie.nodes) + of(s.mask);
  }
  return static_cast<int64_t>(sum);
}

// By their first eight bytes as a number, then by the others; of equal ones the lowest id stays.
void Vocabulary::sort_tokens() {
  struct Key {
    uint64_t head;
    int32_t id;
  };
  std::vector<Key> keys;
  for (int32_t id = 0; id < num_tokens_; ++id) {
    const Span<uint8_t> t = token(id);
    if (t.size == 0) continue;
    uint64_t head = 0;
    for (uint32_t i = 0; i < 8; ++i) head = head << 8 | (i < t.size ? t[i] : 0);
    keys.push_back({head, id});
  }
  const auto compare = [this](int32_t a, int32_t b) {
    const Span<uint8_t> x = token(a), y = token(b);
    const int order = std::memcmp(x.data, y.data, std::min(x.size, y.size));
    return order != 0 ? order : (x.size > y.size) - (x.size < y.size);
  };
  std::sort(keys.begin(), keys.end(), [&](const Key& a, const Key& b) {
    if (a.head != b.head) return a.head < b.head;
    const int order = compare(a.id, b.id);
    return order != 0 ? order < 0 : a.id < b.id;
  });
  for (const Key& k : keys) {
    if (!sorted_.empty() && compare(sorted_.back(), k.id) == 0) {
      twins_.emplace_back(sorted_.back(), k.id);
    } else {
      sorted_.push_back(k.id);
    }
  }
}

int Vocabulary::plain_chars(int32_t id, GroupId* group) const {
  const Span<uint8_t> t = token(id);
  int state = 0, chars = 0;
  uint32_t letters = 0;
  for (const uint8_t b : t) {
    state = char_step(kPlain, state, b);
    if (state < 0) return -1;
    chars += state == 0;
    letters += char_step(kLetters, 0, b) == 0;
  }
  *group = letters == t.size                                    ? kWords
           : t[0] == ' ' && t.size > 1 && letters == t.size - 1 ? kSpacedWords
                                                                : kOtherPlain;
  return state == 0 ? chars : -1;
}

void Vocabulary::find_groups() {
  std::vector<int32_t> rest, all[kNumGroups], ids[kNumGroups][kNumSlices];
  for (const int32_t id : sorted_) {
    GroupId group = kOtherPlain;
    const int chars = plain_chars(id, &group);
    if (chars < 0) {
      rest.push_back(id);
      continue;
    }
    const auto n = static_cast<uint32_t>(chars);
    const auto i = static_cast<size_t>(
        std::lower_bound(std::begin(kSliceEnds), std::end(kSliceEnds), n) - kSliceEnds);
    all[group].push_back(id);
    ids[group][i].push_back(id);
    for (Slice* s : {&groups_[group].slices[i], &plain_slices_[i]}) {
      s->max_chars = std::max(s->max_chars, n);
      ++s->num_tokens;
    }
  }
  build(rest_, rest);
  std::vector<uint32_t> plain(mask_words(), 0), mask;
  for (size_t g = 0; g < kNumGroups; ++g) {
    groups_[g].num_tokens = static_cast<uint32_t>(all[g].size());
    build(groups_[g].all, all[g]);
    mask.assign(mask_words(), 0);
    for (size_t i = 0; i < kNumSlices; ++i) {
      Slice& s = groups_[g].slices[i];
      s.min_chars = i == 0 ? 1 : kSliceEnds[i - 1] + 1;
      build(s.trie, ids[g][i]);
      for (const int32_t id : ids[g][i]) set_bit(mask.data(), id);
      s.mask = mask;
      add_twins(s.mask.data());
    }
  }
  for (size_t i = 0; i < kNumSlices; ++i) {
    for (const auto& group : ids) {
      for (const int32_t id : group[i]) set_bit(plain.data(), id);
    }
    plain_slices_[i].mask = plain;
    add_twins(plain_slices_[i].mask.data());
  }
}

void Vocabulary::build(Trie& trie, const std::vector<int32_t>& ids) const {
  std::vector<TrieNode>& nodes = trie.nodes;
  std::vector<uint32_t> way;  // the nodes above, by depth
  Span<uint8_t> last;
  const auto leave = [&](size_t depth) {
    for (; way.size() > depth; way.pop_back()) {
      nodes[way.back()].end = static_cast<uint32_t>(nodes.size());
    }
  };
  for (const int32_t id : ids) {
    const Span<uint8_t> t = token(id);
    uint32_t same = 0;
    while (same < last.size && same < t.size && last[same] == t[same]) ++same;
    leave(same);
    for (uint32_t d = same; d < t.size; ++d) {
      way.push_back(static_cast<uint32_t>(nodes.size()));
      nodes.push_back({0, -1, static_cast<uint16_t>(d), t[d]});
    }
    nodes.back().token = id;
    last = t;
  }
  leave(0);
  nodes.shrink_to_fit();
}

}  // namespace octavo::grammar
