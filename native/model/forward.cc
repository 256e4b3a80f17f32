#include "model/forward.h"

#include <algorithm>

namespace octavo {

namespace {
// Rows of logits that exist at once: the head runs in slices, so that memory does not grow with
// the number of sequences times the vocabulary.
constexpr int64_t kHeadRows = 64;

const float* data_or_null(const Vector& v) { return v.empty() ? nullptr : v.data(); }
}  // namespace

Forward::Forward(const Ops& ops, const ModelConfig& c, const EngineLimits& limits,
                 const Weights& weights)
    : ops_(ops), config_(c), limits_(limits), weights_(weights), cache_(ops, c, limits) {
  const auto buffer = [&](int64_t num_rows, int64_t cols) {
    return Buffer(ops, static_cast<size_t>(num_rows * cols) * sizeof(float), "activations");
  };
  const int64_t tokens = limits.max_num_batched_tokens;
  const int64_t q_size = int64_t{c.num_heads} * c.head_size;
  const int64_t kv_size = int64_t{c.num_kv_heads} * c.head_size;
  residual_ = buffer(tokens, c.hidden_size);
  normed_ = buffer(std::max(tokens, kHeadRows), c.hidden_size);
  q_ = buffer(tokens, q_size);
  k_ = buffer(tokens, kv_size);
  v_ = buffer(tokens, kv_size);
  attended_ = buffer(tokens, q_size);
  projected_ = buffer(tokens, c.hidden_size);
  gate_ = buffer(tokens, c.intermediate_size);
  up_ = buffer(tokens, c.intermediate_size);
  head_residual_ = buffer(kHeadRows, c.hidden_size);
  head_projected_ = buffer(kHeadRows, c.hidden_size);
  logits_ = buffer(kHeadRows, c.vocab_size);
  positions_.reserve(static_cast<size_t>(tokens));
  slots_.reserve(static_cast<size_t>(tokens));
}

Tensor Forward::rows(const Buffer& buffer, int64_t num_rows, int64_t cols) const {
  return Tensor{buffer.data(), DType::kF32, num_rows, cols};
}

// A query's position follows from its sequence's context, its slot from the block table.
void Forward::resolve_positions(const StepInput& step) {
  positions_.clear();
  slots_.clear();
  for (size_t s = 0; s < step.context_len.size(); ++s) {
    const int32_t length = step.query_start[s + 1] - step.query_start[s];
    const int32_t* table = step.block_tables.data() + static_cast<int64_t>(s) * step.table_stride;
    for (int32_t i = 0; i < length; ++i) {
      const int32_t position = step.context_len[s] - length + i;
      positions_.push_back(position);
      slots_.push_back(slot_of(table, position, limits_.block_size));
    }
  }
}

void Forward::run(StepInput& step, StepOutput& out) {
  resolve_positions(step);
  BatchView batch;
  batch.num_seqs = static_cast<int32_t>(step.context_len.size());
  batch.num_tokens = static_cast<int32_t>(step.token_ids.size());
  batch.query_start = step.query_start.data();
  batch.context_len = step.context_len.data();
  batch.block_tables = step.block_tables.data();
  batch.table_stride = step.table_stride;
  batch.positions = positions_.data();
  batch.slots = slots_.data();

  if (!step.copies.empty()) {
    ops_.copy_blocks(ops_.context, cache_.pool(), cache_.block_bytes(), step.copies.data(),
                     static_cast<int32_t>(step.copies.size()));
  }
  const Tensor x = rows(residual_, batch.num_tokens, config_.hidden_size);
  ops_.embedding(ops_.context, x, weights_.embed, step.token_ids.data());
  for (int32_t i = 0; i < config_.num_layers; ++i) layer(i, batch);
  head(step, out);
}

void Forward::layer(int32_t index, const BatchView& batch) {
  const ModelConfig& c = config_;
  const LayerWeights& w = weights_.layers[static_cast<size_t>(index)];
  const PagedKV kv = cache_.layer(index);
  void* ctx = ops_.context;
  const int64_t n = batch.num_tokens;
  const int64_t q_size = int64_t{c.num_heads} * c.head_size;
  const int64_t kv_size = int64_t{c.num_kv_heads} * c.head_size;

  const Tensor x = rows(residual_, n, c.hidden_size);
  const Tensor h = rows(normed_, n, c.hidden_size);
  const Tensor projected = rows(projected_, n, c.hidden_size);
  const Tensor q = rows(q_, n, q_size);
  const Tensor k = rows(k_, n, kv_size);
  const Tensor v = rows(v_, n, kv_size);
  const Tensor attended = rows(attended_, n, q_size);
  const Tensor gate = rows(gate_, n, c.intermediate_size);
  const Tensor up = rows(up_, n, c.intermediate_size);

  // The residual of the layer before is added here, where the rows are read anyway.
  const Tensor before = index == 0 ? Tensor{} : projected;
  ops_.rms_norm(ctx, h, x, before, w.attn_norm.data(), c.norm_eps);
  const MatmulPart qkv[] = {{q, w.q, data_or_null(w.q_bias)},
                            {k, w.k, data_or_null(w.k_bias)},
                            {v, w.v, data_or_null(w.v_bias)}};
  ops_.matmul(ctx, h, qkv, 3);
  if (c.qk_norm) {
    const Tensor q_heads = rows(q_, n * c.num_heads, c.head_size);
    const Tensor k_heads = rows(k_, n * c.num_kv_heads, c.head_size);
    ops_.rms_norm(ctx, q_heads, q_heads, Tensor{}, w.q_norm.data(), c.norm_eps);
    ops_.rms_norm(ctx, k_heads, k_heads, Tensor{}, w.k_norm.data(), c.norm_eps);
  }
  const RopeCacheParams rope{q,
                             k,
                             v,
                             c.inverse_frequencies.data(),
                             c.rotary_size,
                             c.rope_interleaved,
                             c.rope_attention_factor};
  ops_.rope_and_cache(ctx, rope, kv, batch);
  const AttentionParams attention{attended, q, c.num_heads, c.attention_scale,
                                  c.windows[static_cast<size_t>(index)]};
  ops_.paged_attention(ctx, attention, kv, batch);
  const MatmulPart o{projected, w.o, data_or_null(w.o_bias)};
  ops_.matmul(ctx, attended, &o, 1);

  ops_.rms_norm(ctx, h, x, projected, w.mlp_norm.data(), c.norm_eps);
  const MatmulPart gate_up[] = {{gate, w.gate, data_or_null(w.gate_bias)},
                                {up, w.up, data_or_null(w.up_bias)}};
  ops_.matmul(ctx, h, gate_up, 2);
  ops_.silu_mul(ctx, gate, gate, up);
  const MatmulPart down{projected, w.down, data_or_null(w.down_bias)};
  ops_.matmul(ctx, gate, &down, 1);
}

// The head is computed only for rows that are sampled or asked about, each once, in slices.
void Forward::head(StepInput& step, StepOutput& out) {
  const int64_t hidden = config_.hidden_size, vocab = config_.vocab_size;
  const int64_t num_tokens = static_cast<int64_t>(step.token_ids.size());
  const Tensor x = rows(residual_, num_tokens, hidden);
  const Tensor projected = rows(projected_, num_tokens, hidden);

  std::vector<int32_t> wanted;
  for (const SampleRow& r : step.rows) wanted.push_back(static_cast<int32_t>(r.logits_row));
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  if (step.capture_logits) out.logits.resize(step.rows.size() * static_cast<size_t>(vocab));

  // Rows to sample, ordered by the token row they read, so that a slice serves a run of them.
  std::vector<int32_t> order(step.rows.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return step.rows[a].logits_row < step.rows[b].logits_row;
  });
  std::vector<SampleRow> slice_rows;
  size_t next = 0;
  for (size_t begin = 0; begin < wanted.size(); begin += kHeadRows) {
    const int64_t n = std::min<int64_t>(kHeadRows, static_cast<int64_t>(wanted.size() - begin));
    const Tensor xs = rows(head_residual_, n, hidden);
    const Tensor ps = rows(head_projected_, n, hidden);
    const Tensor h = rows(normed_, n, hidden);
    const Tensor logits = rows(logits_, n, vocab);
    ops_.gather_rows(ops_.context, xs, x, wanted.data() + begin);
    ops_.gather_rows(ops_.context, ps, projected, wanted.data() + begin);
    ops_.rms_norm(ops_.context, h, xs, ps, weights_.final_norm.data(), config_.norm_eps);
    const MatmulPart part{logits, weights_.head, nullptr};
    ops_.matmul(ops_.context, h, &part, 1);

    slice_rows.clear();
    int64_t slice = 0;
    for (; next < order.size(); ++next) {
      SampleRow row = step.rows[order[next]];
      while (slice < n && wanted[begin + slice] < row.logits_row) ++slice;
      if (slice == n) break;
      row.logits_row = slice;
      if (step.capture_logits) {
        std::copy_n(logits.f32() + slice * vocab, vocab, out.logits.data() + order[next] * vocab);
      }
      slice_rows.push_back(row);
    }
    ops_.sample(ops_.context, logits, slice_rows.data(), static_cast<int32_t>(slice_rows.size()));
  }
}

}  // namespace octavo
