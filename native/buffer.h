// The owner of device memory: a pointer and the Ops that frees it.
#pragma once

#include <string>
#include <utility>

#include "base/error.h"
#include "ops.h"

namespace octavo {

class Buffer {
 public:
  Buffer() = default;
  // Throws ERR_OUT_OF_MEMORY; `what` names the thing in the sentence.
  Buffer(const Ops& ops, size_t bytes, const std::string& what) : ops_(&ops), bytes_(bytes) {
    if (bytes == 0) return;
    data_ = ops.allocate(ops.context, bytes);
    if (data_ == nullptr) {
      throw Error(kErrOutOfMemory, "could not allocate " + std::to_string(bytes) + " bytes for " +
                                       what + "; lower kvCacheMemoryBytes, maxModelLen or " +
                                       "maxNumBatchedTokens");
    }
  }
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(ops_, other.ops_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (data_ != nullptr) ops_->release(ops_->context, data_, bytes_);
  }

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  const Ops* ops_ = nullptr;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Host memory that swaps are fast with.
class HostBuffer {
 public:
  HostBuffer() = default;
  // Throws ERR_OUT_OF_MEMORY.
  HostBuffer(const Ops& ops, size_t bytes) : ops_(&ops), bytes_(bytes) {
    if (bytes == 0) return;
    data_ = ops.allocate_host(ops.context, bytes);
    if (data_ == nullptr) {
      throw Error(kErrOutOfMemory, "could not allocate " + std::to_string(bytes) +
                                       " bytes of host memory to swap to; lower swapSpace");
    }
  }
  HostBuffer(HostBuffer&& other) noexcept { *this = std::move(other); }
  HostBuffer& operator=(HostBuffer&& other) noexcept {
    std::swap(ops_, other.ops_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;
  ~HostBuffer() {
    if (data_ != nullptr) ops_->release_host(ops_->context, data_, bytes_);
  }

  void* data() const { return data_; }

 private:
  const Ops* ops_ = nullptr;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace octavo
