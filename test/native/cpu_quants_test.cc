// Quantised types: ggml's own values and quantisers, and the packed form against the stored one.
#include <fstream>
#include <iterator>
#include <string>

#include "cpu/cpu_ops.h"
#include "cpu/packed.h"
#include "native/cpu_test.h"

namespace octavo::test {
namespace {

std::vector<char> fixture(const std::string& name) {
  std::ifstream file("test/fixtures/gguf-quants/" + name, std::ios::binary);
  expect(file.good(), "quants: run in the root of the repository; no fixture %s", name.c_str());
  return {std::istreambuf_iterator<char>(file), {}};
}

// "equal bit for bit up to one float32 rounding", says the fixtures' maker; ours are equal.
void judge_values(DType dtype) {
  const std::vector<char> blocks = fixture(std::string(dtype_name(dtype)) + ".blocks");
  const std::vector<char> want = fixture(std::string(dtype_name(dtype)) + ".f32");
  const int64_t n = static_cast<int64_t>(want.size()) / 4;
  expect(n == 8 * 512 && static_cast<int64_t>(blocks.size()) == row_bytes(dtype, n),
         "quants %s: sizes", dtype_name(dtype));
  std::vector<float> got(static_cast<size_t>(n), kNaN);
  dequantise_row(dtype, blocks.data(), n, got.data());
  expect(std::memcmp(got.data(), want.data(), want.size()) == 0, "quants %s: not ggml's values",
         dtype_name(dtype));
}

void judge_quantiser(DType dtype) {
  const std::vector<char> source = fixture("source.f32");
  const std::vector<char> want = fixture(std::string(dtype_name(dtype)) + ".quantized");
  std::vector<char> got(want.size(), 'x');
  quantise_row(dtype, reinterpret_cast<const float*>(source.data()),
               static_cast<int64_t>(source.size()) / 4, got.data());
  expect(got == want, "quants %s: not ggml's quantiser", dtype_name(dtype));
}

// Every row comes out of the packed matrix as it went in, but for the rounding of the min.
void judge_packed(const Backends& backends, Random& random, DType dtype) {
  const int64_t rows = random.between(1, 70), cols = block_values(dtype) * random.between(1, 9);
  const Bytes stored = random_stored(random, dtype, rows, cols);
  const Ops& ops = backends.any(random);
  const PanelLayout layout = cpu_context(ops.context).layout();
  const Loaded packed(stored, dtype, rows, cols);
  std::vector<float> want(static_cast<size_t>(cols)), got(want);
  for (int64_t row = 0; row < rows; row++) {
    dequantise_row(dtype, stored.data() + row * row_bytes(dtype, cols), cols, want.data());
    unpack_row(packed.tensor(ops), row, layout, got.data());
    for (int64_t k = 0; k < cols; k++) {
      const QuantFormat f = quant_format(dtype);
      const float largest = f.is_wide ? 16 : 8 * 64;  // zeros times scales of a hundredth
      const float ulps = f.has_min ? 4.0f : 0.0f;
      expect(std::fabs(got[k] - want[k]) <= ulps * 0x1p-24f * largest, "packed %s: %g is not %g",
             dtype_name(dtype), got[k], want[k]);
    }
  }
}

}  // namespace

void test_quants(const Backends& backends, Random& random) {
  for (const DType dtype : kStoredTypes) {
    if (!is_quantised(dtype)) continue;
    if (!quant_format(dtype).is_wide) judge_values(dtype);
    for (int i = 0; i < 4; i++) judge_packed(backends, random, dtype);
  }
  judge_quantiser(DType::kQ8_0);
  judge_quantiser(DType::kQ4_0);
}

}  // namespace octavo::test
