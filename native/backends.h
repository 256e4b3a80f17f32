// Which backends there are. What is above the waist makes one here and names none itself.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend.h"
#include "base/dtype.h"
#include "base/rounding.h"
#include "kernels/device.h"

namespace octavo {

struct BackendOptions {
  int32_t device = -1;  // −1 = the CPU, else the number of a GPU
  // Of the CPU:
  int32_t num_threads = 1;
  std::string isa;  // empty = the best this machine has
  Rounding rounding;
  // Of a device:
  DType dtype = DType::kBF16;  // of activations: this or kF16
  bool graphs = true;
  bool share_prefixes = true;
  bool batch_invariant = true;
};

// Throws ERR_INVALID_OPTION, ERR_DEVICE_NOT_FOUND, ERR_OUT_OF_MEMORY, ERR_DEVICE_LOST.
std::unique_ptr<Backend> make_backend(const BackendOptions& options);

// Instruction sets of the CPU that this machine runs, best first; ends with null.
const char* const* cpu_isas();

}  // namespace octavo
