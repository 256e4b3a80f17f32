// Weights that stay packed on a device: products with them have, bit for bit, what the same matrix
// gives once it is widened to the activations' type, whatever kernel takes them.
#include "native/kernel_test.h"
#include "native/matmul_case.h"

namespace octavo::test {
namespace {

constexpr DType kPacked[] = {
    DType::kQ4_K,      DType::kQ5_K,     DType::kQ6_K,      DType::kMXFP4,   DType::kINT4_G32,
    DType::kINT4_G128, DType::kINT8_G32, DType::kINT8_G128, DType::kFP8_G32, DType::kFP8_G128};

Backends prepared(DType type) {
  Backends device = one_backend(make_backend(type));
  const Ops& ops = device.ops();
  const char* why = ops.prepare(ops.context, {64, 64, 4, 64, {4}, false, {64}, {{2, 1, 32}}});
  expect(why == nullptr, "prepare: %s", why);
  return device;
}

// Scales and zeros of a size that no quantiser writes.
void make_odd(Random& random, const Part& part, int64_t depth) {
  const int64_t blocks = part.cols * depth / block_values(part.dtype);
  for (int64_t i = 0; i < blocks; i++) {
    char* const at = part.weight.data() + i * block_bytes(part.dtype);
    if (random.chance(90)) continue;
    if (part.dtype == DType::kMXFP4) at[0] = static_cast<char>(random.between(0, 4));
    if (part.dtype == DType::kINT4_G32 || part.dtype == DType::kINT4_G128) {
      at[4] = static_cast<char>(random.between(-128, 127));
    }
  }
}

Part widened_part(const Part& part, DType type, int64_t depth) {
  const int64_t values = part.cols * depth;
  std::vector<float> floats(static_cast<size_t>(values));
  dequantise_row(part.dtype, part.weight.data(), values, floats.data());
  const std::vector<char> halves = narrowed(type, floats);
  Part out{type, part.cols, Bytes(values * 2), part.bias, part.out_type};
  std::memcpy(out.weight.data(), halves.data(), halves.size());
  return out;
}

void compare(const Backends& device, Random& random, DType dtype, int64_t rows, int64_t depth,
             int64_t cols) {
  std::vector<Part> parts, wide;
  for (int64_t left = random.between(1, 3), n = cols; left > 0; left--, n = random.between(1, 90)) {
    parts.push_back(random_part(device, random, dtype, depth, n));
    make_odd(random, parts.back(), depth);
    // Sums of random weights of these are past what float16 holds.
    const bool large = dtype == DType::kQ4_K || dtype == DType::kQ5_K || dtype == DType::kQ6_K;
    if (large && device.type() == DType::kF16) parts.back().out_type = DType::kF32;
    wide.push_back(widened_part(parts.back(), device.type(), depth));
  }
  const Product packed =
      matmul_case(device, random, rows, depth, std::move(parts), random.chance(30));
  const Product plain{rows, depth, packed.x, std::move(wide), {}};
  const auto want = plain.run(device, device.ops(), 0, rows, 0, plain.parts.size());
  for (size_t p = 0; p < want.size(); p++) {
    const bool same =
        std::memcmp(want[p].data(), packed.got[p].data(), want[p].size() * sizeof(float)) == 0;
    expect(same, "matmul %s, %" PRId64 "x%" PRId64 "x%" PRId64 ": not the bits of %s",
           dtype_name(dtype), rows, depth, plain.parts[p].cols, dtype_name(device.type()));
  }
#ifdef OCTAVO_SIMT
  const int before = simt::device().multiprocessors;
  simt::device().multiprocessors = 200;  // parts of K on blocks of their own, other tiles
  packed.same_on(prepared(device.type()), random, "when spread");
  simt::device().multiprocessors = before;
#endif
}

}  // namespace

void test_kernel_packed(Random& random, const Effort& effort) {
  const Backends bf16 = prepared(DType::kBF16), f16 = prepared(DType::kF16);
  struct Size {
    int64_t rows, depth, cols;
  };
  // Each kernel that there is, with ends inside a tile: few rows, some, many; Hopper's, with K
  // whole and in parts.
  const Size sizes[] = {{1, 512, 50},    {16, 96, 72},    {9, 1056, 130},  {40, 352, 100},
                        {100, 384, 200}, {130, 300, 330}, {140, 1056, 200}};
  int which = static_cast<int>(random.between(0, 6));
  for (const DType dtype : kPacked) {
    for (int i = 0; i < (effort.small ? 1 : 3); i++, which++) {
      Size size = sizes[which % 7];
      if (effort.small) size.rows = std::min<int64_t>(size.rows, 130);
      const int64_t block = block_values(dtype), depth = (size.depth + block - 1) / block * block;
      compare(random.chance(50) ? bf16 : f16, random, dtype, size.rows, depth, size.cols);
    }
  }
}

}  // namespace octavo::test
