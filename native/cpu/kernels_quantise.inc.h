// Rows of activations as int8, a scale for every 32 values. See panels.h.
#pragma once

#include "cpu/panels.h"
#include "cpu/simd.h"
#include "cpu/simd_bytes.h"

namespace octavo {
namespace OCTAVO_ISA {

// 1.5·2²³: added to a float below 2²² it leaves the nearest integer in the low bits of the sum; as
// an integer it makes a float of a small integer that is added to it, too large by itself.
constexpr float kIntegerShift = 12582912.0f;
constexpr int32_t kIntegerShiftBits = 0x4b400000;

// Sixteen blocks of 32 values each stand in the lanes; `count` of them are wanted.
struct QuantLanes {
  const float* at[16];
  float scale[16];
  float sums[2][16];  // of halves of a block
  int8_t* q;          // [count][32]
};

static void quantise_lanes(int64_t count, QuantLanes& lanes) {
  alignas(64) float turned[32 * 16], inverse[16];
  transpose16(lanes.at, 0, turned, 16);
  transpose16(lanes.at, 16, turned + 256, 16);
  F32x16 tops[4] = {zero(), zero(), zero(), zero()};
  for (int i = 0; i < 32; i += 4) {
    OCTAVO_UNROLL for (int j = 0; j < 4; j++) {
      const F32x16 v = load(turned + 16 * (i + j));
      tops[j] = max(max(v, sub(zero(), v)), tops[j]);
    }
  }
  const F32x16 top = max(max(tops[0], tops[1]), max(tops[2], tops[3]));
  // Of values so small that 127 / top is ∞ all are 0.
  const F32x16 inverses = zero_if_less(div(splat(127.0f), top), top, splat(1e-36f));
  const F32x16 shift = splat(kIntegerShift);
  const auto shifted = [&](F32x16 v, F32x16 by)
                           OCTAVO_INLINE_LAMBDA { return add(mul(v, by), shift); };
  F32x16 sums[2] = {zero(), zero()};
  for (int half = 0; half < 2; half++) {
    for (int i = 16 * half; i < 16 * half + 16; i++) {
      const F32x16 v = load(turned + 16 * i);
      sums[half] = add(sums[half], sub(shifted(v, inverses), shift));
    }
    store(lanes.sums[half], sums[half]);
  }
  store(inverse, inverses);
  store(lanes.scale, div(top, splat(127.0f)));
  for (int64_t i = 0; i < count; i++) {
    const F32x16 by = splat(inverse[i]);
    store_low_bytes(lanes.q + 32 * i, shifted(load(lanes.at[i]), by));
    store_low_bytes(lanes.q + 32 * i + 16, shifted(load(lanes.at[i] + 16), by));
  }
  // NaN or ∞ in a block makes NaN of all outputs of its row.
  const float nan = hsum(add(sums[0], sums[1]));
  if (nan == nan) return;
  for (int64_t i = 0; i < count; i++) {
    const float both = lanes.sums[0][i] + lanes.sums[1][i];
    if (both == both) continue;
    lanes.scale[i] = both;
    lanes.sums[0][i] = lanes.sums[1][i] = 0;
    __builtin_memset(lanes.q + 32 * i, 0, 32);
  }
}

static void quantise(const float* x, int64_t tile, int64_t first_block, int64_t num_blocks,
                     const QuantRows& to) {
  const int64_t first = tile * kQuantTileRows, blocks = to.depth / kPanelBlock;
  const int64_t left = to.num_rows - first, rows = left < kQuantTileRows ? left : kQuantTileRows;
  const int64_t last = (first_block + num_blocks) * rows;
  int64_t block = first_block, row = 0;
  for (int64_t unit = first_block * rows; unit < last; unit += 16) {
    const int64_t count = last - unit < 16 ? last - unit : 16;
    QuantLanes lanes;
    lanes.q = to.q + first * to.depth + unit * 32;
    int64_t half[16];  // where what the first half of a block has goes
    for (int64_t i = 0; i < 16; i++) {
      if (i >= count) {
        lanes.at[i] = lanes.at[0];
        continue;
      }
      const int64_t from = to.rows != nullptr ? to.rows[first + row] : first + row;
      lanes.at[i] = x + from * to.depth + block * kPanelBlock;
      half[i] = 2 * first * blocks + 2 * block * rows + row;
      if (++row == rows) {
        row = 0;
        block++;
      }
    }
    quantise_lanes(count, lanes);
    const float *scale = lanes.scale, *sum0 = lanes.sums[0], *sum1 = lanes.sums[1];
    const int64_t at = first * blocks + unit;
    for (int64_t i = 0; i < count; i++) {
      to.d[at + i] = scale[i];
      to.both_sums[at + i] = static_cast<int32_t>(sum0[i] + sum1[i]);
    }
    for (int64_t i = 0; i < count && to.has_mins; i++) {
      to.both[at + i] = scale[i] * sum0[i] + scale[i] * sum1[i];
    }
    for (int64_t i = 0; i < count && to.halves; i++) {
      to.sums[half[i]] = static_cast<int32_t>(sum0[i]);
      to.sums[half[i] + rows] = static_cast<int32_t>(sum1[i]);
      to.weighted[half[i]] = scale[i] * sum0[i];
      to.weighted[half[i] + rows] = scale[i] * sum1[i];
    }
  }
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
