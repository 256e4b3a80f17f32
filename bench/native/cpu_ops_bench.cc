// Every op of the CPU backend at the sizes of a small model, beside what this machine can do at
// most (read bandwidth, multiply-adds), measured in the same run.
//   octavo_cpu_bench [--threads N] [--isa NAME] [--json FILE] [--only NAME] [--version V]
// NAME: machine, matmul, experts, attention, recurrent, pointwise, blocks or sample
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>

#include "base/weight_source.h"
#include "bench/native/cpu_bench.h"
#include "cpu/cpu_ops.h"
#include "cpu/kernels.h"
#include "cpu/panels.h"

namespace octavo::bench {

using Clock = std::chrono::steady_clock;

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

Buffer Session::random_floats(int64_t n) {
  Buffer out = buffer(n * 4);
  std::normal_distribution<float> normal;
  std::generate(f32(out), f32(out) + n, [&] { return normal(random); });
  return out;
}

Buffer Session::stored(int64_t bytes) const {
  Buffer out = buffer(bytes);
  uint16_t* halves = static_cast<uint16_t*>(out.data());
  std::fill(halves, halves + bytes / 2, uint16_t{0x2c31});
  return out;
}

Tensor Session::loaded(DType dtype, int64_t n, int64_t k, Buffer& memory) const {
  const Buffer bytes = stored(n * row_bytes(dtype, k));
  const Tensor weight{bytes.data(), dtype, n, k};
  memory = buffer(static_cast<int64_t>(ops.weight_bytes(ops.context, weight)));
  return ops.load_weight(ops.context, weight, MemorySource(bytes.data()), memory.data());
}

namespace {

void limits(Session& s) {
  CpuContext& c = *static_cast<CpuContext*>(s.ops.context);
  const int threads = s.backend->num_threads();
  constexpr int64_t kRounds = 20000;
  float sink = 0;
  const double fma = seconds_of([&] {
    c.pool.parallel_for(4 * threads, [&](int64_t, int worker) {
      const float got = c.kernels->fma_probe(kRounds);
      if (worker == 0) sink += got;
    });
  });
  s.gflops = 4e-9 * threads * kRounds * 2 * 16 * kProbeChains / fma;
  const double dot = seconds_of([&] {
    c.pool.parallel_for(4 * threads, [&](int64_t, int worker) {
      const float got = c.panels->dot_probe(kRounds);
      if (worker == 0) sink += got;
    });
  });
  s.gops = 4e-9 * threads * kRounds * 2 * 64 * kProbeDots / dot;
  const int64_t piece = 64 << 10;
  const auto read_rate = [&](int64_t bytes) {
    const Buffer data = s.stored(bytes);
    const double read = seconds_of([&] {
      c.pool.parallel_for(bytes / 4 / piece, [&](int64_t item, int worker) {
        const float got = c.kernels->read_probe(f32(data) + item * piece, piece);
        if (worker == 0) sink += got;
      });
    });
    return 1e-9 * bytes / read;
  };
  s.gbytes = read_rate(kStreamBytes);
  constexpr int64_t kBeyondCaches = int64_t{1} << 30;
  s.rows.push_back({"machine: multiply-adds", s.gflops, "GFLOP/s", 0});
  s.rows.push_back({"machine: int8 dot products", s.gops, "GOP/s", 0});
  s.rows.push_back({"machine: read 1 GB", read_rate(kBeyondCaches), "GB/s", 0});
  s.rows.push_back({"machine: read 64 MB", s.gbytes, "GB/s", 0});
  if (sink == 12345) std::printf("\n");
}

void run(Session& s, const std::string& only) {
  limits(s);
  const std::pair<const char*, void (*)(Session&)> groups[] = {
      {"matmul", bench_matmul},       {"experts", bench_experts},
      {"attention", bench_attention}, {"recurrent", bench_recurrent},
      {"pointwise", bench_pointwise}, {"blocks", bench_blocks},
      {"sample", bench_sample}};
  for (const auto& [name, group] : groups) {
    if (only.empty() || only == name) group(s);
  }
}

void print(const Session& s) {
  std::printf("%-36s %10s %-8s %10s %6s\n", "op", "value", "unit", "machine", "ratio");
  for (const Row& r : s.rows) {
    std::printf("%-36s %10.1f %-8s", r.name.c_str(), r.value, r.unit.c_str());
    if (r.reference > 0) std::printf(" %10.1f %5.0f%%", r.reference, 100 * r.value / r.reference);
    std::printf("\n");
  }
}

std::string device(const Session& s) {
  std::string model = "unknown CPU", line;
  std::ifstream info("/proc/cpuinfo");
  while (std::getline(info, line)) {
    if (line.rfind("model name", 0) == 0) {
      model = line.substr(line.find(':') + 2);
      break;
    }
  }
  return model + ", " + s.ops.isa + ", " + std::to_string(s.backend->num_threads()) + " threads";
}

void write_json(const Session& s, const char* path, const std::string& version) {
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  std::ofstream out(path);
  out << "{\"bench\": \"cpu_ops\", \"version\": \"" << version << "\", \"device\": \"" << device(s)
      << "\", \"date\": \"" << date << "\", \"rows\": [";
  const char* comma = "\n";
  for (const Row& r : s.rows) {
    out << comma << "  {\"name\": \"" << r.name << "\", \"value\": " << r.value << ", \"unit\": \""
        << r.unit << "\"";
    if (r.reference > 0) {
      out << ", \"reference\": " << r.reference << ", \"ratio\": " << r.value / r.reference;
    }
    out << "}";
    comma = ",\n";
  }
  out << "\n]}\n";
}

}  // namespace
}  // namespace octavo::bench

int main(int argc, char** argv) {
  int threads = 0;
  const char* isa = nullptr;
  const char* json = nullptr;
  std::string only, version = "?";
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    if (option == "--threads") threads = std::atoi(argv[i + 1]);
    if (option == "--isa") isa = argv[i + 1];
    if (option == "--json") json = argv[i + 1];
    if (option == "--version") version = argv[i + 1];
    if (option == "--only") only = argv[i + 1];
  }
  using namespace octavo::bench;
  Session session(threads, isa);
  run(session, only);
  std::printf("%s\n", device(session).c_str());
  print(session);
  if (json != nullptr) write_json(session, json, version);
  return 0;
}
