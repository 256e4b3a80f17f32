// Owners of device and page-locked memory, and an arena for what one step sends and gets back.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/check_cuda.h"

namespace octavo::device {

// Frees with the right call; a device that is lost frees nothing, and that is no error.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(size_t bytes, const char* what) {
    check_cuda(cudaMalloc(&data_, bytes > 0 ? bytes : 1), what);
  }
  DeviceMemory(DeviceMemory&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~DeviceMemory() {
    if (data_ != nullptr) static_cast<void>(cudaFree(data_));
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

class PinnedMemory {
 public:
  PinnedMemory() = default;
  PinnedMemory(size_t bytes, const char* what) : bytes_(bytes) {
    check_cuda(cudaHostAlloc(&data_, bytes > 0 ? bytes : 1, cudaHostAllocDefault), what);
  }
  PinnedMemory(PinnedMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~PinnedMemory() {
    if (data_ != nullptr) static_cast<void>(cudaFreeHost(data_));
  }
  char* data() const { return static_cast<char*>(data_); }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Page-locked memory handed out until reset(); kernels read and write it through the bus. Grows by
// chunks when a step needs more than any before it; of a very large step's it keeps little.
class PinnedArena {
 public:
  void reset() {
    size_t kept = 0;
    const auto large = [&](const PinnedMemory& c) { return (kept += c.bytes()) > kMaxKept; };
    chunks_.erase(std::find_if(chunks_.begin(), chunks_.end(), large), chunks_.end());
    chunk_ = 0;
    used_ = 0;
  }
  template <class T>
  T* take(size_t count) {
    const size_t bytes = (count * sizeof(T) + 15) / 16 * 16;
    while (chunk_ < chunks_.size() && used_ + bytes > chunks_[chunk_].bytes()) {
      ++chunk_;
      used_ = 0;
    }
    if (chunk_ == chunks_.size()) {
      size_t size = size_t{1} << 20;
      while (size < bytes) size *= 2;
      chunks_.emplace_back(size, "page-locked memory of a step");
    }
    T* out = reinterpret_cast<T*>(chunks_[chunk_].data() + used_);
    used_ += bytes;
    return out;
  }
  template <class T>
  const T* copy(const T* values, size_t count) {
    T* out = take<T>(count);
    if (count > 0) std::memcpy(out, values, count * sizeof(T));
    return out;
  }

 private:
  static constexpr size_t kMaxKept = size_t{32} << 20;

  std::vector<PinnedMemory> chunks_;
  size_t chunk_ = 0, used_ = 0;
};

}  // namespace octavo::device
