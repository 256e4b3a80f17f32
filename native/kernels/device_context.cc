#include "kernels/device_context.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/device_attention.h"

namespace octavo::device {

namespace {
constexpr int64_t kMaxListed = int64_t{2} << 20;  // best tokens; a row has fewer
static_assert(kMaxListed >= kMaxSampledVocab);
}  // namespace

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
  for (cudaEvent_t event : staged_) static_cast<void>(cudaEventDestroy(event));
  static_cast<void>(cudaStreamDestroy(stream));
}

namespace {

const char* unsupported(const ModelShape& s, const DeviceLimits& limits) {
  if (s.attentions.size() > kMaxAttentionShapes) {
    return "the CUDA kernels have plans for up to 8 kinds of attention layers, this model has "
           "more; use device \"cpu\"";
  }
  for (const AttentionShape& a : s.attentions) {
    const char* const why = unsupported_attention(a, s.kv_8bit, limits);
    if (why != nullptr) return why;
  }
  const auto odd = [](int32_t size) { return size % 8 != 0; };
  if (odd(s.hidden_size) || std::any_of(s.mlp_sizes.begin(), s.mlp_sizes.end(), odd)) {
    return "the CUDA kernels need hidden and MLP sizes that are multiples of 8; use device \"cpu\"";
  }
  if (!std::all_of(s.head_matmuls.begin(), s.head_matmuls.end(), takes_heads)) {
    return "the CUDA kernels need parts of heads of multiples of 8 in latent attention; use device "
           "\"cpu\"";
  }
  for (const Router& router : s.routers) {
    if (router.num_experts > kMaxExperts) {
      return "the CUDA kernels choose among at most 1,024 experts; use device \"cpu\"";
    }
  }
  if (s.vocab_size > kMaxSampledVocab) {
    return "the CUDA kernels sample from at most 524,288 tokens; use device \"cpu\"";
  }
  return RecurrentQueries::unsupported(s, limits);
}

}  // namespace

const char* DeviceContext::prepare(const ModelShape& s) {
  const char* const why = unsupported(s, limits);
  if (why != nullptr) return why;
  shape = s;
  attentions_.clear();
  // In the order of begin_step.
  const int64_t tokens = s.max_num_batched_tokens, seqs = s.max_num_seqs;
  const int64_t copies = seqs * static_cast<int64_t>(s.blocks_per_row.size());
  std::vector<int64_t> capacity = {tokens,     tokens, tokens, tokens,
                                   2 * copies, tokens, seqs,   seqs + 1};
  for (int32_t entries : s.blocks_per_row) {
    capacity.insert(capacity.end(), {2 * tokens, seqs * entries});
  }
  // Layers run one after the other: they share the partial rows.
  int64_t out_values = 0, states = 0;
  for (const AttentionShape& a : s.attentions) {
    const PlanShape plan = plan_shape_of(a, s, limits, options.share_prefixes);
    const int64_t item_words = plan.max_items * static_cast<int64_t>(sizeof(AttentionItem)) / 4;
    capacity.insert(capacity.end(),
                    {4, item_words, item_words, 2 * tokens, 2 * tokens, tokens, tokens});
    out_values = std::max(out_values, plan.max_partial_rows * a.num_heads * value_size_of(a));
    states = std::max(states, plan.max_partial_rows * a.num_heads);
    attentions_.emplace_back(a, plan);
  }
  if (!s.recurrents.empty()) RecurrentQueries::add_capacity(seqs, tokens, &capacity);
  arrays_ = StepArrays(std::move(capacity));
  partial_out = DeviceMemory(static_cast<size_t>(out_values) * 4, "attention's partial rows");
  partial_state = DeviceMemory(static_cast<size_t>(states) * 2 * 4, "attention's partial rows");
  head_rows = DeviceMemory(bytes_of_heads(s), "rows of heads");
  matmul_partial = DeviceMemory(kMatmulPartialFloats * 4, "matmul's partial sums");
  matmul_counters = DeviceMemory(kMatmulCounters * 4, "matmul's counters");
  const size_t values = size_t{kMaxSampleRequests} * s.vocab_size * 4;
  sample_values_ = DeviceMemory(values, "the sampler's memory");
  const size_t counts = static_cast<size_t>(s.max_num_seqs) * s.vocab_size * 4;
  token_counts_ = DeviceMemory(counts, "the penalties' counts");
  const size_t mask_words = static_cast<size_t>(s.max_num_seqs) * mask_words_of(s.vocab_size);
  masks_ = DeviceMemory(mask_words * 4, "the masks");
  check_cuda(cudaMemsetAsync(matmul_counters.as<void>(), 0, kMatmulCounters * 4, stream), "memset");
  check_cuda(cudaMemsetAsync(token_counts_.as<void>(), 0, counts, stream), "memset");
  return nullptr;
}

BatchView DeviceContext::begin_step(const BatchView& host) {
  arena_.reset();
  pending_.clear();
  num_listed_ = 0;
  const int64_t n = host.num_tokens;
  BatchView view = host;
  StepArrays& a = arrays_;
  a.begin();
  view.token_ids = a.put(host.token_ids, n);
  view.positions = a.put(host.positions, n);
  marks_long_rope_ = host.long_rope != nullptr;
  view.long_rope = a.put_if_any(host.long_rope, n);
  view.output_rows = a.put(host.output_rows, host.num_output_rows);
  view.copies = a.put(host.copies, host.num_copies);
  view.token_types = a.put_if_any(host.token_types, n);
  view.poolings = a.put_if_any(host.poolings, host.num_seqs);
  // For all but pooling and recurrent layers the plans hold what kernels need of these.
  recurrent_.pad(host, shape, &view);
  view.query_start = a.put_if_any(view.query_start, view.num_seqs + 1);
  for (int32_t g = 0; g < host.num_groups; g++) {
    const TableView& tables = host.groups[g];
    view.groups[g] = {};
    view.groups[g].slots = a.put(tables.slots, n);
    view.groups[g].block_tables =
        a.put(tables.block_tables, host.num_seqs > 0 ? tables.table_start[host.num_seqs] : 0);
  }
  for (PlannedAttention& planned : attentions_) {
    const HostPlan& p = planned.planner.build(host);
    planned.has_wide = !p.wide.empty();
    planned.has_merge = !p.merge_tokens.empty();
    planned.plan.header = a.put(p.header, 3);
    planned.plan.narrow = a.put(p.narrow);
    planned.plan.wide = a.put(p.wide);
    planned.plan.token_list = a.put(p.token_list);
    planned.plan.merge_tokens = a.put(p.merge_tokens);
    planned.plan.partial_base = a.put(p.partial_base);
    planned.plan.folded_chunks = a.put(p.folded_chunks);
  }
  if (!shape.recurrents.empty()) recurrent_.put(host, &a, &view);
  a.send(stream);
  return view;
}

const PlannedAttention& DeviceContext::attention_of(const AttentionParams& p,
                                                    const PagedKV& kv) const {
  const auto fits = [&](const PlannedAttention& a) {
    const AttentionShape& s = a.shape;
    return s.num_heads == p.num_heads && s.num_kv_heads == kv.num_kv_heads &&
           s.head_size == kv.head_size && s.latent == kv.latent && s.reach == p.reach &&
           s.block_size == kv.block_size &&
           std::find(s.groups.begin(), s.groups.end(), kv.group) != s.groups.end();
  };
  const auto it = std::find_if(attentions_.begin(), attentions_.end(), fits);
  OCTAVO_CHECK(it != attentions_.end());
  return *it;
}

void DeviceContext::end_step() { hand_out_samples(); }

// Waits for everything; the arena is free again.
void DeviceContext::hand_out_samples() {
  check_cuda(cudaStreamSynchronize(stream), "a step");
  for (const PendingSample& s : pending_) {
    *s.row.token = s.result->token;
    *s.row.logprob = s.result->logprob;
    if (s.row.num_top < 0 || s.result->token < 0) continue;
    *s.row.rank = s.result->rank;
    hand_out_top(s);
  }
  pending_.clear();
  num_listed_ = 0;
  arena_.reset();
}

// Best first, ties by lower id.
void DeviceContext::hand_out_top(const PendingSample& s) {
  best_.clear();
  for (int32_t i = 0; i < s.row.num_top; i++) best_.emplace_back(s.top_logits[i], s.top_ids[i]);
  std::sort(best_.begin(), best_.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  for (size_t i = 0; i < best_.size(); i++) {
    s.row.top_ids[i] = best_[i].second;
    s.row.top_logprobs[i] = static_cast<double>(best_[i].first) - s.result->log_sum;
  }
}

// Nothing here throws. Kernels of the step still read the pinned arrays that the next one fills.
void DeviceContext::drain() {
  static_cast<void>(cudaStreamSynchronize(stream));
  static_cast<void>(cudaGetLastError());
  pending_.clear();
}

// What a step launches depends on its key, on whether it marks tokens for long ropes, and on which
// kinds of items each of its attentions has.
void DeviceContext::run_graph(int64_t key, void (*body)(void*), void* argument) {
  if (key < 0 || !options.graphs) return body(argument);
  if (key == kMeasureGraph) return graphs_.measure(stream, body, argument);
  int64_t kind = marks_long_rope_ ? 1 : 0;
  for (const PlannedAttention& a : attentions_) {
    kind = kind * 4 + (a.has_wide ? 2 : 0) + (a.has_merge ? 1 : 0);
  }
  graphs_.run((key << (1 + 2 * attentions_.size())) + kind, stream, body, argument);
}

SampleRequest DeviceContext::pack(const SampleRow& r, std::vector<int32_t>& ints,
                                  std::vector<float>& floats) {
  const auto list = [&](const int32_t* values, int32_t count) {
    const int32_t begin = static_cast<int32_t>(ints.size());
    if (count > 0) ints.insert(ints.end(), values, values + count);
    return begin;
  };
  OCTAVO_CHECK(r.mask_row < shape.max_num_seqs);
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
  q.top_drawable = r.top_drawable ? 1 : 0;
  q.num_allowed = r.num_allowed;
  q.num_banned = r.num_banned;
  q.num_bias = r.num_bias;
  q.allowed = list(r.allowed, r.num_allowed);
  q.banned = list(r.banned, r.num_banned);
  q.bias_ids = list(r.bias_ids, r.num_bias);
  q.bias_values = static_cast<int32_t>(floats.size());
  if (r.num_bias > 0) floats.insert(floats.end(), r.bias, r.bias + r.num_bias);
  q.counted = r.counted;
  q.mask_row = r.mask_row;
  return q;
}

void DeviceContext::count_tokens(const TokenUpdate* updates, int32_t num_updates) {
  ints_.clear();
  CountRequest* requests = arena_.take<CountRequest>(static_cast<size_t>(num_updates));
  const auto list = [&](const int32_t* ids, int32_t count) {
    const int32_t begin = static_cast<int32_t>(ints_.size());
    ints_.insert(ints_.end(), ids, ids + count);
    return begin;
  };
  for (int32_t i = 0; i < num_updates; i++) {
    const TokenUpdate& u = updates[i];
    OCTAVO_CHECK(u.row >= 0 && u.row < shape.max_num_seqs && (u.begins || u.prompt_len == 0));
    requests[i] = {u.row, u.begins, u.prompt_len, u.output_len, 0, 0};
    requests[i].prompt = list(u.prompt, u.prompt_len);
    requests[i].output = list(u.output, u.output_len);
  }
  CountArgs args;
  args.requests = requests;
  args.ints = arena_.copy(ints_.data(), ints_.size());
  args.counts = token_counts_.as<uint32_t>();
  args.vocab = shape.vocab_size;
  args.num_requests = num_updates;
  launch_count_tokens(args, stream);
}

void DeviceContext::set_masks(const MaskUpdate* updates, int32_t num_updates) {
  if (num_updates == 0) return;
  const int32_t words = mask_words_of(shape.vocab_size);
  const size_t n = static_cast<size_t>(num_updates);
  int32_t* const rows = arena_.take<int32_t>(n);
  uint32_t* const bits = arena_.take<uint32_t>(n * static_cast<size_t>(words));
  for (int32_t i = 0; i < num_updates; i++) {
    OCTAVO_CHECK(updates[i].row >= 0 && updates[i].row < shape.max_num_seqs);
    rows[i] = updates[i].row;
    std::memcpy(bits + int64_t{i} * words, updates[i].bits, static_cast<size_t>(words) * 4);
  }
  launch_set_masks({rows, bits, masks_.as<uint32_t>(), words, num_updates}, stream);
}

// In launches of at most kMaxSampleRequests rows. Lists of best tokens lie in page-locked memory
// till they are handed out: a step that asks for more than kMaxListed waits in between.
void DeviceContext::sample(Tensor logits, const SampleRow* rows, int32_t num_rows) {
  const auto listed = [&](int32_t i) { return int64_t{std::max(0, rows[i].num_top)}; };
  for (int32_t at = 0; at < num_rows;) {
    int32_t end = at;
    int64_t sum = 0;
    while (end < num_rows && end - at < kMaxSampleRequests &&
           (end == at || sum + listed(end) <= kMaxListed)) {
      sum += listed(end++);
    }
    if (num_listed_ + sum > kMaxListed) hand_out_samples();
    num_listed_ += sum;
    sample_some(logits, rows + at, end - at);
    at = end;
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
  args.counts = token_counts_.as<uint32_t>();
  args.masks = masks_.as<uint32_t>();
  args.results = results;
  args.top_ids = arena_.take<int32_t>(tops);
  args.top_logits = arena_.take<float>(tops);
  launch_sample(args, stream);
  for (int32_t i = 0; i < n; i++) {
    pending_.push_back({rows[i], results + i, args.top_ids + requests[i].top_begin,
                        args.top_logits + requests[i].top_begin});
  }
}

}  // namespace octavo::device
