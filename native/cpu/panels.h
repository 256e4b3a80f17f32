// Matmuls over packed weights (packed.h), one table per instruction set. As kernels.h: plain
// pointers and sizes only.
//
// With int8 activations a row of x becomes, per 32 values, a scale d = max|x| / 127 and bytes
// q = round(x / d). Per group of values that share a scale, an output adds
//   scale · d · Σ q·(code − offset)  +  min · d · Σ q
// in order of the groups: the sums of bytes are exact and the floats are the same operations in
// every instruction set, so are the bits.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "cpu/bf16.h"

namespace octavo {

// Rows of quantised activations, in tiles of 16 rows (the last may have fewer). What belongs to
// tile t starts at 16 · t times the size of a row; inside, blocks of 32 values come first, then
// rows: q[block][row][32], d[block][row], sums[block][half][row].
constexpr int64_t kQuantTileRows = 16;
struct QuantRows {
  int64_t num_rows;
  int64_t depth;  // a multiple of 32
  // Which rows of x they are made of; null = as they lie.
  const int32_t* rows;
  // What the weights have that they meet: two scales per block, mins.
  bool halves, has_mins;
  int8_t* q;        // [num_rows · depth]
  float* d;         // [num_rows · depth / 32]
  int32_t* sums;    // [num_rows · depth / 16]: Σ q of half a block; if `halves`
  float* weighted;  // the same times d
  // [num_rows · depth / 32]: the same of whole blocks
  int32_t* both_sums;
  float* both;  // if `has_mins`
};

struct PanelWeights {
  DType dtype;
  const char* panels;
  const float* bias;  // [num_cols] or null
};

struct PanelJob {
  PanelWeights weights;
  // If panels is not null: out = silu(x · weights) · (x · up), not the first product.
  PanelWeights up;
  int64_t depth;
  int64_t num_panels;
  int64_t num_cols;  // of out, from the first panel: the last may be cut
  // Rows [first_row, first_row + num_rows) of x, first_row a multiple of 16.
  int64_t first_row, num_rows;
  const QuantRows* quantised;  // or
  const void* rounded;         // what round_bf16() made of them, [rows][even_depth(depth)], or
  const float* x;              // [rows, depth]
  float* out;                  // out[(row − first_row) · out_stride + col]
  int64_t out_stride;
  char* scratch;  // panel_scratch(num_rows) bytes, 64-byte aligned
};

constexpr int64_t kPanelChunkBlocks = 24;  // blocks of depth that are unpacked at once
constexpr int64_t kAheadBlocks = 32;       // so far ahead weights are fetched;
constexpr int64_t kRowAheadBlocks = 12;    // where they meet one row
constexpr int64_t kPanelChunkBytes = kPanelChunkBlocks * (512 + 4 * 64);
constexpr int64_t kPanelFloats = 384;  // vectors of sixteen weights that are widened at once
constexpr int64_t kPanelGroup = 3;     // panels that rows of floats meet together, at most
constexpr int64_t panel_scratch(int64_t num_rows) {
  return kPanelChunkBytes + kPanelFloats * 64 + 2 * kPanelGroup * (num_rows + 16) * 64;
}

constexpr int64_t kProbeDots = 24;

struct PanelKernels {
  const char* isa;
  // Quantises blocks [first, first + n) of rows [16 · tile, …) of x [num_rows, depth].
  void (*quantise)(const float* x, int64_t tile, int64_t first, int64_t n, const QuantRows& out);
  void (*matmul)(const PanelJob& job);      // job.quantised
  void (*matmul_f32)(const PanelJob& job);  // job.rounded or job.x
  // A row of x [n] as products with BF16 weights read it: even_depth(n) values of `rounded_bytes`.
  void (*round_bf16)(const float* x, int64_t n, void* out);
  int64_t rounded_bytes;
  // In such products BF16 panels lie in pairs (packed.h).
  bool bf16_pairs;
  // And codes of 8 bits have 128 added.
  bool unsigned_bytes;
  // Panels that `matmul` takes together: jobs of multiples are best.
  int64_t dot_panels;
  // For bench/: dot products of bytes in registers, 2 · 64 · kProbeDots operations a round.
  float (*dot_probe)(int64_t rounds);
};

// Null where the build has no such path or the machine cannot run it.
const PanelKernels* panels_amx();
const PanelKernels* panels_avx512_bf16();
const PanelKernels* panels_avx512_vnni();
const PanelKernels* panels_avx2_vnni();
const PanelKernels* panels_avx2();
const PanelKernels* panels_neon_i8mm();
const PanelKernels* panels_neon_dotprod();
const PanelKernels* panels_neon();
const PanelKernels* panels_scalar();

}  // namespace octavo
