// How often each token occurs in what penalties look at, for one row of the slabs: as large as
// there are different tokens, whatever the length.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace octavo {

class TokenCounts {
 public:
  struct Entry {
    int32_t id;
    int32_t count;  // in the output; 0 = only in the prompt
  };

  void clear() {
    place_.clear();
    entries_.clear();
  }
  void add(int32_t id, int32_t times) {
    const auto [place, is_new] = place_.try_emplace(id, static_cast<int32_t>(entries_.size()));
    if (is_new) entries_.push_back({id, 0});
    entries_[static_cast<size_t>(place->second)].count += times;
  }
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::unordered_map<int32_t, int32_t> place_;  // of each id in entries_
  std::vector<Entry> entries_;
};

}  // namespace octavo
