// How kernels are started, and their shared memory. `<<<>>>` is not C++, so that launch() is the
// one way.
#pragma once

#include <utility>

#include "kernels/check_cuda.h"

// A block's dynamic shared memory, 1,024-byte aligned. Everything shared lies there, laid out by
// the kernel, so that its size is exact and the emulator's sanitizers see one byte too far.
#ifdef OCTAVO_SIMT
#define OCTAVO_SHARED(name) unsigned char* const name = ::simt::Engine::current().shared
#else
#define OCTAVO_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]
#endif

namespace octavo::device {

constexpr unsigned kAllLanes = 0xffffffffu;

template <class... Params, class... Args>
void launch(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes,
            cudaStream_t stream, Args&&... args) {
#ifdef OCTAVO_SIMT
  simt::enqueue(stream, grid, block, shared_bytes, [=] { kernel(args...); });
#else
  if (shared_bytes > 48 * 1024) {
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shared_bytes)),
               "shared memory");
  }
  // clang-format off
  kernel<<<grid, block, shared_bytes, stream>>>(std::forward<Args>(args)...);
  // clang-format on
#endif
  check_cuda(cudaGetLastError(), "kernel launch");
}

}  // namespace octavo::device
