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
  kQ4_1 = 5,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ2_K = 8,
  kQ3_K = 9,
  kQ4_K = 10,
  kQ5_K = 11,
  kQ6_K = 12,
  kIQ4_NL = 13,
  kIQ4_XS = 14,
  kMXFP4 = 15,
  kF8E4M3 = 16,
  kI8 = 17
};
constexpr int kNumDTypes = 16;  // that a checkpoint may hold

// Blocks of values with common scales, as GGUF files have them (base/quants.h).
OCTAVO_HD constexpr bool is_quantised(DType t) { return t >= DType::kQ8_0 && t <= DType::kMXFP4; }
// Values per block: 1 for plain types.
constexpr int64_t block_values(DType t) {
  if (!is_quantised(t)) return 1;
  return (t >= DType::kQ2_K && t <= DType::kQ6_K) || t == DType::kIQ4_XS ? 256 : 32;
}
// Bytes per block, or of a value.
constexpr int64_t block_bytes(DType t) {
  constexpr int64_t kBytes[] = {4,   2,   2,   34,  18, 20,  22, 24, 84,
                                110, 144, 176, 210, 18, 136, 17, 1,  1};
  return kBytes[static_cast<int32_t>(t)];
}

// Bytes of a row of `cols` values; cols must be a multiple of block_values(t).
constexpr int64_t row_bytes(DType t, int64_t cols) {
  return cols / block_values(t) * block_bytes(t);
}

OCTAVO_HD constexpr bool is_8bit_cache(DType t) { return t == DType::kF8E4M3 || t == DType::kI8; }

constexpr const char* dtype_name(DType t) {
  constexpr const char* kNames[] = {"F32",  "F16",    "BF16",   "Q8_0",  "Q4_0",    "Q4_1",
                                    "Q5_0", "Q5_1",   "Q2_K",   "Q3_K",  "Q4_K",    "Q5_K",
                                    "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4", "F8_E4M3", "I8"};
  return kNames[static_cast<int32_t>(t)];
}

}  // namespace octavo
