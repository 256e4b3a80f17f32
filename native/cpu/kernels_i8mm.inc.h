// Products of 2 × 8 by 8 × 2 bytes (NEON's i8mm): two rows of activations at a time. Included by
// kernels_panel.inc.h, inside its namespace; the floats around the sums are those of dot_rows.

template <int Groups, bool Mins>
static void dot_pair(const Chunk& c, const QuantTile& x, int64_t row, float* acc) {
  F32x16 total[1][2];
  load_totals(c, acc, 0, total);
  for (int64_t b = 0; b < c.num_blocks; b++) {
    const char* values = c.values + b * 512;
    const int8_t* q = x.q + (b * x.rows + row) * 32;
    fetch_ahead<1>(c, b);
    OCTAVO_UNROLL for (int g = 0; g < Groups; g++) {
      int32x4_t sums[8];  // of weight rows 2i, 2i + 1: both with row 0, then with row 1
      OCTAVO_UNROLL for (int i = 0; i < 8; i++) sums[i] = vdupq_n_s32(kIntegerShiftBits);
      OCTAVO_UNROLL for (int i = g * 8 / Groups; i < (g + 1) * 8 / Groups; i += 2) {
        const Bytes64 w0 = load_bytes(values + 64 * i), w1 = load_bytes(values + 64 * i + 64);
        const int8x16_t rows = vcombine_s8(vld1_s8(q + 4 * i), vld1_s8(q + 32 + 4 * i));
        OCTAVO_UNROLL for (int j = 0; j < 4; j++) {
          const int32x4_t a = vreinterpretq_s32_u8(w0.r[j]), z = vreinterpretq_s32_u8(w1.r[j]);
          const int8x16_t low = vreinterpretq_s8_s32(vzip1q_s32(a, z));
          const int8x16_t high = vreinterpretq_s8_s32(vzip2q_s32(a, z));
          sums[2 * j] = vmmlaq_s32(sums[2 * j], rows, low);
          sums[2 * j + 1] = vmmlaq_s32(sums[2 * j + 1], rows, high);
        }
      }
      I32x16 dot[2];
      OCTAVO_UNROLL for (int j = 0; j < 4; j++) {
        const int32x4_t a = sums[2 * j], z = sums[2 * j + 1];
        dot[0].r[j] = vcombine_s32(vget_low_s32(a), vget_low_s32(z));
        dot[1].r[j] = vcombine_s32(vget_high_s32(a), vget_high_s32(z));
      }
      const GroupScales scales = group_scales<Groups, Mins>(c, b, g);
      const GroupRows rows = group_rows<Groups>(x, b, g, row);
      OCTAVO_UNROLL for (int r = 0; r < 2; r++) {
        total[0][r] = add_group<Mins>(total[0][r], bits_f32(dot[r]), scales, rows, r);
      }
    }
  }
  store_totals(total, 0, acc);
}
