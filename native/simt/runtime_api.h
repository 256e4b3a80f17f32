// The part of the CUDA runtime API that the device backend uses, on the host. A stream runs what it
// is given at once or, as a device may (Config::streams_late), when somebody waits for it: then a
// host that reads or overwrites too early is seen. While a stream captures, it records, and a graph
// replays. Device memory is host memory of exact size, poisoned with NaN, bounded by
// simt::device().memory_bytes. A call that fails leaves its error for cudaGetLastError, too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

#include "simt/emulator.h"

using dim3 = simt::Dim3;

// Numbers are NVIDIA's.
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorIllegalAddress = 700,
  cudaErrorStreamCaptureInvalidated = 901,
};
enum cudaMemcpyKind {
  cudaMemcpyHostToDevice = 1,
  cudaMemcpyDeviceToHost = 2,
  cudaMemcpyDeviceToDevice = 3,
  cudaMemcpyDefault = 4
};
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaHostAllocDefault = 0;

namespace simt {
struct Stream;
struct Graph;
struct Event;
}  // namespace simt
using cudaStream_t = simt::Stream*;
using cudaEvent_t = simt::Event*;
using cudaGraph_t = simt::Graph*;
using cudaGraphExec_t = simt::Graph*;

struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  int major, minor, multiProcessorCount;
  size_t sharedMemPerBlockOptin, sharedMemPerMultiprocessor;
};

const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes);
cudaError_t cudaMalloc(void** data, size_t bytes);
cudaError_t cudaFree(void* data);
cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* data);
cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t stop);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, uint64_t flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int bytes) {
  return bytes <= static_cast<int>(simt::kMaxSharedBytes) ? cudaSuccess : cudaErrorInvalidValue;
}

namespace simt {

// The emulated device; tests set it up before an engine is made.
struct Device {
  size_t memory_bytes = size_t{512} << 20;
  size_t used_bytes = 0;
  int multiprocessors = 2;
  size_t shared_bytes = kMaxSharedBytes;  // that a block can have; 99 << 10 on sm_86 and sm_89
  int64_t fail_at_launch = -1;  // this kernel launch and every later call fail: the device is lost
  int64_t launches = 0, graph_launches = 0;
  cudaError_t sticky = cudaSuccess;
  // Calls that may run out of memory: allocations, launches, copies, recordings, waits. The one
  // with the number fail_at_call does, and does nothing else; the device lives on.
  int64_t calls = 0, fail_at_call = -1;
  size_t pinned_bytes = 0;            // page-locked host memory that is taken
  size_t graph_node_bytes = 4 << 10;  // device memory of each kernel or copy of a graph
  int64_t graphs = 0;                 // that are instantiated
};
Device& device();

// Puts host work on a stream, where a library would put its kernels.
void submit(cudaStream_t stream, std::function<void()> work);

// What `kernel<<<grid, block, shared, stream>>>` means here: run, or record while capturing.
void enqueue(cudaStream_t stream, Dim3 grid, Dim3 block, size_t shared_bytes,
             std::function<void()> body);

}  // namespace simt
