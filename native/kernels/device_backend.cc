// The Ops table of a device: each op asserts what it is given and starts a kernel on the stream.
// Built twice: against the CUDA runtime, and against simt's for tests without a GPU.
#include "base/check.h"
#include "kernels/device_context.h"

namespace octavo {
namespace device {
namespace {

DeviceContext& self(void* context) { return *static_cast<DeviceContext*>(context); }
bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }
bool is_plain(const DeviceContext& c, const Tensor& t) {
  return t.dtype == c.options.activation && aligned(t.data) && t.cols > 0;
}
bool same_shape(const Tensor& a, const Tensor& b) { return a.rows == b.rows && a.cols == b.cols; }

const char* prepare(void* context, const ModelShape& shape) { return self(context).prepare(shape); }

void memory(void*, int64_t* free_bytes, int64_t* total_bytes) {
  size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "asking for free memory");
  *free_bytes = static_cast<int64_t>(free);
  *total_bytes = static_cast<int64_t>(total);
}

void* allocate(void*, size_t bytes) {
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, bytes);
  if (error == cudaSuccess) return data;
  static_cast<void>(cudaGetLastError());  // out of memory is not sticky
  if (error != cudaErrorMemoryAllocation) check_cuda(error, "taking memory");
  return nullptr;
}
void release(void*, void* data, size_t) { static_cast<void>(cudaFree(data)); }
void* allocate_host(void*, size_t bytes) {
  void* data = nullptr;
  const cudaError_t error = cudaHostAlloc(&data, bytes, cudaHostAllocDefault);
  if (error == cudaSuccess) return data;
  static_cast<void>(cudaGetLastError());
  return nullptr;
}
void release_host(void*, void* data, size_t) { static_cast<void>(cudaFreeHost(data)); }

void write(void* context, void* target, const void* host, size_t bytes) {
  if (bytes == 0) return;
  check_cuda(cudaMemcpyAsync(target, host, bytes, cudaMemcpyHostToDevice, self(context).stream),
             "writing");
  check_cuda(cudaStreamSynchronize(self(context).stream), "writing");
}
void read(void* context, void* host, const void* source, size_t bytes) {
  check_cuda(cudaMemcpyAsync(host, source, bytes, cudaMemcpyDeviceToHost, self(context).stream),
             "reading");
  check_cuda(cudaStreamSynchronize(self(context).stream), "reading");
}

size_t weight_bytes(void*, Tensor stored) {
  const int64_t values = stored.rows * stored.cols;
  if (!stays_quantised(stored.dtype)) return static_cast<size_t>(values) * 2;
  return static_cast<size_t>(scales_offset(stored) + values / 32 * 2);
}
Tensor load_weight(void* context, Tensor stored, void* target) {
  return self(context).load_weight(stored, target);
}

BatchView begin_step(void* context, const BatchView& host) {
  return self(context).begin_step(host);
}
void end_step(void* context) { self(context).end_step(); }
void run_graph(void* context, int64_t key, void (*body)(void*), void* argument) {
  self(context).run_graph(key, body, argument);
}

const void* scales_of(const Tensor& t) {
  if (!is_quantised(t.dtype)) return nullptr;
  return static_cast<const char*>(t.data) + scales_offset(t);
}

void embedding(void* context, Tensor out, Tensor table, const int32_t* ids) {
  OCTAVO_CHECK(out.dtype == DType::kF32 && out.cols == table.cols && out.rows > 0);
  launch_embedding(out, table, scales_of(table), ids, self(context).stream);
}

void rms_norm(void* context, Tensor out, Tensor x, Tensor add, const float* weight, float eps) {
  DeviceContext& c = self(context);
  OCTAVO_CHECK(is_plain(c, out) && same_shape(out, x));
  OCTAVO_CHECK(x.dtype == DType::kF32 || x.dtype == out.dtype);
  OCTAVO_CHECK(x.cols % 4 == 0 || (x.dtype != DType::kF32 && x.cols <= 512));
  OCTAVO_CHECK(add.empty() || (is_plain(c, add) && same_shape(add, x)));
  launch_rms_norm(out, x, add, weight, eps, c.stream);
}

// From so many tokens on, where a product is bound by arithmetic.
constexpr int64_t kLargeBatch = 128;

bool large_matmul(DeviceContext& c, const Tensor& x, const MatmulPart& part) {
  if (c.cublas_lt == nullptr || x.rows < kLargeBatch || part.bias != nullptr) return false;
  if (part.weight.dtype != c.options.activation) return false;
  const CublasLt::Problem problem{x.rows, part.weight.rows, x.cols, c.options.activation,
                                  part.out.dtype == DType::kF32};
  return c.cublas_lt->matmul(problem, x.data, part.weight.data, part.out.data, c.stream);
}

void matmul(void* context, Tensor x, const MatmulPart* parts, int32_t num_parts) {
  DeviceContext& c = self(context);
  OCTAVO_CHECK(is_plain(c, x) && x.cols % 8 == 0);
  std::vector<MatmulPart> left;
  if (c.cublas_lt != nullptr) {
    for (int32_t i = 0; i < num_parts; i++) {
      if (!large_matmul(c, x, parts[i])) left.push_back(parts[i]);
    }
    parts = left.data();
    num_parts = static_cast<int32_t>(left.size());
  }
  for (int32_t begin = 0; begin < num_parts;) {
    MatmulArgs args;
    args.x = x.data;
    args.m = x.rows;
    args.k = x.cols;
    args.partial = c.matmul_partial.as<float>();
    args.arrived = c.matmul_counters.as<uint32_t>();
    const DType dtype = parts[begin].weight.dtype;
    int32_t p = begin;
    for (; p < num_parts && parts[p].weight.dtype == dtype && args.num_parts < kMaxMatmulParts;
         p++) {
      const MatmulPart& part = parts[p];
      OCTAVO_CHECK(part.weight.cols == x.cols && part.out.cols == part.weight.rows);
      OCTAVO_CHECK(part.out.rows == x.rows && aligned(part.weight.data));
      OCTAVO_CHECK(part.out.dtype == DType::kF32 || is_plain(c, part.out));
      args.parts[args.num_parts++] = {part.out.data,
                                      part.weight.data,
                                      scales_of(part.weight),
                                      part.bias,
                                      part.weight.rows,
                                      0,
                                      part.out.dtype == DType::kF32};
    }
    launch_matmul(args, c.options.activation, dtype, c.limits, c.stream);
    begin = p;
  }
}

void rope_and_cache(void* context, const RopeCacheParams& p, const PagedKV& kv,
                    const BatchView& batch) {
  DeviceContext& c = self(context);
  OCTAVO_CHECK(is_plain(c, p.q) && is_plain(c, p.k) && is_plain(c, p.v));
  OCTAVO_CHECK(p.rotary_size % 2 == 0 && p.rotary_size <= kv.head_size);
  OCTAVO_CHECK(kv.dtype == c.options.activation || (is_8bit_cache(kv.dtype)));
  RopeCacheArgs args{p.q.data,
                     p.k.data,
                     p.v.data,
                     kv,
                     batch.positions,
                     batch.slots,
                     p.inv_freq,
                     batch.num_tokens,
                     static_cast<int32_t>(p.q.cols / kv.head_size),
                     p.rotary_size,
                     p.interleaved,
                     p.attention_factor};
  launch_rope_and_cache(args, c.options.activation, c.limits, c.stream);
}

void paged_attention(void* context, const AttentionParams& p, const PagedKV& kv,
                     const BatchView& batch) {
  DeviceContext& c = self(context);
  OCTAVO_CHECK(is_plain(c, p.q) && is_plain(c, p.out) && same_shape(p.q, p.out));
  OCTAVO_CHECK(p.num_heads == c.shape.num_heads && kv.num_kv_heads == c.shape.num_kv_heads);
  OCTAVO_CHECK((kv.block_size & (kv.block_size - 1)) == 0);
  OCTAVO_CHECK(kv.block_stride * 2 < int64_t{1} << 32 && p.scale > 0);
  AttentionArgs args;
  args.out = p.out.data;
  args.q = p.q.data;
  args.kv = kv;
  args.block_tables = batch.block_tables;
  args.positions = batch.positions;
  args.plan = c.plan;
  args.partial_out = c.partial_out.as<float>();
  args.partial_state = c.partial_state.as<float>();
  args.num_heads = p.num_heads;
  while (1 << args.block_shift < kv.block_size) args.block_shift++;
  args.scale_log2 = p.scale * 1.4426950408889634f;
  args.window = p.window;
  args.softcap = p.softcap;
  args.alibi = p.alibi;
  AttentionLaunch how;
  how.activation = c.options.activation;
  how.wide = !c.host_plan->wide.empty();
  how.merge = !c.host_plan->merge_tokens.empty();
  launch_attention(args, how, c.limits, c.stream);
}

void gated_mul(void* context, Tensor out, Tensor gate, Tensor up, Activation activation) {
  DeviceContext& c = self(context);
  OCTAVO_CHECK(is_plain(c, out) && is_plain(c, gate) && is_plain(c, up));
  OCTAVO_CHECK(same_shape(out, gate) && same_shape(out, up) && out.cols % 2 == 0);
  launch_gated(out, gate, up, activation, c.stream);
}

void gather_rows(void* context, Tensor out, Tensor x, const int32_t* rows) {
  OCTAVO_CHECK(out.dtype == x.dtype && out.cols == x.cols && out.rows > 0);
  OCTAVO_CHECK(x.stride_bytes() % 4 == 0);
  launch_gather_rows(out, x, rows, self(context).stream);
}

void copy_blocks(void* context, void* pool, int64_t block_bytes, const BlockCopy* copies,
                 int32_t num_copies) {
  OCTAVO_CHECK(block_bytes > 0 && block_bytes % 16 == 0);
  launch_copy_blocks(pool, block_bytes, copies, num_copies, self(context).stream);
}

// Whole blocks are contiguous: the copy engines do it, in the order of the stream.
void swap_blocks(void* context, void* pool, void* host_pool, int64_t block_bytes,
                 const BlockSwap* swaps, int32_t num_swaps, bool to_host) {
  OCTAVO_CHECK(block_bytes > 0);
  for (int32_t i = 0; i < num_swaps; i++) {
    char* here = static_cast<char*>(pool) + swaps[i].device * block_bytes;
    char* there = static_cast<char*>(host_pool) + swaps[i].host * block_bytes;
    check_cuda(cudaMemcpyAsync(
                   to_host ? there : here, to_host ? here : there, static_cast<size_t>(block_bytes),
                   to_host ? cudaMemcpyDeviceToHost : cudaMemcpyHostToDevice, self(context).stream),
               "swapping blocks");
  }
}

void sample(void* context, Tensor logits, const SampleRow* rows, int32_t num_rows) {
  OCTAVO_CHECK(logits.dtype == DType::kF32 && logits.cols <= self(context).shape.vocab_size);
  self(context).sample(logits, rows, num_rows);
}

class DeviceBackend : public Backend {
 public:
  explicit DeviceBackend(const DeviceOptions& options) : context_(options) {
    ops_ = Ops{};
    ops_.name = "cuda";
    ops_.isa = context_.isa.c_str();
    ops_.context = &context_;
    ops_.activation = options.activation;
    ops_.graphs = options.graphs;
    ops_.prepare = device::prepare;
    ops_.memory = memory;
    ops_.allocate = allocate;
    ops_.release = release;
    ops_.write = write;
    ops_.read = read;
    ops_.weight_bytes = weight_bytes;
    ops_.load_weight = load_weight;
    ops_.begin_step = begin_step;
    ops_.end_step = end_step;
    ops_.run_graph = run_graph;
    ops_.embedding = embedding;
    ops_.rms_norm = rms_norm;
    ops_.matmul = matmul;
    ops_.rope_and_cache = rope_and_cache;
    ops_.paged_attention = paged_attention;
    ops_.gated_mul = gated_mul;
    ops_.gather_rows = gather_rows;
    ops_.copy_blocks = copy_blocks;
    ops_.allocate_host = allocate_host;
    ops_.release_host = release_host;
    ops_.swap_blocks = swap_blocks;
    ops_.sample = sample;
  }
  const Ops& ops() const override { return ops_; }

 private:
  DeviceContext context_;
  Ops ops_;
};

}  // namespace
}  // namespace device

// The runtime is linked statically: without a driver cudaGetDeviceCount returns an error.
DeviceProbe probe_devices() {
  DeviceProbe probe;
#ifdef OCTAVO_SIMT
  probe.kind = "simt";
#else
  probe.kind = "cuda";
#endif
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    probe.reason = cudaGetErrorString(status);
    return probe;
  }
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp p;
    if (cudaGetDeviceProperties(&p, i) != cudaSuccess) continue;
    probe.devices.push_back({p.name, p.major, p.minor, static_cast<int64_t>(p.totalGlobalMem)});
  }
  if (probe.devices.empty()) probe.reason = "the driver reports no device";
  return probe;
}

std::unique_ptr<Backend> make_device_backend(const DeviceOptions& options) {
  return std::make_unique<device::DeviceBackend>(options);
}

}  // namespace octavo
