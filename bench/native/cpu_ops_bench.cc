// Every op of the CPU backend at the sizes of a small model, beside what this machine can do at
// most (read bandwidth, multiply-adds), measured in the same run.
//   octavo_cpu_bench [--threads N] [--isa NAME] [--json FILE] [--only machine] [--version V]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "buffer.h"
#include "cpu/cpu_backend.h"
#include "cpu/kernels.h"
#include "cpu/panels.h"

namespace octavo {
namespace {

using Clock = std::chrono::steady_clock;

struct Row {
  std::string name;
  double value;
  std::string unit;
  double reference;  // what the machine does at most; 0 = none
};

// Seconds of one call: the best of several batches, after a warm-up. The best, because a shared
// machine's noise only ever adds.
double seconds_of(const std::function<void()>& fn) {
  fn();
  double best = 1e30;
  int calls = 1;
  const auto end = Clock::now() + std::chrono::milliseconds(600);
  while (Clock::now() < end) {
    const auto start = Clock::now();
    for (int i = 0; i < calls; i++) fn();
    const double took = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::min(best, took / calls);
    if (took < 2e-3) calls *= 2;
  }
  return best;
}

class Bench {
 public:
  Bench(int threads, const char* isa)
      : backend_(CpuBackend::create(threads, isa)), ops_(backend_->ops()) {}

  void run(bool only_machine) {
    limits();
    if (only_machine) return;
    const auto types = {DType::kF32,  DType::kBF16, DType::kF16, DType::kQ8_0,
                        DType::kQ4_0, DType::kQ4_K, DType::kQ6_K};
    for (DType dtype : types) {
      const std::string type = dtype_name(dtype);
      matmul("matmul 128x1536x512 " + type, dtype, 128, 1536, 512);
      matmul("matmul 512x4096x4096 " + type, dtype, 512, 4096, 4096);
    }
    for (DType dtype : {DType::kF16, DType::kQ8_0}) {
      for (const int64_t m : {1, 8, 32, 128}) matmul_layers(dtype, m);
    }
    for (DType dtype : types) {
      matmul_stream(dtype, 1);
      matmul_stream(dtype, 4);
    }
    for (DType dtype : {DType::kF32, DType::kF16, DType::kI8}) {
      const std::string type = std::string(" ") + dtype_name(dtype);
      attention("paged_attention decode 8k" + type, dtype, 1, 8192, 1);
      attention("paged_attention decode 16 x 1k" + type, dtype, 16, 1024, 1);
      attention("paged_attention prefill 1k" + type, dtype, 1, 1024, 1024);
    }
    rope();
    rows_ops();
    copy_blocks();
    sample();
  }

  void print() const {
    std::printf("%-36s %10s %-8s %10s %6s\n", "op", "value", "unit", "machine", "ratio");
    for (const Row& r : rows_) {
      std::printf("%-36s %10.1f %-8s", r.name.c_str(), r.value, r.unit.c_str());
      if (r.reference > 0) std::printf(" %10.1f %5.0f%%", r.reference, 100 * r.value / r.reference);
      std::printf("\n");
    }
  }

  void write_json(const char* path, const std::string& version) const {
    char date[32];
    const std::time_t now = std::time(nullptr);
    std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
    std::ofstream out(path);
    out << "{\"bench\": \"cpu_ops\", \"version\": \"" << version << "\", \"device\": \"" << device()
        << "\", \"date\": \"" << date << "\", \"rows\": [";
    const char* comma = "\n";
    for (const Row& r : rows_) {
      out << comma << "  {\"name\": \"" << r.name << "\", \"value\": " << r.value
          << ", \"unit\": \"" << r.unit << "\"";
      if (r.reference > 0) {
        out << ", \"reference\": " << r.reference << ", \"ratio\": " << r.value / r.reference;
      }
      out << "}";
      comma = ",\n";
    }
    out << "\n]}\n";
  }

  std::string device() const {
    std::string model = "unknown CPU", line;
    std::ifstream info("/proc/cpuinfo");
    while (std::getline(info, line)) {
      if (line.rfind("model name", 0) == 0) {
        model = line.substr(line.find(':') + 2);
        break;
      }
    }
    return model + ", " + ops_.isa + ", " + std::to_string(backend_->num_threads()) + " threads";
  }

 private:
  Buffer buffer(int64_t bytes) { return Buffer(ops_, static_cast<size_t>(bytes), "the bench"); }
  static float* f32(const Buffer& b) { return static_cast<float*>(b.data()); }
  Buffer random(int64_t n) {
    Buffer out = buffer(n * 4);
    std::normal_distribution<float> normal;
    std::generate(f32(out), f32(out) + n, [&] { return normal(engine_); });
    return out;
  }
  // Bytes that are sound values in every stored type: small positive halves.
  Buffer stored(int64_t bytes) {
    Buffer out = buffer(bytes);
    uint16_t* halves = static_cast<uint16_t*>(out.data());
    std::fill(halves, halves + bytes / 2, uint16_t{0x2c31});
    return out;
  }
  static Tensor tensor(const Buffer& data, int64_t rows, int64_t cols) {
    return {data.data(), DType::kF32, rows, cols};
  }

  void limits() {
    CpuContext& c = *static_cast<CpuContext*>(ops_.context);
    const int threads = backend_->num_threads();
    constexpr int64_t kRounds = 20000;
    float sink = 0;
    const double fma = seconds_of([&] {
      c.pool.parallel_for(4 * threads, [&](int64_t, int worker) {
        const float got = c.kernels->fma_probe(kRounds);
        if (worker == 0) sink += got;
      });
    });
    gflops_ = 4e-9 * threads * kRounds * 2 * 16 * kProbeChains / fma;
    const double dot = seconds_of([&] {
      c.pool.parallel_for(4 * threads, [&](int64_t, int worker) {
        const float got = c.panels->dot_probe(kRounds);
        if (worker == 0) sink += got;
      });
    });
    gops_ = 4e-9 * threads * kRounds * 2 * 64 * kProbeDots / dot;
    // As large as the weights that are streamed below, so that both meet the same caches.
    const int64_t piece = 64 << 10;
    const auto read_rate = [&](int64_t bytes) {
      const Buffer data = stored(bytes);
      const double read = seconds_of([&] {
        c.pool.parallel_for(bytes / 4 / piece, [&](int64_t item, int worker) {
          const float got = c.kernels->read_probe(f32(data) + item * piece, piece);
          if (worker == 0) sink += got;
        });
      });
      return 1e-9 * bytes / read;
    };
    gbytes_ = read_rate(kStreamBytes);
    constexpr int64_t kBeyondCaches = int64_t{1} << 30;
    rows_.push_back({"machine: multiply-adds", gflops_, "GFLOP/s", 0});
    rows_.push_back({"machine: int8 dot products", gops_, "GOP/s", 0});
    rows_.push_back({"machine: read 1 GB", read_rate(kBeyondCaches), "GB/s", 0});
    rows_.push_back({"machine: read 64 MB", gbytes_, "GB/s", 0});
    if (sink == 12345) std::printf("\n");
  }

  double matmul_seconds(DType dtype, int64_t m, int64_t n, int64_t k) {
    const Buffer x = random(m * k), out = buffer(m * n * 4);
    const Buffer bytes = stored(n * row_bytes(dtype, k));
    Tensor weight{bytes.data(), dtype, n, k};
    const Buffer packed(ops_, ops_.weight_bytes(ops_.context, weight), "the weights");
    weight = ops_.load_weight(ops_.context, weight, packed.data());
    const MatmulPart part{tensor(out, m, n), weight, nullptr};
    return seconds_of([&] { ops_.matmul(ops_.context, tensor(x, m, k), &part, 1); });
  }
  void matmul(const std::string& name, DType dtype, int64_t m, int64_t n, int64_t k) {
    const double seconds = matmul_seconds(dtype, m, n, k);
    const bool int8 = is_quantised(dtype);
    rows_.push_back(
        {name, 2e-9 * m * n * k / seconds, int8 ? "GOP/s" : "GFLOP/s", int8 ? gops_ : gflops_});
  }
  void matmul_stream(DType dtype, int64_t m) {
    const int64_t k = 2048, n = kStreamBytes / row_bytes(dtype, k);
    const double seconds = matmul_seconds(dtype, m, n, k);
    const std::string name = "matmul M=" + std::to_string(m) + " 64 MB " + dtype_name(dtype);
    rows_.push_back({name, 1e-9 * n * row_bytes(dtype, k) / seconds, "GB/s", gbytes_});
  }

  // All products of a decoder of 30 layers in a row (SmolLM2-135M without its head): weights come
  // from memory, in items as small as they are.
  void matmul_layers(DType dtype, int64_t m) {
    constexpr int64_t kLayers = 30, kHidden = 576, kKv = 192, kMlp = 1536;
    const Buffer x = random(m * kMlp), out = buffer(3 * m * kMlp * 4);
    std::vector<Buffer> memory;
    std::vector<Tensor> weights;
    int64_t values = 0;
    const auto add = [&](int64_t n, int64_t k) {
      const Buffer bytes = stored(n * row_bytes(dtype, k));
      const Tensor weight{bytes.data(), dtype, n, k};
      memory.push_back(buffer(ops_.weight_bytes(ops_.context, weight)));
      weights.push_back(ops_.load_weight(ops_.context, weight, memory.back().data()));
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
        ops_.matmul(ops_.context, tensor(x, m, kHidden), qkv, 3);
        ops_.matmul(ops_.context, tensor(x, m, kHidden), &o, 1);
        ops_.gated_matmul(ops_.context, tensor(x, m, kHidden), part(w[4], 0), part(w[5], 1),
                          Activation::kSilu);
        ops_.matmul(ops_.context, tensor(x, m, kMlp), &down, 1);
      }
    });
    const bool int8 = is_quantised(dtype);
    rows_.push_back({"matmuls of 30 layers M=" + std::to_string(m) + " " + dtype_name(dtype),
                     2e-9 * m * values / seconds, int8 ? "GOP/s" : "GFLOP/s",
                     int8 ? gops_ : gflops_});
  }

  struct Cache {
    Buffer pool;
    std::vector<int32_t> tables, starts, contexts, positions;
    std::vector<int64_t> slots;
    PagedKV kv;
    BatchView batch;
  };
  static constexpr int32_t kHead = 64, kKvHeads = 3, kHeads = 9, kBlock = 16;

  Cache cache(DType dtype, int32_t seqs, int32_t context, int32_t query) {
    Cache c;
    const int64_t page = int64_t{kKvHeads} * kBlock * kHead, size = block_bytes(dtype);
    const int64_t per_seq = (context + kBlock - 1) / kBlock;
    const int64_t scales = dtype == DType::kI8 ? 2 * kKvHeads * kBlock : 0;
    const int64_t stride = 2 * page * size + scales * 4;
    c.pool = stored((per_seq * seqs + 1) * stride);
    char* const base = static_cast<char*>(c.pool.data());
    c.kv = {base, dtype, kBlock, kKvHeads, kHead, stride / size, page, int64_t{kBlock} * kHead};
    if (scales > 0) {
      c.kv.scales = reinterpret_cast<float*>(base + 2 * page);
      c.kv.scale_block_stride = stride / 4;
      c.kv.scale_v_offset = scales / 2;
    }
    for (int32_t b = 1; b <= per_seq * seqs; b++) c.tables.push_back(b);
    std::shuffle(c.tables.begin(), c.tables.end(), engine_);
    c.starts.push_back(0);
    for (int32_t s = 0; s < seqs; s++) {
      c.contexts.push_back(context);
      c.starts.push_back((s + 1) * query);
      for (int32_t i = 0; i < query; i++) {
        c.positions.push_back(context - query + i);
        c.slots.push_back(slot_of(&c.tables[s * per_seq], c.positions.back(), kBlock));
      }
    }
    c.batch.num_seqs = seqs;
    c.batch.num_tokens = seqs * query;
    c.batch.query_start = c.starts.data();
    c.batch.context_len = c.contexts.data();
    c.batch.block_tables = c.tables.data();
    c.batch.table_stride = per_seq;
    c.batch.positions = c.positions.data();
    c.batch.slots = c.slots.data();
    return c;
  }

  void attention(const std::string& name, DType dtype, int32_t seqs, int32_t context,
                 int32_t query) {
    Cache c = cache(dtype, seqs, context, query);
    const int64_t cols = kHeads * kHead, tokens = c.batch.num_tokens;
    const Buffer q = random(tokens * cols), out = buffer(tokens * cols * 4);
    AttentionParams p;
    p.out = tensor(out, tokens, cols);
    p.q = tensor(q, tokens, cols);
    p.num_heads = kHeads;
    p.scale = 0.125f;
    const double seconds =
        seconds_of([&] { ops_.paged_attention(ops_.context, p, c.kv, c.batch); });
    if (query == 1) {
      const double bytes = 2.0 * seqs * context * kKvHeads * kHead * block_bytes(dtype);
      rows_.push_back({name, 1e-9 * bytes / seconds, "GB/s", gbytes_});
    } else {
      const double flops = 4.0 * kHeads * kHead * seqs * query * (context - 0.5 * (query - 1));
      rows_.push_back({name, 1e-9 * flops / seconds, "GFLOP/s", gflops_});
    }
  }

  void rope() {
    Cache c = cache(DType::kF32, 1, 512, 512);
    const int64_t cols = kHeads * kHead, kv_cols = kKvHeads * kHead, n = 512;
    const Buffer q = random(n * cols), k = random(n * kv_cols), v = random(n * kv_cols);
    std::vector<float> inv_freq(kHead / 2, 0.5f);
    const RopeCacheParams p{tensor(q, n, cols),
                            tensor(k, n, kv_cols),
                            tensor(v, n, kv_cols),
                            inv_freq.data(),
                            kHead,
                            false,
                            1.0f};
    const double seconds = seconds_of([&] { ops_.rope_and_cache(ops_.context, p, c.kv, c.batch); });
    rate("rope_and_cache 512 tokens", 4.0 * n * (2 * cols + 5 * kv_cols), seconds);
  }

  // Bytes read and written; small enough for a cache, so the machine's figure is no bound.
  void rate(const std::string& name, double bytes, double seconds) {
    rows_.push_back({name, 1e-9 * bytes / seconds, "GB/s", 0});
  }

  void rows_ops() {
    const int64_t n = 512, cols = 1536, all = n * cols;
    const Buffer x = random(all), y = random(all), z = random(all), weight = random(cols);
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < n; i++) ids.push_back(static_cast<int32_t>((i * 37) % n));
    const Tensor tx = tensor(x, n, cols), ty = tensor(y, n, cols), tz = tensor(z, n, cols);
    const Buffer table = stored(n * row_bytes(DType::kBF16, cols));
    rate("embedding 512x1536 BF16", 6.0 * all, seconds_of([&] {
           ops_.embedding(ops_.context, tx, {table.data(), DType::kBF16, n, cols}, ids.data());
         }));
    rate("rms_norm 512x1536 with add", 16.0 * all, seconds_of([&] {
           ops_.rms_norm(ops_.context, tz, tx, ty, f32(weight), 1e-5f);
           std::memset(y.data(), 0, 4);
         }));
    rate("gated_mul 512x1536", 12.0 * all,
         seconds_of([&] { ops_.gated_mul(ops_.context, tz, tx, ty, Activation::kSilu); }));
    std::memset(y.data(), 0, y.bytes());
    rate("gather_rows 512x1536", 8.0 * all,
         seconds_of([&] { ops_.gather_rows(ops_.context, tz, tx, ids.data()); }));
  }

  // One row of logits to one token, by one thread; ops_.sample deals rows to threads.
  void sample() {
    const int64_t vocab = 49152, n = 8;
    const Buffer logits = random(n * vocab);
    std::vector<int32_t> tokens(n), ranks(n), ids(5 * n);
    std::vector<double> logprobs(n), top(5 * n);
    std::vector<SampleRow> rows(n);
    const auto measure = [&](const std::string& name) {
      for (int64_t i = 0; i < n; i++) {
        rows[i].logits_row = i;
        rows[i].token = &tokens[i], rows[i].logprob = &logprobs[i], rows[i].rank = &ranks[i];
        rows[i].top_ids = &ids[5 * i], rows[i].top_logprobs = &top[5 * i];
      }
      const double seconds = seconds_of([&] {
        ops_.sample(ops_.context, tensor(logits, n, vocab), rows.data(), static_cast<int32_t>(n));
      });
      rows_.push_back({"sample 49152, " + name, 1e6 * seconds / n, "us/row", 0});
    };
    for (SampleRow& r : rows) r.temperature = 0;
    measure("greedy");
    for (SampleRow& r : rows) r.temperature = 0.8;
    measure("temperature");
    for (SampleRow& r : rows) r.top_k = 40, r.top_p = 0.95;
    measure("top-k 40, top-p");
    for (SampleRow& r : rows) r.num_top = 5;
    measure("and 5 logprobs");
  }

  void copy_blocks() {
    const int64_t block_bytes = 30 * 2 * kKvHeads * kBlock * kHead * 4, pairs = 8;
    const Buffer pool = random(2 * pairs * block_bytes / 4);
    std::vector<BlockCopy> copies;
    for (int32_t i = 0; i < pairs; i++) copies.push_back({2 * i, 2 * i + 1});
    const double seconds = seconds_of(
        [&] { ops_.copy_blocks(ops_.context, pool.data(), block_bytes, copies.data(), pairs); });
    rate("copy_blocks 8 x 720 KB", 2.0 * pairs * block_bytes, seconds);
    const Buffer host = random(pairs * block_bytes / 4);
    std::vector<BlockSwap> swaps;
    for (int32_t i = 0; i < pairs; i++) swaps.push_back({2 * i + 1, i});
    rate("swap_blocks 8 x 720 KB", 2.0 * pairs * block_bytes, seconds_of([&] {
           ops_.swap_blocks(ops_.context, pool.data(), host.data(), block_bytes, swaps.data(),
                            pairs, true);
         }));
  }

  static constexpr int64_t kStreamBytes = 64 << 20;
  std::mt19937 engine_{1};
  std::unique_ptr<CpuBackend> backend_;
  const Ops& ops_;
  double gflops_ = 0, gops_ = 0, gbytes_ = 0;
  std::vector<Row> rows_;
};

}  // namespace
}  // namespace octavo

int main(int argc, char** argv) {
  int threads = 0;
  const char* isa = nullptr;
  const char* json = nullptr;
  bool only_machine = false;
  std::string version = "?";
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    if (option == "--threads") threads = std::atoi(argv[i + 1]);
    if (option == "--isa") isa = argv[i + 1];
    if (option == "--json") json = argv[i + 1];
    if (option == "--version") version = argv[i + 1];
    if (option == "--only") only_machine = std::string(argv[i + 1]) == "machine";
  }
  octavo::Bench bench(threads, isa);
  bench.run(only_machine);
  std::printf("%s\n", bench.device().c_str());
  bench.print();
  if (json != nullptr) bench.write_json(json, version);
  return 0;
}
