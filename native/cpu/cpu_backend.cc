#include "cpu/cpu_backend.h"

#include <sys/mman.h>

#if defined(__linux__)
#include <sched.h>
#endif

#include <cstdlib>
#include <cstring>
#include <string>

#include "base/check.h"
#include "base/half.h"
#include "cpu/kernels.h"

namespace octavo {

extern float g_half_values[65536];  // declared in simd.h, for the kernels
float g_half_values[65536];

namespace {

constexpr int kMaxThreads = 1024;

struct Isas {
  const CpuKernels* kernels[5] = {};
  const char* names[5] = {};
};

const Isas& isas() {
  static const Isas found = [] {
    for (int h = 0; h < 65536; h++) g_half_values[h] = half_to_float(static_cast<uint16_t>(h));
    Isas list;
    int n = 0;
    const auto add = [&](const CpuKernels* kernels) {
      if (kernels == nullptr) return;
      list.kernels[n] = kernels;
      list.names[n++] = kernels->isa;
    };
#if defined(__x86_64__)
    add(kernels_avx512());
    add(kernels_avx2());
#elif defined(__aarch64__)
    add(kernels_neon());
#endif
    add(kernels_scalar());
    return list;
  }();
  return found;
}

const CpuKernels* find_kernels(const char* isa) {
  const Isas& list = isas();
  if (isa == nullptr) return list.kernels[0];
  for (int i = 0; list.names[i] != nullptr; i++) {
    if (std::strcmp(list.names[i], isa) == 0) return list.kernels[i];
  }
  throw Error(kErrInvalidOption,
              std::string("this machine or build has no '") + isa + "' instruction set");
}

// A container or taskset may grant fewer cores than the machine has.
int usable_cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned cores = std::thread::hardware_concurrency();
  return cores == 0 ? 1 : static_cast<int>(cores);
}

size_t mapped_bytes(size_t bytes) {
  constexpr size_t kPage = 4096;
  return (bytes + kPage - 1) / kPage * kPage;
}

}  // namespace

Scratch::~Scratch() { std::free(data_); }

void* Scratch::get(size_t bytes) {
  if (bytes <= bytes_) return data_;
  const size_t doubled = bytes_ * 2;
  const size_t wanted = ((bytes > doubled ? bytes : doubled) + 63) / 64 * 64;
  void* grown = std::aligned_alloc(64, wanted);
  if (grown == nullptr) throw Error(kErrOutOfMemory, "could not allocate scratch memory");
  std::free(data_);
  data_ = grown;
  bytes_ = wanted;
  return data_;
}

// Fresh anonymous pages are zero, and take memory only once touched.
void* cpu_allocate(void*, size_t bytes) {
  if (bytes == 0 || bytes > SIZE_MAX / 2) return nullptr;
  void* data = mmap(nullptr, mapped_bytes(bytes), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return data == MAP_FAILED ? nullptr : data;
}

void cpu_release(void*, void* data, size_t bytes) {
  if (data != nullptr) munmap(data, mapped_bytes(bytes));
}

namespace {

const char* cpu_prepare(void*, const ModelShape&) { return nullptr; }
void cpu_memory(void*, int64_t* free_bytes, int64_t* total_bytes) {
  *free_bytes = *total_bytes = 0;
}
void cpu_move(void*, void* target, const void* source, size_t bytes) {
  if (bytes > 0) std::memcpy(target, source, bytes);
}
// Weights are read where the file is mapped.
size_t cpu_weight_bytes(void*, Tensor) { return 0; }
Tensor cpu_load_weight(void*, Tensor stored, void*) { return stored; }
BatchView cpu_begin_step(void*, const BatchView& host) { return host; }
void cpu_end_step(void*) {}
void cpu_run_graph(void*, int64_t, void (*body)(void*), void* argument) { body(argument); }

}  // namespace

const char* const* CpuBackend::available_isas() { return isas().names; }

std::unique_ptr<CpuBackend> CpuBackend::create(int num_threads, const char* isa) {
  if (num_threads < 0 || num_threads > kMaxThreads) {
    throw Error(kErrInvalidOption, "the number of CPU threads must be between 0 and " +
                                       std::to_string(kMaxThreads) + " (0 = all cores)");
  }
  const CpuKernels* kernels = find_kernels(isa);
  if (num_threads == 0) num_threads = usable_cores();
  return std::unique_ptr<CpuBackend>(new CpuBackend(num_threads, kernels));
}

CpuBackend::CpuBackend(int num_threads, const CpuKernels* kernels) : context_(num_threads) {
  context_.kernels = kernels;
  ops_ = Ops{};
  ops_.name = "cpu";
  ops_.isa = kernels->isa;
  ops_.context = &context_;
  ops_.activation = DType::kF32;
  ops_.graphs = false;
  ops_.prepare = cpu_prepare;
  ops_.memory = cpu_memory;
  ops_.allocate = ops_.allocate_host = cpu_allocate;
  ops_.release = ops_.release_host = cpu_release;
  ops_.write = ops_.read = cpu_move;
  ops_.weight_bytes = cpu_weight_bytes;
  ops_.load_weight = cpu_load_weight;
  ops_.begin_step = cpu_begin_step;
  ops_.end_step = cpu_end_step;
  ops_.run_graph = cpu_run_graph;
  ops_.embedding = cpu_embedding;
  ops_.rms_norm = cpu_rms_norm;
  ops_.matmul = cpu_matmul;
  ops_.rope_and_cache = cpu_rope_and_cache;
  ops_.paged_attention = cpu_paged_attention;
  ops_.gated_mul = cpu_gated_mul;
  ops_.gather_rows = cpu_gather_rows;
  ops_.copy_blocks = cpu_copy_blocks;
  ops_.swap_blocks = cpu_swap_blocks;
  ops_.sample = cpu_sample;
}

}  // namespace octavo
