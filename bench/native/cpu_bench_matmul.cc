// Products with weights of all types: from caches, from memory, and those of a whole decoder.
#include "bench/native/cpu_bench.h"

namespace octavo::bench {
namespace {

double matmul_seconds(Session& s, DType dtype, int64_t m, int64_t n, int64_t k) {
  const Buffer x = s.random_floats(m * k), out = s.buffer(m * n * 4);
  Buffer memory;
  const Tensor weight = s.loaded(dtype, n, k, memory);
  const MatmulPart part{tensor(out, m, n), weight, nullptr};
  return seconds_of([&] { s.ops.matmul(s.ops.context, tensor(x, m, k), &part, 1); });
}
void add_giga(Session& s, const std::string& name, DType dtype, double giga) {
  const bool int8 = is_quantised(dtype);
  s.rows.push_back({name, giga, int8 ? "GOP/s" : "GFLOP/s", int8 ? s.gops : s.gflops});
}
void matmul(Session& s, const std::string& name, DType dtype, int64_t m, int64_t n, int64_t k) {
  add_giga(s, name, dtype, 2e-9 * m * n * k / matmul_seconds(s, dtype, m, n, k));
}
void matmul_stream(Session& s, DType dtype, int64_t m) {
  const int64_t k = 2048, n = kStreamBytes / row_bytes(dtype, k);
  const double seconds = matmul_seconds(s, dtype, m, n, k);
  const std::string name = "matmul M=" + std::to_string(m) + " 64 MB " + dtype_name(dtype);
  s.rows.push_back({name, 1e-9 * n * row_bytes(dtype, k) / seconds, "GB/s", s.gbytes});
}

// All products of a decoder of 30 layers in a row (SmolLM2-135M without its head): weights come
// from memory, in items as small as they are.
void matmul_layers(Session& s, DType dtype, int64_t m) {
  constexpr int64_t kLayers = 30, kHidden = 576, kKv = 192, kMlp = 1536;
  const Buffer x = s.random_floats(m * kMlp), out = s.buffer(3 * m * kMlp * 4);
  std::vector<Buffer> memory;
  std::vector<Tensor> weights;
  int64_t values = 0;
  const auto add = [&](int64_t n, int64_t k) {
    weights.push_back(s.loaded(dtype, n, k, memory.emplace_back()));
    values += n * k;
  };
  for (int64_t i = 0; i < kLayers; i++) {
    for (const int64_t n : {kHidden, kKv, kKv, kHidden}) add(n, kHidden);
    for (const int64_t n : {kMlp, kMlp}) add(n, kHidden);
    add(kHidden, kMlp);
  }
  const auto part = [&](const Tensor& w, int64_t at) {
    return MatmulPart{{f32(out) + at * m * kMlp, DType::kF32, m, w.rows}, w, nullptr};
  };
  const double seconds = seconds_of([&] {
    for (size_t i = 0; i < weights.size(); i += 7) {
      const Tensor* w = &weights[i];
      const MatmulPart qkv[] = {part(w[0], 0), part(w[1], 1), part(w[2], 2)};
      const MatmulPart o = part(w[3], 0), down = part(w[6], 2);
      s.ops.matmul(s.ops.context, tensor(x, m, kHidden), qkv, 3);
      s.ops.matmul(s.ops.context, tensor(x, m, kHidden), &o, 1);
      s.ops.gated_matmul(s.ops.context, tensor(x, m, kHidden), part(w[4], 0), part(w[5], 1),
                         HiddenAct::kSilu);
      s.ops.matmul(s.ops.context, tensor(x, m, kMlp), &down, 1);
    }
  });
  add_giga(s, "matmuls of 30 layers M=" + std::to_string(m) + " " + dtype_name(dtype), dtype,
           2e-9 * m * values / seconds);
}

}  // namespace

void bench_matmul(Session& s) {
  const auto types = {DType::kF32,  DType::kBF16, DType::kF16, DType::kQ8_0,
                      DType::kQ4_0, DType::kQ4_K, DType::kQ6_K};
  for (DType dtype : types) {
    const std::string type = dtype_name(dtype);
    matmul(s, "matmul 128x1536x512 " + type, dtype, 128, 1536, 512);
    matmul(s, "matmul 512x4096x4096 " + type, dtype, 512, 4096, 4096);
  }
  for (DType dtype : {DType::kF16, DType::kQ8_0}) {
    for (const int64_t m : {1, 8, 32, 128}) matmul_layers(s, dtype, m);
  }
  for (DType dtype : types) {
    matmul_stream(s, dtype, 1);
    matmul_stream(s, dtype, 4);
  }
}

}  // namespace octavo::bench
