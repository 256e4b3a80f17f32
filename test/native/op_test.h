// What the C++ tests of ops share: random data in exact-size memory, guarded and poisoned outputs,
// failures that are counted and told.
#pragma once

#include <cinttypes>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "base/quants.h"
#include "base/tensor.h"
#include "backend.h"

namespace octavo::test {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

inline int g_failures = 0;
__attribute__((format(printf, 2, 3))) inline void expect(bool good, const char* format, ...) {
  if (good) return;
  if (++g_failures > 20) return;  // the first ones say it
  va_list args;
  va_start(args, format);
  std::fprintf(stderr, "  FAILED: ");
  std::vfprintf(stderr, format, args);
  std::fprintf(stderr, "\n");
  va_end(args);
}

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int64_t between(int64_t low, int64_t high) {  // inclusive
    const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1;
    return low + static_cast<int64_t>(range == 0 ? engine_() : engine_() % range);
  }
  bool chance(int percent) { return between(1, 100) <= percent; }
  template <class T>
  T pick(std::initializer_list<T> choices) {
    return choices.begin()[between(0, static_cast<int64_t>(choices.size()) - 1)];
  }
  float normal() { return normal_(engine_); }
  std::mt19937_64& engine() { return engine_; }

 private:
  std::mt19937_64 engine_;
  std::normal_distribution<float> normal_;
};

// Read-only input of exactly `bytes` bytes at any alignment: a sanitizer sees one byte too far.
class Bytes {
 public:
  explicit Bytes(int64_t bytes, int64_t misalign = 0)
      : memory_(static_cast<char*>(std::malloc(static_cast<size_t>(bytes + misalign)))),
        data_(memory_.get() + misalign) {}
  char* data() const { return data_; }

 private:
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  std::unique_ptr<char, Free> memory_;
  char* data_;
};

inline std::vector<int64_t> factor_offsets(DType dtype) {
  switch (dtype) {
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    case DType::kMXFP4:  // a byte, which random_stored sets
      return {};
    case DType::kIQ1_M:  // in four parts: as they come
      return {};
    case DType::kTQ1_0:
      return {52};
    case DType::kTQ2_0:
      return {64};
    default:
      return quant_format(dtype).has_min ? std::vector<int64_t>{0, 2} : std::vector<int64_t>{0};
  }
}

constexpr DType kStoredTypes[] = {
    DType::kF32,      DType::kF16,       DType::kBF16,    DType::kQ8_0,     DType::kQ4_0,
    DType::kQ4_1,     DType::kQ5_0,      DType::kQ5_1,    DType::kQ2_K,     DType::kQ3_K,
    DType::kQ4_K,     DType::kQ5_K,      DType::kQ6_K,    DType::kIQ4_NL,   DType::kIQ4_XS,
    DType::kMXFP4,    DType::kNVFP4,     DType::kIQ2_XXS, DType::kIQ2_XS,   DType::kIQ2_S,
    DType::kIQ3_XXS,  DType::kIQ3_S,     DType::kIQ1_S,   DType::kIQ1_M,    DType::kTQ1_0,
    DType::kTQ2_0,    DType::kQ1_0,      DType::kQ2_0,    DType::kINT4_G32, DType::kINT4_G128,
    DType::kINT8_G32, DType::kINT8_G128, DType::kFP8_G32, DType::kFP8_G128};
static_assert(std::size(kStoredTypes) == kNumDTypes, "every type that a checkpoint may hold");

// Bytes of a block that must not be any, of types of ours and of MXFP4 and IQ1_M.
inline void make_sane(Random& random, DType dtype, uint16_t f16, bool divides, char* at) {
  if (dtype == DType::kMXFP4) at[0] = static_cast<char>(random.between(110, 126));
  if (dtype == DType::kIQ1_M) {
    for (int i = 0; i < 4; i++) {
      at[49 + 2 * i] = static_cast<char>((at[49 + 2 * i] & 15) | (f16 >> (4 * i) & 15) << 4);
    }
  }
  if (!quant_format(dtype).is_wide) return;
  const float scale = dtype != DType::kNVFP4 ? random.normal() * 0.01f
                      : divides              ? -100.0f * (1.0f + std::fabs(random.normal()))
                                             : 0.01f * std::fabs(random.normal());
  std::memcpy(at, &scale, 4);
  // Sixteen at most of four bits; no float of eight bits is NaN.
  if (quant_format(dtype).bits == 4 && quant_format(dtype).has_min) at[4] &= 15;
  const int64_t floats = is_fp8(dtype) ? block_values(dtype) : dtype == DType::kNVFP4 ? 4 : 0;
  for (int64_t i = 4; i < 4 + floats; i++) at[i] &= is_fp8(dtype) ? ~8 : 0x77;
}

// A matrix in stored form, at an odd address unless F32 is to be looked at as floats.
inline Bytes random_stored(Random& random, DType dtype, int64_t rows, int64_t cols) {
  const int64_t bytes = rows * row_bytes(dtype, cols);
  Bytes out(bytes, random.between(0, 3));
  const bool divides = random.chance(50);  // of NVFP4: the same in all of a matrix
  for (int64_t i = 0; i < bytes / block_bytes(dtype); i++) {
    char* at = out.data() + i * block_bytes(dtype);
    const float value = random.normal();
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const uint16_t bf16 = static_cast<uint16_t>(bits >> 16);
    // Any float16 between 2⁻¹⁴ and 2, sometimes subnormal or zero.
    const int64_t exponent = random.chance(5) ? 0 : random.between(1, 15);
    const uint16_t f16 = static_cast<uint16_t>(random.between(0, 1) << 15 | exponent << 10 |
                                               random.between(0, 1023));
    switch (dtype) {
      case DType::kF32:
        std::memcpy(at, &value, 4);
        break;
      case DType::kBF16:
        std::memcpy(at, &bf16, 2);
        break;
      case DType::kF16:
        std::memcpy(at, &f16, 2);
        break;
      default:  // blocks: any bytes, but for the float16 factors
        for (int64_t b = 0; b < block_bytes(dtype); b++) {
          at[b] = static_cast<char>(random.between(-128, 127));
        }
        for (const int64_t offset : factor_offsets(dtype)) std::memcpy(at + offset, &f16, 2);
        make_sane(random, dtype, f16, divides, at);
        break;
    }
  }
  return out;
}

// A source whose bytes past `good` cannot be had, as of a file that was cut meanwhile.
class CutSource : public MemorySource {
 public:
  CutSource(const void* data, int64_t good) : MemorySource(data), good_(good) {}
  bool read(int64_t at, int64_t bytes, void* out) const noexcept override {
    return at + bytes <= good_ && MemorySource::read(at, bytes, out);
  }

 private:
  int64_t good_;
};

// Rows of a table in which every pair of values of two columns occurs at least once, or as many
// rows as are wanted: greedy, in an order that the seed chooses.
inline std::vector<std::vector<int>> pairwise(Random& random, const std::vector<int>& sizes,
                                              int max_rows) {
  std::vector<std::vector<std::vector<char>>> seen(sizes.size() * sizes.size());
  const auto pair = [&](size_t a, size_t b) -> std::vector<std::vector<char>>& {
    auto& s = seen[a * sizes.size() + b];
    if (s.empty()) s.assign(sizes[a], std::vector<char>(sizes[b], 0));
    return s;
  };
  std::vector<std::vector<int>> rows;
  while (static_cast<int>(rows.size()) < max_rows) {
    std::vector<int> best;
    int most = 0;
    for (int attempt = 0; attempt < 40; attempt++) {
      std::vector<int> row;
      for (int size : sizes) row.push_back(static_cast<int>(random.between(0, size - 1)));
      int fresh = 0;
      for (size_t a = 0; a < sizes.size(); a++) {
        for (size_t b = a + 1; b < sizes.size(); b++) fresh += !pair(a, b)[row[a]][row[b]];
      }
      if (fresh > most) most = fresh, best = row;
    }
    if (most == 0) break;
    for (size_t a = 0; a < sizes.size(); a++) {
      for (size_t b = a + 1; b < sizes.size(); b++) pair(a, b)[best[a]][best[b]] = 1;
    }
    rows.push_back(best);
  }
  return rows;
}

// How much is tried: `cases` grows with the wider runs, `small` is for sanitizers.
struct Effort {
  int cases = 40;
  bool small = false;
};

inline void expect_near(const char* what, double got, double want, double tolerance) {
  expect(std::fabs(got - want) <= tolerance, "%s: got %.9g, want %.9g, tolerance %.3g", what, got,
         want, tolerance);
}

}  // namespace octavo::test
