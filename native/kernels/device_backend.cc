// The Ops table of a device: each op asserts what it is given and starts a kernel on the stream.
// Built twice: against the CUDA runtime, and against simt's for tests without a GPU.
#include <algorithm>

#include "base/check.h"
#include "kernels/device_attention.h"
#include "kernels/device_context.h"

namespace octavo {
namespace device {
namespace {

DeviceContext& self(void* context) { return *static_cast<DeviceContext*>(context); }
bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }
bool is_plain(const DeviceContext& c, const Tensor& t) {
  return t.dtype == c.options.dtype && aligned(t.data) && t.cols > 0;
}
bool same_shape(const Tensor& a, const Tensor& b) { return a.rows == b.rows && a.cols == b.cols; }

const char* prepare(void* context, const ModelShape& shape) { return self(context).prepare(shape); }

void memory(void* context, int64_t* free_bytes, int64_t* total_bytes) {
  size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "asking for free memory");
  *free_bytes = std::max<int64_t>(0, static_cast<int64_t>(free) - self(context).reserved_bytes());
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

size_t weight_bytes(void*, Tensor stored) { return static_cast<size_t>(held_bytes(stored)); }
Tensor load_weight(void* context, Tensor stored, const WeightSource& source, void* target) {
  return self(context).load_weight(stored, source, target);
}

BatchView begin_step(void* context, const BatchView& host) {
  return self(context).begin_step(host);
}
void end_step(void* context) { self(context).end_step(); }
void drain(void* context) { self(context).drain(); }
void run_graph(void* context, int64_t key, void (*body)(void*), void* argument) {
  self(context).run_graph(key, body, argument);
}

void embedding(void* context, const EmbeddingParams& p) {
  OCTAVO_CHECK(p.out.dtype == DType::kF32 && p.out.cols == p.table.cols && p.out.rows > 0);
  OCTAVO_CHECK(p.position_table.empty() == (p.positions == nullptr));
  OCTAVO_CHECK(p.position_table.empty() || p.position_table.cols == p.out.cols);
  OCTAVO_CHECK(p.type_table.empty() == (p.types == nullptr));
  OCTAVO_CHECK(p.type_table.empty() || p.type_table.cols == p.out.cols);
  const EmbeddingScales scales{scales_of(p.table), scales_of(p.position_table),
                               scales_of(p.type_table)};
  launch_embedding(p, scales, self(context).options.dtype, self(context).stream);
}

void norm(void* context, const NormParams& p) {
  const DeviceContext& c = self(context);
  const bool is_short = p.x.dtype != DType::kF32 && p.x.cols <= kMaxShortRow;
  // The residual stream may be normed where it stands.
  const bool in_residual = p.x.dtype == DType::kF32 && p.out.data == p.x.data;
  OCTAVO_CHECK(in_residual ? p.out.dtype == DType::kF32 && p.kind != NormKind::kNone
                           : is_plain(c, p.out));
  OCTAVO_CHECK(same_shape(p.out, p.x) && p.x.rows > 0);
  OCTAVO_CHECK(p.x.dtype == DType::kF32 || p.x.dtype == p.out.dtype);
  OCTAVO_CHECK(p.weight_rows > 0);
  OCTAVO_CHECK(p.x.cols % 4 == 0 || (is_short && p.kind != NormKind::kNone));
  OCTAVO_CHECK(p.add.empty() || (p.x.dtype == DType::kF32 && is_plain(c, p.add)));
  OCTAVO_CHECK(p.add.empty() || same_shape(p.add, p.x));
  OCTAVO_CHECK(p.bias == nullptr || p.kind == NormKind::kLayer);
  launch_norm(p, c.options.dtype, c.stream);
}

// From so many tokens on, where a product is bound by arithmetic.
constexpr int64_t kLargeBatch = 128;

bool large_matmul(DeviceContext& c, const Tensor& x, const MatmulPart& part) {
  if (c.cublas_lt == nullptr || x.rows < kLargeBatch || part.bias != nullptr) return false;
  if (part.weight.dtype != c.options.dtype) return false;
  const CublasLt::Problem problem{x.rows, part.weight.rows, x.cols, c.options.dtype,
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
                                      high_bits_of(part.weight),
                                      part.bias,
                                      part.weight.rows,
                                      0,
                                      part.out.dtype == DType::kF32};
    }
    launch_matmul(args, c.options.dtype, dtype, c.limits, c.stream);
    begin = p;
  }
}

void rope_and_cache(void* context, const RopeCacheParams& p, const PagedKV& kv,
                    const BatchView& batch) {
  DeviceContext& c = self(context);
  OCTAVO_CHECK(is_plain(c, p.q) && p.k.empty() == p.v.empty());
  OCTAVO_CHECK(p.k.empty() || (is_plain(c, p.k) && is_plain(c, p.v)));
  const int32_t turns = kv.head_size - kv.latent;
  OCTAVO_CHECK(p.rotary_size >= 0 && p.rotary_size <= turns && p.rotary_size % 2 == 0);
  OCTAVO_CHECK(kv.latent == 0 || (kv.num_kv_heads == 1 && kv.dtype == c.options.dtype && !p.norm));
  OCTAVO_CHECK(p.rotary_size == 0 || p.inv_freq != nullptr);
  OCTAVO_CHECK(p.temperature.length > 0);
  OCTAVO_CHECK(kv.dtype == c.options.dtype || is_8bit_cache(kv.dtype));
  RopeCacheArgs args{p.q.data,
                     p.k.data,
                     p.v.data,
                     kv,
                     batch.positions,
                     batch.groups[kv.group].slots,
                     p.inv_freq,
                     batch.long_rope != nullptr ? p.inv_freq_long : nullptr,
                     batch.long_rope,
                     batch.num_tokens,
                     static_cast<int32_t>(p.q.cols / kv.head_size),
                     p.rotary_size,
                     p.interleaved,
                     p.attention_factor,
                     p.norm,
                     p.norm_eps,
                     p.q_norm,
                     p.k_norm,
                     p.temperature};
  launch_rope_and_cache(args, c.options.dtype, c.limits, c.stream);
}

void paged_attention(void* context, const AttentionParams& p, const PagedKV& kv,
                     const BatchView& batch) {
  DeviceContext& c = self(context);
  OCTAVO_CHECK(is_plain(c, p.q) && is_plain(c, p.out) && p.q.rows == p.out.rows);
  OCTAVO_CHECK(p.out.cols == int64_t{p.num_heads} * kv.value_size());
  const PlannedAttention& planned = c.attention_of(p, kv);
  OCTAVO_CHECK(kv.block_stride * 2 < int64_t{1} << 32 && p.scale > 0 && p.softcap >= 0);
  AttentionArgs args;
  args.out = p.out.data;
  args.q = p.q.data;
  args.kv = kv;
  args.block_tables = batch.groups[kv.group].block_tables;
  args.positions = batch.positions;
  args.plan = planned.plan;
  args.partial_out = c.partial_out.as<float>();
  args.partial_state = c.partial_state.as<float>();
  args.num_heads = p.num_heads;
  while (1 << args.block_shift < kv.block_size) args.block_shift++;
  args.scale_log2 = p.scale * 1.4426950408889634f;
  args.reach = p.reach;
  args.softcap = p.softcap;
  args.alibi = p.alibi;
  args.sinks = p.sinks;
  AttentionLaunch how;
  how.activation = c.options.dtype;
  how.wide = planned.has_wide;
  how.merge = planned.has_merge;
  launch_attention(args, how, c.limits, c.stream);
}

void activate(void* context, Tensor out, Tensor gate, Tensor up, HiddenAct hidden_act) {
  const DeviceContext& c = self(context);
  OCTAVO_CHECK(is_plain(c, out) && is_plain(c, gate) && same_shape(out, gate));
  OCTAVO_CHECK(up.empty() || (is_plain(c, up) && same_shape(out, up)));
  OCTAVO_CHECK(out.cols % 2 == 0);
  launch_activate(out, gate, up, hidden_act, c.stream);
}

void route(void* context, const RouteParams& p) {
  const Router& r = p.router;
  OCTAVO_CHECK(p.logits.dtype == DType::kF32 && p.logits.rows == p.out.num_rows);
  OCTAVO_CHECK(p.logits.cols == r.num_experts && r.num_experts <= kMaxExperts);
  OCTAVO_CHECK(r.top_k >= 1 && r.top_k <= kMaxTopK && r.top_k <= r.num_experts);
  OCTAVO_CHECK(r.group_best <= kMaxGroupBest && r.num_experts % r.num_groups == 0);
  launch_route(p, self(context).stream);
}

// Products of parts of one type at once.
void expert_products(const DeviceContext& c, const Tensor& x, const Routing& r, bool by_place,
                     std::initializer_list<const ExpertPart*> parts) {
  OCTAVO_CHECK(is_plain(c, x) && x.cols % 8 == 0);
  OCTAVO_CHECK(x.rows == (by_place ? r.num_places() : r.num_rows));
  ExpertArgs args;
  args.product.x = x.data;
  args.product.m = r.num_places();
  args.product.k = x.cols;
  args.routing = r;
  args.by_place = by_place;
  const DType dtype = (*parts.begin())->weight.dtype;
  for (const ExpertPart* part : parts) {
    const Tensor& w = part->weight;
    OCTAVO_CHECK(w.cols == x.cols && w.dtype == dtype && part->out.cols == w.rows);
    OCTAVO_CHECK(part->out.rows == r.num_places() && is_plain(c, part->out));
    OCTAVO_CHECK(aligned(w.data) && part->stride % 16 == 0);
    args.strides[args.product.num_parts] = part->stride;
    args.product.parts[args.product.num_parts++] = {
        part->out.data, w.data, scales_of(w), high_bits_of(w), part->bias, w.rows, 0, false};
  }
  launch_expert_matmul(args, c.options.dtype, dtype, c.stream);
}

void expert_gated_matmul(void* context, Tensor x, const Routing& r, const ExpertPart& gate,
                         const ExpertPart& up, const Glu& glu, bool scales_input) {
  const DeviceContext& c = self(context);
  if (up.weight.empty()) {
    expert_products(c, x, r, false, {&gate});
  } else if (gate.weight.dtype == up.weight.dtype) {
    expert_products(c, x, r, false, {&gate, &up});
  } else {
    expert_products(c, x, r, false, {&gate});
    expert_products(c, x, r, false, {&up});
  }
  OCTAVO_CHECK(up.weight.empty() || same_shape(gate.out, up.out));
  OCTAVO_CHECK(gate.out.cols % 2 == 0);
  launch_glu(gate.out, up.weight.empty() ? Tensor{} : up.out, r, glu, scales_input, c.stream);
}

void expert_matmul(void* context, Tensor x, const Routing& r, const ExpertPart& part) {
  expert_products(self(context), x, r, true, {&part});
}

void head_matmul(void* context, const HeadMatmulParams& p) {
  DeviceContext& c = self(context);
  const Tensor& w = p.weight;
  OCTAVO_CHECK(is_plain(c, p.x) && is_plain(c, p.out) && p.x.rows == p.out.rows);
  OCTAVO_CHECK(p.rest() >= 0 && p.out.cols == p.num_heads * (w.rows + p.rest()));
  OCTAVO_CHECK(w.cols % 8 == 0 && w.rows % 8 == 0 && p.rest() % 8 == 0);
  for (int64_t begin = 0; begin < p.x.rows; begin += kHeadRowsAtOnce) {
    const HeadRowsArgs args = head_part(p, begin, c.head_rows.as<void>());
    const int64_t places = args.routing.num_places();
    launch_part_heads(args, c.stream);
    const ExpertPart part{{args.products, c.options.dtype, places, w.rows}, w, p.stride, nullptr};
    const Tensor x{args.gathered, c.options.dtype, places, w.cols};
    expert_products(c, x, args.routing, true, {&part});
    launch_join_heads(args, c.stream);
  }
}

void combine(void* context, const CombineParams& p) {
  const DeviceContext& c = self(context);
  const Routing& r = p.routing;
  OCTAVO_CHECK(is_plain(c, p.out) && is_plain(c, p.y) && p.out.cols % 2 == 0);
  OCTAVO_CHECK(p.out.rows == r.num_rows && p.y.rows == r.num_places() && p.y.cols == p.out.cols);
  OCTAVO_CHECK(p.shared.empty() || (is_plain(c, p.shared) && same_shape(p.shared, p.out)));
  OCTAVO_CHECK(p.shared_gate.empty() || p.shared_gate.rows == r.num_rows);
  launch_combine(p, c.stream);
}

void gather_rows(void* context, Tensor out, Tensor x, const int32_t* rows) {
  OCTAVO_CHECK(out.dtype == x.dtype && out.cols == x.cols && out.rows > 0);
  OCTAVO_CHECK(x.stride_bytes() % 4 == 0);
  launch_gather_rows(out, x, rows, self(context).stream);
}

void pool_rows(void* context, const PoolParams& p, const BatchView& batch) {
  const DeviceContext& c = self(context);
  OCTAVO_CHECK(is_plain(c, p.x) && p.x.cols % 2 == 0 && p.out.cols == p.x.cols);
  OCTAVO_CHECK(p.out.dtype == DType::kF32 ? aligned(p.out.data) : is_plain(c, p.out));
  OCTAVO_CHECK(batch.poolings != nullptr && p.out.rows == batch.num_seqs && p.out.rows > 0);
  launch_pool_rows(p, batch, c.stream);
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

void count_tokens(void* context, const TokenUpdate* updates, int32_t num_updates) {
  self(context).count_tokens(updates, num_updates);
}

void set_masks(void* context, const MaskUpdate* updates, int32_t num_updates) {
  self(context).set_masks(updates, num_updates);
}

void transform_logits(void* context, Tensor logits, float scale, float softcap) {
  OCTAVO_CHECK(logits.dtype == DType::kF32 && aligned(logits.data) && softcap >= 0);
  launch_transform_logits(logits, scale, softcap, self(context).stream);
}

void sample(void* context, Tensor logits, const SampleRow* rows, int32_t num_rows) {
  OCTAVO_CHECK(logits.dtype == DType::kF32 && logits.cols == self(context).shape.vocab_size);
  self(context).sample(logits, rows, num_rows);
}

class DeviceBackend : public Backend {
 public:
  explicit DeviceBackend(const DeviceOptions& options) : context_(options) {
    ops_ = Ops{};
    ops_.name = "cuda";
    ops_.isa = context_.isa.c_str();
    ops_.context = &context_;
    ops_.activation = options.dtype;
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
    ops_.drain = drain;
    ops_.run_graph = run_graph;
    ops_.embedding = embedding;
    ops_.norm = norm;
    ops_.matmul = matmul;
    ops_.rope_and_cache = rope_and_cache;
    ops_.paged_attention = paged_attention;
    ops_.short_conv = device::short_conv;
    ops_.linear_attention = device::linear_attention;
    ops_.activate = activate;
    ops_.route = route;
    ops_.expert_gated_matmul = expert_gated_matmul;
    ops_.expert_matmul = expert_matmul;
    ops_.combine = combine;
    ops_.head_matmul = head_matmul;
    ops_.gather_rows = gather_rows;
    ops_.pool_rows = pool_rows;
    ops_.copy_blocks = copy_blocks;
    ops_.allocate_host = allocate_host;
    ops_.release_host = release_host;
    ops_.swap_blocks = swap_blocks;
    ops_.count_tokens = count_tokens;
    ops_.set_masks = set_masks;
    ops_.transform_logits = transform_logits;
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
