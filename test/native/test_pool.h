// A KV cache in host memory as plain loops: the judge of what rope_and_cache writes and the writer
// of what paged_attention reads.
#pragma once

#include "base/paged_kv.h"
#include "native/backend_under_test.h"

namespace octavo::test {

inline std::vector<DType> cache_types(const Backends& backends) {
  if (backends.on_cpu()) return {DType::kF32, DType::kF16, DType::kBF16, DType::kI8};
  return {backends.type(), DType::kF8E4M3, backends.type(), DType::kI8};
}

inline float e4m3(uint8_t byte) {
  const int exponent = byte >> 3 & 15, mantissa = byte & 7;
  const float size =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return byte & 128 ? -size : size;
}

// A row as a cache of this type holds it: values and their scale.
struct CachedRow {
  std::vector<char> bytes;
  float scale = 1;
};
inline CachedRow cached_row(DType dtype, const float* row, int64_t n) {
  CachedRow out;
  if (!is_8bit_cache(dtype)) {
    std::vector<float> near(row, row + n);
    for (float& x : near) {
      if (dtype == DType::kF16) x = std::fmin(std::fmax(x, -65504.0f), 65504.0f);
    }
    out.bytes = narrowed(dtype, near);
    return out;
  }
  float top = 0;
  for (int64_t i = 0; i < n; i++) top = std::fmax(top, std::fabs(row[i]));
  const float inverse = top > 0 ? 127.0f / top : 0.0f;
  out.scale = top / 127.0f;
  for (int64_t i = 0; i < n; i++) {
    const int code = static_cast<int>(std::nearbyint(row[i] * inverse));
    // int8 as it would be rounded; e4m3 any finite byte, so that all of them are read.
    const int any = (code * 37) & 0x9F;  // magnitudes up to 15/8
    out.bytes.push_back(static_cast<char>(dtype == DType::kI8 ? code : any | (any & 1) << 5));
  }
  return out;
}
// What comes out again.
inline void read_cached(DType dtype, const CachedRow& from, float* row) {
  const std::vector<float> plain =
      is_8bit_cache(dtype) ? std::vector<float>() : widened(dtype, from.bytes);
  for (size_t i = 0; i < from.bytes.size() / static_cast<size_t>(block_bytes(dtype)); i++) {
    const uint8_t byte = static_cast<uint8_t>(from.bytes[i]);
    row[i] = !plain.empty()        ? plain[i]
             : dtype == DType::kI8 ? from.scale * static_cast<float>(static_cast<int8_t>(byte))
                                   : from.scale * e4m3(byte);
  }
}

// A pool of NaN, and one layer's view of it: layer 1 of 3, so that strides and offsets are not the
// trivial ones.
struct TestPool {
  TestPool(const Backends& backends, DType dtype, int64_t blocks, int32_t block_size,
           int32_t kv_heads, int32_t head_size, int32_t latent = 0)
      : turned(backends.on_cpu() && latent == 0) {
    constexpr int64_t kLayers = 3, kIndex = 1;
    const int64_t page = int64_t{kv_heads} * block_size * head_size, size = block_bytes(dtype);
    const int64_t scales = 2 * int64_t{kv_heads} * block_size;
    const int64_t all =
        2 * page * kLayers * size + (is_8bit_cache(dtype) ? scales * kLayers * 4 : 0);
    const int64_t stride = (all + 255) / 256 * 256;
    bytes.assign(static_cast<size_t>(blocks * stride), '\xff');
    first = 2 * page * kIndex * size;
    first_scale = 2 * page * kLayers * size + scales * kIndex * 4;
    kv.dtype = dtype;
    kv.block_size = block_size;
    kv.num_kv_heads = kv_heads;
    kv.head_size = head_size;
    kv.block_stride = stride / size;
    kv.latent = latent;
    kv.v_offset = latent > 0 ? 0 : page;
    kv.head_stride = int64_t{block_size} * head_size;
    kv.scale_block_stride = stride / 4;
    kv.scale_v_offset = scales / 2;
  }
  // The view where the pool lies at `base`.
  PagedKV view(void* base, int32_t group = 0) const {
    PagedKV out = kv;
    out.base = static_cast<char*>(base) + first;
    if (is_8bit_cache(kv.dtype)) {
      out.scales = reinterpret_cast<float*>(static_cast<char*>(base) + first_scale);
    }
    out.group = group;
    return out;
  }
  // Where value d of a token's K or V lies, in bytes, and its scale. The CPU turns pages of K.
  int64_t at(int32_t block, int32_t offset, int32_t head, bool value, int32_t d) const {
    const int64_t element = value    ? kv.page(block, head, offset) + kv.v_offset + d
                            : turned ? kv.turned(block, head, offset, d)
                                     : kv.page(block, head, offset) + d;
    return first + element * block_bytes(kv.dtype);
  }
  int64_t scale_at(int32_t block, int32_t offset, int32_t head, bool value) const {
    return first_scale + 4 * (kv.scale(block, head, offset) + (value ? kv.scale_v_offset : 0));
  }
  void put_row(int32_t block, int32_t offset, int32_t head, bool value, const CachedRow& row) {
    const int64_t size = block_bytes(kv.dtype);
    for (int32_t d = 0; d < kv.head_size; d++) {
      std::memcpy(&bytes[at(block, offset, head, value, d)], &row.bytes[d * size], size);
    }
    if (!is_8bit_cache(kv.dtype)) return;
    std::memcpy(&bytes[scale_at(block, offset, head, value)], &row.scale, 4);
  }
  // Takes a row out, so that only what nobody wrote is left.
  CachedRow take_row(int32_t block, int32_t offset, int32_t head, bool value) {
    CachedRow row, nothing;
    const int64_t size = block_bytes(kv.dtype);
    for (int32_t d = 0; d < kv.head_size; d++) {
      const char* from = &bytes[at(block, offset, head, value, d)];
      row.bytes.insert(row.bytes.end(), from, from + size);
    }
    if (is_8bit_cache(kv.dtype)) {
      std::memcpy(&row.scale, &bytes[scale_at(block, offset, head, value)], 4);
    }
    nothing.bytes.assign(row.bytes.size(), '\xff');
    std::memset(&nothing.scale, 0xff, 4);
    put_row(block, offset, head, value, nothing);
    return row;
  }
  bool untouched() const {
    for (char c : bytes) {
      if (c != '\xff') return false;
    }
    return true;
  }

  bool turned;
  std::vector<char> bytes;
  PagedKV kv;
  int64_t first, first_scale;
};

}  // namespace octavo::test
