// Memory and hash tables of what is interned: grown only, counted in bytes, dropped as a whole.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "grammar/budget.h"

namespace octavo::grammar {

constexpr uint32_t kNone = UINT32_MAX;

template <class T>
struct Span {
  const T* data = nullptr;
  uint32_t size = 0;
  const T* begin() const { return data; }
  const T* end() const { return data + size; }
  const T& operator[](size_t i) const { return data[i]; }
};

// Plain values that stay where they are until the arena goes.
class Arena {
 public:
  explicit Arena(Budget& budget) : budget_(budget) {}

  template <class T>
  T* take(size_t n) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 8);
    const size_t bytes = (n * sizeof(T) + 7) / 8 * 8;
    if (bytes > left_) add_chunk(bytes);
    T* out = reinterpret_cast<T*>(at_);
    at_ += bytes;
    left_ -= bytes;
    return out;
  }
  template <class T>
  T* take_zeros(size_t n) {
    T* out = take<T>(n);
    std::memset(static_cast<void*>(out), 0, n * sizeof(T));
    return out;
  }
  template <class T>
  Span<T> copy(const std::vector<T>& v) {
    if (v.empty()) return {};
    T* out = take<T>(v.size());
    std::memcpy(static_cast<void*>(out), v.data(), v.size() * sizeof(T));
    return {out, static_cast<uint32_t>(v.size())};
  }

 private:
  void add_chunk(size_t bytes) {
    const size_t size = bytes > chunk_ / 4 ? bytes : chunk_;
    budget_.take_bytes(static_cast<int64_t>(size));
    chunks_.emplace_back(new uint64_t[size / 8]);
    at_ = reinterpret_cast<char*>(chunks_.back().get());
    left_ = size;
    if (chunk_ < size_t{1} << 18) chunk_ *= 2;
  }

  Budget& budget_;
  std::vector<std::unique_ptr<uint64_t[]>> chunks_;
  char* at_ = nullptr;
  size_t left_ = 0, chunk_ = 1 << 13;
};

inline uint32_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  return static_cast<uint32_t>(x ^ x >> 32);
}

inline uint32_t hash_words(const uint32_t* words, size_t n, uint64_t seed) {
  uint64_t h = seed * 0x9E3779B97F4A7C15u + n;
  for (size_t i = 0; i < n; ++i) {
    h = (h ^ words[i]) * 0xD6E8FEB86659FD93u;
    h ^= h >> 29;
  }
  return mix(h);
}

// Hash → id of what is interned; the values themselves lie elsewhere.
class IdTable {
 public:
  explicit IdTable(Budget& budget) : budget_(budget) { grow(64); }

  template <class Equal>
  uint32_t find(uint32_t hash, const Equal& equal) const {
    for (size_t i = hash & mask_;; i = (i + 1) & mask_) {
      const Slot& s = slots_[i];
      if (s.id == kNone || (s.hash == hash && equal(s.id))) return s.id;
    }
  }
  void insert(uint32_t hash, uint32_t id) {
    if (++size_ * 2 > slots_.size()) grow(slots_.size() * 2);
    place({hash, id});
  }

 private:
  struct Slot {
    uint32_t hash = 0, id = kNone;
  };
  void place(Slot slot) {
    size_t i = slot.hash & mask_;
    while (slots_[i].id != kNone) i = (i + 1) & mask_;
    slots_[i] = slot;
  }
  void grow(size_t size) {
    budget_.take_bytes(static_cast<int64_t>((size - slots_.size()) * sizeof(Slot)));
    std::vector<Slot> old(size);
    old.swap(slots_);
    mask_ = size - 1;
    for (const Slot& s : old) {
      if (s.id != kNone) place(s);
    }
  }

  Budget& budget_;
  std::vector<Slot> slots_;
  size_t mask_ = 0, size_ = 0;
};

// A pair of numbers → a number: what has been computed before.
class Memo {
 public:
  explicit Memo(Budget& budget) : budget_(budget) { grow(64); }

  uint32_t find(uint32_t a, uint32_t b) const {
    const uint64_t key = uint64_t{a} << 32 | b;
    for (size_t i = mix(key) & mask_;; i = (i + 1) & mask_) {
      const Slot& s = slots_[i];
      if (s.value == kNone || s.key == key) return s.value;
    }
  }
  void insert(uint32_t a, uint32_t b, uint32_t value) {
    if (++size_ * 2 > slots_.size()) grow(slots_.size() * 2);
    place({uint64_t{a} << 32 | b, value});
  }

 private:
  struct Slot {
    uint64_t key = 0;
    uint32_t value = kNone;
  };
  void place(Slot slot) {
    size_t i = mix(slot.key) & mask_;
    while (slots_[i].value != kNone && slots_[i].key != slot.key) i = (i + 1) & mask_;
    slots_[i] = slot;
  }
  void grow(size_t size) {
    budget_.take_bytes(static_cast<int64_t>((size - slots_.size()) * sizeof(Slot)));
    std::vector<Slot> old(size);
    old.swap(slots_);
    mask_ = size - 1;
    for (const Slot& s : old) {
      if (s.value != kNone) place(s);
    }
  }

  Budget& budget_;
  std::vector<Slot> slots_;
  size_t mask_ = 0, size_ = 0;
};

}  // namespace octavo::grammar
