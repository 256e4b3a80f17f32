// The stored types of weights, activations and KV, and how many bytes a row of each takes.
#pragma once

#include <cstdint>

#include "base/host_device.h"

namespace octavo {

// Numbers are part of the addon's interface (native.ts mirrors them; checked at load).
// The last two are for KV caches only, with a scale per token and head beside them.
enum class DType : int32_t {
  kF32 = 0,
  kF16 = 1,
  kBF16 = 2,
  kQ8_0 = 3,
  kQ4_0 = 4,
  kF8E4M3 = 5,
  kI8 = 6
};
constexpr int kNumDTypes = 5;  // that a checkpoint may hold

// Values per block and bytes per block: 1 and the size of the value for plain types.
constexpr bool is_quantised(DType t) { return t == DType::kQ8_0 || t == DType::kQ4_0; }
constexpr int64_t block_values(DType t) { return is_quantised(t) ? 32 : 1; }
constexpr int64_t block_bytes(DType t) {
  switch (t) {
    case DType::kF32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kQ8_0:
      return 34;  // float16 scale, 32 signed bytes
    case DType::kQ4_0:
      return 18;  // float16 scale, 16 bytes: value i low, i + 16 high; each counts from −8
    case DType::kF8E4M3:
    case DType::kI8:
      return 1;
  }
  return 0;
}

// Bytes of a row of `cols` values; cols must be a multiple of block_values(t).
constexpr int64_t row_bytes(DType t, int64_t cols) {
  return cols / block_values(t) * block_bytes(t);
}

OCTAVO_HD constexpr bool is_8bit_cache(DType t) { return t == DType::kF8E4M3 || t == DType::kI8; }

constexpr const char* dtype_name(DType t) {
  switch (t) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    case DType::kQ8_0:
      return "Q8_0";
    case DType::kQ4_0:
      return "Q4_0";
    case DType::kF8E4M3:
      return "F8_E4M3";
    case DType::kI8:
      return "I8";
  }
  return "?";
}

}  // namespace octavo
