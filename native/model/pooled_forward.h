// Texts computed whole, each in one step, for one vector or a few logits of each. Nothing is kept
// from step to step: K and V of one layer lie in pages that the next layer writes over.
#pragma once

#include <vector>

#include "model/interpreter.h"
#include "model/kv_cache.h"
#include "model/limits.h"
#include "model/program.h"
#include "model/step.h"
#include "model/weights.h"

namespace octavo {

class PooledForward {
 public:
  // Takes all memory at once; throws ERR_OUT_OF_MEMORY. Ops and weights must outlive this.
  PooledForward(const Ops& ops, const ModelSpec& spec, const EngineLimits& limits,
                const Weights& weights);

  // A pass of the largest size: whatever the backend takes lazily is taken.
  void profile();
  void run(const PooledInput& input, PooledOutput& out);

 private:
  void resolve_rows(const PooledInput& input, size_t padded);
  BatchView host_view(const PooledInput& input) const;
  void pool(PooledOutput& out);
  void read_logits(const std::vector<int32_t>& ids, PooledOutput& out);

  const Ops& ops_;
  const EngineLimits limits_;
  const Program program_;
  const bool has_long_rope_, has_token_types_, has_head_;
  KvCache pages_;
  RecurrentMemory states_;  // none: such models have no recurrent layers
  Interpreter interpreter_;
  // The step's rows on the host, and the step as the ops see it.
  std::vector<int32_t> token_ids_, token_types_, positions_, long_rope_, lengths_, last_rows_;
  std::vector<int32_t> page_ids_, table_start_;
  std::vector<int64_t> slots_;
  std::vector<char> narrow_;  // vectors that are still to be widened
  BatchView batch_;
};

}  // namespace octavo
