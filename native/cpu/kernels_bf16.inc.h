// Products of BF16 in one instruction: to each of sixteen sums the products of two neighbours are
// added, the second first, one rounding each. Subnormal operands and sums, which it would flush, do
// not occur (kLeastBF16). Included by kernels_float.inc.h, inside its namespace.

struct Pairs {
  struct Vector {
    __m512i v;
  };
  static constexpr int kBytes = 64;
  static constexpr int kXBytes = 4;
  static constexpr int kValues = 2;
  OCTAVO_INLINE Vector weights(const char* w, int64_t j) {
    return {_mm512_loadu_si512(w + kBytes * j)};
  }
  OCTAVO_INLINE Vector value(const char* x, int64_t j) {
    int32_t two;
    __builtin_memcpy(&two, x + 4 * j, 4);
    return {_mm512_set1_epi32(two)};
  }
  OCTAVO_INLINE F32x16 add(F32x16 total, Vector w, Vector x) {
    return {_mm512_dpbf16_ps(total.v, reinterpret_cast<__m512bh>(w.v),
                             reinterpret_cast<__m512bh>(x.v))};
  }
};
