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
#include "kernels/device_recurrent.h"
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
static_assert(8 + 2 * kMaxKvGroups + 7 * kMaxAttentionShapes + RecurrentQueries::kRegions <=
              UnpackArgs::kMaxRegions);

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
  const RecurrentQueries& recurrent() const { return recurrent_; }
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
  DeviceMemory head_rows;
  std::unique_ptr<CublasLt> cublas_lt;  // null = own kernels for everything

 private:
  void hand_out_samples();
  void hand_out_top(const PendingSample& sample);
  void sample_some(Tensor logits, const SampleRow* rows, int32_t num_rows);
  SampleRequest pack(const SampleRow& row, std::vector<int32_t>& ints, std::vector<float>& floats);
  bool upload(const WeightSource& source, int64_t bytes, char* target);
  void upload(const std::vector<unsigned char>& bytes, char* target);
  bool load_plain(const Tensor& stored, const WeightSource& source, char* target);
  bool load_codes(const Tensor& stored, const WeightSource& source, char* target);
  bool load_tiles(const Tensor& stored, const WeightSource& source, char* target);

  std::vector<PlannedAttention> attentions_;
  StepArrays arrays_;
  bool marks_long_rope_ = false;  // the step under way
  RecurrentQueries recurrent_;
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
constexpr bool has_rows_of_codes(DType t) { return t == DType::kQ8_0 || t == DType::kQ4_0; }
inline int64_t quantised_bytes(DType t, int64_t values) {
  return values / 32 * (block_bytes(t) - 2);
}

inline int64_t scales_offset(const Tensor& t) {
  return (quantised_bytes(t.dtype, t.rows * t.cols) + 255) / 256 * 256;
}
// Bytes of a stored matrix on the device: of types that stay packed (those two, and those that
// packed_layout.h has tiles for) in their bits, else 16 bits a value.
inline int64_t held_bytes(const Tensor& stored) {
  const int64_t values = stored.rows * stored.cols;
  if (has_tiles(stored.dtype)) return PackedPlanes(stored.dtype, stored.rows, stored.cols).bytes();
  return has_rows_of_codes(stored.dtype) ? scales_offset(stored) + values / 32 * 2 : values * 2;
}

// Of what a type holds beside its codes; null = nothing.
inline const void* scales_of(const Tensor& t) {
  if (!is_quantised(t.dtype)) return nullptr;
  const int64_t at =
      has_tiles(t.dtype) ? PackedPlanes(t.dtype, t.rows, t.cols).scales_at() : scales_offset(t);
  return static_cast<const char*>(t.data) + at;
}
inline const void* high_bits_of(const Tensor& t) {
  if (packed_layout(t.dtype).high_bits == 0) return nullptr;
  return static_cast<const char*>(t.data) + PackedPlanes(t.dtype, t.rows, t.cols).high_at();
}

}  // namespace octavo::device
