// The stored types of weights, activations and KV, and how many bytes a row of each takes.
#pragma once

#include <cstdint>

#include "base/host_device.h"

// Functions are static here and in what kernels read beside it (quants.h, whole_blocks.h,
// packed.h): units built for different instruction sets each have their own, and the linker chooses
// none.
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
  kNVFP4 = 16,
  kIQ2_XXS = 17,
  kIQ2_XS = 18,
  kIQ2_S = 19,
  kIQ3_XXS = 20,
  kIQ3_S = 21,
  kIQ1_S = 22,
  kIQ1_M = 23,
  kTQ1_0 = 24,
  kTQ2_0 = 25,
  kQ1_0 = 26,
  kQ2_0 = 27,
  kINT4_G32 = 28,
  kINT4_G128 = 29,
  kINT8_G32 = 30,
  kINT8_G128 = 31,
  kFP8_G32 = 32,
  kFP8_G128 = 33,
  kF8E4M3 = 34,
  kI8 = 35
};
constexpr int kNumDTypes = 34;  // that a checkpoint may hold

// Blocks of values with common scales, as GGUF files have them or as what safetensors hold in
// several tensors is put together (base/quants.h).
OCTAVO_HD static constexpr bool is_quantised(DType t) {
  return t >= DType::kQ8_0 && t <= DType::kFP8_G128;
}
// Of which some values are taken apart at a time (base/whole_blocks.h).
OCTAVO_HD static constexpr bool keeps_blocks(DType t) {
  return t >= DType::kIQ2_XXS && t <= DType::kQ2_0;
}
// Codes are floats of eight bits.
OCTAVO_HD static constexpr bool is_fp8(DType t) {
  return t == DType::kFP8_G32 || t == DType::kFP8_G128;
}

struct DTypeInfo {
  const char* name;
  int32_t values, bytes;  // of a block; of plain types of one value
};
constexpr DTypeInfo kDTypes[] = {
    {"F32", 1, 4},        {"F16", 1, 2},          {"BF16", 1, 2},       {"Q8_0", 32, 34},
    {"Q4_0", 32, 18},     {"Q4_1", 32, 20},       {"Q5_0", 32, 22},     {"Q5_1", 32, 24},
    {"Q2_K", 256, 84},    {"Q3_K", 256, 110},     {"Q4_K", 256, 144},   {"Q5_K", 256, 176},
    {"Q6_K", 256, 210},   {"IQ4_NL", 32, 18},     {"IQ4_XS", 256, 136}, {"MXFP4", 32, 17},
    {"NVFP4", 64, 40},    {"IQ2_XXS", 256, 66},   {"IQ2_XS", 256, 74},  {"IQ2_S", 256, 82},
    {"IQ3_XXS", 256, 98}, {"IQ3_S", 256, 110},    {"IQ1_S", 256, 50},   {"IQ1_M", 256, 56},
    {"TQ1_0", 256, 54},   {"TQ2_0", 256, 66},     {"Q1_0", 128, 18},    {"Q2_0", 64, 18},
    {"INT4_G32", 32, 21}, {"INT4_G128", 128, 69}, {"INT8_G32", 32, 37}, {"INT8_G128", 128, 133},
    {"FP8_G32", 32, 36},  {"FP8_G128", 128, 132}, {"F8_E4M3", 1, 1},    {"I8", 1, 1}};

// Values per block: 1 for plain types.
static constexpr int64_t block_values(DType t) { return kDTypes[static_cast<int32_t>(t)].values; }
// Bytes per block, or of a value.
static constexpr int64_t block_bytes(DType t) { return kDTypes[static_cast<int32_t>(t)].bytes; }

// Bytes of a row of `cols` values; cols must be a multiple of block_values(t).
static constexpr int64_t row_bytes(DType t, int64_t cols) {
  return cols / block_values(t) * block_bytes(t);
}

OCTAVO_HD static constexpr bool is_8bit_cache(DType t) {
  return t == DType::kF8E4M3 || t == DType::kI8;
}

static constexpr const char* dtype_name(DType t) { return kDTypes[static_cast<int32_t>(t)].name; }

}  // namespace octavo
