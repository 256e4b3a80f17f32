// CUDA's errors as the house throws them.
#pragma once

#include <string>

#include "base/error.h"
#include "kernels/runtime.h"

namespace octavo::device {

// Turns a CUDA error into what the house throws. Out of memory passes: its error is taken from the
// runtime, so that the next healthy launch does not find it. After any other the context is taken
// to be gone, and the engine with it.
inline void check_cuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  const bool memory = error == cudaErrorMemoryAllocation;
  throw Error(memory ? kErrOutOfMemory : kErrDeviceLost,
              std::string(what) + ": " + cudaGetErrorString(error) +
                  (memory ? "" : "; close this engine and load the model anew"));
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace octavo::device
