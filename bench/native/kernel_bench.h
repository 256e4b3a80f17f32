// What the device benches share: timing by graphs and events, memory with random contents, rows.
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "buffer.h"
#include "kernels/device.h"
#include "kernels/device_context.h"

namespace octavo::bench {

struct Row {
  std::string bench, name;
  double us;              // of one call, median
  double gbps = 0;        // bytes that must move, over the time
  double tflops = 0;      // operations that must be done, over the time
  double copy_share = 0;  // gbps over the copy rate of this run
};

// A device in use by one group of rows, and what all groups add to. With `smoke` everything is
// tiny and measured once: only shows that the bench works, on the emulator too.
class Session {
 public:
  explicit Session(bool smoke) : smoke(smoke) {}
  void open(const ModelShape& shape, bool share_prefixes = true);
  const Ops& ops() const { return backend_->ops(); }
  device::DeviceContext& context() const {
    return *static_cast<device::DeviceContext*>(ops().context);
  }

  Buffer memory(int64_t bytes) const {
    return Buffer(ops(), static_cast<size_t>(bytes), "the bench");
  }
  // Halves of bfloat16 numbers around zero; as bytes, any e4m3 or int8 value but e4m3's NaN.
  Buffer random_memory(int64_t bytes);
  void fill_random(void* data, int64_t bytes);
  template <class T>
  Buffer upload(const std::vector<T>& values) const {
    Buffer out = memory(static_cast<int64_t>(values.size() * sizeof(T)));
    ops().write(ops().context, out.data(), values.data(), values.size() * sizeof(T));
    return out;
  }

  // Microseconds of one call: launch(i) for i = 0, 1, … recorded as a graph of at least
  // `least_calls`, timed by events, the median of the replays over the number of calls.
  double micros(int least_calls, const std::function<void(int)>& launch) const;
  // The same by the host's clock, for what waits on the host.
  double host_micros(const std::function<void()>& call) const;

  void add(Row row);
  void measure_copy_rate();
  int64_t free_bytes() const;

  const bool smoke;
  double copy_gbps = 0;
  std::vector<Row> rows;
  std::mt19937_64 random{1};

 private:
  std::unique_ptr<Backend> backend_;
};

void bench_decode(Session& s);
void bench_prefill(Session& s);
void bench_cascade(Session& s);
void bench_matmul(Session& s);
void bench_experts(Session& s);
void bench_small_ops(Session& s);
void bench_copy_and_swap(Session& s);
void bench_sample(Session& s);
void bench_plan(Session& s);

// The shape of Llama-3-8B's layers, which is what most rows use.
inline ModelShape llama_shape(int32_t max_seqs, int32_t max_tokens, int32_t blocks_per_row) {
  ModelShape shape{};
  shape.hidden_size = 4096;
  shape.mlp_sizes = {14336};
  shape.attentions = {{32, 8, 128}};
  shape.vocab_size = 128256;
  shape.max_num_seqs = max_seqs;
  shape.max_num_batched_tokens = max_tokens;
  shape.blocks_per_row = {blocks_per_row};
  return shape;
}

}  // namespace octavo::bench
