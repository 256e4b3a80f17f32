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

// What weights of a type meet: activations as they are, or rounded.
enum class Meets { kFloats, kBF16, kInt8 };

inline Meets meets(const CpuContext& c, DType t) {
  if (is_fp8(t)) return Meets::kFloats;  // their codes are no integers
  if (is_quantised(t)) return c.rounding.int8 ? Meets::kInt8 : Meets::kFloats;
  return t == DType::kBF16 && c.rounding.bf16 ? Meets::kBF16 : Meets::kFloats;
}

inline int64_t most_block_rows(const CpuContext& c, int64_t depth, Meets kind) {
  int64_t values = kRowBlockFloats;
  if (kind == Meets::kInt8) values = kRowBlockBytes;
  if (kind == Meets::kBF16) values = 4 * kRowBlockFloats / c.panels->rounded_bytes;
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

// Before they are quantised: they meet weights of this type.
inline void will_meet(QuantRows& rows, DType t) {
  const PackedFormat f = packed_format(t);
  rows.halves = rows.halves || f.groups == 2;
  rows.has_mins = rows.has_mins || f.has_min;
}

// Panels that a job takes together.
inline int64_t panel_group(const CpuContext& c, Meets kind) {
  return kind == Meets::kInt8 ? c.panels->dot_panels : kPanelGroup;
}

// Bytes of a row that is rounded to BF16.
inline int64_t rounded_row(const CpuContext& c, int64_t depth) {
  return even_depth(depth) * c.panels->rounded_bytes;
}

// Rows of x [num_rows, depth] rounded to BF16, until the next call.
inline const char* round_rows(CpuContext& c, const float* x, int64_t num_rows, int64_t depth) {
  const int64_t row = rounded_row(c, depth);
  char* const out = c.quant_scratch.get_array<char>(static_cast<size_t>(num_rows * row));
  const int64_t share = std::max<int64_t>(1, kInlineWork / (kPointwiseCost * depth));
  for_each_item(c, kPointwiseCost * num_rows * depth, ceil_div(num_rows, share),
                [&](int64_t item, int) {
                  const int64_t first = item * share, end = std::min(first + share, num_rows);
                  for (int64_t r = first; r < end; r++) {
                    c.panels->round_bf16(x + r * depth, depth, out + r * row);
                  }
                });
  return out;
}

// The panels of a packed matrix from one on, and the bias of their rows.
inline PanelWeights panels_from(const Tensor& w, const float* bias, int64_t panel) {
  return {w.dtype, static_cast<const char*>(w.data) + panel * panel_bytes(w.dtype, w.cols),
          bias != nullptr ? bias + panel * kPanelRows : nullptr};
}

}  // namespace octavo
