// What CUDA devices there are. Safe to call without a driver.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace octavo {

struct DeviceInfo {
  std::string name;
  int major = 0, minor = 0;
  int64_t memory_bytes = 0;
};

struct DeviceProbe {
  bool built = false;  // was this addon built with CUDA?
  std::string reason;  // why `devices` is empty
  std::vector<DeviceInfo> devices;
};

DeviceProbe probe_devices();

}  // namespace octavo
