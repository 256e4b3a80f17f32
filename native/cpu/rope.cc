// rope_and_cache: rotate q and k, then write k and v into their slots.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "cpu/cpu_ops.h"
#include "cpu/kernels.h"

namespace octavo {
namespace {

bool answers(const RopeTable& table, const RopeCacheParams& p, const BatchView& batch) {
  const size_t tokens = static_cast<size_t>(batch.num_tokens);
  const size_t half = static_cast<size_t>(p.rotary_size / 2);
  return table.factor == p.attention_factor && table.positions.size() == tokens &&
         table.inv_freq.size() == half &&
         std::equal(table.positions.begin(), table.positions.end(), batch.positions) &&
         std::equal(table.inv_freq.begin(), table.inv_freq.end(), p.inv_freq);
}

// The angle is one float32 product, as in Hugging Face's models; its cos and sin are then taken
// in double, so that they are the nearest float32 on every machine.
const RopeTable& rope_table(CpuContext& c, const RopeCacheParams& p, const BatchView& batch) {
  for (const RopeTable& table : c.rope_tables) {
    if (answers(table, p, batch)) return table;
  }
  std::swap(c.rope_tables[0], c.rope_tables[1]);
  RopeTable& table = c.rope_tables[0];
  const int64_t tokens = batch.num_tokens, half = p.rotary_size / 2;
  table.positions.assign(batch.positions, batch.positions + tokens);
  table.inv_freq.assign(p.inv_freq, p.inv_freq + half);
  table.factor = p.attention_factor;
  table.cos.resize(static_cast<size_t>(tokens * half));
  table.sin.resize(static_cast<size_t>(tokens * half));
  constexpr int64_t kCost = 32;  // of a cos and a sin, in multiply-adds
  for_each_item(c, tokens * half * kCost, tokens, [&](int64_t t, int) {
    const float position = static_cast<float>(batch.positions[t]);
    for (int64_t i = 0; i < half; i++) {
      const double angle = position * p.inv_freq[i];
      table.cos[t * half + i] = static_cast<float>(std::cos(angle)) * p.attention_factor;
      table.sin[t * half + i] = static_cast<float>(std::sin(angle)) * p.attention_factor;
    }
  });
  return table;
}

// k, v [num_kv_heads, head_size] → one row of every head's page
void write_slot(const PagedKV& kv, int64_t slot, const float* k, const float* v) {
  const int32_t block = static_cast<int32_t>(slot / kv.block_size);
  const int32_t offset = static_cast<int32_t>(slot % kv.block_size);
  const size_t bytes = static_cast<size_t>(kv.head_size) * sizeof(float);
  float* base = static_cast<float*>(kv.base);
  for (int32_t h = 0; h < kv.num_kv_heads; h++) {
    float* row = base + kv.page(block, h, offset);
    std::memcpy(row, k + int64_t{h} * kv.head_size, bytes);
    std::memcpy(row + kv.v_offset, v + int64_t{h} * kv.head_size, bytes);
  }
}

}  // namespace

// Padding tokens (slot −1) are left as they are.
// q [num_tokens, num_heads · head_size], k, v [num_tokens, num_kv_heads · head_size]
void cpu_rope_and_cache(void* context, const RopeCacheParams& p, const PagedKV& kv,
                        const BatchView& batch) {
  const int64_t head = kv.head_size, kv_cols = kv.num_kv_heads * head;
  OCTAVO_CHECK(kv.dtype == DType::kF32 && kv.block_size > 0);
  OCTAVO_CHECK(p.rotary_size >= 0 && p.rotary_size <= head && p.rotary_size % 2 == 0);
  OCTAVO_CHECK(p.k.cols == kv_cols && p.v.cols == kv_cols && p.q.cols % head == 0);
  CpuContext& c = cpu_context(context);
  const RopeTable& table = rope_table(c, p, batch);
  const int32_t half = p.rotary_size / 2;
  const int64_t width = p.q.cols + 2 * kv_cols;
  const int64_t step = std::max<int64_t>(1, 4096 / width);
  const int64_t tokens = batch.num_tokens;
  for_each_item(c, tokens * width, (tokens + step - 1) / step, [&](int64_t item, int) {
    for (int64_t t = item * step; t < std::min(tokens, (item + 1) * step); t++) {
      if (batch.slots[t] < 0) continue;
      const float* cos = table.cos.data() + t * half;
      const float* sin = table.sin.data() + t * half;
      float* q = p.q.f32() + t * p.q.cols;
      float* k = p.k.f32() + t * kv_cols;
      c.kernels->rotate(q, p.q.cols / head, head, cos, sin, half, p.interleaved);
      c.kernels->rotate(k, kv.num_kv_heads, head, cos, sin, half, p.interleaved);
      write_slot(kv, batch.slots[t], k, p.v.f32() + t * kv_cols);
    }
  });
}

}  // namespace octavo
