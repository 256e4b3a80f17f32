// Products of BF16, the same on every instruction set. An output adds x[k] · w[k] with one rounding
// each, x[1] · w[1] before x[0] · w[0], x[3] · w[3] before x[2] · w[2] and so on: what vdpbf16ps
// does, and two fused multiply-adds elsewhere. Such a product is exact in F32. Operands below
// kLeastBF16 count as 0: then all products and sums are multiples of the least normal number, so
// there is nothing subnormal that an instruction could flush.
#pragma once

#include <cstdint>

namespace octavo {

constexpr float kLeastBF16 = 0x1p-56f;  // with eight bits: its square ends at 2^−126
constexpr int64_t even_depth(int64_t depth) { return (depth + 1) & ~int64_t{1}; }

}  // namespace octavo
