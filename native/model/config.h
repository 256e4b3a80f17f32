// The switches of the one forward pass, and the sizes of an engine around it. Filled by napi from
// what lib/model reads; nothing here knows a model family by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "ops.h"

namespace octavo {

struct ModelConfig {
  int32_t vocab_size = 0;
  int32_t hidden_size = 0;
  int32_t num_layers = 0;
  int32_t num_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_size = 0;
  int32_t intermediate_size = 0;
  float norm_eps = 0;
  float attention_scale = 0;
  bool qk_norm = false;
  Activation activation = Activation::kSilu;
  bool tied_head = false;
  int32_t rotary_size = 0;
  bool rope_interleaved = false;
  float rope_attention_factor = 1;
  std::vector<float> inverse_frequencies;  // [rotary_size / 2]
  std::vector<int32_t> windows;            // [num_layers], 0 = full attention

  // No layer looks further back than this, the query itself included; 0 = some layer sees all.
  int32_t widest_window() const {
    int32_t widest = 0;
    for (int32_t w : windows) {
      if (w == 0) return 0;
      widest = w > widest ? w : widest;
    }
    return widest;
  }
};

// What the scheduler may ask of one step; activations are sized by it once.
struct EngineLimits {
  int32_t num_blocks = 0;  // the null block included; 0 = as many as the device's memory holds
  int32_t block_size = 0;
  int32_t max_num_seqs = 0;
  int32_t max_num_batched_tokens = 0;
  int32_t max_model_len = 0;
  int32_t blocks_per_row = 0;   // of the block-table slab
  int32_t num_host_blocks = 0;  // that blocks can be swapped to
};

// One tensor of a checkpoint, as lib/native.ts describes it.
struct TensorSpec {
  std::string name;
  DType dtype = DType::kF32;
  int64_t rows = 0, cols = 0;
  int32_t file = 0;
  int64_t offset = 0, bytes = 0;
};

}  // namespace octavo
