// The block pool: one allocation, laid out as base/paged_kv.h says. The layers of a KV group lie
// one after the other in its blocks, each with its own heads and sizes. Behind the values of the
// largest group an 8-bit cache has a plane of scales, by layer too: [K|V][num_kv_heads][block_size]
// floats.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/paged_kv.h"
#include "buffer.h"
#include "model/limits.h"
#include "model/spec.h"

namespace octavo {

class KvCache {
 public:
  // Of one layer at a time, each writing where the one before it did, in the type of activations:
  // for texts that are computed whole in one step; behind them those that later layers read too.
  // Takes the memory at once.
  KvCache(const Ops& ops, const ModelSpec& spec, int32_t block_size, int32_t num_blocks)
      : dtype_(ops.activation) {
    int64_t values = 0;
    for (const LayerSpec& layer : spec.layers) {
      const AttentionSpec& a = layer.attention;
      layers_.push_back({0, block_size, a.num_kv_heads, a.head_size, a.latent.rank, 0, 0});
      values = std::max(values, a.cached_values() * block_size);
    }
    std::vector<bool> placed(layers_.size());
    for (const LayerSpec& layer : spec.layers) {
      if (layer.attention.kv_of < 0) continue;
      const auto source = static_cast<size_t>(layer.attention.kv_of);
      if (placed[source]) continue;
      placed[source] = true;
      layers_[source].values_at = values;
      values += layer.attention.cached_values() * block_size;
    }
    set_bytes(values, 0);
    allocate(ops, num_blocks, 0);
  }
  KvCache(const ModelSpec& spec, const std::vector<KvGroupSpec>& groups, DType dtype)
      : dtype_(dtype), layers_(spec.layers.size()) {
    int64_t most_values = 0, most_scales = 0;
    for (size_t g = 0; g < groups.size(); ++g) {
      const int32_t size = groups[g].block_size;
      int64_t values = 0, scales = 0;
      for (int32_t index : groups[g].layers) {
        const AttentionSpec& a = spec.layers[static_cast<size_t>(index)].attention;
        layers_[static_cast<size_t>(index)] = {
            static_cast<int32_t>(g), size,   a.num_kv_heads, a.head_size,
            a.latent.rank,           values, scales};
        values += a.cached_values() * size;
        scales += 2 * int64_t{a.num_kv_heads} * size;
      }
      most_values = std::max(most_values, values);
      most_scales = std::max(most_scales, scales);
    }
    set_bytes(most_values, most_scales);
  }

  // Takes the memory; before that layer() has a null base. The null block becomes zeros: it
  // stands where a window has moved past, and 0 · NaN would not be 0 if a masked lane read it.
  void allocate(const Ops& ops, int32_t num_blocks, int32_t num_host_blocks) {
    num_blocks_ = num_blocks;
    pool_ = Buffer(ops, bytes_of(num_blocks), "the KV cache");
    host_pool_ = Buffer::for_swaps(ops, bytes_of(num_host_blocks));
    const std::vector<char> zeros(static_cast<size_t>(block_bytes_));
    ops.write(ops.context, pool_.data(), zeros.data(), zeros.size());
  }

  PagedKV layer(int32_t index) const {
    const Layer& layer = layers_[static_cast<size_t>(index)];
    const int64_t element = octavo::block_bytes(dtype_);
    char* const base = static_cast<char*>(pool_.data());
    PagedKV kv;
    kv.base = base == nullptr ? nullptr : base + layer.values_at * element;
    kv.dtype = dtype_;
    kv.group = layer.group;
    kv.block_size = layer.block_size;
    kv.num_kv_heads = layer.num_kv_heads;
    kv.head_size = layer.head_size;
    kv.block_stride = block_bytes_ / element;
    kv.head_stride = int64_t{layer.block_size} * layer.head_size;
    kv.latent = layer.latent;
    kv.v_offset = layer.latent > 0 ? 0 : layer.num_kv_heads * kv.head_stride;
    if (is_8bit_cache(dtype_) && base != nullptr) {
      kv.scale_v_offset = int64_t{layer.num_kv_heads} * layer.block_size;
      kv.scale_block_stride = block_bytes_ / 4;
      kv.scales = reinterpret_cast<float*>(base + values_bytes_) + layer.scales_at;
    }
    return kv;
  }
  void* pool() const { return pool_.data(); }
  void* host_pool() const { return host_pool_.data(); }
  int32_t num_blocks() const { return num_blocks_; }
  int64_t block_bytes() const { return block_bytes_; }

 private:
  static constexpr int64_t kAlign = 256;
  void set_bytes(int64_t values, int64_t scales) {
    values_bytes_ = values * octavo::block_bytes(dtype_);
    if (is_8bit_cache(dtype_)) values_bytes_ = (values_bytes_ + 15) / 16 * 16;
    const int64_t bytes = values_bytes_ + (is_8bit_cache(dtype_) ? scales * 4 : 0);
    // At least something: a group without layers counts its blocks, too.
    block_bytes_ = std::max(kAlign, (bytes + kAlign - 1) / kAlign * kAlign);
  }
  // Where it is more than can be counted, more than can be had.
  size_t bytes_of(int64_t blocks) const {
    return blocks > INT64_MAX / block_bytes_ ? size_t{1} << 63
                                             : static_cast<size_t>(blocks * block_bytes_);
  }
  struct Layer {
    int32_t group, block_size, num_kv_heads, head_size, latent;
    int64_t values_at, scales_at;  // in a block, counted in elements and in floats
  };

  DType dtype_;
  int32_t num_blocks_ = 0;
  std::vector<Layer> layers_;
  int64_t values_bytes_ = 0, block_bytes_ = 0;
  Buffer pool_, host_pool_;  // same layout of blocks
};

}  // namespace octavo
