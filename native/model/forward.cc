#include "model/forward.h"

#include <algorithm>

namespace octavo {

namespace {
// Rows of logits that exist at once: the head runs in slices, so that memory does not grow with
// the number of sequences times the vocabulary.
constexpr int64_t kHeadRows = 64;
}  // namespace

Forward::Forward(const Ops& ops, const ModelConfig& c, const EngineLimits& limits,
                 const Weights& weights, DType kv_dtype)
    : ops_(ops),
      config_(c),
      limits_(limits),
      weights_(weights),
      inverse_frequencies_(ops, c.inverse_frequencies),
      cache_(config_, limits.block_size, kv_dtype) {
  const auto buffer = [&](int64_t num_rows, int64_t cols, DType dtype) {
    return Buffer(ops, static_cast<size_t>(num_rows * row_bytes(dtype, cols)), "activations");
  };
  const DType a = ops.activation;
  const int64_t tokens = limits.max_num_batched_tokens;
  const int64_t q_size = int64_t{c.num_heads} * c.head_size;
  const int64_t kv_size = int64_t{c.num_kv_heads} * c.head_size;
  residual_ = buffer(tokens, c.hidden_size, DType::kF32);
  normed_ = buffer(std::max(tokens, kHeadRows), c.hidden_size, a);
  q_ = buffer(tokens, q_size, a);
  k_ = buffer(tokens, kv_size, a);
  v_ = buffer(tokens, kv_size, a);
  attended_ = buffer(tokens, q_size, a);
  projected_ = buffer(tokens, c.hidden_size, a);
  gate_ = buffer(tokens, c.intermediate_size, a);
  up_ = buffer(tokens, c.intermediate_size, a);
  head_residual_ = buffer(kHeadRows, c.hidden_size, DType::kF32);
  head_projected_ = buffer(kHeadRows, c.hidden_size, a);
  logits_ = buffer(kHeadRows, c.vocab_size, DType::kF32);
}

Tensor Forward::rows(const Buffer& buffer, int64_t num_rows, int64_t cols, DType dtype) const {
  return Tensor{buffer.data(), dtype, num_rows, cols};
}

// Decode steps are padded to a few sizes where the backend replays them: 1, 2, 4, then multiples
// of 8 up to 256. Padding changes no bit of the others.
int64_t Forward::padded_tokens(const StepInput& step) const {
  const int64_t n = static_cast<int64_t>(step.token_ids.size());
  const bool decode = n == static_cast<int64_t>(step.context_len.size());
  if (!ops_.graphs || !decode || n > 256) return n;
  const int64_t padded = n <= 2 ? n : n <= 4 ? 4 : (n + 7) / 8 * 8;
  return std::min<int64_t>(padded, limits_.max_num_batched_tokens);
}

// A query's position follows from its sequence's context, its slot from the block table.
void Forward::resolve_rows(const StepInput& step) {
  positions_.clear();
  slots_.clear();
  output_rows_.clear();
  for (size_t s = 0; s < step.context_len.size(); ++s) {
    const int32_t length = step.query_start[s + 1] - step.query_start[s];
    const int32_t* table = step.block_tables.data() + static_cast<int64_t>(s) * step.table_stride;
    for (int32_t i = 0; i < length; ++i) {
      const int32_t position = step.context_len[s] - length + i;
      positions_.push_back(position);
      slots_.push_back(slot_of(table, position, limits_.block_size));
    }
  }
  token_ids_ = step.token_ids;
  const size_t padded = static_cast<size_t>(padded_tokens(step));
  token_ids_.resize(padded, 0);
  positions_.resize(padded, 0);
  slots_.resize(padded, -1);
  // Each row that is sampled or asked about, once.
  for (const SampleRow& r : step.rows) output_rows_.push_back(static_cast<int32_t>(r.logits_row));
  std::sort(output_rows_.begin(), output_rows_.end());
  output_rows_.erase(std::unique(output_rows_.begin(), output_rows_.end()), output_rows_.end());
}

BatchView Forward::host_view(const StepInput& step) const {
  BatchView batch;
  batch.num_seqs = static_cast<int32_t>(step.context_len.size());
  batch.num_tokens = static_cast<int32_t>(token_ids_.size());
  batch.num_copies = static_cast<int32_t>(step.copies.size());
  batch.num_output_rows = static_cast<int32_t>(output_rows_.size());
  batch.token_ids = token_ids_.data();
  batch.query_start = step.query_start.data();
  batch.context_len = step.context_len.data();
  batch.block_tables = step.block_tables.data();
  batch.table_stride = step.table_stride;
  batch.positions = positions_.data();
  batch.slots = slots_.data();
  batch.copies = step.copies.data();
  batch.output_rows = output_rows_.data();
  return batch;
}

void Forward::profile() {
  StepInput nothing;
  nothing.query_start = {0};
  nothing.token_ids.assign(static_cast<size_t>(limits_.max_num_batched_tokens), 0);
  resolve_rows(nothing);
  batch_ = ops_.begin_step(ops_.context, host_view(nothing));
  layers();
  ops_.end_step(ops_.context);
}

void Forward::swap(const std::vector<BlockSwap>& swaps, bool to_host) {
  if (swaps.empty()) return;
  ops_.swap_blocks(ops_.context, cache_.pool(), cache_.host_pool(), cache_.block_bytes(),
                   swaps.data(), static_cast<int32_t>(swaps.size()), to_host);
}

void Forward::run(StepInput& step, StepOutput& out) {
  resolve_rows(step);
  batch_ = ops_.begin_step(ops_.context, host_view(step));
  swap(step.swap_outs, true);
  swap(step.swap_ins, false);
  if (batch_.num_copies > 0) {
    ops_.copy_blocks(ops_.context, cache_.pool(), cache_.block_bytes(), batch_.copies,
                     batch_.num_copies);
  }
  const bool decode = step.token_ids.size() == step.context_len.size();
  const bool replay = ops_.graphs && decode && batch_.num_tokens <= 256;
  trims_ = !replay && static_cast<int64_t>(output_rows_.size()) < batch_.num_tokens;
  ops_.run_graph(
      ops_.context, replay ? batch_.num_tokens : -1,
      [](void* self) { static_cast<Forward*>(self)->layers(); }, this);
  head(step, out, batch_);
  ops_.end_step(ops_.context);
}

void Forward::layers() {
  const Tensor x = rows(residual_, batch_.num_tokens, config_.hidden_size, DType::kF32);
  ops_.embedding(ops_.context, x, weights_.embed, batch_.token_ids);
  for (int32_t i = 0; i < config_.num_layers; ++i) layer(i);
}

void Forward::layer(int32_t index) {
  const ModelConfig& c = config_;
  const LayerWeights& w = weights_.layers[static_cast<size_t>(index)];
  const PagedKV kv = cache_.layer(index);
  void* ctx = ops_.context;
  const int64_t n = batch_.num_tokens;
  const int64_t q_size = int64_t{c.num_heads} * c.head_size;
  const int64_t kv_size = int64_t{c.num_kv_heads} * c.head_size;

  const Tensor x = rows(residual_, n, c.hidden_size, DType::kF32);
  const Tensor h = activations(normed_, n, c.hidden_size);
  const Tensor projected = activations(projected_, n, c.hidden_size);
  const Tensor q = activations(q_, n, q_size);
  const Tensor k = activations(k_, n, kv_size);
  const Tensor v = activations(v_, n, kv_size);
  const Tensor attended = activations(attended_, n, q_size);

  // The residual of the layer before is added here, where the rows are read anyway.
  const Tensor before = index == 0 ? Tensor{} : projected;
  ops_.rms_norm(ctx, h, x, before, w.attn_norm.data(), c.norm_eps);
  const MatmulPart qkv[] = {
      {q, w.q, w.q_bias.data()}, {k, w.k, w.k_bias.data()}, {v, w.v, w.v_bias.data()}};
  ops_.matmul(ctx, h, qkv, 3);
  if (c.qk_norm) {
    const Tensor q_heads = activations(q_, n * c.num_heads, c.head_size);
    const Tensor k_heads = activations(k_, n * c.num_kv_heads, c.head_size);
    ops_.rms_norm(ctx, q_heads, q_heads, Tensor{}, w.q_norm.data(), c.norm_eps);
    ops_.rms_norm(ctx, k_heads, k_heads, Tensor{}, w.k_norm.data(), c.norm_eps);
  }
  const RopeCacheParams rope{q,
                             k,
                             v,
                             inverse_frequencies_.data(),
                             c.rotary_size,
                             c.rope_interleaved,
                             c.rope_attention_factor};
  ops_.rope_and_cache(ctx, rope, kv, batch_);
  AttentionParams attention;
  attention.out = attended;
  attention.q = q;
  attention.num_heads = c.num_heads;
  attention.scale = c.attention_scale;
  attention.window = c.windows[static_cast<size_t>(index)];
  ops_.paged_attention(ctx, attention, kv, batch_);
  if (trims_ && index + 1 == c.num_layers) return;
  after_attention(w, x, attended, projected);
}

// x [n, hidden] residual, attended [n, heads · head_size]; what is still to be added to x goes to
// projected [n, hidden].
void Forward::after_attention(const LayerWeights& w, Tensor x, Tensor attended, Tensor projected) {
  const ModelConfig& c = config_;
  void* ctx = ops_.context;
  const Tensor h = activations(normed_, x.rows, c.hidden_size);
  const Tensor gate = activations(gate_, x.rows, c.intermediate_size);
  const Tensor up = activations(up_, x.rows, c.intermediate_size);
  const MatmulPart o{projected, w.o, w.o_bias.data()};
  ops_.matmul(ctx, attended, &o, 1);

  ops_.rms_norm(ctx, h, x, projected, w.mlp_norm.data(), c.norm_eps);
  const MatmulPart gate_up[] = {{gate, w.gate, w.gate_bias.data()}, {up, w.up, w.up_bias.data()}};
  if (ops_.gated_matmul == nullptr ||
      !ops_.gated_matmul(ctx, h, gate_up[0], gate_up[1], c.activation)) {
    ops_.matmul(ctx, h, gate_up, 2);
    ops_.gated_mul(ctx, gate, gate, up, c.activation);
  }
  const MatmulPart down{projected, w.down, w.down_bias.data()};
  ops_.matmul(ctx, gate, &down, 1);
}

// The head is computed only for rows that are sampled or asked about, each once, in slices.
void Forward::head(StepInput& step, StepOutput& out, const BatchView& batch) {
  const int64_t hidden = config_.hidden_size, vocab = config_.vocab_size;
  void* ctx = ops_.context;
  const Tensor x = rows(residual_, batch.num_tokens, hidden, DType::kF32);
  const Tensor projected = activations(projected_, batch.num_tokens, hidden);
  const int64_t q_size = int64_t{config_.num_heads} * config_.head_size;
  const Tensor attended = activations(attended_, batch.num_tokens, q_size);
  if (step.capture_logits) out.logits.resize(step.rows.size() * static_cast<size_t>(vocab));

  // Rows to sample, ordered by the token row they read, so that a slice serves a run of them.
  order_.resize(step.rows.size());
  for (size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<int32_t>(i);
  std::stable_sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) {
    return step.rows[a].logits_row < step.rows[b].logits_row;
  });
  size_t next = 0;
  for (size_t begin = 0; begin < output_rows_.size(); begin += kHeadRows) {
    const int64_t n =
        std::min<int64_t>(kHeadRows, static_cast<int64_t>(output_rows_.size() - begin));
    const Tensor xs = rows(head_residual_, n, hidden, DType::kF32);
    const Tensor ps = activations(head_projected_, n, hidden);
    const Tensor h = activations(normed_, n, hidden);
    const Tensor logits = rows(logits_, n, vocab, DType::kF32);
    ops_.gather_rows(ctx, xs, x, batch.output_rows + begin);
    if (trims_) {
      const Tensor as = activations(q_, n, q_size);
      ops_.gather_rows(ctx, as, attended, batch.output_rows + begin);
      after_attention(weights_.layers.back(), xs, as, ps);
    } else {
      ops_.gather_rows(ctx, ps, projected, batch.output_rows + begin);
    }
    ops_.rms_norm(ctx, h, xs, ps, weights_.final_norm.data(), config_.norm_eps);
    const MatmulPart part{logits, weights_.head, nullptr};
    ops_.matmul(ctx, h, &part, 1);
    sample_slice(step, out, logits, begin, &next);
  }
}

// The rows to sample whose logits stand in this slice; `next` goes through order_.
void Forward::sample_slice(StepInput& step, StepOutput& out, Tensor logits, size_t begin,
                           size_t* next) {
  const int64_t vocab = logits.cols;
  slice_rows_.clear();
  int64_t slice = 0;
  for (; *next < order_.size(); ++*next) {
    const int32_t index = order_[*next];
    SampleRow row = step.rows[index];
    while (slice < logits.rows && output_rows_[begin + slice] < row.logits_row) ++slice;
    if (slice == logits.rows) break;
    row.logits_row = slice;
    if (step.capture_logits) {
      ops_.read(ops_.context, out.logits.data() + index * vocab, logits.f32() + slice * vocab,
                static_cast<size_t>(vocab) * sizeof(float));
    }
    slice_rows_.push_back(row);
  }
  ops_.sample(ops_.context, logits, slice_rows_.data(), static_cast<int32_t>(slice_rows_.size()));
}

}  // namespace octavo
