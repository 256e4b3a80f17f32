// Products with activations that are floats, and with those rounded to BF16: of plain weights as
// packed.h lays them down, and of quantised ones unpacked to floats. Every output adds x[k] · w[k],
// one rounding each, in order of k; with activations rounded to BF16 the second of each pair of
// neighbours comes first. Panels, rows and pieces of depth only decide which outputs stand next to
// each other.
#pragma once

#include "cpu/kernels_bf16.inc.h"
#include "cpu/kernels_unpack.inc.h"
#include "cpu/panels.h"
#include "cpu/simd.h"
#include "cpu/simd_bytes.h"

namespace octavo {
namespace OCTAVO_ISA {

// How a tile reads its operands, by units of depth: here one value of a plain type and a float.
template <F32x16 (*Load)(const void*), int Bytes>
struct Plain {
  using Vector = F32x16;
  static constexpr int kBytes = 16 * Bytes;  // of a panel's unit
  static constexpr int kXBytes = 4;          // of a row's
  static constexpr int kValues = 1;          // of depth
  OCTAVO_INLINE F32x16 weights(const char* w, int64_t k) { return Load(w + kBytes * k); }
  OCTAVO_INLINE F32x16 value(const char* x, int64_t k) {
    float v;
    __builtin_memcpy(&v, x + 4 * k, 4);
    return splat(v);
  }
  OCTAVO_INLINE F32x16 add(F32x16 total, F32x16 w, F32x16 x) { return fma(x, w, total); }
};
using PlainF32 = Plain<load_f32, 4>;
using PlainF16 = Plain<load_f16, 2>;
using PlainBF16 = Plain<load_bf16, 2>;

// The same in the order of a product of BF16: second, first, fourth, third and so on.
template <class W>
struct SecondFirst : W {
  OCTAVO_INLINE F32x16 weights(const char* w, int64_t k) { return W::weights(w, k ^ 1); }
  OCTAVO_INLINE F32x16 value(const char* x, int64_t k) { return W::value(x, k ^ 1); }
};

#if defined(OCTAVO_PAIRS)
struct Pairs {
  using Vector = Pairs16;
  static constexpr int kBytes = 64;
  static constexpr int kXBytes = 4;
  static constexpr int kValues = 2;
  OCTAVO_INLINE Pairs16 weights(const char* w, int64_t j) { return load_pairs(w + kBytes * j); }
  OCTAVO_INLINE Pairs16 value(const char* x, int64_t j) { return splat_pair(x + 4 * j); }
  OCTAVO_INLINE F32x16 add(F32x16 total, Pairs16 w, Pairs16 x) { return add_pairs_of(total, w, x); }
};
#endif

static_assert(kFloatPanels <= kPanelGroup, "scratch holds the sums of so many panels");
constexpr int64_t kAheadShares = 4;
constexpr int64_t kFloatDepth = kPanelFloats / kFloatPanels;  // units that stay near
static_assert(kFloatDepth % 2 == 0, "pairs stay together");

// Rows of x times panels, over `depth` units.
struct FloatTile {
  const char* w[kFloatPanels];  // [depth]
  const char* x;                // [rows], `stride` bytes apart
  int64_t stride, depth;
  bool first;  // sums start here
  float* sums[kFloatPanels];
  // Weights that are read next, to be fetched meanwhile, so far apart and so many bytes of each
  // panel for one unit; null = nothing.
  const char* ahead;
  int64_t ahead_stride, ahead_bytes;
};

template <class W, int V, int R>
static void float_tile(const FloatTile& t) {
  F32x16 total[R][V];
  OCTAVO_UNROLL for (int r = 0; r < R; r++) {
    OCTAVO_UNROLL for (int v = 0; v < V; v++) {
      total[r][v] = t.first ? zero() : load(t.sums[v] + 16 * r);
    }
  }
  const char* const x = t.x;
  const int64_t stride = t.stride;
  OCTAVO_UNROLL_TWICE for (int64_t k = 0; k < t.depth; k++) {
    if (t.ahead != nullptr) {
      const char* const at = t.ahead + t.ahead_bytes * k;
      OCTAVO_UNROLL for (int v = 0; v < V; v++) __builtin_prefetch(at + t.ahead_stride * v, 0, 2);
    }
    typename W::Vector w[V];
    OCTAVO_UNROLL for (int v = 0; v < V; v++) w[v] = W::weights(t.w[v], k);
    OCTAVO_UNROLL for (int r = 0; r < R; r++) {
      const auto value = W::value(x + r * stride, k);
      OCTAVO_UNROLL for (int v = 0; v < V; v++) total[r][v] = W::add(total[r][v], w[v], value);
    }
  }
  OCTAVO_UNROLL for (int r = 0; r < R; r++) {
    OCTAVO_UNROLL for (int v = 0; v < V; v++) store(t.sums[v] + 16 * r, total[r][v]);
  }
}

// Picks the instance for `rows` ≤ kFloatRows.
template <class W, int V, int R = kFloatRows>
OCTAVO_INLINE void float_some(int64_t rows, const FloatTile& t) {
  if constexpr (R > 1) {
    if (rows < R) return float_some<W, V, R - 1>(rows, t);
  }
  float_tile<W, V, R>(t);
}

// w [blocks · 32][16] = scale · value + min of a chunk of signed values
static void widen_chunk(const Chunk& c, float* w) {
  for (int64_t b = 0; b < c.num_blocks; b++) {
    for (int g = 0; g < 8; g++) {
      const int64_t at = (b * c.groups + (c.groups == 2 ? g / 4 : 0)) * 16;
      const F32x16 scale = load(c.scales + at);
      const F32x16 min = c.has_min ? load(c.mins + at) : zero();
      for (int i = 0; i < 4; i++) {
        const F32x16 value = widen_byte(load_bytes(c.values + b * 512 + 64 * g), i);
        store(w + (b * 32 + 4 * g + i) * 16, fma(value, scale, min));
      }
    }
  }
}

// The same of blocks [first, first + n) of a panel of floats of eight bits.
template <DType T>
static void widen_fp8(const char* panel, int64_t depth, int64_t first, int64_t n, float* w) {
  constexpr PackedFormat f = packed_format(T);
  const char* const scales = panel + panel_scales_offset(T, depth);
  for (int64_t b = first; b < first + n; b++, w += 512) {
    const F32x16 scale = load_f32(scales + span_scales_offset(f, b));
    for (int g = 0; g < 8; g++) {
      const Bytes64 codes = load_bytes(panel + b * 512 + 64 * g);
      for (int i = 0; i < 4; i++) store(w + (4 * g + i) * 16, mul(widen_e4m3(codes, i), scale));
    }
  }
}

template <class W>
static void widen_plain(const char* w, int64_t depth, float* out) {
  for (int64_t k = 0; k < depth; k++) store(out + 16 * k, W::weights(w, k));
}

// `depth` values of a panel from `first` as floats [depth][16]: where they lie, or in `wide`.
static const float* floats_of(const PanelJob& job, DType t, const char* panel, int64_t first,
                              int64_t depth, float* wide) {
  switch (t) {
    case DType::kF32:
      return reinterpret_cast<const float*>(panel) + 16 * first;
    case DType::kF16:
      widen_plain<PlainF16>(panel + 32 * first, depth, wide);
      return wide;
    case DType::kBF16:
      widen_plain<PlainBF16>(panel + 32 * first, depth, wide);
      return wide;
    case DType::kFP8_G32:
      widen_fp8<DType::kFP8_G32>(panel, job.depth, first / 32, depth / 32, wide);
      return wide;
    case DType::kFP8_G128:
      widen_fp8<DType::kFP8_G128>(panel, job.depth, first / 32, depth / 32, wide);
      return wide;
    default:
      break;
  }
  Chunk c = {};
  c.num_blocks = depth / kPanelBlock;
  unpack_signed(t, panel, job.depth, first / kPanelBlock, job.scratch, &c);
  widen_chunk(c, wide);
  return wide;
}

// Where the sums of a job's panels stand: [kPanelGroup][rows][16], and those of job.up behind them.
OCTAVO_INLINE int64_t sums_stride(const PanelJob& job) { return (job.num_rows + 16) * 16; }
OCTAVO_INLINE float* sums_of(const PanelJob& job) {
  return reinterpret_cast<float*>(job.scratch + kPanelChunkBytes) + 16 * kPanelFloats;
}

// Sixteen columns of a job, of either kind.
struct Columns {
  const PanelJob& job;
  int64_t panel, count;

  Columns(const PanelJob& j, int64_t p)
      : job(j), panel(p), count(j.num_cols - p * 16 < 16 ? j.num_cols - p * 16 : 16) {}

  F32x16 bias_of(const PanelWeights& w) const {
    if (w.bias == nullptr) return zero();
    return count == 16 ? load(w.bias + panel * 16) : load_n(w.bias + panel * 16, count);
  }
  // out [rows, count] = what sums [rows][16] make, and up [rows][16] if the job has such.
  void finish(const float* sums, const float* up, int64_t rows) const {
    const bool biased = job.weights.bias != nullptr, up_biased = job.up.bias != nullptr;
    const F32x16 bias = bias_of(job.weights), up_bias = bias_of(job.up);
    float* to = job.out + panel * 16;
    for (int64_t r = 0; r < rows; r++, to += job.out_stride) {
      F32x16 v = load(sums + 16 * r);
      if (biased) v = add(v, bias);
      if (up != nullptr) {
        F32x16 u = load(up + 16 * r);
        if (up_biased) u = add(u, up_bias);
        v = mul(silu(v), u);
      }
      count == 16 ? store(to, v) : store_n(to, v, count);
    }
  }
};

constexpr int64_t kLongGroup = 128 << 10;  // bytes; processors fetch longer streams themselves

OCTAVO_INLINE void to_next_rows(FloatTile& t, int panels) {
  t.x += kFloatRows * t.stride;
  for (int v = 0; v < panels; v++) t.sums[v] += 16 * kFloatRows;
}

// Few rows: weights go through registers, from memory once, then from the caches.
template <class W, int V>
static void stream_panels(const PanelJob& job, FloatTile t, int64_t bytes) {
  t.depth /= W::kValues;
  t.first = true;
  t.ahead_stride = bytes;
  const int64_t groups = (job.num_rows + kFloatRows - 1) / kFloatRows;
  t.ahead_bytes = W::kBytes / groups;
  for (int64_t row = 0; row < job.num_rows; row += kFloatRows) {
    const int64_t rows = job.num_rows - row;
    if (V * bytes <= kLongGroup) {
      t.ahead = t.w[0] + V * bytes + row / kFloatRows * t.depth * t.ahead_bytes;
    }
    float_some<W, V>(rows < kFloatRows ? rows : kFloatRows, t);
    to_next_rows(t, V);
  }
}

// Many rows: pieces of depth, each of which all rows pass while it is near: `piece(v, first, n)`
// finds units [first, first + n) of a panel. `unit_bytes` of them lie in memory, 0 = none are
// fetched ahead.
template <class W, int V, class Piece>
static void pass_panels(const PanelJob& job, const FloatTile& whole, int64_t bytes,
                        int64_t unit_bytes, Piece piece) {
  FloatTile t = whole;
  const int64_t depth = whole.depth / W::kValues;
  const int64_t groups = (job.num_rows + kFloatRows - 1) / kFloatRows;
  const int64_t shares = groups < kAheadShares ? groups : kAheadShares;
  t.ahead_stride = bytes;
  t.ahead_bytes = unit_bytes / shares;
  for (int64_t first = 0; first < depth; first += kFloatDepth) {
    const int64_t left = depth - first;
    t.depth = left < kFloatDepth ? left : kFloatDepth;
    t.first = first == 0;
    t.x = whole.x + first * W::kXBytes;
    for (int v = 0; v < V; v++) {
      t.w[v] = piece(v, first, t.depth);
      t.sums[v] = whole.sums[v];
    }
    // While the first rows pass, the weights that come next, a share with each group of rows: all
    // at once would be more than memory gives in that time.
    const int64_t next = first + kFloatDepth;
    const char* const ahead = whole.w[0] + (next < depth ? next * unit_bytes : V * bytes);
    for (int64_t row = 0; row < job.num_rows; row += kFloatRows) {
      const int64_t rows = job.num_rows - row, share = row / kFloatRows;
      const bool fetches = unit_bytes > 0 && share < shares;
      t.ahead = fetches ? ahead + share * t.depth * t.ahead_bytes : nullptr;
      float_some<W, V>(rows < kFloatRows ? rows : kFloatRows, t);
      to_next_rows(t, V);
    }
  }
}

// Weights that are no floats in memory, widened piece by piece.
template <class W, int V>
static void widen_panels(const PanelJob& job, DType dtype, const FloatTile& t, int64_t bytes) {
  float* const wide = reinterpret_cast<float*>(job.scratch + kPanelChunkBytes);
  const int64_t unit_bytes = is_quantised(dtype) ? 0 : 16 * block_bytes(dtype);
  pass_panels<W, V>(job, t, bytes, unit_bytes, [&](int v, int64_t first, int64_t depth) {
    float* const own = wide + v * 16 * kFloatDepth;
    return reinterpret_cast<const char*>(floats_of(job, dtype, t.w[v], first, depth, own));
  });
}

// sums [V][rows][16] = x · panels [p, p + V) of w
template <int V>
static void float_panels(const PanelJob& job, const PanelWeights& w, int64_t p, float* sums) {
  const int64_t bytes = panel_bytes(w.dtype, job.depth);
  FloatTile t = {};
  t.depth = job.rounded == nullptr ? job.depth : even_depth(job.depth);
  for (int v = 0; v < V; v++) {
    t.w[v] = w.panels + (p + v) * bytes;
    t.sums[v] = sums + v * sums_stride(job);
  }
  const bool few = job.num_rows <= kFloatRows;
  const bool streams = few || (job.num_rows <= 8 * kFloatRows && V * bytes <= kLongGroup);
  if (job.rounded != nullptr) {
    t.stride = t.depth * kRoundedBytes;
    t.x = static_cast<const char*>(job.rounded) + job.first_row * t.stride;
#if defined(OCTAVO_PAIRS)
    if (streams) return stream_panels<Pairs, V>(job, t, bytes);
    return pass_panels<Pairs, V>(job, t, bytes, Pairs::kBytes, [&](int v, int64_t first, int64_t) {
      return t.w[v] + Pairs::kBytes * first;
    });
#else
    if (streams) return stream_panels<SecondFirst<PlainBF16>, V>(job, t, bytes);
    return widen_panels<SecondFirst<PlainF32>, V>(job, w.dtype, t, bytes);
#endif
  }
  t.stride = job.depth * 4;
  t.x = reinterpret_cast<const char*>(job.x + job.first_row * job.depth);
  if (streams && w.dtype == DType::kF32) return stream_panels<PlainF32, V>(job, t, bytes);
  if (streams && w.dtype == DType::kF16) return stream_panels<PlainF16, V>(job, t, bytes);
  if (streams && w.dtype == DType::kBF16) return stream_panels<PlainBF16, V>(job, t, bytes);
  widen_panels<PlainF32, V>(job, w.dtype, t, bytes);
}

// The products of panels [p, p + V), finished; `multiply(w, sums)` makes one.
template <int V, class Multiply>
OCTAVO_INLINE void finish_panels(const PanelJob& job, int64_t p, Multiply multiply) {
  float* const sums = sums_of(job);
  float* const up = job.up.panels != nullptr ? sums + kPanelGroup * sums_stride(job) : nullptr;
  multiply(job.weights, sums);
  if (up != nullptr) multiply(job.up, up);
  for (int v = 0; v < V; v++) {
    const int64_t at = v * sums_stride(job);
    Columns(job, p + v).finish(sums + at, up != nullptr ? up + at : nullptr, job.num_rows);
  }
}

template <int V>
static void float_group(const PanelJob& job, int64_t p) {
  finish_panels<V>(job, p,
                   [&](const PanelWeights& w, float* sums) { float_panels<V>(job, w, p, sums); });
}

static void panel_matmul_f32(const PanelJob& job) {  // and of rounded activations
  int64_t p = 0;
  for (; p + kFloatPanels <= job.num_panels; p += kFloatPanels) float_group<kFloatPanels>(job, p);
  for (; p < job.num_panels; p++) float_group<1>(job, p);
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
