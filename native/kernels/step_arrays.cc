#include "kernels/step_arrays.h"

#include "base/check.h"

namespace octavo::device {

StepArrays::StepArrays(std::vector<int64_t> capacity) : capacity_(std::move(capacity)) {
  OCTAVO_CHECK(capacity_.size() <= UnpackArgs::kMaxRegions);
  int64_t words = 0;
  for (int64_t c : capacity_) {
    offset_.push_back(words);
    words += (c + 63) / 64 * 64;
  }
  device_ = DeviceMemory(static_cast<size_t>(words) * 4, "the arrays of a step");
  host_ = PinnedMemory(static_cast<size_t>(words) * 4, "the arrays of a step");
}

void* StepArrays::put_bytes(const void* values, int64_t bytes) {
  OCTAVO_CHECK(num_ < static_cast<int32_t>(capacity_.size()));
  OCTAVO_CHECK(bytes % 4 == 0 && bytes / 4 <= capacity_[num_]);
  if (bytes > 0) std::memcpy(host_.data() + packed_ * 4, values, static_cast<size_t>(bytes));
  int32_t* target = device_.as<int32_t>() + offset_[num_];
  unpack_.target[num_] = target;
  unpack_.begin[num_] = packed_;
  unpack_.words[num_] = bytes / 4;
  packed_ += (bytes / 4 + 3) / 4 * 4;
  ++num_;
  return target;
}

void StepArrays::send(cudaStream_t stream) {
  unpack_.source = reinterpret_cast<const int32_t*>(host_.data());
  unpack_.num_regions = num_;
  launch_unpack(unpack_, stream);
}

}  // namespace octavo::device
