// What the files of the CPU bench share: a backend, memory with random contents, timing, rows.
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "buffer.h"
#include "cpu/cpu_backend.h"

namespace octavo::bench {

struct Row {
  std::string name;
  double value;
  std::string unit;
  double reference;  // what the machine does at most; 0 = none
};

// What is streamed from memory, of weights and for the machine's figure: both meet the same caches.
constexpr int64_t kStreamBytes = 64 << 20;

inline float* f32(const Buffer& b) { return static_cast<float*>(b.data()); }
inline Tensor tensor(const Buffer& data, int64_t rows, int64_t cols) {
  return {data.data(), DType::kF32, rows, cols};
}

// Seconds of one call: the best of several batches, after a warm-up. The best, because a shared
// machine's noise only ever adds.
double seconds_of(const std::function<void()>& fn);

class Session {
 public:
  Session(int threads, const char* isa)
      : backend(CpuBackend::create(threads, isa)), ops(backend->ops()) {}

  Buffer buffer(int64_t bytes) const {
    return Buffer(ops, static_cast<size_t>(bytes), "the bench");
  }
  Buffer random_floats(int64_t n);
  // Bytes that are sound values in every stored type: small positive halves.
  Buffer stored(int64_t bytes) const;
  Tensor loaded(DType dtype, int64_t n, int64_t k, Buffer& memory) const;

  // Bytes read and written; small enough for a cache, so the machine's figure is no bound.
  void add_rate(const std::string& name, double bytes, double seconds) {
    rows.push_back({name, 1e-9 * bytes / seconds, "GB/s", 0});
  }

  const std::unique_ptr<CpuBackend> backend;
  const Ops& ops;
  std::mt19937 random{1};
  double gflops = 0, gops = 0, gbytes = 0;  // what the machine does at most
  std::vector<Row> rows;
};

void bench_matmul(Session& s);
void bench_attention(Session& s);
void bench_experts(Session& s);
void bench_recurrent(Session& s);
// Seconds of a recurrent layer, heads of 128 × 128, whose states are read and written each token.
double step_form_seconds(Session& s, int32_t num_seqs, int32_t queries, int32_t num_heads);
void bench_pointwise(Session& s);
void bench_blocks(Session& s);
void bench_sample(Session& s);

}  // namespace octavo::bench
