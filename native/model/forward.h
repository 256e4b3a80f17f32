// One step: its rows resolved, the program run on them, and what was asked drawn from the logits.
#pragma once

#include <vector>

#include "model/interpreter.h"
#include "model/kv_cache.h"
#include "model/limits.h"
#include "model/mask_filler.h"
#include "model/program.h"
#include "model/step.h"
#include "model/weights.h"

namespace octavo {

class Forward {
 public:
  // Activations are taken at once, states and records by allocate_states(), the
  // KV cache by allocate_cache(). Ops and
  // weights must outlive this.
  Forward(const Ops& ops, const ModelSpec& spec, const EngineLimits& limits, const Weights& weights,
          DType kv_dtype);

  // A pass of the largest size that touches no cache: whatever the backend takes lazily is taken.
  void profile();
  // Both throw ERR_OUT_OF_MEMORY. States come first: a pool that is measured is what they leave.
  void allocate_states() { states_.allocate(ops_, limits_.recurrent); }
  void allocate_cache(int32_t num_blocks) {
    cache_.allocate(ops_, num_blocks, limits_.num_host_blocks);
  }

  // swaps out → swaps in → block copies → forward (layer by layer, KV write before attention) →
  // sample.
  void run(StepInput& step, StepOutput& out);
  int32_t num_blocks() const { return cache_.num_blocks(); }
  int64_t block_bytes() const { return cache_.block_bytes(); }
  const RecurrentMemory& states() const { return states_; }

 private:
  void swap(const StepInput& step, bool to_host);
  void resolve_rows(const StepInput& step);
  void resolve_slots(const StepInput& step, size_t group, size_t padded);
  int64_t padded_tokens(const StepInput& step) const;
  BatchView host_view(const StepInput& step) const;
  static void run_layers(void* self);
  void head(StepInput& step, StepOutput& out);
  void sample_slice(StepInput& step, StepOutput& out, Tensor logits, size_t begin, size_t* next);

  const Ops& ops_;
  const EngineLimits limits_;
  const Program program_;
  const int64_t vocab_size_;
  const bool has_long_rope_;
  KvCache cache_;
  RecurrentMemory states_;
  Interpreter interpreter_;
  // The step's rows on the host, and the step as the ops see it.
  std::vector<int32_t> token_ids_, positions_, long_rope_, new_records_, output_rows_, order_;
  std::vector<std::vector<int64_t>> slots_;  // of each KV group
  std::vector<SampleRow> slice_rows_;
  MaskFiller mask_filler_;
  BatchView batch_;
  // Where this step leaves rows behind that nobody asks about: at the head, or already behind the
  // last attention.
  const Cut* cut_;
};

}  // namespace octavo
