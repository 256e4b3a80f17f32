// A chunk of a packed panel (packed.h) as bytes and floats that the loops of kernels_panel.inc.h
// take, whatever the type.
#pragma once

#include "cpu/packed.h"
#include "cpu/panels.h"
#include "cpu/simd.h"
#include "cpu/simd_bytes.h"

namespace octavo {
namespace OCTAVO_ISA {

#if defined(OCTAVO_PAIR_DOTS)
#include "cpu/kernels_pairs.inc.h"
#else
constexpr int pairs_of(DType) { return 1; }
#endif

// As the dot products of chunks want them.
#if defined(OCTAVO_AMX)
constexpr bool kSignedChunks = true;
#else
constexpr bool kSignedChunks = kSignedDots;
#endif
// Codes of 8 bits lie so in memory that these products take them as they are.
constexpr bool kUnsignedBytes = !kSignedChunks;

// Codes of vector g of a block, as they were before packing.
template <DType T>
OCTAVO_INLINE Bytes64 codes_of(const char* planes, int g) {
  constexpr PackedFormat f = packed_format(T);
  const char* high = planes + 64 * f.low_bits;
  Bytes64 code;
  if constexpr (f.low_bits == 8) return load_bytes(planes + 64 * g);
  if constexpr (f.low_bits == 4) {
    const Bytes64 both = load_bytes(planes + 64 * (g & 3));
    code = and_bytes(g < 4 ? both : shift_right(both, 4), splat_bytes(15));
  } else {
    const Bytes64 four = load_bytes(planes + 64 * (g >> 2));
    code = and_bytes(shift_right(four, 2 * (g & 3)), splat_bytes(3));
  }
  if constexpr (f.high_bits == 1) {
    constexpr int to = f.low_bits;
    const Bytes64 bits = load_bytes(high);
    const Bytes64 moved = g <= to ? shift_left(bits, to - g) : shift_right(bits, g - to);
    code = or_bytes(code, and_bytes(moved, splat_bytes(1 << to)));
  } else if constexpr (f.high_bits == 2) {
    constexpr int to = f.low_bits;
    const Bytes64 bits = load_bytes(high + 64 * (g >> 2));
    const int from = 2 * (g & 3);
    const Bytes64 moved = from <= to ? shift_left(bits, to - from) : shift_right(bits, from - to);
    code = or_bytes(code, and_bytes(moved, splat_bytes(3 << to)));
  }
  return code;
}

// What the dot product takes: signed values, or values + `offset` as unsigned ones.
template <DType T, bool Signed>
OCTAVO_INLINE Bytes64 weights_of(const char* planes, int g) {
  const Bytes64 code = codes_of<T>(planes, g);
  constexpr int offset = quant_format(T).offset;
  if constexpr (packed_format(T).low_bits == 8) {
    return Signed != kUnsignedBytes ? code : xor_bytes(code, splat_bytes(0x80));
  }
  if constexpr (has_table(T)) {
    constexpr const int8_t* table = table_of(T);
    return lookup(table, Signed ? 0 : 128, code);
  }
  if constexpr (Signed && offset != 0) return sub_bytes(code, splat_bytes(offset));
  return code;
}
constexpr int32_t unsigned_offset(DType t) { return has_table(t) ? 128 : quant_format(t).offset; }

// Without its two lowest bits: products with kIntegerShift are exact then.
OCTAVO_INLINE F32x16 cut_scale(F32x16 scale) {
  const F32x16 more = mul(scale, splat(5.0f));
  return sub(more, sub(more, scale));
}

// Of wide types, whose scales have all bits of a float.
template <DType T, bool Exact>
OCTAVO_INLINE void wide_scales(const char* head, const char* at, F32x16* scale, F32x16* min) {
  F32x16 d = load_f32(head);
  if constexpr (T == DType::kNVFP4) {
    const F32x16 own = mul(load_e4m3(at), splat(0.5f));
    // All rows have one sign; those past the last have 0.
    d = first_lane(d) < 0 ? div(own, max(sub(zero(), d), splat(1e-38f))) : mul(own, d);
  }
  *scale = Exact ? d : cut_scale(d);
  if constexpr (packed_format(T).has_min) *min = mul(sub(zero(), *scale), load_i8(head + 64));
}

// Scale and min of group g of a block, for sixteen rows; not Exact: as products with bytes take it.
template <DType T, bool Exact>
OCTAVO_INLINE void scales_of(const char* scales, int64_t block, int g, F32x16* scale, F32x16* min) {
  constexpr PackedFormat f = packed_format(T);
  const char* at = scales + block_scales_offset(f, block);
  const char* head = scales + span_scales_offset(f, block);
  if constexpr (f.is_wide) return wide_scales<T, Exact>(head, at + 16 * g, scale, min);
  if constexpr (!f.is_super) {
    *scale = T == DType::kMXFP4 ? load_bf16(at) : load_f16(at);
    if constexpr (f.has_min) *min = load_f16(at + 32);
    return;
  }
  const F32x16 d = load_f16(head);
  if constexpr (T == DType::kQ2_K) {
    F32x16 low, high;
    load_nibbles(at + 16 * g, low, high);
    *scale = mul(d, low);
    *min = mul(sub(zero(), load_f16(head + 32)), high);
  } else {
    *scale = mul(d, load_i8(at + 16 * g));
    if constexpr (f.has_min) {
      *min = mul(sub(zero(), load_f16(head + 32)), load_i8(at + 16 * (f.groups + g)));
    }
  }
}

// Where the planes and scales lie that come `distance` blocks later, in the same panel or the next.
// A panel's scales are a stream of their own, which processors do not foresee in short panels.
struct Ahead {
  const char* panel;
  int64_t blocks, distance;
  int64_t to_next;                   // the panel that is read after this one
  int32_t block_bytes, scale_bytes;  // scales: of a block on average
};
struct AheadLines {
  const char* planes;
  const char* scales;
};
OCTAVO_INLINE Ahead ahead_of(const PackedFormat& f, const char* panel, int64_t depth,
                             int64_t distance, int64_t to_next) {
  const int64_t blocks = depth / kPanelBlock;
  return {panel,   blocks,        distance < blocks ? distance : blocks,
          to_next, f.block_bytes, f.scale_bytes + f.super_bytes / f.span};
}
OCTAVO_INLINE AheadLines lines_ahead(const Ahead& a, int64_t block) {
  int64_t at = block + a.distance;
  const char* panel = a.panel;
  if (at >= a.blocks) {
    at -= a.blocks;
    panel += a.to_next;
  }
  return {panel + at * a.block_bytes, panel + a.blocks * a.block_bytes + at * a.scale_bytes};
}

// A chunk of a panel, or of several, in the form that the loops over rows take.
struct Chunk {
  const char* values;                // [blocks][8][64]
  const float* scales;               // [blocks][groups][16]
  const float* mins;                 // the same
  int64_t next_values, next_scales;  // how far those of the next panel lie
  int64_t num_blocks;
  int32_t groups;
  bool has_min;
  int32_t offset;  // of unsigned values
  int32_t pairs;   // pairs_of the type
  bool first;      // of its panel: sums start here
  // What is read next is fetched meanwhile; every tile of rows takes one line in `ahead_share`.
  Ahead ahead;
  int64_t first_block;
  int32_t ahead_tile, ahead_share;
};

// What a pass over chunks of V panels brings near while it works on block b.
template <int V>
OCTAVO_INLINE void fetch_ahead(const Chunk& c, int64_t b) {
  if (c.ahead_tile >= c.ahead_share) return;
  const AheadLines lines = lines_ahead(c.ahead, c.first_block + b);
  OCTAVO_UNROLL for (int v = 0; v < V; v++) {
    const int64_t panel = v * c.ahead.to_next / V;
    for (int32_t i = 64 * c.ahead_tile; i < c.ahead.block_bytes; i += 64 * c.ahead_share) {
      __builtin_prefetch(lines.planes + panel + i, 0, 2);
    }
    if (c.ahead_tile == 0) __builtin_prefetch(lines.scales + panel, 0, 2);
  }
}

// Room for a chunk of a panel, and where its scales and mins begin in it.
constexpr int64_t chunk_scales(int64_t blocks) { return blocks * 512; }
constexpr int64_t chunk_bytes(int64_t blocks) { return blocks * (512 + 4 * 64); }

// Exact: to be widened; else to meet bytes. (Scales of most types are the same then.)
template <DType T, bool Signed, bool Exact>
static void unpack(const char* panel, int64_t depth, int64_t first, char* scratch, Chunk* c) {
  constexpr PackedFormat f = packed_format(T);
  const char* planes = panel + first * f.block_bytes;
  const char* scales = panel + panel_scales_offset(T, depth);
  c->ahead = ahead_of(f, panel, depth, kAheadBlocks, panel_bytes(T, depth));
  c->first_block = first;
  char* values = scratch;
  float* scale_out = reinterpret_cast<float*>(scratch + chunk_scales(c->num_blocks));
  float* min_out = scale_out + c->num_blocks * 32;
  constexpr bool kAsStored = f.low_bits == 8 && Signed != kUnsignedBytes;
  for (int64_t b = 0; b < c->num_blocks; b++) {
    if (!kAsStored) {
      OCTAVO_UNROLL for (int g = 0; g < 8; g++) {
        store_bytes(values + b * 512 + 64 * g, weights_of<T, Signed>(planes, g));
      }
      planes += f.block_bytes;
    }
    OCTAVO_UNROLL for (int g = 0; g < f.groups; g++) {
      F32x16 scale, min;
      scales_of<T, Exact>(scales, first + b, g, &scale, &min);
      store(scale_out + (b * f.groups + g) * 16, scale);
      if constexpr (f.has_min) store(min_out + (b * f.groups + g) * 16, min);
    }
  }
  c->values = kAsStored ? planes : values;
  c->next_values = kAsStored ? panel_bytes(T, depth) : chunk_bytes(c->num_blocks);
  c->next_scales = chunk_bytes(c->num_blocks) / 4;
  c->scales = scale_out;
  c->mins = min_out;
  c->groups = f.groups;
  c->has_min = f.has_min;
  c->offset = Signed ? 0 : unsigned_offset(T);
}

// The same of a type that keeps_blocks().
static void unpack_whole(DType t, bool is_signed, const char* panel, int64_t depth, int64_t first,
                         char* scratch, Chunk* c) {
  const PackedFormat f = packed_format(t);
  c->ahead = ahead_of(f, panel, depth, kAheadBlocks, panel_bytes(t, depth));
  c->first_block = first;
  c->values = scratch;
  float* const scales = reinterpret_cast<float*>(scratch + chunk_scales(c->num_blocks));
  take_panel_apart(t, panel, first, c->num_blocks, is_signed ? 0 : 0x80808080u, scratch, scales);
  c->next_values = chunk_bytes(c->num_blocks);
  c->next_scales = chunk_bytes(c->num_blocks) / 4;
  c->scales = scales;
  c->mins = nullptr;
  c->groups = f.groups;
  c->has_min = false;
  c->offset = is_signed ? 0 : 128;
  c->pairs = 1;
}

// fn(Type<T>{}) for a type that is known at run time only.
template <DType T>
struct Type {
  static constexpr DType kType = T;
};
template <class Fn>
OCTAVO_INLINE void dispatch_type(DType t, Fn fn) {
  switch (t) {
    case DType::kQ8_0:
      return fn(Type<DType::kQ8_0>{});
    case DType::kQ4_0:
      return fn(Type<DType::kQ4_0>{});
    case DType::kQ4_1:
      return fn(Type<DType::kQ4_1>{});
    case DType::kQ5_0:
      return fn(Type<DType::kQ5_0>{});
    case DType::kQ5_1:
      return fn(Type<DType::kQ5_1>{});
    case DType::kQ2_K:
      return fn(Type<DType::kQ2_K>{});
    case DType::kQ3_K:
      return fn(Type<DType::kQ3_K>{});
    case DType::kQ4_K:
      return fn(Type<DType::kQ4_K>{});
    case DType::kQ5_K:
      return fn(Type<DType::kQ5_K>{});
    case DType::kQ6_K:
      return fn(Type<DType::kQ6_K>{});
    case DType::kIQ4_NL:
      return fn(Type<DType::kIQ4_NL>{});
    case DType::kIQ4_XS:
      return fn(Type<DType::kIQ4_XS>{});
    case DType::kMXFP4:
      return fn(Type<DType::kMXFP4>{});
    case DType::kNVFP4:
      return fn(Type<DType::kNVFP4>{});
    case DType::kINT4_G32:
      return fn(Type<DType::kINT4_G32>{});
    case DType::kINT4_G128:
      return fn(Type<DType::kINT4_G128>{});
    case DType::kINT8_G32:
      return fn(Type<DType::kINT8_G32>{});
    case DType::kINT8_G128:
      return fn(Type<DType::kINT8_G128>{});
    default:  // cpu_matmul gives no other
      return;
  }
}

// As signed values.
static void unpack_signed(DType t, const char* panel, int64_t depth, int64_t first, char* scratch,
                          Chunk* c) {
  if (keeps_blocks(t)) return unpack_whole(t, true, panel, depth, first, scratch, c);
  dispatch_type(t, [&](auto type) {
    constexpr DType kType = decltype(type)::kType;
    unpack<kType, true, packed_format(kType).is_wide>(panel, depth, first, scratch, c);
  });
}

static void unpack_for_dots(DType t, const char* panel, int64_t depth, int64_t first, char* scratch,
                            Chunk* c) {
  if (keeps_blocks(t)) return unpack_whole(t, kSignedChunks, panel, depth, first, scratch, c);
  dispatch_type(t, [&](auto type) {
    constexpr DType kType = decltype(type)::kType;
    c->pairs = pairs_of(kType);
    unpack<kType, kSignedChunks && pairs_of(kType) == 1, false>(panel, depth, first, scratch, c);
  });
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
