// The quantised types, block by block: those of GGUF files as ggml lays them out. A value is
//   scale · (code − offset) + min,
// where the code has few bits and 16 or 32 neighbours share scale and min. The two IQ4 types, MXFP4
// and NVFP4 look their code up in a table first.
//
// Ours, for what safetensors hold in several tensors (model/stored_parts.h), every scale a float32:
//   INT4, INT8   scale, zero (a byte), then codes of 32 or 128 values, scale · (code − zero); two
//                codes a byte, the first in its low half
//   FP8          scale, then floats of eight bits (E4M3)
//   NVFP4        scale of the tensor, then GGUF's block of 64: four scales in E4M3, four times
//                sixteen codes, the first eight in low halves; scales are multiplied first, or
//                where that of the tensor is negative divided by it
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace octavo {

struct QuantFormat {
  int32_t bits;    // of a code
  int32_t offset;  // subtracted from it; with a table, table[code] is the signed value
  int32_t group;   // values that share a scale: 16 or 32
  bool has_min;
  // Scale and min are small integers times one float16 each of a block of 256.
  bool is_super;
  bool is_wide = false;  // ours: the min is −scale times what the zero is above `offset`
};

static constexpr QuantFormat quant_format(DType t) {
  switch (t) {
    case DType::kQ8_0:
      return {8, 128, 32, false, false};
    case DType::kQ4_0:
      return {4, 8, 32, false, false};
    case DType::kQ4_1:
      return {4, 0, 32, true, false};
    case DType::kQ5_0:
      return {5, 16, 32, false, false};
    case DType::kQ5_1:
      return {5, 0, 32, true, false};
    case DType::kQ2_K:
      return {2, 0, 16, true, true};
    case DType::kQ3_K:
      return {3, 4, 16, false, true};
    case DType::kQ4_K:
      return {4, 0, 32, true, true};
    case DType::kQ5_K:
      return {5, 0, 32, true, true};
    case DType::kQ6_K:
      return {6, 32, 16, false, true};
    case DType::kMXFP4:
    case DType::kIQ4_NL:
      return {4, 0, 32, false, false};
    case DType::kIQ4_XS:
      return {4, 0, 32, false, true};
    case DType::kNVFP4:
      return {4, 0, 16, false, false, true};
    case DType::kINT4_G32:
    case DType::kINT4_G128:
      return {4, 8, 32, true, false, true};
    case DType::kINT8_G32:
    case DType::kINT8_G128:
      return {8, 128, 32, true, false, true};
    case DType::kFP8_G32:
    case DType::kFP8_G128:
      return {8, 0, 32, false, false, true};
    default:
      return {};
  }
}
static constexpr bool has_table(DType t) {
  return t == DType::kIQ4_NL || t == DType::kIQ4_XS || t == DType::kMXFP4 || t == DType::kNVFP4;
}
constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};
constexpr int8_t kMxfp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
static constexpr const int8_t* table_of(DType t) {
  return t == DType::kMXFP4 || t == DType::kNVFP4 ? kMxfp4Values : kIq4Values;
}

// A block taken apart: block_values(t) codes, and what their groups share. The scale of group g is
// d · scales[g] (d alone where !is_super), its min is −dmin · mins[g] (+dmin where !is_super). Of
// wide types the scale is `wide`, of NVFP4 times half of scales[g], an E4M3; the zero is
// offset + scales[0].
struct QuantBlock {
  uint8_t codes[256];
  int8_t scales[16];
  uint8_t mins[16];
  uint16_t d, dmin;  // float16; of MXFP4 bfloat16, which holds every power of two that it may say
  float wide;
};
float widen_scale(DType t, uint16_t d);
float nvfp4_scale(float tensor, uint8_t group);  // its table holds twice the values
// Of a type that has planes: not of those that keeps_blocks().
void split_block(DType t, const void* block, QuantBlock* out);

// out[n] = row[n] as F32, any type a checkpoint holds; n is a multiple of block_values(t).
// Scale times code is exact, the sum with the min is rounded once; of wide types the product is.
void dequantise_row(DType t, const void* row, int64_t n, float* out);

// ggml's quantisers: a block of 32 floats → its bytes. t is kQ8_0 or kQ4_0; n a multiple of 32.
void quantise_row(DType t, const float* values, int64_t n, void* out);

}  // namespace octavo
