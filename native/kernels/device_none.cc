// A build without CUDA.
#include "base/error.h"
#include "kernels/device.h"

namespace octavo {

DeviceProbe probe_devices() {
  DeviceProbe probe;
  probe.kind = "none";
  probe.reason = "this addon was built for the CPU only; rebuild with OCTAVO_CUDA=native or all";
  return probe;
}

std::unique_ptr<Backend> make_device_backend(const DeviceOptions&) {
  throw Error(kErrDeviceNotFound, probe_devices().reason);
}

}  // namespace octavo
