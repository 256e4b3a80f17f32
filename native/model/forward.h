// The decoder's forward pass: one line per op, the same for every family and every backend.
#pragma once

#include <vector>

#include "buffer.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/step.h"
#include "model/weights.h"

namespace octavo {

class Forward {
 public:
  // Activations are taken at once, the KV cache by allocate_cache().
  Forward(const Ops& ops, const ModelConfig& config, const EngineLimits& limits,
          const Weights& weights, DType kv_dtype);

  // A pass of the largest size that touches no cache: whatever the backend takes lazily is taken.
  void profile();
  // Throws ERR_OUT_OF_MEMORY.
  void allocate_cache(int32_t num_blocks) {
    cache_.allocate(ops_, num_blocks, limits_.num_host_blocks);
  }

  // swaps out → swaps in → block copies → forward (layer by layer, KV write before attention) →
  // sample.
  void run(StepInput& step, StepOutput& out);
  int32_t num_blocks() const { return cache_.num_blocks(); }
  int64_t block_bytes() const { return cache_.block_bytes(); }

 private:
  void swap(const std::vector<BlockSwap>& swaps, bool to_host);
  void resolve_rows(const StepInput& step);
  int64_t padded_tokens(const StepInput& step) const;
  BatchView host_view(const StepInput& step) const;
  void layers();
  void layer(int32_t index);
  void after_attention(const LayerWeights& w, Tensor x, Tensor attended, Tensor projected);
  void head(StepInput& step, StepOutput& out, const BatchView& batch);
  void sample_slice(StepInput& step, StepOutput& out, Tensor logits, size_t begin, size_t* next);
  Tensor rows(const Buffer& buffer, int64_t num_rows, int64_t cols, DType dtype) const;
  Tensor activations(const Buffer& buffer, int64_t num_rows, int64_t cols) const {
    return rows(buffer, num_rows, cols, ops_.activation);
  }

  const Ops& ops_;
  const ModelConfig config_;
  const EngineLimits limits_;
  const Weights& weights_;
  Vector inverse_frequencies_;
  KvCache cache_;
  // [max_num_batched_tokens, …], sized once: the residual stream in F32, the rest in the ops' type.
  Buffer residual_, normed_, q_, k_, v_, attended_, projected_, gate_, up_;
  Buffer head_residual_, head_projected_, logits_;  // [kHeadRows, …]
  // The step's rows on the host, and the step as the ops see it.
  std::vector<int32_t> token_ids_, positions_, output_rows_, order_;
  std::vector<int64_t> slots_;
  std::vector<SampleRow> slice_rows_;
  BatchView batch_;
  // The last layer goes on behind its attention only for rows that the head is asked for.
  bool trims_ = false;
};

}  // namespace octavo
