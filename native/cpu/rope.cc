// rope_and_cache: rotate q and k, then write k and v into their slots.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "cpu/cpu_ops.h"
#include "cpu/kernels.h"

namespace octavo {
namespace {

// Marks of tokens mean something only where there are long frequencies for them.
bool has_long(const RopeCacheParams& p, const BatchView& batch) {
  return p.inv_freq_long != nullptr && batch.long_rope != nullptr;
}

template <class T>
bool equal(const std::vector<T>& known, const T* asked, size_t n) {
  return known.size() == n && std::equal(known.begin(), known.end(), asked);
}

bool answers(const RopeTable& table, const RopeCacheParams& p, const BatchView& batch) {
  const size_t tokens = static_cast<size_t>(batch.num_tokens);
  const size_t half = static_cast<size_t>(p.rotary_size / 2);
  const bool two = has_long(p, batch);
  return table.factor == p.attention_factor && equal(table.positions, batch.positions, tokens) &&
         equal(table.inv_freq, p.inv_freq, half) &&
         equal(table.is_long, batch.long_rope, two ? tokens : 0) &&
         equal(table.inv_freq_long, p.inv_freq_long, two ? half : 0);
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
  const bool two = has_long(p, batch);
  table.positions.assign(batch.positions, batch.positions + tokens);
  table.inv_freq.assign(p.inv_freq, p.inv_freq + half);
  table.is_long.assign(batch.long_rope, batch.long_rope + (two ? tokens : 0));
  table.inv_freq_long.assign(p.inv_freq_long, p.inv_freq_long + (two ? half : 0));
  table.factor = p.attention_factor;
  table.cos.resize(static_cast<size_t>(tokens * half));
  table.sin.resize(static_cast<size_t>(tokens * half));
  constexpr int64_t kCost = 32;  // of a cos and a sin, in multiply-adds
  for_each_item(c, tokens * half * kCost, tokens, [&](int64_t t, int) {
    const float position = static_cast<float>(batch.positions[t]);
    const float* inv_freq = two && batch.long_rope[t] != 0 ? p.inv_freq_long : p.inv_freq;
    for (int64_t i = 0; i < half; i++) {
      const double angle = position * inv_freq[i];
      table.cos[t * half + i] = static_cast<float>(std::cos(angle)) * p.attention_factor;
      table.sin[t * half + i] = static_cast<float>(std::sin(angle)) * p.attention_factor;
    }
  });
  return table;
}

void rotate(const CpuContext& c, const RopeTable& table, const RopeCacheParams& p,
            const PagedKV& kv, int64_t t) {
  const int32_t half = p.rotary_size / 2;
  const float *cos = table.cos.data() + t * half, *sin = table.sin.data() + t * half;
  const auto turn = [&](const Tensor& x, int64_t skipped, int64_t head) {
    if (x.empty()) return;
    c.kernels->rotate(x.f32() + t * x.cols + skipped, x.cols / head, head, cos, sin, half,
                      p.interleaved);
  };
  turn(p.q, kv.latent, kv.head_size);
  turn(p.k, 0, kv.head_size - kv.latent);
}

// What comes behind the rotation.
void norm_and_temper(const CpuContext& c, const RopeCacheParams& p, int64_t head, int64_t t,
                     int32_t position) {
  float* const q = p.q.f32() + t * p.q.cols;
  if (p.norm) {
    c.kernels->rms_norm(q, q, p.q_norm, p.norm_eps, p.q.cols / head, head);
    if (!p.k.empty()) {
      float* const k = p.k.f32() + t * p.k.cols;
      c.kernels->rms_norm(k, k, p.k_norm, p.norm_eps, p.k.cols / head, head);
    }
  }
  if (p.temperature.beta == 0) return;
  const double steps = static_cast<double>(p.temperature.steps(position));
  const double factor = 1 + static_cast<double>(p.temperature.beta) * std::log(1 + steps);
  c.kernels->scale_and_cap(q, static_cast<float>(factor), 0, p.q.cols);
}

// One value each of `size` bytes from a row to a column that is `stride` values apart.
template <class T>
void scatter(const void* row, int64_t n, void* column, int64_t stride) {
  const T* from = static_cast<const T*>(row);
  T* to = static_cast<T*>(column);
  for (int64_t d = 0; d < n; d++) to[d * stride] = from[d];
}

// v [latent], k [head_size − latent] → a row
void write_latent(const CpuKernels& kernels, const PagedKV& kv, int64_t slot, const float* k,
                  const float* v) {
  const int32_t block = static_cast<int32_t>(slot / kv.block_size);
  const int32_t offset = static_cast<int32_t>(slot % kv.block_size);
  const int64_t element = block_bytes(kv.dtype);
  char* const to = static_cast<char*>(kv.base) + kv.page(block, 0, offset) * element;
  const auto put = [&](const float* from, int64_t n, char* at) {
    if (kv.dtype != DType::kF32) {
      kernels.narrow_row(kv.dtype, from, n, at);
    } else {
      std::memcpy(at, from, static_cast<size_t>(n) * 4);
    }
  };
  put(v, kv.latent, to);
  put(k, kv.head_size - kv.latent, to + kv.latent * element);
}

// k, v [num_kv_heads, head_size] → one column of every head's page of K, one row of V's
void write_slot(const CpuKernels& kernels, const PagedKV& kv, int64_t slot, const float* k,
                const float* v) {
  constexpr int64_t kMaxHead = 4096;
  alignas(64) char narrow[kMaxHead * 4];
  const int32_t block = static_cast<int32_t>(slot / kv.block_size);
  const int32_t offset = static_cast<int32_t>(slot % kv.block_size);
  const int64_t head = kv.head_size, element = block_bytes(kv.dtype);
  char* base = static_cast<char*>(kv.base);
  const auto put_v = [&](const float* row, char* to) {
    if (kv.dtype != DType::kF32) return kernels.narrow_row(kv.dtype, row, head, to);
    std::memcpy(to, row, static_cast<size_t>(head) * 4);
    return 0.0f;
  };
  for (int32_t h = 0; h < kv.num_kv_heads; h++) {
    char* const k_to = base + kv.turned(block, h, offset, 0) * element;
    const float k_scale = put_v(k + h * head, narrow);
    if (element == 4) scatter<uint32_t>(narrow, head, k_to, kv.block_size);
    if (element == 2) scatter<uint16_t>(narrow, head, k_to, kv.block_size);
    if (element == 1) scatter<uint8_t>(narrow, head, k_to, kv.block_size);
    char* const v_to = base + (kv.page(block, h, offset) + kv.v_offset) * element;
    const float v_scale = put_v(v + h * head, v_to);
    if (!is_8bit_cache(kv.dtype)) continue;
    float* const scale = kv.scales + kv.scale(block, h, offset);
    scale[0] = k_scale;
    scale[kv.scale_v_offset] = v_scale;
  }
}

}  // namespace

// Padding tokens (slot −1) are left as they are.
// q [num_tokens, num_heads · head_size], k, v [num_tokens, num_kv_heads · head_size] or empty, or
// of a latent row what rotates and what does not
void cpu_rope_and_cache(void* context, const RopeCacheParams& p, const PagedKV& kv,
                        const BatchView& batch) {
  const bool writes = !p.k.empty(), latent = kv.latent > 0;
  const int64_t head = kv.head_size, kv_cols = writes ? kv.num_kv_heads * head : 0;
  OCTAVO_CHECK(is_cpu_cache(kv.dtype) && kv.block_size > 0 && head <= 4096);
  OCTAVO_CHECK(p.rotary_size >= 0 && p.rotary_size % 2 == 0);
  OCTAVO_CHECK(p.rotary_size <= head - kv.latent);
  OCTAVO_CHECK(p.rotary_size == 0 || p.inv_freq != nullptr);
  OCTAVO_CHECK(p.temperature.length > 0);
  OCTAVO_CHECK(p.v.empty() != writes && p.q.cols % head == 0);
  OCTAVO_CHECK(p.v.cols == (latent ? kv.latent : kv_cols) && p.k.cols == kv_cols - kv.latent);
  OCTAVO_CHECK(!latent || (kv.num_kv_heads == 1 && !p.norm && !is_8bit_cache(kv.dtype)));
  CpuContext& c = cpu_context(context);
  // What does not rotate asks for no table, and drives out none.
  const RopeTable* table = p.rotary_size == 0 ? nullptr : &rope_table(c, p, batch);
  const int64_t width = p.q.cols + 2 * kv_cols;
  const int64_t step = std::max<int64_t>(1, 4096 / width);
  const int64_t tokens = batch.num_tokens;
  const int64_t* const slots = batch.groups[kv.group].slots;
  for_each_item(c, 2 * kPointwiseCost * tokens * width, (tokens + step - 1) / step,
                [&](int64_t item, int) {
                  for (int64_t t = item * step; t < std::min(tokens, (item + 1) * step); t++) {
                    if (slots[t] < 0) continue;
                    if (table != nullptr) rotate(c, *table, p, kv, t);
                    norm_and_temper(c, p, head, t, batch.positions[t]);
                    if (!writes) continue;
                    const float* const k = p.k.f32() + t * p.k.cols;
                    const float* const v = p.v.f32() + t * p.v.cols;
                    latent ? write_latent(*c.kernels, kv, slots[t], k, v)
                           : write_slot(*c.kernels, kv, slots[t], k, v);
                  }
                });
}

}  // namespace octavo
