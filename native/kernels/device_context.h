// What lies behind the context of the device's ops: a device, its streams, the memory that ops need
// for themselves, the step under way.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/attention_plan.h"
#include "kernels/cublas_lt.h"
#include "kernels/device.h"
#include "kernels/device_memory.h"
#include "kernels/launchers.h"
#include "kernels/step_arrays.h"
#include "kernels/step_graphs.h"

namespace octavo::device {

// The attention of all layers of one shape, and its plan of the step under way.
struct PlannedAttention {
  PlannedAttention(const AttentionShape& s, const PlanShape& plan_shape)
      : shape(s), planner(plan_shape) {}
  AttentionShape shape;
  AttentionPlanner planner;
  AttentionPlan plan;  // at fixed addresses
  bool has_wide = false, has_merge = false;
};
constexpr size_t kMaxAttentionShapes = 8;
static_assert(8 + 2 * kMaxKvGroups + 7 * kMaxAttentionShapes <= UnpackArgs::kMaxRegions);

// A launch of the sampler whose results the host has yet to hand out.
struct PendingSample {
  SampleRow row;
  const SampleResult* result;
  const int32_t* top_ids;  // as SampleArgs has them
  const float* top_logits;
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
  void drain();
  void run_graph(int64_t key, void (*body)(void*), void* argument);
  // The plan for layers of this shape and group, which must be one of the model's.
  const PlannedAttention& attention_of(const AttentionParams& p, const PagedKV& kv) const;
  // Device memory that is spoken for and not taken yet.
  int64_t reserved_bytes() const { return graphs_.bytes_to_come(); }
  Tensor load_weight(Tensor stored, const WeightSource& source, void* memory);
  void count_tokens(const TokenUpdate* updates, int32_t num_updates);
  void set_masks(const MaskUpdate* updates, int32_t num_updates);
  void sample(Tensor logits, const SampleRow* rows, int32_t num_rows);

  const DeviceOptions options;
  DeviceLimits limits;
  std::string isa;  // "sm_90"; "sm_90, cublasLt" where large products go there
  ModelShape shape{};
  cudaStream_t stream = nullptr;

  // Scratch of ops, sized by prepare().
  DeviceMemory partial_out, partial_state, matmul_partial, matmul_counters;
  std::unique_ptr<CublasLt> cublas_lt;  // null = own kernels for everything

 private:
  void hand_out_samples();
  void hand_out_top(const PendingSample& sample);
  void sample_some(Tensor logits, const SampleRow* rows, int32_t num_rows);
  SampleRequest pack(const SampleRow& row, std::vector<int32_t>& ints, std::vector<float>& floats);
  bool upload(const WeightSource& source, int64_t bytes, char* target);

  std::vector<PlannedAttention> attentions_;
  StepArrays arrays_;
  bool marks_long_rope_ = false;  // the step under way
  PinnedArena arena_;
  PinnedMemory staging_[2];
  cudaEvent_t staged_[2] = {};
  int next_staging_ = 0;
  DeviceMemory sample_values_, token_counts_, masks_;
  std::vector<PendingSample> pending_;
  int64_t num_listed_ = 0;  // best tokens that pending_ waits for
  std::vector<std::pair<float, int32_t>> best_;
  std::vector<int32_t> ints_;
  std::vector<float> floats_;
  StepGraphs graphs_;
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
