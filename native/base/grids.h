// Grids whose points GGUF's IQ types name: eight or four values at a time, as bytes in the order of
// their places, the first lowest.
#pragma once

#include <cstdint>

namespace octavo {

struct Grids {
  uint64_t iq2_xxs[256], iq2_xs[512], iq2_s[1024];
  uint32_t iq3_xxs[256], iq3_s[512];
  // Signed, eight times the value with a shift of an eighth up, or down, already added.
  uint64_t iq1[2][2048];
  // 0xff at every place whose bit is set.
  uint64_t negative[256];
  // Of a byte's pairs of bits each less one.
  uint32_t pairs_less_one[256];
};

const Grids& grids();  // made when they are first asked for

}  // namespace octavo
