// The block pool: one allocation, laid out as base/paged_kv.h says.
#pragma once

#include "base/paged_kv.h"
#include "buffer.h"
#include "model/config.h"

namespace octavo {

class KvCache {
 public:
  KvCache(const Ops& ops, const ModelConfig& config, const EngineLimits& limits)
      : config_(config),
        block_size_(limits.block_size),
        kv_stride_(int64_t{config.num_kv_heads} * limits.block_size * config.head_size),
        block_stride_(2 * config.num_layers * kv_stride_),
        pool_(ops, static_cast<size_t>(limits.num_blocks * block_stride_) * sizeof(float),
              "the KV cache") {}

  PagedKV layer(int32_t index) const {
    PagedKV kv;
    kv.base = static_cast<float*>(pool_.data()) + 2 * index * kv_stride_;
    kv.block_size = block_size_;
    kv.num_kv_heads = config_.num_kv_heads;
    kv.head_size = config_.head_size;
    kv.block_stride = block_stride_;
    kv.v_offset = kv_stride_;
    kv.head_stride = int64_t{block_size_} * config_.head_size;
    return kv;
  }
  void* pool() const { return pool_.data(); }
  int64_t block_bytes() const { return block_stride_ * static_cast<int64_t>(sizeof(float)); }

 private:
  const ModelConfig config_;
  const int32_t block_size_;
  const int64_t kv_stride_;
  const int64_t block_stride_;
  Buffer pool_;
};

}  // namespace octavo
