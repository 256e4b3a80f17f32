// The arrays of a step at fixed device addresses, so that a recorded step can be replayed. The host
// packs them into page-locked memory; one kernel spreads them.
#pragma once

#include <vector>

#include "kernels/device_memory.h"
#include "kernels/launchers.h"

namespace octavo::device {

class StepArrays {
 public:
  StepArrays() = default;
  // Words of each region at most, in the order of put().
  explicit StepArrays(std::vector<int64_t> capacity);

  void begin() { packed_ = 0, num_ = 0; }
  // Copies `count` values to the host side of the next region; returns where the device will find
  // them.
  template <class T>
  T* put(const T* values, int64_t count) {
    return static_cast<T*>(put_bytes(values, count * static_cast<int64_t>(sizeof(T))));
  }
  template <class T>
  T* put(const std::vector<T>& values) {
    return put(values.data(), static_cast<int64_t>(values.size()));
  }
  // Null where there are none; the region is left out.
  template <class T>
  const T* put_if_any(const T* values, int64_t count) {
    const T* const there = put(values, values != nullptr ? count : 0);
    return values != nullptr ? there : nullptr;
  }
  void send(cudaStream_t stream);

 private:
  void* put_bytes(const void* values, int64_t bytes);

  std::vector<int64_t> capacity_, offset_;  // of each region, in words
  DeviceMemory device_;
  PinnedMemory host_;
  UnpackArgs unpack_;
  int64_t packed_ = 0;
  int32_t num_ = 0;
};

}  // namespace octavo::device
