// Matrix multiply on the device against float64, and each row against itself in other batches.
#include <filesystem>

#include "native/kernel_test.h"
#include "reference/reference.h"

namespace octavo::test {
namespace {

struct Weight {
  int64_t rows;
  Bytes stored;
  std::vector<float> bias;
  bool float_out;
};

struct Case {
  DType type, weight_type;
  int64_t m, k;
  std::vector<Weight> parts;
  bool batch_invariant = true;
};

// On the emulator a library that computes on the host stands in for cuBLASLt; on a GPU the real one
// is searched for.
std::string cublas_lt_path() {
#ifdef OCTAVO_SIMT
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  return self + "/octavo_fake_cublas_lt.so";
#else
  return "";
#endif
}

struct Device {
  explicit Device(const Case& c) {
    DeviceOptions options;
    options.activation = c.type;
    options.batch_invariant = c.batch_invariant;
    options.cublas_lt = cublas_lt_path();
    backend = make_device_backend(options);
    const Ops& ops = backend->ops();
    const char* why = ops.prepare(ops.context, {64, 2, 1, 32, 64, 64, 16, 4, 64, 4});
    expect(why == nullptr, "prepare: %s", why);
  }
  std::unique_ptr<Backend> backend;
};

// All parts at once; outputs widened to floats, rows from `first` on.
std::vector<std::vector<float>> run(const Case& c, const std::vector<float>& x, int64_t first,
                                    int64_t m) {
  const Device device(c);
  const Ops& ops = device.backend->ops();
  const std::vector<float> some(x.begin() + first * c.k, x.begin() + (first + m) * c.k);
  const DeviceBytes input = to_device(ops, to_halves(c.type, some));
  std::vector<DeviceBytes> outputs, biases;
  std::vector<Buffer> weights;
  std::vector<MatmulPart> parts;
  outputs.reserve(4), biases.reserve(4), weights.reserve(4);
  for (const Weight& w : c.parts) {
    const Tensor stored{w.stored.data(), c.weight_type, w.rows, c.k};
    weights.emplace_back(ops, ops.weight_bytes(ops.context, stored), "test");
    MatmulPart part;
    part.weight = ops.load_weight(ops.context, stored, weights.back().data());
    outputs.push_back(to_device(
        ops, std::vector<uint8_t>(static_cast<size_t>(m * w.rows) * (w.float_out ? 4 : 2), 0xFF)));
    part.out = {outputs.back().data(), w.float_out ? DType::kF32 : c.type, m, w.rows};
    if (!w.bias.empty()) {
      biases.push_back(to_device(ops, w.bias));
      part.bias = biases.back().as<float>();
    }
    parts.push_back(part);
  }
  ops.matmul(ops.context, {input.data(), c.type, m, c.k}, parts.data(),
             static_cast<int32_t>(parts.size()));
  std::vector<std::vector<float>> out;
  for (size_t p = 0; p < parts.size(); p++) {
    out.push_back(c.parts[p].float_out ? outputs[p].read<float>()
                                       : to_floats(c.type, outputs[p].read<uint16_t>()));
  }
  return out;
}

void judge(const Case& c, const std::vector<float>& x, const std::vector<std::vector<float>>& got) {
  for (size_t p = 0; p < c.parts.size(); p++) {
    const Weight& w = c.parts[p];
    const double unit = w.float_out ? 1e-6 : c.type == DType::kF16 ? 0x1p-11 : 0x1p-8;
    for (int64_t i = 0; i < c.m; i++) {
      for (int64_t n = 0; n < w.rows; n++) {
        std::vector<float> row(static_cast<size_t>(c.k));
        double sum = w.bias.empty() ? 0 : w.bias[n], magnitude = std::fabs(sum);
        const char* stored = w.stored.data() + n * row_bytes(c.weight_type, c.k);
        const auto values = reference::stored_row(c.weight_type, stored, c.k);
        for (int64_t k = 0; k < c.k; k++) {
          double value = values[k];
          if (c.weight_type == DType::kF32) value = rounded(c.type, static_cast<float>(value));
          sum += value * x[i * c.k + k];
          magnitude += std::fabs(value * x[i * c.k + k]);
        }
        // The last term: float16 has steps of 2⁻²⁴ below 2⁻¹⁴.
        expect_near("matmul", got[p][i * w.rows + n], sum,
                    2e-6 * magnitude + unit * std::fabs(sum) + 0x1p-25);
      }
    }
  }
}

void matmul_case(Random& random, const Case& c) {
  const std::vector<float> x = random_values(random, c.type, c.m * c.k);
  const auto got = run(c, x, 0, c.m);
  judge(c, x, got);
  if (!c.batch_invariant) return;
  const int64_t m = random.between(1, c.m), first = random.between(0, c.m - m);
  const auto some = run(c, x, first, m);
#ifdef OCTAVO_SIMT
  const int before = simt::device().multiprocessors;
  simt::device().multiprocessors = 200;  // parts of K on blocks of their own
  const auto spread = run(c, x, first, m);
  simt::device().multiprocessors = before;
#else
  const auto spread = run(c, x, first, m);
#endif
  for (size_t p = 0; p < c.parts.size(); p++) {
    const size_t bytes = static_cast<size_t>(m * c.parts[p].rows) * 4;
    const float* whole = got[p].data() + first * c.parts[p].rows;
    expect(std::memcmp(whole, some[p].data(), bytes) == 0,
           "matmul: other bits for %lld of %lld rows", static_cast<long long>(m),
           static_cast<long long>(c.m));
    expect(std::memcmp(whole, spread[p].data(), bytes) == 0, "matmul: other bits when spread");
  }
}

// Where the library is, it is used from 128 tokens on; where it is not, or has no algorithm (the
// stand-in has none for odd n), the own kernel computes.
void large_batches(Random& random) {
  for (const std::string& path : {cublas_lt_path(), std::string("/nowhere/libcublasLt.so")}) {
    DeviceOptions options;
    options.batch_invariant = false;
    options.cublas_lt = path;
    const auto backend = make_device_backend(options);
    const std::string isa = backend->ops().isa;
    const bool found = isa.find("cublasLt") != std::string::npos;
    const bool there = path.empty() || std::filesystem::exists(path);
    expect(!found || there, "cuBLASLt found where it is not: %s", isa.c_str());
#ifdef OCTAVO_SIMT
    expect(found == there, "cuBLASLt is there, but not found: %s", isa.c_str());
#endif
  }
  for (int64_t n : {64, 51}) {
    Case c{};
    c.m = 130;
    c.k = 96;
    c.type = c.weight_type = random.pick({DType::kBF16, DType::kF16});
    c.batch_invariant = false;
    for (bool float_out : {false, true}) {
      c.parts.push_back({n, random_stored(random, c.weight_type, n, c.k), {}, float_out});
    }
    matmul_case(random, c);
  }
}

}  // namespace

void test_kernel_matmul(Random& random, const Effort& effort) {
  large_batches(random);
  const std::vector<int> ms = {1, 2, 8, 9, 15, 16, 17, 33, 64, 65, 130, 300},
                         ks = {32, 64, 96, 160, 544, 1056}, ns = {8, 50, 64, 72, 200, 330};
  const std::vector<DType> weights = {DType::kBF16, DType::kF16, DType::kF32, DType::kQ8_0,
                                      DType::kQ4_0};
  const auto size = [](const auto& list) { return static_cast<int>(list.size()); };
  const auto rows =
      pairwise(random, {size(ms), size(ks), size(ns), size(weights), 2, 3}, effort.cases);
  for (const auto& r : rows) {
    Case c{};
    c.m = effort.small ? std::min(ms[r[0]], 17) : ms[r[0]];
    c.k = ks[r[1]];
    c.weight_type = weights[r[3]];
    c.type = c.weight_type == DType::kF16 || r[4] == 1 ? DType::kF16 : DType::kBF16;
    if (c.weight_type == DType::kBF16) c.type = DType::kBF16;
    for (int p = 0; p <= r[5]; p++) {
      const int64_t n = p == 0 ? ns[r[2]] : random.between(1, 90);
      std::vector<float> bias;
      for (int64_t i = 0; i < n && random.chance(99) && r[4] == 1; i++)
        bias.push_back(random.normal());
      if (bias.size() != static_cast<size_t>(n)) bias.clear();
      c.parts.push_back({n, random_stored(random, c.weight_type, n, c.k), bias, random.chance(30)});
    }
    matmul_case(random, c);
  }
}

}  // namespace octavo::test
