#include "kernels/step_graphs.h"

#include <algorithm>
#include <vector>

#include "kernels/check_cuda.h"

namespace octavo::device {
namespace {

// The driver takes memory in pieces of megabytes: so many recordings are measured together.
constexpr int64_t kMeasured = 8;

int64_t free_bytes() {
  size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "asking for free memory");
  return static_cast<int64_t>(free);
}

}  // namespace

StepGraphs::Graph StepGraphs::capture(cudaStream_t stream, Body body, void* argument) {
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording");
  cudaGraph_t graph = nullptr;
  try {
    body(argument);
  } catch (...) {
    static_cast<void>(cudaStreamEndCapture(stream, &graph));
    static_cast<void>(cudaGetLastError());
    if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
    throw;
  }
  check_cuda(cudaStreamEndCapture(stream, &graph), "recording a step");
  return Graph(graph);
}

// Null where memory ran out.
StepGraphs::Exec StepGraphs::instantiate(cudaGraph_t graph, cudaStream_t stream) {
  cudaGraphExec_t made = nullptr;
  cudaError_t error = cudaGraphInstantiate(&made, graph, 0);
  Exec exec(error == cudaSuccess ? made : nullptr);
  if (error == cudaSuccess) error = cudaGraphUpload(exec.get(), stream);  // takes the memory now
  if (error == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    return nullptr;
  }
  check_cuda(error, "recording a step");
  return exec;
}

void StepGraphs::evict_oldest() {
  const auto older = [](const auto& a, const auto& b) {
    return a.second.last_used < b.second.last_used;
  };
  // Nothing of it runs: a step waits for its end.
  recordings_.erase(std::min_element(recordings_.begin(), recordings_.end(), older));
}

// Null where there is no memory for one more: then there are never more than now.
StepGraphs::Exec StepGraphs::record(cudaStream_t stream, Body body, void* argument) {
  if (max_recordings_ == 0) return nullptr;
  if (recordings_.size() >= max_recordings_) evict_oldest();
  const Graph graph = capture(stream, body, argument);
  Exec exec = instantiate(graph.get(), stream);
  if (exec == nullptr) max_recordings_ = recordings_.size();
  return exec;
}

void StepGraphs::run(int64_t key, cudaStream_t stream, Body body, void* argument) {
  auto it = recordings_.find(key);
  if (it == recordings_.end()) {
    Exec exec = record(stream, body, argument);
    if (exec == nullptr) return body(argument);
    it = recordings_.emplace(key, Recording{std::move(exec), 0}).first;
  }
  it->second.last_used = ++clock_;
  check_cuda(cudaGraphLaunch(it->second.exec.get(), stream), "replaying a step");
}

void StepGraphs::measure(cudaStream_t stream, Body body, void* argument) {
  const Graph graph = capture(stream, body, argument);
  const int64_t before = free_bytes();
  std::vector<Exec> execs;
  for (int64_t i = 0; i < kMeasured; i++) {
    Exec exec = instantiate(graph.get(), stream);
    if (exec == nullptr) {  // so little is left that the KV cache must have it
      max_recordings_ = 0;
      return;
    }
    execs.push_back(std::move(exec));
  }
  check_cuda(cudaStreamSynchronize(stream), "recording a step");
  bytes_each_ = (std::max<int64_t>(before - free_bytes(), 0) + kMeasured - 1) / kMeasured;
}

int64_t StepGraphs::bytes_to_come() const {
  return bytes_each_ * static_cast<int64_t>(max_recordings_ - recordings_.size());
}

}  // namespace octavo::device
