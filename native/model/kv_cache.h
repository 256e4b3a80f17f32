// The block pool: one allocation, laid out as base/paged_kv.h says. An 8-bit cache has the scales
// of a block behind its values: [num_layers][K|V][num_kv_heads][block_size] floats.
#pragma once

#include <vector>

#include "base/paged_kv.h"
#include "buffer.h"
#include "model/config.h"

namespace octavo {

class KvCache {
 public:
  KvCache() = default;
  KvCache(const ModelConfig& config, int32_t block_size, DType dtype)
      : config_(&config),
        dtype_(dtype),
        block_size_(block_size),
        kv_stride_(int64_t{config.num_kv_heads} * block_size * config.head_size),
        values_bytes_(2 * config.num_layers * kv_stride_ * octavo::block_bytes(dtype)) {
    const int64_t scales = 2 * config.num_layers * int64_t{config.num_kv_heads} * block_size;
    const int64_t bytes = values_bytes_ + (is_8bit_cache(dtype) ? scales * 4 : 0);
    block_bytes_ = (bytes + kAlign - 1) / kAlign * kAlign;
  }

  // Takes the memory; before that layer() has a null base. The null block becomes zeros: where a
  // window has moved past a block, masked lanes may still read it, and 0 · NaN is not 0.
  void allocate(const Ops& ops, int32_t num_blocks, int32_t num_host_blocks) {
    num_blocks_ = num_blocks;
    pool_ = Buffer(ops, static_cast<size_t>(num_blocks * block_bytes_), "the KV cache");
    host_pool_ = Buffer::for_swaps(ops, static_cast<size_t>(num_host_blocks * block_bytes_));
    const std::vector<char> zeros(static_cast<size_t>(block_bytes_));
    ops.write(ops.context, pool_.data(), zeros.data(), zeros.size());
  }

  PagedKV layer(int32_t index) const {
    const int64_t element = octavo::block_bytes(dtype_);
    char* const base = static_cast<char*>(pool_.data());
    PagedKV kv;
    kv.base = base == nullptr ? nullptr : base + 2 * index * kv_stride_ * element;
    kv.dtype = dtype_;
    kv.block_size = block_size_;
    kv.num_kv_heads = config_->num_kv_heads;
    kv.head_size = config_->head_size;
    kv.block_stride = block_bytes_ / element;
    kv.v_offset = kv_stride_;
    kv.head_stride = int64_t{block_size_} * config_->head_size;
    if (is_8bit_cache(dtype_) && base != nullptr) {
      kv.scale_v_offset = int64_t{config_->num_kv_heads} * block_size_;
      kv.scale_block_stride = block_bytes_ / 4;
      kv.scales = reinterpret_cast<float*>(base + values_bytes_) + 2 * index * kv.scale_v_offset;
    }
    return kv;
  }
  void* pool() const { return pool_.data(); }
  void* host_pool() const { return host_pool_.data(); }
  int32_t num_blocks() const { return num_blocks_; }
  int64_t block_bytes() const { return block_bytes_; }

 private:
  static constexpr int64_t kAlign = 256;

  const ModelConfig* config_ = nullptr;
  DType dtype_ = DType::kF32;
  int32_t block_size_ = 0, num_blocks_ = 0;
  int64_t kv_stride_ = 0, values_bytes_ = 0, block_bytes_ = 0;
  Buffer pool_, host_pool_;  // same layout of blocks
};

}  // namespace octavo
