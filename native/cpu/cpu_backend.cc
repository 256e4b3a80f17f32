#include "cpu/cpu_backend.h"

#include <cstring>
#include <string>

#include "base/check.h"
#include "base/os.h"
#include "cpu/kernels.h"
#include "cpu/panels.h"

namespace octavo {

namespace {

constexpr int kMaxThreads = 1024;

struct Isa {
  const char* name;
  const CpuKernels* kernels;
  const PanelKernels* panels;
};

struct Isas {
  Isa list[8] = {};
  const char* names[9] = {};
};

const Isas& isas() {
  static const Isas found = [] {
    Isas all;
    int n = 0;
    // Where floats and dot products of bytes each have their best, named after the latter.
    const auto add = [&](const CpuKernels* kernels, const PanelKernels* panels, const char* name) {
      if (kernels == nullptr || panels == nullptr) return;
      all.list[n] = {name, kernels, panels};
      all.names[n++] = name;
    };
#if defined(__x86_64__)
    add(kernels_avx512_bf16(), panels_amx(), "amx");
    add(kernels_avx512_bf16(), panels_avx512_bf16(), "avx512_bf16");
    add(kernels_avx512(), panels_avx512_vnni(), "avx512_vnni");
    add(kernels_avx512(), panels_avx2(), "avx512");
    add(kernels_avx2(), panels_avx2_vnni(), "avx2_vnni");
    add(kernels_avx2(), panels_avx2(), "avx2");
#elif defined(__aarch64__)
    add(kernels_neon(), panels_neon_i8mm(), "neon_i8mm");
    add(kernels_neon(), panels_neon_dotprod(), "neon_dotprod");
    add(kernels_neon(), panels_neon(), "neon");
#endif
    add(kernels_scalar(), panels_scalar(), "scalar");
    return all;
  }();
  return found;
}

const Isa& find_isa(const char* name) {
  const Isas& all = isas();
  if (name == nullptr) return all.list[0];
  for (int i = 0; all.names[i] != nullptr; i++) {
    if (std::strcmp(all.names[i], name) == 0) return all.list[i];
  }
  throw Error(kErrInvalidOption,
              std::string("this machine or build has no '") + name + "' instruction set");
}

size_t mapped_bytes(size_t bytes) {
  constexpr size_t kPage = 4096;
  return (bytes + kPage - 1) / kPage * kPage;
}

}  // namespace

Scratch::~Scratch() { os::free_aligned(data_); }

void* Scratch::get(size_t bytes) {
  if (bytes <= bytes_) return data_;
  const size_t doubled = bytes_ * 2;
  const size_t wanted = ((bytes > doubled ? bytes : doubled) + 63) / 64 * 64;
  void* grown = os::allocate_aligned(wanted);
  if (grown == nullptr) throw Error(kErrOutOfMemory, "could not allocate scratch memory");
  os::free_aligned(data_);
  data_ = grown;
  bytes_ = wanted;
  return data_;
}

// Fresh anonymous pages are zero, and take memory only once touched.
void* cpu_allocate(void*, size_t bytes) {
  if (bytes == 0 || bytes > SIZE_MAX / 2) return nullptr;
  return os::map_zeros(mapped_bytes(bytes));
}

void cpu_release(void*, void* data, size_t bytes) {
  if (data != nullptr) os::unmap(data, mapped_bytes(bytes));
}

namespace {

const char* cpu_prepare(void* context, const ModelShape& shape) {
  cpu_context(context).masks = {(int64_t{shape.vocab_size} + 31) / 32, shape.max_num_seqs, {}};
  return nullptr;
}
void cpu_memory(void*, int64_t* free_bytes, int64_t* total_bytes) {
  *free_bytes = *total_bytes = 0;
}
void cpu_move(void*, void* target, const void* source, size_t bytes) {
  if (bytes > 0) std::memcpy(target, source, bytes);
}
BatchView cpu_begin_step(void*, const BatchView& host) { return host; }
void cpu_end_step(void*) {}
void cpu_drain(void*) {}
void cpu_run_graph(void*, int64_t, void (*body)(void*), void* argument) { body(argument); }

}  // namespace

const char* const* CpuBackend::available_isas() { return isas().names; }

std::unique_ptr<CpuBackend> CpuBackend::create(int num_threads, const char* isa,
                                               Rounding rounding) {
  if (num_threads < 0 || num_threads > kMaxThreads) {
    throw Error(kErrInvalidOption, "the number of CPU threads must be between 0 and " +
                                       std::to_string(kMaxThreads) + " (0 = all cores)");
  }
  const Isa& found = find_isa(isa);
  if (num_threads == 0) num_threads = os::usable_cores();
  std::unique_ptr<CpuBackend> backend(new CpuBackend(num_threads));
  backend->context_.kernels = found.kernels;
  backend->context_.panels = found.panels;
  backend->context_.rounding = rounding;
  backend->ops_.isa = found.name;
  return backend;
}

CpuBackend::CpuBackend(int num_threads) : context_(num_threads) {
  ops_ = Ops{};
  ops_.name = "cpu";
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
  ops_.drain = cpu_drain;
  ops_.run_graph = cpu_run_graph;
  ops_.embedding = cpu_embedding;
  ops_.norm = cpu_norm;
  ops_.matmul = cpu_matmul;
  ops_.rope_and_cache = cpu_rope_and_cache;
  ops_.paged_attention = cpu_paged_attention;
  ops_.short_conv = cpu_short_conv;
  ops_.linear_attention = cpu_linear_attention;
  ops_.activate = cpu_activate;
  ops_.gated_matmul = cpu_gated_matmul;
  ops_.route = cpu_route;
  ops_.expert_gated_matmul = cpu_expert_gated_matmul;
  ops_.expert_matmul = cpu_expert_matmul;
  ops_.combine = cpu_combine;
  ops_.head_matmul = cpu_head_matmul;
  ops_.transform_logits = cpu_transform_logits;
  ops_.gather_rows = cpu_gather_rows;
  ops_.pool_rows = cpu_pool_rows;
  ops_.copy_blocks = cpu_copy_blocks;
  ops_.swap_blocks = cpu_swap_blocks;
  ops_.count_tokens = cpu_count_tokens;
  ops_.set_masks = cpu_set_masks;
  ops_.sample = cpu_sample;
}

}  // namespace octavo
