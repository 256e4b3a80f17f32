// One step as the executor sees it: everything owned, checked and resolved on the JS thread. The
// vectors are used again by the next step, so that a step of known sizes allocates none.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ops.h"

namespace octavo {

// The block tables of one KV group, each as long as its context takes.
struct StepTables {
  std::vector<int32_t> block_ids;  // all tables, one after the other
  std::vector<int32_t> start;      // [num_seqs + 1]
};

// Between a pool and the host's memory: what goes out, and what comes in.
struct StepSwaps {
  std::vector<BlockSwap> outs, ins;
};

// Makes the mask of a row while the step computes; called on any thread. One that it cannot make
// allows nothing, which ends its own row alone.
struct MaskSource {
  virtual ~MaskSource() = default;
  virtual void fill(uint32_t* bits) const noexcept = 0;  // [⌈vocab / 32⌉], zero before
};

struct MaskTask {
  std::shared_ptr<const MaskSource> source;
  uint32_t* bits = nullptr;  // where one of StepInput::masks looks
};

struct StepInput {
  std::vector<int32_t> token_ids;    // [num_tokens]
  std::vector<int32_t> query_start;  // [num_seqs + 1]
  std::vector<int32_t> context_len;  // [num_seqs]
  std::vector<StepTables> tables;    // of each KV group
  // Of recurrent layers, as BatchView has them; empty where the model has none.
  std::vector<int32_t> state_in, state_out;  // [num_seqs]
  std::vector<int32_t> old_records;          // [num_seqs][kChunk]
  std::vector<int32_t> new_records;          // [num_tokens]
  std::vector<int32_t> long_rope;  // [num_seqs] 1 = rotates by the long table; empty = none does
  StepSwaps block_swaps, state_swaps, record_swaps;
  std::vector<BlockCopy> copies;
  // Draws first, then prompt rows. `logits_row` holds the token row until the head is computed;
  // list pointers point into `extras` or into what the slabs' rows keep, outputs are set by the
  // executor.
  std::vector<SampleRow> rows;
  std::vector<TokenUpdate> counted;  // what rows with penalties count from now on
  std::vector<MaskUpdate> masks;     // what rows with masks may draw from now on
  std::vector<int32_t> extras;
  std::vector<uint32_t> mask_bits;   // what `masks` points at
  std::vector<MaskTask> mask_tasks;  // those of `masks` that are still to be made
  int32_t num_samples = 0;           // the first of `rows`; the rest are prompt rows
  bool capture_logits = false;       // for tests: return the logits of every row asked for

  void clear() {
    for (auto* list : {&token_ids, &query_start, &context_len, &state_in, &state_out, &old_records,
                       &new_records, &long_rope, &extras}) {
      list->clear();
    }
    for (StepTables& of_group : tables) {
      of_group.block_ids.clear();
      of_group.start.clear();
    }
    for (StepSwaps* swaps : {&block_swaps, &state_swaps, &record_swaps}) {
      swaps->outs.clear();
      swaps->ins.clear();
    }
    copies.clear();
    rows.clear();
    counted.clear();
    masks.clear();
    mask_tasks.clear();
    num_samples = 0;
    capture_logits = false;
  }
};

// Texts that are computed whole, as checked on the JS thread.
struct PooledInput {
  std::vector<int32_t> token_ids;     // [num_tokens]
  std::vector<int32_t> token_types;   // [num_tokens]
  std::vector<int32_t> query_start;   // [num_texts + 1]
  std::vector<int32_t> poolings;      // [num_texts] Pooling
  std::vector<int32_t> long_rope;     // [num_texts] 1 = rotates by the long table
  std::vector<int32_t> token_logits;  // ids whose logits at each text's last token are the values

  size_t num_texts() const { return poolings.size(); }
  void clear() {
    for (auto* list : {&token_ids, &token_types, &poolings, &long_rope, &token_logits}) {
      list->clear();
    }
    query_start.assign(1, 0);
  }
};

struct PooledOutput {
  std::vector<float> values;  // [num_texts][width]
  double compute_ms = 0;
};

struct StepOutput {
  std::vector<int32_t> tokens;   // [rows]
  std::vector<double> logprobs;  // [rows]
  std::vector<int32_t> ranks;    // [rows]
  std::vector<int32_t> top_ids;  // lists one after the other
  std::vector<double> top_logprobs;
  std::vector<float> logits;  // [rows][vocab] when captured
  double compute_ms = 0;      // from the executor thread's first op to its last
};

}  // namespace octavo
