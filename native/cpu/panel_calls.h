// How calls of panels.h are made from tensors: by matmul.cc, and for experts.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/cpu_ops.h"
#include "cpu/packed.h"
#include "cpu/panels.h"

namespace octavo {

constexpr int64_t kMaxRowBlock = 256;         // rows of x that pass over a panel at once,
constexpr int64_t kRowBlockBytes = 1 << 20;   // and how large they may be, to stay in L2: bytes
constexpr int64_t kRowBlockFloats = 3 << 16;  // or floats
constexpr int64_t kFewestBlockRows = 32;
constexpr int64_t kStreamBytes = 512 << 10;  // weights of one item
constexpr int64_t kItemsPerThread = 4;

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

inline bool meets_int8(const CpuContext& c, DType t) {
  return c.int8_activations && is_quantised(t);
}

inline int64_t most_block_rows(int64_t depth, bool int8) {
  const int64_t values = int8 ? kRowBlockBytes : kRowBlockFloats;
  const int64_t fit = values / depth / kQuantTileRows * kQuantTileRows;
  return std::clamp(fit, kFewestBlockRows, kMaxRowBlock);
}

// Room for rows of int8, until the next call.
inline QuantRows quant_rows(CpuContext& c, int64_t num_rows, int64_t depth) {
  const int64_t values = num_rows * depth, blocks = values / kPanelBlock;
  const int64_t scale_bytes = round_up(blocks * 4, 64);
  char* at =
      c.quant_scratch.get_array<char>(static_cast<size_t>(round_up(values, 64) + scale_bytes * 7));
  QuantRows out = {};
  out.num_rows = num_rows;
  out.depth = depth;
  out.q = reinterpret_cast<int8_t*>(at);
  at += round_up(values, 64);
  out.d = reinterpret_cast<float*>(at);
  out.sums = reinterpret_cast<int32_t*>(at + scale_bytes);
  out.weighted = reinterpret_cast<float*>(at + 3 * scale_bytes);
  out.both = reinterpret_cast<float*>(at + 5 * scale_bytes);
  out.both_sums = reinterpret_cast<int32_t*>(at + 6 * scale_bytes);
  return out;
}

// The panels of a packed matrix from one on, and the bias of their rows.
inline PanelWeights panels_from(const Tensor& w, const float* bias, int64_t panel) {
  return {w.dtype, static_cast<const char*>(w.data) + panel * panel_bytes(w.dtype, w.cols),
          bias != nullptr ? bias + panel * kPanelRows : nullptr};
}

}  // namespace octavo
