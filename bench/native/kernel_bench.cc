// The CUDA kernels on device 0, each beside the rate of a device-to-device copy in the same run.
//   octavo_kernel_bench [--only NAME] [--json FILE] [--version V] [--smoke]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>

#include "bench/native/kernel_bench.h"
#include "kernels/check_cuda.h"

namespace octavo::bench {

using device::check_cuda;

void Session::open(const ModelShape& shape, bool share_prefixes) {
  backend_.reset();
  DeviceOptions options;
  options.share_prefixes = share_prefixes;
  backend_ = make_device_backend(options);
  const char* why = ops().prepare(ops().context, shape);
  if (why != nullptr) {
    std::fprintf(stderr, "octavo_kernel_bench: %s\n", why);
    std::exit(1);
  }
}

Buffer Session::random_memory(int64_t bytes) {
  Buffer out = memory(bytes);
  fill_random(out.data(), bytes);
  return out;
}

void Session::fill_random(void* data, int64_t bytes) {
  // Random numbers of the host for the first piece, copies of it for the rest.
  const int64_t piece = std::min<int64_t>(bytes, smoke ? 1 << 16 : 64 << 20);
  std::vector<uint16_t> halves(static_cast<size_t>((piece + 1) / 2));
  for (uint16_t& h : halves) {
    const uint64_t bits = random();
    // Sign, exponent of [2⁻³, 2), seven bits of mantissa; neither byte is e4m3's NaN.
    h = static_cast<uint16_t>((bits & 0x8000) | (0x3E00 + (bits & 0x1FF)));
    if ((h & 0x7F) == 0x7F) h ^= 1;
  }
  ops().write(ops().context, data, halves.data(), static_cast<size_t>(piece));
  for (int64_t at = piece; at < bytes; at += piece) {
    const size_t n = static_cast<size_t>(std::min(piece, bytes - at));
    check_cuda(cudaMemcpyAsync(static_cast<char*>(data) + at, data, n, cudaMemcpyDeviceToDevice,
                               context().stream),
               "filling memory");
  }
  check_cuda(cudaStreamSynchronize(context().stream), "filling memory");
}

double Session::micros(int least_calls, const std::function<void(int)>& launch) const {
  const cudaStream_t stream = context().stream;
  cudaEvent_t start, stop;
  check_cuda(cudaEventCreateWithFlags(&start, 0), "an event");
  check_cuda(cudaEventCreateWithFlags(&stop, 0), "an event");
  const auto record = [&](int calls) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording");
    for (int i = 0; i < calls; i++) launch(i);
    check_cuda(cudaStreamEndCapture(stream, &graph), "recording");
    check_cuda(cudaGraphInstantiate(&exec, graph, 0), "recording");
    static_cast<void>(cudaGraphDestroy(graph));
    return exec;
  };
  const auto replay = [&](cudaGraphExec_t exec) {
    check_cuda(cudaEventRecord(start, stream), "timing");
    check_cuda(cudaGraphLaunch(exec, stream), "timing");
    check_cuda(cudaEventRecord(stop, stream), "timing");
    check_cuda(cudaEventSynchronize(stop), "timing");
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, start, stop), "timing");
    return milliseconds * 1e3;
  };
  launch(0);  // settings of a kernel's first launch stay out of the recording
  check_cuda(cudaStreamSynchronize(stream), "warming up");
  int calls = smoke ? 2 : std::max(8, least_calls);
  cudaGraphExec_t exec = record(calls);
  replay(exec);
  const double first = replay(exec);
  // A recording of 200 µs at least, so that its own start does not count.
  if (!smoke && first < 200) {
    static_cast<void>(cudaGraphExecDestroy(exec));
    calls = std::min(4096, static_cast<int>(calls * (200 / std::max(first, 1.0) + 1)));
    exec = record(calls);
    replay(exec);
  }
  const double once = replay(exec);
  const int repeats = smoke ? 1 : std::clamp(static_cast<int>(60e3 / std::max(once, 1.0)), 7, 60);
  std::vector<double> times;
  for (int i = 0; i < repeats; i++) times.push_back(replay(exec));
  std::nth_element(times.begin(), times.begin() + repeats / 2, times.end());
  static_cast<void>(cudaGraphExecDestroy(exec));
  static_cast<void>(cudaEventDestroy(start));
  static_cast<void>(cudaEventDestroy(stop));
  return times[repeats / 2] / calls;
}

double Session::host_micros(const std::function<void()>& call) const {
  using Clock = std::chrono::steady_clock;
  call();
  std::vector<double> times;
  const int repeats = smoke ? 1 : 31;
  for (int i = 0; i < repeats; i++) {
    const auto start = Clock::now();
    call();
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + repeats / 2, times.end());
  return times[repeats / 2];
}

void Session::add(Row row) {
  if (copy_gbps > 0) row.copy_share = row.gbps / copy_gbps;
  std::printf("%-10s %-44s %10.2f us", row.bench.c_str(), row.name.c_str(), row.us);
  if (row.gbps > 0) std::printf(" %8.1f GB/s %5.1f%% of copy", row.gbps, 100 * row.copy_share);
  if (row.tflops > 0) std::printf(" %7.1f TFLOP/s", row.tflops);
  std::printf("\n");
  std::fflush(stdout);
  rows.push_back(row);
}

int64_t Session::free_bytes() const {
  int64_t free = 0, total = 0;
  ops().memory(ops().context, &free, &total);
  return free;
}

// Bytes read and bytes written. On an H200 a copy of the driver's in a recording moved 2.7 TB/s,
// our kernel's 4.1: the faster of the two counts.
void Session::measure_copy_rate() {
  const int64_t most = std::min(int64_t{2} << 30, free_bytes() / 4 / 4096 * 4096);
  const int64_t bytes = smoke ? 1 << 20 : most;
  constexpr int32_t kPairs = 256;
  const int64_t block = bytes / kPairs;
  Buffer pool = random_memory(2 * bytes);
  char* const to = static_cast<char*>(pool.data()) + bytes;
  const double by_driver = micros(1, [&](int) {
    check_cuda(cudaMemcpyAsync(to, pool.data(), static_cast<size_t>(bytes),
                               cudaMemcpyDeviceToDevice, context().stream),
               "copying");
  });
  std::vector<BlockCopy> copies;
  for (int32_t i = 0; i < kPairs; i++) copies.push_back({i, kPairs + i});
  const Buffer list = upload(copies);
  const double by_kernel = micros(1, [&](int) {
    ops().copy_blocks(ops().context, pool.data(), block, static_cast<const BlockCopy*>(list.data()),
                      kPairs);
  });
  const double us = std::min(by_driver, by_kernel);
  copy_gbps = 2e-3 * static_cast<double>(bytes) / us;
  add({"machine", "copy device to device", us, copy_gbps});
}

namespace {

void write_json(const Session& s, const char* path, const std::string& version) {
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  std::ofstream out(path);
  out << "{\"bench\": \"kernels\", \"version\": \"" << version << "\", \"device\": \""
      << probe_devices().devices[0].name << ", " << s.context().isa << "\", \"date\": \"" << date
      << "\", \"machine\": {\"copyGBps\": " << s.copy_gbps << "}, \"rows\": [";
  const char* comma = "\n";
  for (const Row& r : s.rows) {
    out << comma << "  {\"bench\": \"" << r.bench << "\", \"name\": \"" << r.name
        << "\", \"us\": " << r.us;
    if (r.gbps > 0) out << ", \"gbps\": " << r.gbps << ", \"shareOfCopy\": " << r.copy_share;
    if (r.tflops > 0) out << ", \"tflops\": " << r.tflops;
    out << "}";
    comma = ",\n";
  }
  out << "\n]}\n";
}

int main_of(int argc, char** argv) {
  bool smoke = false;
  const char* json = nullptr;
  std::string only, version = "?";
  for (int i = 1; i < argc; i++) {
    const std::string arg = argv[i];
    if (arg == "--smoke") smoke = true;
    if (i + 1 == argc) break;
    if (arg == "--only") only = argv[i + 1];
    if (arg == "--json") json = argv[i + 1];
    if (arg == "--version") version = argv[i + 1];
  }
  const DeviceProbe probe = probe_devices();
  if (probe.devices.empty()) {
    std::printf("skipped: %s\n", probe.reason.c_str());
    return 0;
  }
  Session session(smoke);
  session.open(llama_shape(1, 16, 1));
  std::printf("%s, %s\n", probe.devices[0].name.c_str(), session.context().isa.c_str());
  session.measure_copy_rate();
  const std::pair<const char*, void (*)(Session&)> groups[] = {
      {"decode", bench_decode},      {"prefill", bench_prefill}, {"cascade", bench_cascade},
      {"matmul", bench_matmul},      {"experts", bench_experts}, {"ops", bench_small_ops},
      {"copy", bench_copy_and_swap}, {"sample", bench_sample},   {"plan", bench_plan}};
  for (const auto& [name, group] : groups) {
    if (!only.empty() && only != name) continue;
    group(session);
    if (json != nullptr) write_json(session, json, version);  // a later group may run out of time
  }
  if (json != nullptr) write_json(session, json, version);
  return 0;
}

}  // namespace
}  // namespace octavo::bench

int main(int argc, char** argv) {
  try {
    return octavo::bench::main_of(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "octavo_kernel_bench: %s\n", error.what());
    return 1;
  }
}
