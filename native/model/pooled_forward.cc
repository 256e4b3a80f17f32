#include "model/pooled_forward.h"

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "model/step_guard.h"

namespace octavo {

PooledForward::PooledForward(const Ops& ops, const ModelSpec& spec, const EngineLimits& limits,
                             const Weights& weights)
    : ops_(ops),
      limits_(limits),
      program_(compile(ops, spec, weights)),
      has_long_rope_(has_long_rope(spec)),
      has_token_types_(spec.num_token_types > 0),
      has_head_(spec.has_head),
      pages_(ops, spec, limits.block_size, static_cast<int32_t>(limits.num_text_pages()) + 1),
      states_(spec),
      interpreter_(ops, program_, pages_, states_, limits.max_num_batched_tokens,
                   limits.max_num_seqs) {}

// Rows past those of the texts, up to `padded`, have slot −1. A text begins a page; page 0 is
// nobody's.
void PooledForward::resolve_rows(const PooledInput& input, size_t padded) {
  for (auto* list : {&positions_, &long_rope_, &lengths_, &last_rows_, &page_ids_}) list->clear();
  slots_.clear();
  table_start_.assign(1, 0);
  const int64_t size = limits_.block_size;
  for (size_t s = 0; s < input.num_texts(); ++s) {
    const int32_t length = input.query_start[s + 1] - input.query_start[s];
    const int64_t first = static_cast<int64_t>(page_ids_.size()) + 1;
    for (int32_t i = 0; i < length; ++i) {
      positions_.push_back(i);
      slots_.push_back(first * size + i);
      if (i % size == 0) page_ids_.push_back(static_cast<int32_t>(page_ids_.size()) + 1);
    }
    table_start_.push_back(static_cast<int32_t>(page_ids_.size()));
    lengths_.push_back(length);
    last_rows_.push_back(input.query_start[s + 1] - 1);
    long_rope_.insert(long_rope_.end(), static_cast<size_t>(length), input.long_rope[s]);
  }
  token_ids_ = input.token_ids;
  token_types_ = input.token_types;
  for (auto* list : {&token_ids_, &token_types_, &positions_, &long_rope_}) {
    list->resize(padded, 0);
  }
  slots_.resize(padded, -1);
}

BatchView PooledForward::host_view(const PooledInput& input) const {
  BatchView batch;
  batch.num_seqs = static_cast<int32_t>(input.num_texts());
  batch.num_tokens = static_cast<int32_t>(token_ids_.size());
  batch.token_ids = token_ids_.data();
  batch.query_start = input.query_start.data();
  batch.context_len = lengths_.data();
  batch.positions = positions_.data();
  batch.groups[0] = {page_ids_.data(), table_start_.data(), slots_.data()};
  batch.long_rope = has_long_rope_ ? long_rope_.data() : nullptr;
  batch.token_types = has_token_types_ ? token_types_.data() : nullptr;
  batch.poolings = input.poolings.data();
  batch.output_rows = last_rows_.data();
  batch.num_output_rows = static_cast<int32_t>(last_rows_.size());
  return batch;
}

// As many texts as a step may have, of one token each; all other rows are padding.
void PooledForward::profile() {
  const size_t tokens = static_cast<size_t>(limits_.max_num_batched_tokens);
  const size_t texts = std::min(tokens, static_cast<size_t>(limits_.max_num_seqs));
  PooledInput nothing;
  nothing.clear();
  for (size_t i = 0; i < texts; ++i) nothing.query_start.push_back(static_cast<int32_t>(i) + 1);
  nothing.poolings.assign(texts, static_cast<int32_t>(Pooling::kMean));
  nothing.long_rope.assign(texts, 0);
  resolve_rows(nothing, tokens);
  PooledOutput out;
  StepGuard guard(ops_);
  batch_ = ops_.begin_step(ops_.context, host_view(nothing));
  interpreter_.run_until(program_.hidden, batch_);
  pool(out);
  if (has_head_) read_logits({0}, out);
  guard.end_step();
}

void PooledForward::run(const PooledInput& input, PooledOutput& out) {
  resolve_rows(input, input.token_ids.size());
  StepGuard guard(ops_);
  batch_ = ops_.begin_step(ops_.context, host_view(input));
  if (input.token_logits.empty()) {
    interpreter_.run_until(program_.hidden, batch_);
    pool(out);
  } else {
    interpreter_.run_until(program_.trim, batch_);
    read_logits(input.token_logits, out);
  }
  guard.end_step();
}

void PooledForward::pool(PooledOutput& out) {
  const Tensor vectors = interpreter_.pool(batch_);
  const size_t n = static_cast<size_t>(vectors.rows * vectors.cols);
  out.values.resize(n);
  if (vectors.dtype == DType::kF32) {
    return ops_.read(ops_.context, out.values.data(), vectors.data, n * sizeof(float));
  }
  narrow_.resize(2 * n);
  ops_.read(ops_.context, narrow_.data(), vectors.data, narrow_.size());
  for (size_t i = 0; i < n; ++i) {
    uint16_t bits;
    std::memcpy(&bits, &narrow_[2 * i], sizeof bits);
    out.values[i] = vectors.dtype == DType::kF16 ? half_to_float(bits) : bf16_to_float(bits);
  }
}

// Of each text's last row, in slices as in Forward::head.
void PooledForward::read_logits(const std::vector<int32_t>& ids, PooledOutput& out) {
  out.values.resize(last_rows_.size() * ids.size());
  float* to = out.values.data();
  for (size_t begin = 0; begin < last_rows_.size(); begin += kHeadRows) {
    const int64_t n = std::min<int64_t>(kHeadRows, static_cast<int64_t>(last_rows_.size() - begin));
    const Tensor logits =
        interpreter_.run_from(program_.trim, batch_, batch_.output_rows + begin, n);
    for (int64_t row = 0; row < n; ++row) {
      for (const int32_t id : ids) {
        ops_.read(ops_.context, to++, logits.f32() + row * logits.cols + id, sizeof(float));
      }
    }
  }
}

}  // namespace octavo
