#include "backends.h"

#include "cpu/cpu_backend.h"

namespace octavo {

std::unique_ptr<Backend> make_backend(const BackendOptions& o) {
  if (o.device < 0) {
    return CpuBackend::create(o.num_threads, o.isa.empty() ? nullptr : o.isa.c_str(), o.rounding);
  }
  DeviceOptions device;
  device.device = o.device;
  device.dtype = o.dtype;
  device.graphs = o.graphs;
  device.share_prefixes = o.share_prefixes;
  device.batch_invariant = o.batch_invariant;
  return make_device_backend(device);
}

const char* const* cpu_isas() { return CpuBackend::available_isas(); }

}  // namespace octavo
