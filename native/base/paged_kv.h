// The only index arithmetic of the KV cache. One pool:
//   [num_blocks][layers of a group][K|V][num_kv_heads][block_size][head_size]
// where a block belongs to one KV group at a time, and each layer has its own heads and sizes. A
// block with all its layers is contiguous, so a copy-on-write of a block is one copy. The rows of
// one (block, layer, K|V, head) are contiguous too: that is the page which attention reads.
// The CPU turns its pages of K around, [head_size][block_size]: the scores of a block's tokens are
// then sums of vectors.
// Of latent rows there is no V: a token has one row of K, [block_size][head_size] on the CPU too,
// whose first values are what is weighed.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "base/host_device.h"

namespace octavo {

// One layer's view of the pool. Strides are counted in elements, always 64 bit.
struct PagedKV {
  void* base = nullptr;  // this layer's K of block 0
  DType dtype = DType::kF32;
  int32_t block_size = 0;
  int32_t num_kv_heads = 0;
  int32_t head_size = 0;
  int64_t block_stride = 0;  // from a block to the next
  int64_t v_offset = 0;      // from K to V of the same block and layer
  int64_t head_stride = 0;   // from a head to the next: block_size · head_size
  // An 8-bit cache keeps a scale per token and head behind each block's values: value = stored ·
  // scale. This layer's K scales of block 0, [num_kv_heads][block_size]; strides in floats.
  float* scales = nullptr;
  int64_t scale_block_stride = 0;
  int64_t scale_v_offset = 0;
  int32_t group = 0;   // the KV group whose tables name its blocks
  int32_t latent = 0;  // not 0: so many values of each row of K are V as well; v_offset is 0

  OCTAVO_HD int32_t value_size() const { return latent > 0 ? latent : head_size; }

  // Element offset of row `offset_in_block` of a block's page, for K; V lies v_offset further.
  OCTAVO_HD int64_t page(int32_t block, int32_t head, int32_t offset_in_block) const {
    return static_cast<int64_t>(block) * block_stride + static_cast<int64_t>(head) * head_stride +
           static_cast<int64_t>(offset_in_block) * head_size;
  }
  // Element offset of value d of a token's K on the CPU.
  OCTAVO_HD int64_t turned(int32_t block, int32_t head, int32_t offset_in_block, int32_t d) const {
    return page(block, head, 0) + static_cast<int64_t>(d) * block_size + offset_in_block;
  }
  // Offset of that row's scale, for K; V's lies scale_v_offset further.
  OCTAVO_HD int64_t scale(int32_t block, int32_t head, int32_t offset_in_block) const {
    return static_cast<int64_t>(block) * scale_block_stride +
           static_cast<int64_t>(head) * block_size + offset_in_block;
  }
};

// A slot names one token's place in the pool: block · block_size + offset. −1 is padding.
OCTAVO_HD int64_t slot_of(const int32_t* block_table, int64_t position, int32_t block_size) {
  return static_cast<int64_t>(block_table[position / block_size]) * block_size +
         position % block_size;
}

}  // namespace octavo
