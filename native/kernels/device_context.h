// What lies behind the context of the device's ops: a device, its streams, the memory that ops need
// for themselves, the step under way.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/attention_plan.h"
#include "kernels/cublas_lt.h"
#include "kernels/device.h"
#include "kernels/device_memory.h"
#include "kernels/launchers.h"

namespace octavo::device {

// The arrays of a step at fixed device addresses, so that a recorded step can be replayed. The host
// packs them into page-locked memory; one kernel spreads them.
class StepArrays {
 public:
  StepArrays() = default;
  explicit StepArrays(const ModelShape& shape, int64_t max_items);

  void begin() { packed_ = 0, num_ = 0; }
  // Copies `count` values to the host side of the next region of a fixed order; returns where the
  // device will find them.
  template <class T>
  T* put(const T* values, int64_t count) {
    return static_cast<T*>(put_bytes(values, count * static_cast<int64_t>(sizeof(T))));
  }
  void send(cudaStream_t stream);

 private:
  void* put_bytes(const void* values, int64_t bytes);

  std::vector<int64_t> capacity_, offset_;  // of each region, in words
  DeviceMemory device_;
  PinnedMemory host_;
  UnpackArgs unpack_;
  int64_t packed_ = 0;
  int32_t num_ = 0;
};

// A launch of the sampler whose results the host has yet to hand out.
struct PendingSample {
  SampleRow row;
  const SampleResult* result;
  const int32_t* top_ids;
  const double* top_logprobs;
};

class DeviceContext {
 public:
  explicit DeviceContext(const DeviceOptions& options);
  ~DeviceContext();
  DeviceContext(const DeviceContext&) = delete;
  DeviceContext& operator=(const DeviceContext&) = delete;

  const char* prepare(const ModelShape& shape);
  BatchView begin_step(const BatchView& host);
  void end_step();
  void run_graph(int64_t key, void (*body)(void*), void* argument);
  Tensor load_weight(Tensor stored, void* memory);
  void sample(Tensor logits, const SampleRow* rows, int32_t num_rows);

  const DeviceOptions options;
  DeviceLimits limits;
  std::string isa;  // "sm_90"; "sm_90, cublasLt" where large products go there
  ModelShape shape{};
  cudaStream_t stream = nullptr;

  // Scratch of ops, sized by prepare().
  DeviceMemory partial_out, partial_state, matmul_partial, matmul_counters;
  AttentionPlan plan;  // of the step, at fixed addresses
  const HostPlan* host_plan = nullptr;
  std::unique_ptr<CublasLt> cublas_lt;  // null = own kernels for everything

 private:
  void sample_some(Tensor logits, const SampleRow* rows, int32_t num_rows);
  SampleRequest pack(const SampleRow& row, std::vector<int32_t>& ints, std::vector<float>& floats);
  void upload(const char* host, int64_t bytes, char* target);

  std::unique_ptr<AttentionPlanner> planner_;
  StepArrays arrays_;
  PinnedArena arena_;
  PinnedMemory staging_[2];
  cudaEvent_t staged_[2] = {};
  int next_staging_ = 0;
  DeviceMemory sample_values_, sample_counts_;
  std::vector<PendingSample> pending_;
  std::vector<int32_t> ints_;
  std::vector<float> floats_;
  std::map<int64_t, cudaGraphExec_t> graphs_;
};

// Q8_0 and Q4_0 on the device: all bytes [rows, cols] or [rows, cols / 2], then all scales
// [rows, cols / 32], 256-byte aligned.
constexpr bool stays_quantised(DType t) { return t == DType::kQ8_0 || t == DType::kQ4_0; }
inline int64_t quantised_bytes(DType t, int64_t values) {
  return values / 32 * (block_bytes(t) - 2);
}
inline int64_t scales_offset(const Tensor& t) {
  return (quantised_bytes(t.dtype, t.rows * t.cols) + 255) / 256 * 256;
}

}  // namespace octavo::device
