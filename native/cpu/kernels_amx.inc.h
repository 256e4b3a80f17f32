// Tiles of int8 (AMX): sixteen rows of activations by sixteen weight rows by the values that share
// a scale, in one instruction. Included by kernels_panel.inc.h, inside its namespace; the floats
// around the sums of bytes are those of dot_rows.

constexpr int64_t kFewestTileRows = 6;  // of a job; below, dot products of vectors are as fast

// Shapes of the tile registers: 0 to 3 sums [rows][16] int32, 4 activations [rows][k], 5 weights
// [k / 4][64]. Released when it goes: tiles make every switch of threads dearer.
struct TileConfig {
  int64_t rows = 0;
  int32_t groups = 0;

  ~TileConfig() {
    if (rows != 0) _tile_release();
  }
  void set(int64_t new_rows, int32_t new_groups) {
    if (rows == new_rows && groups == new_groups) return;
    rows = new_rows;
    groups = new_groups;
    alignas(64) struct {
      uint8_t palette, start_row, reserved[14];
      uint16_t row_bytes[16];
      uint8_t num_rows[16];
    } config = {};
    config.palette = 1;
    for (int t = 0; t < 4; t++) {
      config.num_rows[t] = static_cast<uint8_t>(rows);
      config.row_bytes[t] = 64;
    }
    config.num_rows[4] = static_cast<uint8_t>(rows);
    config.row_bytes[4] = static_cast<uint16_t>(32 / groups);
    config.num_rows[5] = static_cast<uint8_t>(8 / groups);
    config.row_bytes[5] = 64;
    // GCC 12's intrinsic names only the first bytes as read.
    asm volatile("" ::"r"(&config) : "memory");
    _tile_loadconfig(&config);
  }
};

alignas(64) constexpr int32_t kShiftRow[16] = {
    kIntegerShiftBits, kIntegerShiftBits, kIntegerShiftBits, kIntegerShiftBits,
    kIntegerShiftBits, kIntegerShiftBits, kIntegerShiftBits, kIntegerShiftBits,
    kIntegerShiftBits, kIntegerShiftBits, kIntegerShiftBits, kIntegerShiftBits,
    kIntegerShiftBits, kIntegerShiftBits, kIntegerShiftBits, kIntegerShiftBits};

// kIntegerShift + the sums of group n of a block into `to` [rows][16].
#define OCTAVO_TILE_GROUP(n, to)                                             \
  do {                                                                       \
    const int64_t at_ = unit + (n);                                          \
    const int64_t block_ = at_ / Groups, group_ = at_ % Groups;              \
    asm volatile("" ::: "memory"); /* nor here what tiles are loaded from */ \
    _tile_loadd(n, kShiftRow, 0);                                            \
    _tile_loadd(4, x.q + block_ * x.rows * 32 + group_ * 16, 32);            \
    _tile_loadd(5, c.values + block_ * 512 + group_ * (512 / Groups), 64);   \
    _tile_dpbssd(n, 4, 5);                                                   \
    _tile_stored(n, to, 64);                                                 \
  } while (0)

// Sums of up to four groups from `unit`.
template <int Groups>
OCTAVO_INLINE void tile_groups(const Chunk& c, const QuantTile& x, int64_t unit, int64_t count,
                               int32_t* sums) {
  OCTAVO_TILE_GROUP(0, sums);
  if (count > 1) OCTAVO_TILE_GROUP(1, sums + 256);
  if (count > 2) OCTAVO_TILE_GROUP(2, sums + 512);
  if (count > 3) OCTAVO_TILE_GROUP(3, sums + 768);
}

// total [R][16] += the groups whose sums are there, for rows [row, row + R)
template <int Groups, bool Mins, int R>
OCTAVO_INLINE void add_sums(const Chunk& c, const QuantTile& x, int64_t unit, int64_t count,
                            const int32_t* sums, int64_t row, F32x16 (&total)[R]) {
  for (int64_t u = 0; u < count; u++) {
    const int64_t b = (unit + u) / Groups;
    const int g = static_cast<int>((unit + u) % Groups);
    if (g == 0 && row == 0) fetch_ahead(c, b);
    const GroupScales scales = group_scales<Groups, Mins>(c, b, g);
    const GroupRows rows = group_rows<Groups>(x, b, g, row);
    const int32_t* dots = sums + u * 256 + row * 16;
    OCTAVO_UNROLL for (int r = 0; r < R; r++) {
      const I32x16 dot = {_mm512_load_si512(dots + 16 * r)};
      total[r] = add_group<Groups, Mins>(total[r], bits_f32(dot), scales, rows, r);
    }
  }
}

template <int Groups, bool Mins, int R>
static void add_rows(const Chunk& c, const QuantTile& x, int64_t unit, int64_t count,
                     const int32_t* sums, int64_t row, float* acc) {
  F32x16 total[R];
  OCTAVO_UNROLL for (int r = 0; r < R; r++) {
    total[r] = c.first && unit == 0 ? zero() : load(acc + 16 * r);
  }
  add_sums<Groups, Mins, R>(c, x, unit, count, sums, row, total);
  OCTAVO_UNROLL for (int r = 0; r < R; r++) store(acc + 16 * r, total[r]);
}

// Calls add(unit, count, sums) for all groups of a chunk, four at a time. The tiles run four groups
// ahead of the floats: what they store has arrived when it is read.
template <int Groups, class Add>
OCTAVO_INLINE void for_tile_groups(const Chunk& c, const QuantTile& x, Add add) {
  alignas(64) int32_t sums[2][4 * 256];
  const int64_t units = c.num_blocks * Groups;
  const auto count = [&](int64_t unit) { return units - unit < 4 ? units - unit : 4; };
  tile_groups<Groups>(c, x, 0, count(0), sums[0]);
  for (int64_t unit = 0, now = 0; unit < units; unit += 4, now ^= 1) {
    if (unit + 4 < units) tile_groups<Groups>(c, x, unit + 4, count(unit + 4), sums[now ^ 1]);
    add(unit, count(unit), sums[now]);
  }
}

template <int Groups, bool Mins>
static void dot_tile_amx(const Chunk& c, const QuantTile& x, float* acc) {
  if (x.rows == 16) {
    QuantTile whole = x;
    whole.rows = 16;  // a constant, then
    F32x16 total[16];
    load_totals(c, acc, total);
    for_tile_groups<Groups>(
        c, whole, [&](int64_t unit, int64_t count, const int32_t* sums) OCTAVO_INLINE_LAMBDA {
          add_sums<Groups, Mins, 16>(c, whole, unit, count, sums, 0, total);
        });
    OCTAVO_UNROLL for (int r = 0; r < 16; r++) store(acc + 16 * r, total[r]);
    return;
  }
  for_tile_groups<Groups>(c, x, [&](int64_t unit, int64_t count, const int32_t* sums) {
    int64_t row = 0;
    for (; row + 8 <= x.rows; row += 8) {
      add_rows<Groups, Mins, 8>(c, x, unit, count, sums, row, acc + 16 * row);
    }
    for (; row + 2 <= x.rows; row += 2) {
      add_rows<Groups, Mins, 2>(c, x, unit, count, sums, row, acc + 16 * row);
    }
    for (; row < x.rows; row++) {
      add_rows<Groups, Mins, 1>(c, x, unit, count, sums, row, acc + 16 * row);
    }
  });
}
#undef OCTAVO_TILE_GROUP
