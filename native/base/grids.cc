#include "base/grids.h"

#include "base/grid_points.h"

namespace octavo {
namespace {

// Calls put(i, number) for each point.
template <class Put>
void for_each_point(const char* points, Put put) {
  int number = -1, i = 0;
  for (; *points != 0; points++) {
    if (*points == '}') {
      number += 32;
    } else {
      put(i++, number += *points - ']' + 1);
    }
  }
}

// The bytes that the digits of a number stand for.
template <class Word, int Base>
Word bytes_of(int number, const int8_t (&values)[Base]) {
  Word bytes = 0;
  for (unsigned place = 0; place < sizeof(Word); place++, number /= Base) {
    bytes |= static_cast<Word>(static_cast<uint8_t>(values[number % Base])) << (8 * place);
  }
  return bytes;
}

template <class Word, int Base>
void fill(const char* points, const int8_t (&values)[Base], Word* out) {
  for_each_point(points, [&](int i, int number) { out[i] = bytes_of<Word>(number, values); });
}

Grids make() {
  Grids g = {};
  constexpr int8_t kIq2[] = {8, 25, 43};
  fill(kIq2XxsPoints, kIq2, g.iq2_xxs);
  fill(kIq2XsPoints, kIq2, g.iq2_xs);
  fill(kIq2SPoints, kIq2, g.iq2_s);
  fill(kIq3XxsPoints, {4, 12, 20, 28, 36, 44, 52, 62}, g.iq3_xxs);
  fill(kIq3SPoints, {1, 3, 5, 7, 9, 11, 13, 15}, g.iq3_s);
  fill(kIq1Points, {-7, 1, 9}, g.iq1[0]);
  fill(kIq1Points, {-9, -1, 7}, g.iq1[1]);
  for (int bits = 0; bits < 256; bits++) {
    for (int i = 0; i < 8; i++) {
      if (bits >> i & 1) g.negative[bits] |= uint64_t{0xff} << (8 * i);
    }
    for (int i = 0; i < 4; i++) {
      const uint8_t value = static_cast<uint8_t>((bits >> (2 * i) & 3) - 1);
      g.pairs_less_one[bits] |= static_cast<uint32_t>(value) << (8 * i);
    }
  }
  return g;
}

}  // namespace

const Grids& grids() {
  static const Grids all = make();
  return all;
}

}  // namespace octavo
