#include "simt/runtime_api.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace simt {

struct Graph {
  std::vector<std::function<void()>> nodes;
};
struct Stream {
  Graph* capturing = nullptr;
};
struct Event {
  std::chrono::steady_clock::time_point at;
};

Device& device() {
  static Device d;
  return d;
}

namespace {

std::mutex g_mutex;
std::unordered_map<void*, size_t> g_allocations;

cudaError_t allocate(void** data, size_t bytes, bool on_device) {
  std::lock_guard<std::mutex> lock(g_mutex);
  Device& d = device();
  if (d.sticky != cudaSuccess) return d.sticky;
  if (on_device && bytes > d.memory_bytes - d.used_bytes) return cudaErrorMemoryAllocation;
  if (posix_memalign(data, 256, bytes) != 0) return cudaErrorMemoryAllocation;
  std::memset(*data, 0xFF, bytes);
  g_allocations[*data] = on_device ? bytes : 0;
  if (on_device) d.used_bytes += bytes;
  return cudaSuccess;
}

cudaError_t release(void* data) {
  std::lock_guard<std::mutex> lock(g_mutex);
  if (data == nullptr) return cudaSuccess;
  const auto it = g_allocations.find(data);
  if (it == g_allocations.end()) return cudaErrorInvalidValue;
  device().used_bytes -= it->second;
  g_allocations.erase(it);
  std::free(data);
  return cudaSuccess;
}

cudaError_t submit(Stream* stream, std::function<void()> work) {
  if (device().sticky != cudaSuccess) return device().sticky;
  if (stream != nullptr && stream->capturing != nullptr) {
    stream->capturing->nodes.push_back(std::move(work));
  } else {
    work();
  }
  return device().sticky;
}

}  // namespace

void enqueue(cudaStream_t stream, Dim3 grid, Dim3 block, size_t shared_bytes,
             std::function<void()> body) {
  submit(stream, [=] {
    Device& d = device();
    if (d.launches++ == d.fail_at_launch) d.sticky = cudaErrorIllegalAddress;
    if (shared_bytes > d.shared_bytes) d.sticky = cudaErrorInvalidValue;
    if (d.sticky == cudaSuccess) run_grid(grid, block, shared_bytes, body);
  });
}

}  // namespace simt

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    default:
      return "error of the emulated device";
  }
}

cudaError_t cudaGetLastError() { return simt::device().sticky; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  *p = cudaDeviceProp{};
  std::strcpy(p->name, "SIMT emulator");
  p->totalGlobalMem = simt::device().memory_bytes;
  p->major = 9;
  p->multiProcessorCount = simt::device().multiprocessors;
  p->sharedMemPerBlockOptin = simt::device().shared_bytes;
  p->sharedMemPerMultiprocessor = simt::device().shared_bytes + 1024;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  *total_bytes = simt::device().memory_bytes;
  *free_bytes = *total_bytes - simt::device().used_bytes;
  return simt::device().sticky;
}

cudaError_t cudaMalloc(void** data, size_t bytes) { return simt::allocate(data, bytes, true); }
cudaError_t cudaFree(void* data) { return simt::release(data); }
cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned) {
  return simt::allocate(data, bytes, false);
}
cudaError_t cudaFreeHost(void* data) { return simt::release(data); }

cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  return simt::submit(stream, [=] { std::memcpy(target, source, bytes); });
}
cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t stream) {
  return simt::submit(stream, [=] { std::memset(target, value, bytes); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new simt::Stream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return simt::device().sticky; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new simt::Event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  event->at = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t stop) {
  *milliseconds = std::chrono::duration<float, std::milli>(stop->at - start->at).count();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return simt::device().sticky; }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream->capturing != nullptr) return cudaErrorInvalidValue;
  stream->capturing = new simt::Graph;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (stream->capturing == nullptr) return cudaErrorInvalidValue;
  *graph = std::exchange(stream->capturing, nullptr);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, uint64_t) {
  *exec = new simt::Graph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  ++simt::device().graph_launches;
  for (const auto& node : exec->nodes) {
    const cudaError_t error = simt::submit(stream, node);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}
