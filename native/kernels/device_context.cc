#include "kernels/device_context.h"

#include <algorithm>

#include "base/check.h"
#include "base/half.h"
#include "base/quants.h"

namespace octavo::device {

namespace {
constexpr int64_t kPartialBytes = int64_t{64} << 20;  // of attention's partial rows
constexpr size_t kStagingBytes = size_t{8} << 20;
}  // namespace

StepArrays::StepArrays(const ModelShape& s, int64_t max_items) {
  const int64_t tokens = s.max_num_batched_tokens, seqs = s.max_num_seqs;
  const int64_t item_words = sizeof(AttentionItem) / 4;
  // In the order of DeviceContext::begin_step.
  capacity_ = {tokens,
               tokens,
               2 * tokens,
               tokens,
               4 * seqs,
               seqs * int64_t{s.blocks_per_row},
               4,
               max_items * item_words,
               max_items * item_words,
               2 * tokens,
               tokens,
               tokens,
               tokens};
  int64_t words = 0;
  for (int64_t c : capacity_) {
    offset_.push_back(words);
    words += (c + 63) / 64 * 64;
  }
  device_ = DeviceMemory(static_cast<size_t>(words) * 4, "the arrays of a step");
  host_ = PinnedMemory(static_cast<size_t>(words) * 4, "the arrays of a step");
}

void* StepArrays::put_bytes(const void* values, int64_t bytes) {
  OCTAVO_CHECK(num_ < static_cast<int32_t>(capacity_.size()));
  OCTAVO_CHECK(bytes % 4 == 0 && bytes / 4 <= capacity_[num_]);
  if (bytes > 0) std::memcpy(host_.data() + packed_ * 4, values, static_cast<size_t>(bytes));
  int32_t* target = device_.as<int32_t>() + offset_[num_];
  unpack_.target[num_] = target;
  unpack_.begin[num_] = packed_;
  unpack_.words[num_] = bytes / 4;
  packed_ += (bytes / 4 + 3) / 4 * 4;
  ++num_;
  return target;
}

void StepArrays::send(cudaStream_t stream) {
  unpack_.source = reinterpret_cast<const int32_t*>(host_.data());
  unpack_.num_regions = num_;
  launch_unpack(unpack_, stream);
}

DeviceContext::DeviceContext(const DeviceOptions& o) : options(o) {
  check_cuda(cudaSetDevice(o.device), "choosing the device");
  cudaDeviceProp p;
  check_cuda(cudaGetDeviceProperties(&p, o.device), "reading the device's properties");
  if (p.major < 8) {
    throw Error(kErrDeviceNotFound, std::string(p.name) + " is too old: compute capability " +
                                        std::to_string(p.major) + "." + std::to_string(p.minor) +
                                        ", the kernels need 8.0 or newer; use device \"cpu\"");
  }
  isa = "sm_" + std::to_string(p.major) + std::to_string(p.minor);
  limits.multiprocessors = p.multiProcessorCount;
  limits.shared_per_block = static_cast<int64_t>(p.sharedMemPerBlockOptin);
  limits.shared_per_multiprocessor = static_cast<int64_t>(p.sharedMemPerMultiprocessor);
#if defined(OCTAVO_SM90A) || defined(OCTAVO_SIMT)
  limits.wgmma = p.major == 9;
#endif
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
  if (!o.batch_invariant) cublas_lt = CublasLt::open(o.cublas_lt);
  if (cublas_lt != nullptr) isa += ", cublasLt";
  for (int i = 0; i < 2; i++) {
    check_cuda(cudaEventCreateWithFlags(&staged_[i], cudaEventDisableTiming), "making an event");
  }
}

// Nothing here throws: a lost device has lost its memory too.
DeviceContext::~DeviceContext() {
  static_cast<void>(cudaStreamSynchronize(stream));
  for (auto& [key, graph] : graphs_) static_cast<void>(cudaGraphExecDestroy(graph));
  for (cudaEvent_t event : staged_) static_cast<void>(cudaEventDestroy(event));
  static_cast<void>(cudaStreamDestroy(stream));
}

const char* DeviceContext::prepare(const ModelShape& s) {
  if (!attention_supports(s.head_size)) {
    return "the CUDA kernels have head sizes 32, 64, 80, 96, 112, 128 and 256, not this model's; "
           "use device \"cpu\"";
  }
  if (!attention_fits(s.head_size, s.kv_8bit, limits)) {
    return "an 8-bit KV cache with this head size needs more shared memory than this GPU's blocks "
           "have; use kvCacheDtype \"auto\"";
  }
  if (s.hidden_size % 8 != 0 || s.intermediate_size % 8 != 0) {
    return "the CUDA kernels need hidden and intermediate sizes that are multiples of 8; use "
           "device \"cpu\"";
  }
  if (s.vocab_size > kMaxSampledVocab) {
    return "the CUDA kernels sample from at most 524,288 tokens; use device \"cpu\"";
  }
  shape = s;
  const int64_t row_bytes = int64_t{s.num_heads} * (s.head_size + 2) * 4;
  PlanShape plan_shape;
  plan_shape.group = s.num_heads / s.num_kv_heads;
  plan_shape.num_kv_heads = s.num_kv_heads;
  plan_shape.wide_rows = attention_wide_rows(s.head_size, s.kv_8bit, limits);
  plan_shape.block_size = s.block_size;
  plan_shape.grid = attention_grid(s.head_size, s.kv_8bit, limits);
  plan_shape.max_partial_rows = kPartialBytes / row_bytes;
  plan_shape.max_items = s.max_num_batched_tokens * ceil_div(plan_shape.group, kNarrowRows) +
                         4 * int64_t{plan_shape.grid};
  plan_shape.share_prefixes = options.share_prefixes;
  planner_ = std::make_unique<AttentionPlanner>(plan_shape);
  arrays_ = StepArrays(s, plan_shape.max_items);
  const size_t partial_rows = static_cast<size_t>(plan_shape.max_partial_rows * s.num_heads);
  partial_out = DeviceMemory(partial_rows * s.head_size * 4, "attention's partial rows");
  partial_state = DeviceMemory(partial_rows * 2 * 4, "attention's partial rows");
  matmul_partial = DeviceMemory(kMatmulPartialFloats * 4, "matmul's partial sums");
  matmul_counters = DeviceMemory(kMatmulCounters * 4, "matmul's counters");
  const size_t values = size_t{kMaxSampleRequests} * s.vocab_size * 4;
  sample_values_ = DeviceMemory(values, "the sampler's memory");
  sample_counts_ = DeviceMemory(values, "the sampler's memory");
  check_cuda(cudaMemsetAsync(matmul_counters.as<void>(), 0, kMatmulCounters * 4, stream), "memset");
  check_cuda(cudaMemsetAsync(sample_counts_.as<void>(), 0, values, stream), "memset");
  return nullptr;
}

BatchView DeviceContext::begin_step(const BatchView& host) {
  arena_.reset();
  pending_.clear();
  const HostPlan& p = planner_->build(host);
  host_plan = &p;
  const int64_t n = host.num_tokens;
  BatchView view = host;
  StepArrays& a = arrays_;
  a.begin();
  view.token_ids = a.put(host.token_ids, n);
  view.positions = a.put(host.positions, n);
  view.slots = a.put(host.slots, n);
  view.output_rows = a.put(host.output_rows, host.num_output_rows);
  view.copies = a.put(host.copies, host.num_copies);
  view.block_tables = a.put(host.block_tables, host.num_seqs * host.table_stride);
  plan.header = a.put(p.header, 4);
  plan.narrow = a.put(p.narrow.data(), static_cast<int64_t>(p.narrow.size()));
  plan.wide = a.put(p.wide.data(), static_cast<int64_t>(p.wide.size()));
  plan.token_list = a.put(p.token_list.data(), static_cast<int64_t>(p.token_list.size()));
  plan.merge_tokens = a.put(p.merge_tokens.data(), static_cast<int64_t>(p.merge_tokens.size()));
  plan.partial_base = a.put(p.partial_base.data(), n);
  plan.folded_chunks = a.put(p.folded_chunks.data(), n);
  a.send(stream);
  view.query_start = nullptr;  // the plan holds what kernels need of them
  view.context_len = nullptr;
  return view;
}

void DeviceContext::end_step() {
  check_cuda(cudaStreamSynchronize(stream), "a step");
  for (const PendingSample& s : pending_) {
    *s.row.token = s.result->token;
    *s.row.logprob = s.result->logprob;
    if (s.row.num_top < 0 || s.result->token < 0) continue;
    *s.row.rank = s.result->rank;
    std::copy_n(s.top_ids, s.row.num_top, s.row.top_ids);
    std::copy_n(s.top_logprobs, s.row.num_top, s.row.top_logprobs);
  }
  pending_.clear();
}

// What a step launches depends on its key and on which kinds of attention items it has.
void DeviceContext::run_graph(int64_t key, void (*body)(void*), void* argument) {
  if (key < 0 || !options.graphs) return body(argument);
  const int64_t kind =
      (host_plan->wide.empty() ? 0 : 2) + (host_plan->merge_tokens.empty() ? 0 : 1);
  auto& exec = graphs_[key * 4 + kind];
  if (exec == nullptr) {
    check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording");
    cudaGraph_t graph = nullptr;
    try {
      body(argument);
    } catch (...) {
      static_cast<void>(cudaStreamEndCapture(stream, &graph));
      if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
      throw;
    }
    check_cuda(cudaStreamEndCapture(stream, &graph), "recording a step");
    const cudaError_t made = cudaGraphInstantiate(&exec, graph, 0);
    static_cast<void>(cudaGraphDestroy(graph));
    check_cuda(made, "recording a step");
  }
  check_cuda(cudaGraphLaunch(exec, stream), "replaying a step");
}

// Through page-locked memory, two pieces in turn: one is read from the file while the other
// travels.
void DeviceContext::upload(const char* host, int64_t bytes, char* target) {
  for (int64_t at = 0; at < bytes; at += static_cast<int64_t>(kStagingBytes)) {
    const size_t piece = std::min(kStagingBytes, static_cast<size_t>(bytes - at));
    const int i = next_staging_;
    next_staging_ ^= 1;
    if (staging_[i].data() == nullptr) staging_[i] = PinnedMemory(kStagingBytes, "staging memory");
    check_cuda(cudaEventSynchronize(staged_[i]), "uploading weights");
    std::memcpy(staging_[i].data(), host + at, piece);
    check_cuda(
        cudaMemcpyAsync(target + at, staging_[i].data(), piece, cudaMemcpyHostToDevice, stream),
        "uploading weights");
    check_cuda(cudaEventRecord(staged_[i], stream), "uploading weights");
  }
}

// Q8_0 and Q4_0 are taken apart into bytes and scales, everything else becomes the activations'
// type.
Tensor DeviceContext::load_weight(Tensor stored, void* memory) {
  char* const target = static_cast<char*>(memory);
  const char* data = static_cast<const char*>(stored.data);
  Tensor out{memory, options.activation, stored.rows, stored.cols};
  if (stored.dtype == options.activation) {
    upload(data, stored.bytes(), target);
    return out;
  }
  constexpr int64_t kPiece = int64_t{1} << 20;  // values converted at a time
  const int64_t rows_at_once = std::max<int64_t>(1, kPiece / stored.cols);
  std::vector<uint16_t> halves;
  std::vector<char> bytes;
  std::vector<float> floats;
  const bool packed = stays_quantised(stored.dtype);
  for (int64_t row = 0; row < stored.rows; row += rows_at_once) {
    const int64_t n = std::min(rows_at_once, stored.rows - row) * stored.cols;
    const int64_t first = row * stored.cols;
    halves.clear();
    bytes.clear();
    if (packed) {
      const int64_t size = block_bytes(stored.dtype);
      for (int64_t b = first / 32; b < (first + n) / 32; b++) {
        uint16_t scale;
        std::memcpy(&scale, data + b * size, 2);
        halves.push_back(scale);
        bytes.insert(bytes.end(), data + b * size + 2, data + (b + 1) * size);
      }
      upload(bytes.data(), static_cast<int64_t>(bytes.size()),
             target + quantised_bytes(stored.dtype, first));
      upload(reinterpret_cast<const char*>(halves.data()), n / 32 * 2,
             target + scales_offset(stored) + first / 32 * 2);
    } else {
      floats.resize(static_cast<size_t>(n));
      dequantise_row(stored.dtype, data + row_bytes(stored.dtype, first), n, floats.data());
      for (const float f : floats) {
        halves.push_back(options.activation == DType::kF16 ? float_to_half(f) : float_to_bf16(f));
      }
      upload(reinterpret_cast<const char*>(halves.data()), n * 2, target + first * 2);
    }
  }
  if (packed) out.dtype = stored.dtype;
  return out;
}

SampleRequest DeviceContext::pack(const SampleRow& r, std::vector<int32_t>& ints,
                                  std::vector<float>& floats) {
  const auto list = [&](const int32_t* values, int32_t count) {
    const int32_t begin = static_cast<int32_t>(ints.size());
    if (count > 0) ints.insert(ints.end(), values, values + count);
    return begin;
  };
  SampleRequest q{};
  q.logits_row = r.logits_row;
  q.top_p = r.top_p;
  q.temperature = static_cast<float>(r.temperature);
  q.min_p = static_cast<float>(r.min_p);
  q.repetition = static_cast<float>(r.repetition);
  q.frequency = static_cast<float>(r.frequency);
  q.presence = static_cast<float>(r.presence);
  q.top_k = r.top_k;
  q.seed = r.seed;
  q.position = r.position;
  q.target = r.target;
  q.num_top = r.num_top;
  q.num_allowed = r.num_allowed;
  q.num_banned = r.num_banned;
  q.num_bias = r.num_bias;
  q.allowed = list(r.allowed, r.num_allowed);
  q.banned = list(r.banned, r.num_banned);
  q.bias_ids = list(r.bias_ids, r.num_bias);
  q.bias_values = static_cast<int32_t>(floats.size());
  if (r.num_bias > 0) floats.insert(floats.end(), r.bias, r.bias + r.num_bias);
  const bool penalties = r.repetition != 1 || r.frequency != 0 || r.presence != 0;
  q.prompt_len = penalties && r.prompt != nullptr ? r.prompt_len : 0;
  q.output_len = penalties && r.output != nullptr ? r.output_len : 0;
  q.prompt = list(r.prompt, q.prompt_len);
  q.output = list(r.output, q.output_len);
  return q;
}

void DeviceContext::sample(Tensor logits, const SampleRow* rows, int32_t num_rows) {
  for (int32_t at = 0; at < num_rows; at += kMaxSampleRequests) {
    sample_some(logits, rows + at, std::min(kMaxSampleRequests, num_rows - at));
  }
}

void DeviceContext::sample_some(Tensor logits, const SampleRow* rows, int32_t n) {
  ints_.clear();
  floats_.clear();
  SampleRequest* requests = arena_.take<SampleRequest>(static_cast<size_t>(n));
  SampleResult* results = arena_.take<SampleResult>(static_cast<size_t>(n));
  size_t tops = 0;
  for (int32_t i = 0; i < n; i++) {
    requests[i] = pack(rows[i], ints_, floats_);
    requests[i].top_begin = static_cast<int32_t>(tops);
    tops += static_cast<size_t>(std::max(0, rows[i].num_top));
  }
  SampleArgs args;
  args.logits = logits.f32();
  args.vocab = static_cast<int32_t>(logits.cols);
  args.num_requests = n;
  args.requests = requests;
  args.ints = arena_.copy(ints_.data(), ints_.size());
  args.floats = arena_.copy(floats_.data(), floats_.size());
  args.values = sample_values_.as<float>();
  args.counts = sample_counts_.as<uint32_t>();
  args.results = results;
  args.top_ids = arena_.take<int32_t>(tops);
  args.top_logprobs = arena_.take<double>(tops);
  launch_sample(args, stream);
  for (int32_t i = 0; i < n; i++) {
    pending_.push_back({rows[i], results + i, args.top_ids + requests[i].top_begin,
                        args.top_logprobs + requests[i].top_begin});
  }
}

}  // namespace octavo::device
