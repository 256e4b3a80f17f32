// Where the bytes of a stored matrix come from: memory, or a file that is read piece by piece while
// it is brought into the form that ops read.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/tensor.h"

namespace octavo {

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // Bytes [at, at + bytes) of the matrix: whole rows, or of plain types whole values. False if they
  // cannot be had; whoever made the source knows why. From any thread.
  virtual bool read(int64_t at, int64_t bytes, void* out) const noexcept = 0;
};

class MemorySource : public WeightSource {
 public:
  explicit MemorySource(const void* data) : data_(static_cast<const char*>(data)) {}
  bool read(int64_t at, int64_t bytes, void* out) const noexcept override {
    std::memcpy(out, data_ + at, static_cast<size_t>(bytes));
    return true;
  }

 private:
  const char* data_;
};

}  // namespace octavo
