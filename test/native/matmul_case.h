// Cases of matmul: a left side, weights of stored types, and what came out.
#pragma once

#include "native/backend_under_test.h"

namespace octavo::test {

struct Part {
  DType dtype;
  int64_t cols;
  Bytes weight;
  std::vector<float> bias;  // or none
  DType out_type;           // F32, or that of activations
};

struct Product {
  int64_t rows, depth;
  std::vector<float> x;
  std::vector<Part> parts;
  std::vector<std::vector<float>> got;  // of each part

  // The rows [first, first + n) of these parts at once, on one backend.
  std::vector<std::vector<float>> run(const Backends& backends, const Ops& ops, int64_t first,
                                      int64_t n, size_t begin, size_t end) const;
  // Some rows have the bits there that they have among all here.
  void same_on(const Backends& others, Random& random, const char* what) const;
};

Part random_part(const Backends& backends, Random& random, DType dtype, int64_t depth,
                 int64_t cols);
// Computed by all backends and judged; `invariant`: also against some of its rows and parts alone.
Product matmul_case(const Backends& backends, Random& random, int64_t rows, int64_t depth,
                    std::vector<Part> parts, bool invariant = true);

// Sizes of all kinds that a kind of backend has; `more` is done with each.
void matmul_grid(const std::vector<const Backends*>& of_types, Random& random, const Effort& effort,
                 const std::function<void(const Backends&, const Product&)>& more);

// Products of BF16 on the CPU against fused multiply-adds one by one, bit by bit: any size of
// value, subnormal ones too.
void test_bf16_bits(const Backends& backends, Random& random);

}  // namespace octavo::test
