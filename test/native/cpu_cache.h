// The CPU's KV cache as plain loops: the judge of what rope_and_cache writes and the writer of what
// paged_attention reads.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "base/half.h"
#include "base/paged_kv.h"
#include "native/op_test.h"

namespace octavo::test {

constexpr DType kCacheTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kI8};

// A pool of NaN and this layer's view of it: layer `index` of `layers`.
struct TestPool {
  TestPool(DType dtype, int64_t blocks, int32_t block_size, int32_t kv_heads, int32_t head_size,
           int64_t layers, int64_t index) {
    const int64_t page = int64_t{kv_heads} * block_size * head_size, size = block_bytes(dtype);
    const int64_t scales = 2 * int64_t{kv_heads} * block_size;
    const bool scaled = is_8bit_cache(dtype);
    int64_t stride = 2 * page * layers * size + (scaled ? scales * layers * 4 : 0);
    stride = (stride + 63) / 64 * 64;
    bytes.assign(static_cast<size_t>(blocks * stride), '\xff');
    char* base = bytes.data();
    kv = {
        base + 2 * page * index * size, dtype, block_size, kv_heads, head_size, stride / size, page,
        int64_t{block_size} * head_size};
    if (!scaled) return;
    kv.scales = reinterpret_cast<float*>(base + 2 * page * layers * size) + scales * index;
    kv.scale_block_stride = stride / 4;
    kv.scale_v_offset = scales / 2;
  }
  std::vector<char> bytes;
  PagedKV kv;
};

// A row as a cache of this type holds it: values and their scale.
struct CachedRow {
  std::vector<char> bytes;
  float scale = 1;
};
inline CachedRow cached_row(DType dtype, const float* row, int64_t n) {
  CachedRow out;
  out.bytes.resize(static_cast<size_t>(n * block_bytes(dtype)));
  float top = 0;
  for (int64_t i = 0; i < n; i++) top = std::fmax(top, std::fabs(row[i]));
  if (dtype == DType::kI8) out.scale = top / 127.0f;
  for (int64_t i = 0; i < n; i++) {
    char* at = out.bytes.data() + i * block_bytes(dtype);
    const float near = std::fmin(std::fmax(row[i], -65504.0f), 65504.0f);
    const uint16_t half = dtype == DType::kF16 ? float_to_half(near) : float_to_bf16(row[i]);
    const float inverse = top > 0 ? 127.0f / top : 0.0f;
    if (dtype == DType::kF32) std::memcpy(at, row + i, 4);
    if (block_bytes(dtype) == 2) std::memcpy(at, &half, 2);
    if (dtype == DType::kI8) {
      *at = static_cast<char>(static_cast<signed char>(std::nearbyint(row[i] * inverse)));
    }
  }
  return out;
}

// What comes out again.
inline float cached_value(DType dtype, const CachedRow& row, int64_t i) {
  const char* at = row.bytes.data() + i * block_bytes(dtype);
  float value;
  uint16_t half;
  if (dtype == DType::kI8) return row.scale * static_cast<signed char>(*at);
  if (dtype == DType::kF32) {
    std::memcpy(&value, at, 4);
    return value;
  }
  std::memcpy(&half, at, 2);
  return dtype == DType::kF16 ? half_to_float(half) : bf16_to_float(half);
}
inline void round_rows(DType dtype, float* rows, int64_t n, int64_t cols) {
  for (int64_t r = 0; r < n; r++) {
    const CachedRow row = cached_row(dtype, rows + r * cols, cols);
    for (int64_t i = 0; i < cols; i++) rows[r * cols + i] = cached_value(dtype, row, i);
  }
}

inline void put_token(const PagedKV& kv, int32_t block, int32_t offset, int32_t head,
                      const float* k, const float* v) {
  const CachedRow rows[] = {cached_row(kv.dtype, k, kv.head_size),
                            cached_row(kv.dtype, v, kv.head_size)};
  const int64_t size = block_bytes(kv.dtype);
  char* base = static_cast<char*>(kv.base);
  for (int32_t d = 0; d < kv.head_size; d++) {
    std::memcpy(base + kv.turned(block, head, offset, d) * size, &rows[0].bytes[d * size], size);
  }
  std::memcpy(base + (kv.page(block, head, offset) + kv.v_offset) * size, rows[1].bytes.data(),
              rows[1].bytes.size());
  if (!is_8bit_cache(kv.dtype)) return;
  float* scale = kv.scales + kv.scale(block, head, offset);
  scale[0] = rows[0].scale;
  scale[kv.scale_v_offset] = rows[1].scale;
}

}  // namespace octavo::test
