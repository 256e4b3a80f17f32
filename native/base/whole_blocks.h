// GGUF types of one to four bits whose values are points of grids, or whose blocks cut into no
// planes of bits (cpu/packed.h): they stay in memory as they are stored, and 32 values of a row are
// taken apart when they are needed.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace octavo {

// 32 neighbours: value i is scale[i / (32 / num_scales(t))] · values[i], exact in float32.
struct Values32 {
  int8_t values[32];
  float scale[2];
};

// Scales of 32 values: 1 or 2.
static constexpr int num_scales(DType t) {
  return t == DType::kIQ2_XS || t == DType::kIQ2_S || t == DType::kIQ1_M ? 2 : 1;
}

// Values 32 · group .. of a block of a type that keeps_blocks().
void take_apart(DType t, const void* block, int group, Values32* out);

}  // namespace octavo
