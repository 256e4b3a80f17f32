// See panels.h. A chunk of a panel is unpacked into bytes (or floats), once for all rows of x that
// a job has; the loops over rows know nothing of types but how many values share a scale and
// whether there are mins.
#pragma once

#include "cpu/kernels_float.inc.h"
#include "cpu/kernels_quantise.inc.h"
#include "cpu/kernels_unpack.inc.h"
#include "cpu/panels.h"
#include "cpu/simd.h"
#include "cpu/simd_bytes.h"

namespace octavo {
namespace OCTAVO_ISA {

// The part of a tile of quantised rows that meets a chunk.
struct QuantTile {
  const int8_t* q;
  const float* d;
  const int32_t* sums;
  const int32_t* both_sums;
  const float* weighted;
  const float* both;
  int64_t rows;
};

OCTAVO_INLINE QuantTile tile_at(const QuantRows& x, int64_t first_row, int64_t block) {
  const int64_t left = x.num_rows - first_row, blocks = x.depth / kPanelBlock;
  const int64_t rows = left < kQuantTileRows ? left : kQuantTileRows;
  return {x.q + first_row * x.depth + block * rows * 32,
          x.d + first_row * blocks + block * rows,
          x.sums + (first_row * blocks + block * rows) * 2,
          x.both_sums + first_row * blocks + block * rows,
          x.weighted + (first_row * blocks + block * rows) * 2,
          x.both + first_row * blocks + block * rows,
          rows};
}

// What the rows of a group of values share: scale, −scale · kIntegerShift (exact: a scale has at
// most 17 bits), min.
struct GroupScales {
  F32x16 scale, minus, min;
};
template <int Groups, bool Mins>
OCTAVO_INLINE GroupScales group_scales(const Chunk& c, int64_t b, int g, int v = 0) {
  const int64_t at = (b * Groups + g) * 16 + v * c.next_scales;
  GroupScales s;
  s.scale = load(c.scales + at);
  s.minus = mul(s.scale, splat(-kIntegerShift));
  if constexpr (Mins) s.min = load(c.mins + at);
  return s;
}

// What rows [row, row + R) of a tile bring to group g of block b.
struct GroupRows {
  const float* d;         // scale of row + r at d[r]
  const float* weighted;  // Σ d · q of the group
};
template <int Groups>
OCTAVO_INLINE GroupRows group_rows(const QuantTile& x, int64_t b, int g, int64_t row) {
  const int64_t at = b * x.rows + row;
  return {x.d + at, Groups == 1 ? x.both + at : x.weighted + (2 * b + g) * x.rows + row};
}

// Σ q of that group, of row + r at [r].
template <int Groups>
OCTAVO_INLINE const int32_t* group_sums(const QuantTile& x, int64_t b, int g, int64_t row) {
  const int64_t at = b * x.rows + row;
  return Groups == 1 ? x.both_sums + at : x.sums + (2 * b + g) * x.rows + row;
}

// acc += scale · dot · d, and the min: one group of row r. `shifted` are the bits of
// kIntegerShift plus the integer dot, so the first fma is scale · dot, rounded once.
template <bool Mins>
OCTAVO_INLINE F32x16 add_group(F32x16 acc, F32x16 shifted, const GroupScales& s,
                               const GroupRows& rows, int r) {
  acc = fma(fma(shifted, s.scale, s.minus), splat(rows.d[r]), acc);
  if constexpr (!Mins) return acc;
  return fma(s.min, splat(rows.weighted[r]), acc);
}

// Sums of R rows with V panels: those of a panel's rows lie side by side, panels `stride` apart.
template <int V, int R>
OCTAVO_INLINE void load_totals(const Chunk& c, const float* acc, int64_t stride,
                               F32x16 (&total)[V][R]) {
  OCTAVO_UNROLL for (int v = 0; v < V; v++) {
    OCTAVO_UNROLL for (int r = 0; r < R; r++) {
      total[v][r] = c.first ? zero() : load(acc + v * stride + 16 * r);
    }
  }
}
template <int V, int R>
OCTAVO_INLINE void store_totals(const F32x16 (&total)[V][R], int64_t stride, float* acc) {
  OCTAVO_UNROLL for (int v = 0; v < V; v++) {
    OCTAVO_UNROLL for (int r = 0; r < R; r++) store(acc + v * stride + 16 * r, total[v][r]);
  }
}

struct PlainDots {
  static constexpr bool kUnsigned = !kSignedDots;

  // dot [V][R] += weights of group g of a block of V panels times q [R][32]
  template <int Groups, int V, int R>
  OCTAVO_INLINE void add(const char* values, int64_t next, const int8_t* q, int g,
                         I32x16 (&dot)[V][R]) {
    OCTAVO_UNROLL for (int i = g * 8 / Groups; i < (g + 1) * 8 / Groups; i++) {
      Bytes64 w[V];
      OCTAVO_UNROLL for (int v = 0; v < V; v++) w[v] = load_bytes(values + v * next + 64 * i);
      OCTAVO_UNROLL for (int r = 0; r < R; r++) {
        OCTAVO_UNROLL for (int v = 0; v < V; v++) {
          dot[v][r] = dot4(dot[v][r], w[v], q + 32 * r + 4 * i);
        }
      }
    }
  }
};

// acc [V][R][16] += chunks of V panels times rows [row, row + R) of a tile, whose sums are what
// their dots start from.
template <class Dots, int Groups, bool Mins, int V, int R>
static void dot_rows(const Chunk& c, const QuantTile& x, int64_t row, float* acc, int64_t stride) {
  F32x16 total[V][R];
  load_totals(c, acc, stride, total);
  for (int64_t b = 0; b < c.num_blocks; b++) {
    const char* values = c.values + b * 512;
    const int8_t* q = x.q + (b * x.rows + row) * 32;
    fetch_ahead<V>(c, b);
    OCTAVO_UNROLL for (int g = 0; g < Groups; g++) {
      I32x16 dot[V][R];
      const int32_t* sums = group_sums<Groups>(x, b, g, row);
      OCTAVO_UNROLL for (int r = 0; r < R; r++) {
        dot[0][r] = splat_i32(Dots::kUnsigned ? sums[r] : kIntegerShiftBits);
        OCTAVO_UNROLL for (int v = 1; v < V; v++) dot[v][r] = dot[0][r];
      }
      Dots::template add<Groups>(values, c.next_values, q, g, dot);
      const GroupRows rows = group_rows<Groups>(x, b, g, row);
      OCTAVO_UNROLL for (int v = 0; v < V; v++) {
        const GroupScales scales = group_scales<Groups, Mins>(c, b, g, v);
        OCTAVO_UNROLL for (int r = 0; r < R; r++) {
          total[v][r] = add_group<Mins>(total[v][r], bits_f32(dot[v][r]), scales, rows, r);
        }
      }
    }
  }
  store_totals(total, stride, acc);
}

// Rows, at most, that V panels of a chunk meet in registers.
constexpr int dot_rows_of(int panels) { return panels == 1 ? kDotRows : kStreamGroupRows; }

template <class Dots, int Groups, bool Mins, int V, int R = dot_rows_of(V)>
OCTAVO_INLINE void dot_some(int64_t rows, const Chunk& c, const QuantTile& x, int64_t row,
                            float* acc, int64_t stride) {
  if constexpr (R > 1) {
    if (rows < R) return dot_some<Dots, Groups, Mins, V, R - 1>(rows, c, x, row, acc, stride);
  }
  dot_rows<Dots, Groups, Mins, V, R>(c, x, row, acc, stride);
}

#if defined(OCTAVO_AMX)
#include "cpu/kernels_amx.inc.h"
#else
struct TileConfig {
  void set(int64_t, int32_t) {}
};
#endif
#if defined(OCTAVO_I8MM)
#include "cpu/kernels_i8mm.inc.h"
#endif

// acc [V][rows][16] += chunks of V panels times rows [row, …) of a tile, in pieces of even size
template <class Dots, int Groups, bool Mins, int V>
static void dot_rest(const Chunk& c, QuantTile x, int64_t row, float* acc, int64_t stride) {
  constexpr int64_t kMost = dot_rows_of(V);
  alignas(64) int32_t starts[kQuantTileRows * kPanelChunkBlocks * Groups];
  if (Dots::kUnsigned) {  // their dots are off by offset · Σ q
    const int32_t* const sums = group_sums<Groups>(x, 0, 0, 0);
    const int64_t n = x.rows * c.num_blocks * Groups;
    for (int64_t i = 0; i < n; i++) starts[i] = kIntegerShiftBits - c.offset * sums[i];
    (Groups == 1 ? x.both_sums : x.sums) = starts;
  }
  while (row < x.rows) {
    const int64_t left = x.rows - row, pieces = (left + kMost - 1) / kMost;
    const int64_t rows = (left + pieces - 1) / pieces;
    dot_some<Dots, Groups, Mins, V>(rows, c, x, row, acc + 16 * row, stride);
    row += rows;
  }
}

template <int Groups, bool Mins, int V>
static void dot_tile(const Chunk& c, const QuantTile& x, float* acc, int64_t stride) {
#if defined(OCTAVO_AMX)
  for (int v = 0; v < V; v++) {
    Chunk one = c;
    one.values += v * c.next_values;
    one.scales += v * c.next_scales;
    one.mins += v * c.next_scales;
    one.ahead.panel += v * c.ahead.to_next / V;
    dot_tile_amx<Groups, Mins>(one, x, acc + v * stride);
  }
#elif defined(OCTAVO_PAIR_DOTS)
  if (c.pairs == 8) return dot_rest<PairDots<8>, Groups, Mins, V>(c, x, 0, acc, stride);
  if (c.pairs == 4) return dot_rest<PairDots<4>, Groups, Mins, V>(c, x, 0, acc, stride);
  if (c.pairs == 2) return dot_rest<PairDots<2>, Groups, Mins, V>(c, x, 0, acc, stride);
  dot_rest<PlainDots, Groups, Mins, V>(c, x, 0, acc, stride);
#else
  int64_t row = 0;
#if defined(OCTAVO_I8MM)
  for (; row + 2 <= x.rows; row += 2) dot_pair<Groups, Mins>(c, x, row, acc + 16 * row);
#endif
  dot_rest<PlainDots, Groups, Mins, V>(c, x, row, acc, stride);
#endif
}

// What the dots of a row start from; with unsigned weights they are off by Offset · Σ q.
template <int32_t Offset>
OCTAVO_INLINE I32x16 dot_start(int32_t row_sum) {
  const I32x16 shift = splat_i32(kIntegerShiftBits);
  if constexpr (Offset == 0) {
    return shift;
  } else {
    return sub_i32(shift, splat_times<Offset>(row_sum));
  }
}

// sums [V][R][16] = rows [row, row + R) of x · V panels. Weights go from memory through registers
// into the dot products, nothing is put down on the way; otherwise the operations of dot_rows.
template <DType T, int V, int R>
static void stream_rows(const char* panels, int64_t depth, const QuantTile& x, int64_t row,
                        float* sums, int64_t sums_stride) {
  constexpr PackedFormat f = packed_format(T);
  constexpr int32_t offset = kSignedDots ? 0 : unsigned_offset(T);
  const int64_t blocks = depth / kPanelBlock, bytes = panel_bytes(T, depth);
  const char* const scales = panels + panel_scales_offset(T, depth);
  const Ahead ahead = ahead_of(f, panels, depth, kRowAheadBlocks, V * bytes);
  F32x16 total[V][R];
  OCTAVO_UNROLL for (int v = 0; v < V; v++) {
    OCTAVO_UNROLL for (int r = 0; r < R; r++) total[v][r] = zero();
  }
  for (int64_t b = 0; b < blocks; b++) {
    const char* const planes = panels + b * f.block_bytes;
    const int8_t* q = x.q + (b * x.rows + row) * 32;
    const AheadLines lines = lines_ahead(ahead, b);
    OCTAVO_UNROLL for (int v = 0; v < V; v++) {
      OCTAVO_UNROLL for (int i = 0; i < f.block_bytes; i += 64) {
        __builtin_prefetch(lines.planes + v * bytes + i, 0, 3);
      }
      __builtin_prefetch(lines.scales + v * bytes, 0, 3);
    }
    OCTAVO_UNROLL for (int g = 0; g < f.groups; g++) {
      const int32_t* row_sums = group_sums<f.groups>(x, b, g, row);
      I32x16 dot[V][R];
      OCTAVO_UNROLL for (int r = 0; r < R; r++) {
        dot[0][r] = dot_start<offset>(row_sums[r]);
        OCTAVO_UNROLL for (int v = 1; v < V; v++) dot[v][r] = dot[0][r];
      }
      OCTAVO_UNROLL for (int i = g * 8 / f.groups; i < (g + 1) * 8 / f.groups; i++) {
        Bytes64 w[V];
        OCTAVO_UNROLL for (int v = 0; v < V; v++) {
          w[v] = weights_of<T, kSignedDots>(planes + v * bytes, i);
        }
        OCTAVO_UNROLL for (int r = 0; r < R; r++) {
          OCTAVO_UNROLL for (int v = 0; v < V; v++) {
            dot[v][r] = dot4(dot[v][r], w[v], q + 32 * r + 4 * i);
          }
        }
      }
      const GroupRows rows = group_rows<f.groups>(x, b, g, row);
      OCTAVO_UNROLL for (int v = 0; v < V; v++) {
        GroupScales s;
        scales_of<T, false>(scales + v * bytes, b, g, &s.scale, &s.min);
        s.minus = mul(s.scale, splat(-kIntegerShift));
        OCTAVO_UNROLL for (int r = 0; r < R; r++) {
          total[v][r] = add_group<f.has_min>(total[v][r], bits_f32(dot[v][r]), s, rows, r);
        }
      }
    }
  }
  OCTAVO_UNROLL for (int v = 0; v < V; v++) {
    OCTAVO_UNROLL for (int r = 0; r < R; r++) store(sums + v * sums_stride + 16 * r, total[v][r]);
  }
}

// Rows, at most, that V panels meet in registers.
constexpr int stream_rows_of(int panels) { return panels == 1 ? kStreamRows : kStreamGroupRows; }

template <DType T, int V, int R = stream_rows_of(V)>
OCTAVO_INLINE void stream_some(int64_t rows, const char* panels, int64_t depth, const QuantTile& x,
                               int64_t row, float* sums, int64_t sums_stride) {
  if constexpr (R > 1) {
    if (rows < R) {
      return stream_some<T, V, R - 1>(rows, panels, depth, x, row, sums, sums_stride);
    }
  }
  stream_rows<T, V, R>(panels, depth, x, row, sums, sums_stride);
}

// The rows of a tile in pieces of even size.
template <DType T, int V>
OCTAVO_INLINE void stream_tile(const char* panels, int64_t depth, const QuantTile& x, float* sums,
                               int64_t sums_stride) {
  constexpr int64_t kMost = stream_rows_of(V);
  for (int64_t row = 0; row < x.rows;) {
    const int64_t left = x.rows - row, pieces = (left + kMost - 1) / kMost;
    const int64_t rows = (left + pieces - 1) / pieces;
    stream_some<T, V>(rows, panels, depth, x, row, sums + 16 * row, sums_stride);
    row += rows;
  }
}

// sums [V][rows][16] = x · panels [p, p + V) of w
template <int V>
static void stream_panels_of(const PanelJob& job, const PanelWeights& w, int64_t p, float* sums) {
  dispatch_type(w.dtype, [&](auto type) {
    constexpr DType kType = decltype(type)::kType;
    const char* const panels = w.panels + p * panel_bytes(kType, job.depth);
    for (int64_t row = 0; row < job.num_rows; row += kQuantTileRows) {
      const QuantTile x = tile_at(*job.quantised, job.first_row + row, 0);
      stream_tile<kType, V>(panels, job.depth, x, sums + 16 * row, sums_stride(job));
    }
  });
}

// Whether decoding weights for few rows at a time costs less than putting them down decoded.
OCTAVO_INLINE bool streamed_job(const PanelJob& job) {
#if defined(OCTAVO_AMX)
  return job.num_rows < kFewestTileRows;
#else
  return job.num_rows <= kStreamedRows;
#endif
}

// sums [V][rows][16] = x · panels [p, p + V) of w
template <int V, class Tiles>
static void rows_panels(const PanelJob& job, const PanelWeights& w, int64_t p, Tiles& tiles,
                        float* sums) {
  constexpr int64_t kMost = kPanelChunkBlocks / V;
  const int64_t blocks = job.depth / kPanelBlock, bytes = panel_bytes(w.dtype, job.depth);
  const int64_t num_chunks = (blocks + kMost - 1) / kMost;
  const int64_t most = ((blocks + num_chunks - 1) / num_chunks + 3) / 4 * 4;
  const int64_t num_tiles = (job.num_rows + kQuantTileRows - 1) / kQuantTileRows;
  const int32_t share = static_cast<int32_t>(num_tiles < 4 ? num_tiles : 4);
  const char* panel = w.panels + p * bytes;
  for (int64_t first = 0; first < blocks; first += most) {
    Chunk c = {};
    c.first = first == 0;
    c.num_blocks = blocks - first < most ? blocks - first : most;
    for (int v = V - 1; v >= 0; v--) {  // what is known of the first one stays
      char* const room = job.scratch + v * chunk_bytes(c.num_blocks);
      unpack_for_dots(w.dtype, panel + v * bytes, job.depth, first, room, &c);
    }
    c.ahead.to_next = V * bytes;
    c.ahead_share = share;
    for (int64_t row = 0; row < job.num_rows; row += kQuantTileRows) {
      const QuantTile x = tile_at(*job.quantised, job.first_row + row, first);
      tiles.set(x.rows, c.groups);
      c.ahead_tile = static_cast<int32_t>(row / kQuantTileRows);
      float* const to = sums + 16 * row;
      const int64_t stride = sums_stride(job);
      if (c.groups == 2) {
        c.has_min ? dot_tile<2, true, V>(c, x, to, stride)
                  : dot_tile<2, false, V>(c, x, to, stride);
      } else {
        c.has_min ? dot_tile<1, true, V>(c, x, to, stride)
                  : dot_tile<1, false, V>(c, x, to, stride);
      }
    }
  }
}

template <int V, class Tiles>
static void panel_group(const PanelJob& job, int64_t p, bool streamed, Tiles& tiles) {
  finish_panels<V>(job, p, [&](const PanelWeights& w, float* sums) {
    const bool in_registers = streamed && !keeps_blocks(w.dtype);
    in_registers ? stream_panels_of<V>(job, w, p, sums) : rows_panels<V>(job, w, p, tiles, sums);
  });
}

static void panel_matmul(const PanelJob& job) {
  const bool streamed = streamed_job(job);
  TileConfig tiles;
  int64_t p = 0;
  for (; p + kStreamPanels <= job.num_panels; p += kStreamPanels) {
    panel_group<kStreamPanels>(job, p, streamed, tiles);
  }
  for (; p < job.num_panels; p++) panel_group<1>(job, p, streamed, tiles);
}

static float dot_probe(int64_t rounds) {
  constexpr int kChains = kDotRows;
  alignas(64) const int8_t x[64] = {1, 2, 3, 4};
  const Bytes64 w = splat_bytes(3);
  I32x16 dots[kChains];
  OCTAVO_UNROLL for (int i = 0; i < kChains; i++) dots[i] = splat_i32(i);
  for (int64_t r = 0; r < rounds * kProbeDots / kChains; r++) {
    OCTAVO_UNROLL for (int i = 0; i < kChains; i++) dots[i] = dot4(dots[i], w, x);
  }
  F32x16 sum = zero();
  OCTAVO_UNROLL for (int i = 0; i < kChains; i++) sum = add(sum, bits_f32(dots[i]));
  return hsum(sum);
}

#define OCTAVO_STRING2(x) #x
#define OCTAVO_STRING(x) OCTAVO_STRING2(x)
#if defined(OCTAVO_PAIRS)
constexpr bool kPairs = true;
#else
constexpr bool kPairs = false;
#endif
static const PanelKernels kPanelTable = {OCTAVO_STRING(OCTAVO_ISA),
                                         quantise,
                                         panel_matmul,
                                         panel_matmul_f32,
                                         round_bf16,
                                         kRoundedBytes,
                                         kPairs,
                                         kUnsignedBytes,
                                         kStreamPanels,
                                         dot_probe};

}  // namespace OCTAVO_ISA
}  // namespace octavo
