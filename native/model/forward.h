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
  Forward(const Ops& ops, const ModelConfig& config, const EngineLimits& limits,
          const Weights& weights);

  // block copies → forward (KV write before attention, layer by layer) → sample.
  void run(StepInput& step, StepOutput& out);
  int64_t kv_bytes() const { return cache_.block_bytes() * limits_.num_blocks; }

 private:
  void resolve_positions(const StepInput& step);
  void layer(int32_t index, const BatchView& batch);
  void head(StepInput& step, StepOutput& out);
  Tensor rows(const Buffer& buffer, int64_t num_rows, int64_t cols) const;

  const Ops& ops_;
  const ModelConfig config_;
  const EngineLimits limits_;
  const Weights& weights_;
  KvCache cache_;
  // Activations, all F32 [max_num_batched_tokens, …]; sized once.
  Buffer residual_, normed_, q_, k_, v_, attended_, projected_, gate_, up_;
  Buffer head_residual_, head_projected_, logits_;  // [kHeadRows, …]
  std::vector<int32_t> positions_;
  std::vector<int64_t> slots_;
};

}  // namespace octavo
