// Experts as a mixture of 128, eight a row, has them (Qwen3-30B-A3B's layer), beside the dense
// products of as many rows.
#include "bench/native/cpu_bench.h"

namespace octavo::bench {
namespace {

constexpr int32_t kExperts = 128, kEach = 8;
constexpr int64_t kHidden = 2048, kInner = 768;

struct Layer {
  Layer(Session& s, DType dtype)
      : gate(matrices(s, dtype, kInner, kHidden, memory[0])),
        up(matrices(s, dtype, kInner, kHidden, memory[1])),
        down(matrices(s, dtype, kHidden, kInner, memory[2])) {}
  // The bytes of one expert's serve all: what is timed reads each from its own place.
  static ExpertPart matrices(Session& s, DType dtype, int64_t n, int64_t k, Buffer& memory) {
    const Tensor all = s.loaded(dtype, n * kExperts, k, memory);
    const Tensor one{all.data, all.dtype, n, k};
    return {{}, one, static_cast<int64_t>(s.ops.weight_bytes(s.ops.context, one)), nullptr};
  }
  Buffer memory[3];
  ExpertPart gate, up, down;
};

void experts(Session& s, const Layer& layer, DType dtype, int64_t n) {
  const Ops& ops = s.ops;
  Router router;
  router.num_experts = kExperts;
  router.top_k = kEach;
  router.normalise = true;
  const int64_t places = n * kEach;
  const Buffer x = s.random_floats(n * kHidden), logits = s.random_floats(n * kExperts);
  const Buffer inner = s.buffer(places * kInner * 4), beside = s.buffer(places * kInner * 4);
  const Buffer given = s.buffer(places * kHidden * 4), out = s.buffer(n * kHidden * 4);
  const Buffer words = s.buffer(4 * Routing::words(kExperts, places));
  const Routing routing(words.data(), router, n);
  const std::string rows = " " + std::to_string(n) + " rows";
  const double route = seconds_of([&] {
    ops.route(ops.context, {routing, tensor(logits, n, kExperts), router});
  });
  s.add_rate("route" + rows, 4.0 * n * kExperts, route);
  ExpertPart gate = layer.gate, up = layer.up, down = layer.down;
  gate.out = tensor(inner, places, kInner);
  up.out = tensor(beside, places, kInner);
  down.out = tensor(given, places, kHidden);
  const auto giga = [&](const std::string& name, double operations, double seconds) {
    const bool int8 = is_quantised(dtype);
    s.rows.push_back({name + rows + " " + dtype_name(dtype), 1e-9 * operations / seconds,
                      int8 ? "GOP/s" : "GFLOP/s", int8 ? s.gops : s.gflops});
  };
  const double product = 2.0 * static_cast<double>(places * kHidden * kInner);
  giga("expert_gated_matmul", 2 * product, seconds_of([&] {
         ops.expert_gated_matmul(ops.context, tensor(x, n, kHidden), routing, gate, up, {}, false);
       }));
  giga("expert_matmul", product,
       seconds_of([&] { ops.expert_matmul(ops.context, gate.out, routing, down); }));
  s.add_rate("combine" + rows, 4.0 * (places + n) * kHidden, seconds_of([&] {
               ops.combine(ops.context, {tensor(out, n, kHidden), down.out, routing});
             }));
}

// Heads of 128 + 64 to rows of 512 + 64, as DeepSeek's have it (V2-Lite: 16 of them).
void heads(Session& s, DType dtype, int64_t n) {
  constexpr int64_t kHeads = 16, kIn = 128, kOut = 512, kRest = 64;
  Buffer memory;
  HeadMatmulParams p;
  const ExpertPart all = Layer::matrices(s, dtype, kOut, kIn, memory);
  const Buffer x = s.random_floats(n * kHeads * (kIn + kRest));
  const Buffer out = s.buffer(n * kHeads * (kOut + kRest) * 4);
  p.weight = all.weight;
  p.stride = all.stride;
  p.num_heads = kHeads;
  p.x = tensor(x, n, kHeads * (kIn + kRest));
  p.out = tensor(out, n, kHeads * (kOut + kRest));
  const double seconds = seconds_of([&] { s.ops.head_matmul(s.ops.context, p); });
  const double flops = 2.0 * static_cast<double>(n * kHeads * kIn * kOut);
  s.rows.push_back({"head_matmul " + std::to_string(n) + " rows " + dtype_name(dtype),
                    1e-9 * flops / seconds, "GFLOP/s", s.gflops});
}

}  // namespace

void bench_experts(Session& s) {
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_K}) {
    const Layer layer(s, dtype);
    for (const int64_t n : {1, 8, 32, 512}) experts(s, layer, dtype, n);
  }
  for (const int64_t n : {1, 32, 512}) heads(s, DType::kF32, n);
}

}  // namespace octavo::bench
