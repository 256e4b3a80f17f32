// The probe of a build without CUDA.
#include "kernels/device.h"

namespace octavo {

DeviceProbe probe_devices() {
  DeviceProbe probe;
  probe.reason = "this addon was built for the CPU only; rebuild with OCTAVO_CUDA=native or all";
  return probe;
}

}  // namespace octavo
