// Tiles of int8 (AMX): sixteen rows of activations by sixteen weight rows by the values that share
// a scale, in one instruction. Included by kernels_panel.inc.h, inside its namespace; the floats
// around the sums of bytes are those of dot_rows.

constexpr int64_t kFewestTileRows = 6;  // of a job; below, dot products of vectors are as fast

// Shapes of the tile registers: 0 to 3 sums [rows][16] int32, 4 and 6 activations [rows][k], 5 and
// 7 weights [k / 4][64]. Released when it goes: tiles make every switch of threads dearer.
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
    for (int t = 4; t < 8; t += 2) {
      config.num_rows[t] = static_cast<uint8_t>(rows);
      config.row_bytes[t] = static_cast<uint16_t>(32 / groups);
      config.num_rows[t + 1] = static_cast<uint8_t>(8 / groups);
      config.row_bytes[t + 1] = 64;
    }
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

// kIntegerShift + the sums of bytes of a group into tile `to`, through tiles a and b.
#define OCTAVO_TILE_DOTS(to, a, b, unit)                                     \
  do {                                                                       \
    const int64_t block_ = (unit) / Groups, group_ = (unit) % Groups;        \
    asm volatile("" ::: "memory"); /* nor here what tiles are loaded from */ \
    _tile_loadd(to, kShiftRow, 0);                                           \
    _tile_loadd(a, x.q + block_ * x.rows * 32 + group_ * 16, 32);            \
    _tile_loadd(b, c.values + block_ * 512 + group_ * (512 / Groups), 64);   \
    _tile_dpbssd(to, a, b);                                                  \
  } while (0)

// One group of sums starts, that before it is put down, and the one before that becomes floats:
// what a step waits for has had the time of another step.
#define OCTAVO_TILE_STEP(n, a, b, before, last)                       \
  do {                                                                \
    const int64_t at_ = unit + (n);                                   \
    if (at_ < units) OCTAVO_TILE_DOTS(n, a, b, at_);                  \
    if (at_ >= 1 && at_ <= units) {                                   \
      _tile_stored(before, sums[before], 64);                         \
      asm volatile("" ::: "memory");                                  \
    }                                                                 \
    if (at_ >= 2 && at_ < units + 2)                                  \
      add_sums<Groups, Mins, R>(c, x, at_ - 2, sums[last], total[0]); \
  } while (0)

// total [R][16] += what a group's sums [R][16] make
template <int Groups, bool Mins, int R>
OCTAVO_INLINE void add_sums(const Chunk& c, const QuantTile& x, int64_t unit, const int32_t* sums,
                            F32x16 (&total)[R]) {
  const int64_t b = unit / Groups;
  const int g = static_cast<int>(unit % Groups);
  if (g == 0) fetch_ahead<1>(c, b);
  const GroupScales scales = group_scales<Groups, Mins>(c, b, g);
  const GroupRows rows = group_rows<Groups>(x, b, g, 0);
  OCTAVO_UNROLL for (int r = 0; r < R; r++) {
    const I32x16 dot = {_mm512_load_si512(sums + 16 * r)};
    total[r] = add_group<Mins>(total[r], bits_f32(dot), scales, rows, r);
  }
}

// acc [R][16] += a chunk times a tile of R rows
template <int Groups, bool Mins, int R>
static void dot_tile_rows(const Chunk& c, QuantTile x, float* acc) {
  x.rows = R;  // a constant, then
  alignas(64) int32_t sums[4][R * 16];
  F32x16 total[1][R];
  load_totals(c, acc, 0, total);
  const int64_t units = c.num_blocks * Groups;
  for (int64_t unit = 0; unit < units + 2; unit += 4) {
    OCTAVO_TILE_STEP(0, 4, 5, 3, 2);
    OCTAVO_TILE_STEP(1, 6, 7, 0, 3);
    OCTAVO_TILE_STEP(2, 4, 5, 1, 0);
    OCTAVO_TILE_STEP(3, 6, 7, 2, 1);
  }
  store_totals(total, 0, acc);
}
#undef OCTAVO_TILE_STEP
#undef OCTAVO_TILE_DOTS

template <int Groups, bool Mins, int R = 16>
OCTAVO_INLINE void dot_tile_amx(const Chunk& c, const QuantTile& x, float* acc) {
  if constexpr (R > 1) {
    if (x.rows < R) return dot_tile_amx<Groups, Mins, R - 1>(c, x, acc);
  }
  dot_tile_rows<Groups, Mins, R>(c, x, acc);
}
