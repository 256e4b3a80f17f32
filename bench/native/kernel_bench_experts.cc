// Experts as a mixture of 128, eight a row, has them (Qwen3-30B-A3B's layer).
#include "bench/native/kernel_bench.h"

namespace octavo::bench {
namespace {

Tensor plain(const Buffer& b, int64_t rows, int64_t cols) {
  return {b.data(), DType::kBF16, rows, cols};
}

struct Sizes {
  int32_t experts, each;
  int64_t hidden, inner;
};

// Bytes that n rows must read of the experts' weights: each that has a row, once.
double weights_read(const std::vector<int32_t>& starts, int64_t each) {
  double bytes = 0;
  for (size_t e = 0; e + 1 < starts.size(); e++) {
    if (starts[e + 1] > starts[e]) bytes += static_cast<double>(each);
  }
  return bytes;
}

void experts_row(Session& s, DType type, int64_t n) {
  const Sizes z = s.smoke ? Sizes{8, 2, 64, 32} : Sizes{128, 8, 2048, 768};
  if (s.smoke) n = std::min<int64_t>(n, 5);
  const Ops& ops = s.ops();
  Router router;
  router.num_experts = z.experts;
  router.top_k = z.each;
  router.normalise = true;
  const int64_t places = n * z.each;
  const auto bytes_of = [&](int64_t rows, int64_t cols) {
    return static_cast<int64_t>(ops.weight_bytes(ops.context, {nullptr, type, rows, cols}));
  };
  const int64_t each = (bytes_of(z.inner, z.hidden) + 255) / 256 * 256;
  const Buffer gate = s.random_memory(each * z.experts), up = s.random_memory(each * z.experts);
  const Buffer down = s.random_memory(each * z.experts);
  std::vector<float> logits(static_cast<size_t>(n * z.experts));
  std::normal_distribution<float> normal;
  for (float& x : logits) x = normal(s.random);
  const Buffer scores = s.upload(logits), x = s.random_memory(n * z.hidden * 2);
  const Buffer words = s.memory(4 * Routing::words(z.experts, places));
  const Buffer inner = s.memory(places * z.inner * 2), beside = s.memory(places * z.inner * 2);
  const Buffer given = s.memory(places * z.hidden * 2), out = s.memory(n * z.hidden * 2);
  const Routing routing(words.data(), router, n);
  const Tensor scored{scores.data(), DType::kF32, n, z.experts};
  const std::string rows = ", " + std::to_string(n) + " rows, " + dtype_name(type);
  const double route_us = s.micros(8, [&](int) {
    ops.route(ops.context, {routing, scored, router});
  });
  s.add({"experts", "route" + rows, route_us, 4e-3 * n * z.experts / route_us});
  std::vector<int32_t> starts(static_cast<size_t>(z.experts) + 1);
  ops.read(ops.context, starts.data(), routing.starts, starts.size() * 4);
  const auto part = [&](const Buffer& w, const Buffer& to, int64_t out_cols, int64_t cols) {
    return ExpertPart{plain(to, places, out_cols), {w.data(), type, out_cols, cols}, each, nullptr};
  };
  const ExpertPart gates = part(gate, inner, z.inner, z.hidden);
  const ExpertPart ups = part(up, beside, z.inner, z.hidden);
  const ExpertPart downs = part(down, given, z.hidden, z.inner);
  const double read = weights_read(starts, each);
  const double flops = 2.0 * static_cast<double>(places * z.hidden * z.inner);
  const double gated_us = s.micros(8, [&](int) {
    ops.expert_gated_matmul(ops.context, plain(x, n, z.hidden), routing, gates, ups, {}, false);
  });
  s.add({"experts", "expert_gated_matmul" + rows, gated_us, 2e-3 * read / gated_us,
         2e-6 * flops / gated_us});
  const double down_us = s.micros(8, [&](int) {
    ops.expert_matmul(ops.context, plain(inner, places, z.inner), routing, downs);
  });
  s.add(
      {"experts", "expert_matmul" + rows, down_us, 1e-3 * read / down_us, 1e-6 * flops / down_us});
  const double combine_us = s.micros(8, [&](int) {
    ops.combine(ops.context, {plain(out, n, z.hidden), downs.out, routing});
  });
  s.add({"experts", "combine" + rows, combine_us, 2e-3 * (places + n) * z.hidden / combine_us});
}

// Heads of 128 + 64 to rows of 512 + 64, as DeepSeek's have it (V2-Lite: 16 of them).
void heads_row(Session& s, int64_t n) {
  const int64_t in = s.smoke ? 16 : 128, out = s.smoke ? 32 : 512, rest = s.smoke ? 8 : 64;
  if (s.smoke) n = std::min<int64_t>(n, 5);
  const Ops& ops = s.ops();
  HeadMatmulParams p;
  p.num_heads = s.smoke ? 3 : 16;
  const Tensor one{nullptr, DType::kBF16, out, in};
  p.stride = static_cast<int64_t>(ops.weight_bytes(ops.context, one));
  const Buffer weights = s.random_memory(p.stride * p.num_heads);
  const Buffer x = s.random_memory(n * p.num_heads * (in + rest) * 2);
  const Buffer to = s.memory(n * p.num_heads * (out + rest) * 2);
  p.weight = {weights.data(), DType::kBF16, out, in};
  p.x = plain(x, n, p.num_heads * (in + rest));
  p.out = plain(to, n, p.num_heads * (out + rest));
  const double us = s.micros(8, [&](int) { ops.head_matmul(ops.context, p); });
  const double bytes = 2.0 * static_cast<double>(p.num_heads * (in * out + n * (in + out)));
  const double flops = 2.0 * static_cast<double>(n * p.num_heads * in * out);
  s.add({"experts", "head_matmul, " + std::to_string(n) + " rows", us, 1e-3 * bytes / us,
         1e-6 * flops / us});
}

}  // namespace

void bench_experts(Session& s) {
  s.open(llama_shape(256, 4096, 1));
  for (const DType type : {DType::kBF16, DType::kQ8_0, DType::kQ4_0}) {
    for (const int64_t n : {1, 8, 64, 4096}) experts_row(s, type, n);
  }
  ModelShape shape = llama_shape(256, 4096, 1);
  shape.head_matmuls = {{16, 128, 512}};
  s.open(shape);
  for (const int64_t n : {1, 64, 4096}) heads_row(s, n);
}

}  // namespace octavo::bench
