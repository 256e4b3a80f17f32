// The probe of a build with CUDA. The runtime is linked statically: without a driver
// cudaGetDeviceCount returns an error, and the addon loads all the same.
#include <cuda_runtime.h>

#include "kernels/device.h"

namespace octavo {

DeviceProbe probe_devices() {
  DeviceProbe probe;
  probe.built = true;
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    probe.reason = cudaGetErrorString(status);
    return probe;
  }
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp p;
    if (cudaGetDeviceProperties(&p, i) != cudaSuccess) continue;
    probe.devices.push_back({p.name, p.major, p.minor, static_cast<int64_t>(p.totalGlobalMem)});
  }
  if (probe.devices.empty()) probe.reason = "the driver reports no device";
  return probe;
}

}  // namespace octavo
