// Runs a program's instructions: a loop with one case for each kind.
#pragma once

#include <array>
#include <vector>

#include "buffer.h"
#include "model/kv_cache.h"
#include "model/program.h"
#include "model/recurrent_memory.h"

namespace octavo {

// Rows that go through the head at once, so that logits need no memory for every sequence.
constexpr int64_t kHeadRows = 64;

class Interpreter {
 public:
  // Takes the registers' memory; throws ERR_OUT_OF_MEMORY. max_texts: of a step, that are pooled.
  Interpreter(const Ops& ops, const Program& program, const KvCache& cache,
              const RecurrentMemory& states, int64_t max_rows, int64_t max_texts = 0);

  // The instructions before the cut, on all rows of the batch.
  void run_until(const Cut& cut, const BatchView& batch);
  // Those behind it, on `n` ≤ kHeadRows of these rows; gives their logits.
  Tensor run_from(const Cut& cut, const BatchView& batch, const int32_t* rows, int64_t n);
  // What the batch's texts are pooled to, once all has run before Program::hidden: [num_seqs, size]
  // A or F32.
  Tensor pool(const BatchView& batch);

 private:
  using Memory = std::array<void*, kNumRegisters>;
  struct Run;

  const Ops& ops_;
  const Program& program_;
  const KvCache& cache_;
  const RecurrentMemory& states_;
  std::vector<Buffer> buffers_;
  Buffer routing_;  // of the layer under way; no cut lies where it is needed
  // Where registers are while all rows are in them, and where those are that a slice of rows was
  // gathered into; the whole ones are needed for the next slice.
  Memory whole_ = {}, slice_ = {};
};

}  // namespace octavo
