#include "simt/runtime_api.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "simt/poison.h"

namespace simt {

struct Graph {
  std::vector<std::function<void()>> nodes;
  size_t bytes = 0;  // of the device, once instantiated
};
struct Stream {
  Graph* capturing = nullptr;
  bool capture_failed = false;
  std::deque<std::function<void()>> queue;  // given, not yet run
  uint64_t num_run = 0;

  uint64_t num_given() const { return num_run + queue.size(); }
};
struct Event {
  std::shared_ptr<std::chrono::steady_clock::time_point> at =
      std::make_shared<std::chrono::steady_clock::time_point>();
  Stream* stream = nullptr;  // null = never recorded
  uint64_t position = 0;     // what the stream was given before
};

Device& device() {
  static Device d;
  return d;
}

namespace {

struct Allocation {
  size_t bytes;
  bool on_device;
};
std::mutex g_mutex;
std::map<const void*, Allocation> g_allocations;
thread_local cudaError_t g_last_error = cudaSuccess;
thread_local std::vector<Stream*> g_streams;  // of this thread

cudaError_t told(cudaError_t error) {
  if (error != cudaSuccess) g_last_error = error;
  return error;
}

// What every call that may fail begins with.
cudaError_t admitted() {
  Device& d = device();
  if (d.sticky != cudaSuccess) return told(d.sticky);
  return d.calls++ == d.fail_at_call ? told(cudaErrorMemoryAllocation) : cudaSuccess;
}

void run_until(Stream& stream, uint64_t end) {
  while (stream.num_run < end && !stream.queue.empty()) {
    const std::function<void()> work = std::move(stream.queue.front());
    stream.queue.pop_front();
    ++stream.num_run;
    if (device().sticky == cudaSuccess) work();
  }
}
void run_all(Stream& stream) { run_until(stream, stream.num_given()); }

cudaError_t allocate(void** data, size_t bytes, bool on_device) {
  const cudaError_t refused = admitted();
  if (refused != cudaSuccess) return refused;
  std::lock_guard<std::mutex> lock(g_mutex);
  Device& d = device();
  if (on_device && bytes > d.memory_bytes - d.used_bytes) return told(cudaErrorMemoryAllocation);
  *data = allocate_poisoned(bytes);
  if (*data == nullptr) return told(cudaErrorMemoryAllocation);
  g_allocations[*data] = {bytes, on_device};
  (on_device ? d.used_bytes : d.pinned_bytes) += bytes;
  return cudaSuccess;
}

// Waits for the device, as CUDA's do.
cudaError_t release(void* data) {
  if (data == nullptr) return cudaSuccess;
  for (Stream* stream : g_streams) run_all(*stream);
  std::lock_guard<std::mutex> lock(g_mutex);
  const auto it = g_allocations.find(data);
  if (it == g_allocations.end()) return told(cudaErrorInvalidValue);
  Device& d = device();
  (it->second.on_device ? d.used_bytes : d.pinned_bytes) -= it->second.bytes;
  g_allocations.erase(it);
  free_poisoned(data);
  return cudaSuccess;
}

// Host memory that is not page-locked: the runtime is done with it when a call returns.
bool is_pageable(const void* data) {
  std::lock_guard<std::mutex> lock(g_mutex);
  auto it = g_allocations.upper_bound(data);
  if (it == g_allocations.begin()) return true;
  --it;
  return static_cast<const char*>(data) >=
         static_cast<const char*>(it->first) + std::max<size_t>(it->second.bytes, 1);
}

}  // namespace

void submit(Stream* stream, std::function<void()> work) {
  if (stream != nullptr && stream->capturing != nullptr) {
    stream->capturing->nodes.push_back(std::move(work));
  } else if (stream != nullptr) {
    stream->queue.push_back(std::move(work));
    if (!config().streams_late) run_all(*stream);
  } else {
    work();
  }
}

namespace {

cudaError_t submit_checked(Stream* stream, std::function<void()> work) {
  const cudaError_t refused = admitted();
  if (refused != cudaSuccess) {
    if (stream != nullptr && stream->capturing != nullptr) stream->capture_failed = true;
    return refused;
  }
  submit(stream, std::move(work));
  return told(device().sticky);
}

cudaError_t wait(Stream* stream, uint64_t end) {
  const cudaError_t refused = admitted();
  if (refused != cudaSuccess) return refused;
  if (stream != nullptr) run_until(*stream, end);
  return told(device().sticky);
}

}  // namespace

// An error is for cudaGetLastError, as a launch's is.
void enqueue(cudaStream_t stream, Dim3 grid, Dim3 block, size_t shared_bytes,
             std::function<void()> body) {
  if (shared_bytes > device().shared_bytes && shared_bytes <= kMaxSharedBytes) {
    told(cudaErrorInvalidValue);
    return;
  }
  submit_checked(stream, [=] {
    Device& d = device();
    if (d.launches++ == d.fail_at_launch) d.sticky = cudaErrorIllegalAddress;
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
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    default:
      return "error of the emulated device";
  }
}

cudaError_t cudaGetLastError() {
  const cudaError_t last = std::exchange(simt::g_last_error, cudaSuccess);
  return simt::device().sticky != cudaSuccess ? simt::device().sticky : last;
}

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
  return simt::told(simt::device().sticky);
}

cudaError_t cudaMalloc(void** data, size_t bytes) { return simt::allocate(data, bytes, true); }
cudaError_t cudaFree(void* data) { return simt::release(data); }
cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned) {
  return simt::allocate(data, bytes, false);
}
cudaError_t cudaFreeHost(void* data) { return simt::release(data); }

cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  const bool capturing = stream != nullptr && stream->capturing != nullptr;
  if (simt::is_pageable(source) && !capturing) {
    const char* from = static_cast<const char*>(source);
    return simt::submit_checked(stream, [=, copy = std::vector<char>(from, from + bytes)] {
      std::memcpy(target, copy.data(), bytes);
    });
  }
  const cudaError_t error =
      simt::submit_checked(stream, [=] { std::memcpy(target, source, bytes); });
  const bool waits = !capturing && stream != nullptr && simt::is_pageable(target);
  if (error == cudaSuccess && waits) simt::run_all(*stream);
  return error;
}
cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t stream) {
  return simt::submit_checked(stream, [=] { std::memset(target, value, bytes); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new simt::Stream;
  simt::g_streams.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  simt::run_all(*stream);
  auto& all = simt::g_streams;
  all.erase(std::remove(all.begin(), all.end(), stream), all.end());
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return simt::wait(stream, stream == nullptr ? 0 : stream->num_given());
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t event, unsigned) {
  return simt::wait(event->stream, event->position);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new simt::Event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const cudaError_t error =
      simt::submit_checked(stream, [at = event->at] { *at = std::chrono::steady_clock::now(); });
  event->stream = stream;
  event->position = stream == nullptr ? 0 : stream->num_given();
  return error;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t stop) {
  *milliseconds = std::chrono::duration<float, std::milli>(*stop->at - *start->at).count();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return simt::wait(event->stream, event->position);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const cudaError_t refused = simt::admitted();
  if (refused != cudaSuccess) return refused;
  if (stream->capturing != nullptr) return simt::told(cudaErrorInvalidValue);
  stream->capturing = new simt::Graph;
  stream->capture_failed = false;
  return cudaSuccess;
}
// Ends it in any case; a recording in which a call failed is no graph.
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (stream->capturing == nullptr) return simt::told(cudaErrorInvalidValue);
  cudaError_t error = simt::admitted();
  if (stream->capture_failed) error = simt::told(cudaErrorStreamCaptureInvalidated);
  simt::Graph* recorded = std::exchange(stream->capturing, nullptr);
  if (error == cudaSuccess) {
    *graph = recorded;
  } else {
    delete recorded;
  }
  return error;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, uint64_t) {
  const cudaError_t refused = simt::admitted();
  if (refused != cudaSuccess) return refused;
  std::lock_guard<std::mutex> lock(simt::g_mutex);
  simt::Device& d = simt::device();
  const size_t bytes = graph->nodes.size() * d.graph_node_bytes;
  if (bytes > d.memory_bytes - d.used_bytes) return simt::told(cudaErrorMemoryAllocation);
  d.used_bytes += bytes;
  ++d.graphs;
  *exec = new simt::Graph{graph->nodes, bytes};
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  std::lock_guard<std::mutex> lock(simt::g_mutex);
  simt::device().used_bytes -= exec->bytes;
  --simt::device().graphs;
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return simt::admitted(); }
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const cudaError_t refused = simt::admitted();
  if (refused != cudaSuccess) return refused;
  ++simt::device().graph_launches;
  for (const auto& node : exec->nodes) simt::submit(stream, node);
  return simt::told(simt::device().sticky);
}
