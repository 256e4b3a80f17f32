// Counter-based randomness: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC'11). The same key and
// counter give the same number, whoever asks, whenever: no generator is shared by sequences.
#pragma once

#include <cstdint>

#include "base/host_device.h"

namespace octavo {

struct PhiloxWords {
  uint32_t word[4];
};

OCTAVO_HD PhiloxWords philox4x32(PhiloxWords c, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * c.word[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * c.word[2];
    c = {{static_cast<uint32_t>(b >> 32) ^ c.word[1] ^ key0, static_cast<uint32_t>(b),
          static_cast<uint32_t>(a >> 32) ^ c.word[3] ^ key1, static_cast<uint32_t>(a)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return c;
}

// A double in [0, 1) with 53 random bits; key = seed, counter = position.
OCTAVO_HD double uniform(uint64_t seed, uint64_t position) {
  const PhiloxWords r =
      philox4x32({{static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), 0, 0}},
                 static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  const uint64_t bits = (uint64_t{r.word[0]} << 32 | r.word[1]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

}  // namespace octavo
