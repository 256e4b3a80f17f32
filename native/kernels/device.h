// CUDA devices as the rest of the house sees them: which there are, and a backend on one. Safe to
// call in any build and without a driver.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"

namespace octavo {

struct DeviceInfo {
  std::string name;
  int major = 0, minor = 0;
  int64_t memory_bytes = 0;
};

struct DeviceProbe {
  std::string kind;    // "cuda", "simt" in the test addon, "none" in a build for the CPU only
  std::string reason;  // why `devices` is empty
  std::vector<DeviceInfo> devices;
};

DeviceProbe probe_devices();

struct DeviceOptions {
  int32_t device = 0;
  DType dtype = DType::kBF16;  // of activations: this or kF16
  bool graphs = true;
  bool share_prefixes = true;  // cascade attention
  // A row has the same bits in any batch. False: large matrix products may go to cuBLASLt, which is
  // searched for where no path is given.
  bool batch_invariant = true;
  std::string cublas_lt;
};

// Throws ERR_DEVICE_NOT_FOUND, ERR_OUT_OF_MEMORY, ERR_DEVICE_LOST.
std::unique_ptr<Backend> make_device_backend(const DeviceOptions& options);

}  // namespace octavo
