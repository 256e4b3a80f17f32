// Dot products of bytes on AVX2 without VNNI: a multiplication leaves sums of two products in 16
// bits, and of codes of few bits several of these fit before they must be widened. Included by
// kernels_unpack.inc.h, inside its namespace.

// How many vectors of products of codes with bytes of at most 127 fit into 16 bits; 1 = of signed
// values or of 8 bits, which dot4 takes.
constexpr int pairs_of(DType t) {
  const int bits = quant_format(t).bits;
  if (has_table(t) || bits > 6) return 1;
  return bits == 6 ? 2 : bits == 5 ? 4 : 8;
}
static_assert(2 * 2 * 63 * 127 < 32768 && 4 * 2 * 31 * 127 < 32768 && 8 * 2 * 15 * 127 < 32768,
              "sums of pairs fit 16 bits");

template <int Pairs>
struct PairDots {
  static constexpr bool kUnsigned = true;

  // dot [1][R] += weights of group g of a block times q [R][32]
  template <int Groups, int V, int R>
  OCTAVO_INLINE void add(const char* values, int64_t, const int8_t* q, int g, I32x16 (&dot)[V][R]) {
    static_assert(V == 1, "one panel at a time");
    constexpr int kVectors = 8 / Groups, kStep = Pairs < kVectors ? Pairs : kVectors;
    OCTAVO_UNROLL for (int first = 0; first < kVectors; first += kStep) {
      PairSums sums[R];
      OCTAVO_UNROLL for (int j = 0; j < kStep; j++) {
        const int i = g * kVectors + first + j;
        const Bytes64 w = load_bytes(values + 64 * i);
        OCTAVO_UNROLL for (int r = 0; r < R; r++) {
          const PairSums two = pair_sums(w, q + 32 * r + 4 * i);
          sums[r] = j == 0 ? two : add_pairs(sums[r], two);
        }
      }
      OCTAVO_UNROLL for (int r = 0; r < R; r++) dot[0][r] = widen_pairs(dot[0][r], sums[r]);
    }
  }
};
