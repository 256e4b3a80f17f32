// The owner of memory: a pointer and the Ops that frees it.
#pragma once

#include <string>
#include <utility>

#include "base/error.h"
#include "ops.h"

namespace octavo {

class Buffer {
 public:
  Buffer() = default;
  // Memory that ops read and write. Throws ERR_OUT_OF_MEMORY; the sentence names `what` there is no
  // room for and what to lower.
  Buffer(const Ops& ops, size_t bytes, const std::string& what,
         const char* lower = "kvCacheMemoryBytes, maxModelLen or maxNumBatchedTokens")
      : ops_(&ops), bytes_(bytes) {
    if (bytes > 0) data_ = ops.allocate(ops.context, bytes);
    check(what, lower);
  }
  // Host memory that swaps are fast with.
  static Buffer for_swaps(const Ops& ops, size_t bytes) {
    Buffer buffer;
    buffer.ops_ = &ops;
    buffer.bytes_ = bytes;
    buffer.on_host_ = true;
    if (bytes > 0) buffer.data_ = ops.allocate_host(ops.context, bytes);
    buffer.check("the swap space", "swapSpace");
    return buffer;
  }
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(ops_, other.ops_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(on_host_, other.on_host_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (data_ == nullptr) return;
    (on_host_ ? ops_->release_host : ops_->release)(ops_->context, data_, bytes_);
  }

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void check(const std::string& what, const char* lower) const {
    if (data_ != nullptr || bytes_ == 0) return;
    throw Error(kErrOutOfMemory, "could not allocate " + std::to_string(bytes_) + " bytes for " +
                                     what + "; lower " + lower);
  }

  const Ops* ops_ = nullptr;
  void* data_ = nullptr;
  size_t bytes_ = 0;
  bool on_host_ = false;
};

}  // namespace octavo
