#include "model/forward.h"

#include <algorithm>

#include "model/step_guard.h"

namespace octavo {

Forward::Forward(const Ops& ops, const ModelSpec& spec, const EngineLimits& limits,
                 const Weights& weights, DType kv_dtype)
    : ops_(ops),
      limits_(limits),
      program_(compile(ops, spec, weights)),
      vocab_size_(spec.vocab_size),
      has_long_rope_(has_long_rope(spec)),
      cache_(spec, limits.groups, kv_dtype),
      states_(spec),
      interpreter_(ops, program_, cache_, states_, limits.max_num_batched_tokens),
      slots_(limits.groups.size()),
      cut_(&program_.head) {}

// Decode steps are padded to a few sizes where the backend replays them: 1, 2, 4, then multiples
// of 8 up to 256. Padding changes no bit of the others.
int64_t Forward::padded_tokens(const StepInput& step) const {
  const int64_t n = static_cast<int64_t>(step.token_ids.size());
  const bool decode = n == static_cast<int64_t>(step.context_len.size());
  if (!ops_.graphs || !decode || n > 256) return n;
  const int64_t padded = n <= 2 ? n : n <= 4 ? 4 : (n + 7) / 8 * 8;
  return std::min<int64_t>(padded, limits_.max_num_batched_tokens);
}

// A query's position follows from its sequence's context, its slots from the block tables.
void Forward::resolve_rows(const StepInput& step) {
  positions_.clear();
  long_rope_.clear();
  output_rows_.clear();
  for (size_t s = 0; s < step.context_len.size(); ++s) {
    const int32_t length = step.query_start[s + 1] - step.query_start[s];
    for (int32_t i = 0; i < length; ++i) positions_.push_back(step.context_len[s] - length + i);
    const int32_t by_long = step.long_rope.empty() ? 0 : step.long_rope[s];
    long_rope_.insert(long_rope_.end(), static_cast<size_t>(length), by_long);
  }
  token_ids_ = step.token_ids;
  new_records_ = step.new_records;
  const size_t padded = static_cast<size_t>(padded_tokens(step));
  token_ids_.resize(padded, 0);
  positions_.resize(padded, 0);
  for (size_t g = 0; g < slots_.size(); ++g) resolve_slots(step, g, padded);
  long_rope_.resize(padded, 0);
  if (limits_.recurrent.any()) new_records_.resize(padded, -1);
  // Each row that is sampled or asked about, once.
  for (const SampleRow& r : step.rows) output_rows_.push_back(static_cast<int32_t>(r.logits_row));
  std::sort(output_rows_.begin(), output_rows_.end());
  output_rows_.erase(std::unique(output_rows_.begin(), output_rows_.end()), output_rows_.end());
}

void Forward::resolve_slots(const StepInput& step, size_t group, size_t padded) {
  const StepTables& tables = step.tables[group];
  const int32_t block_size = limits_.groups[group].block_size;
  std::vector<int64_t>& slots = slots_[group];
  slots.assign(padded, -1);
  for (size_t s = 0; s < step.context_len.size(); ++s) {
    const int32_t* table = tables.block_ids.data() + tables.start[s];
    for (int32_t t = step.query_start[s]; t < step.query_start[s + 1]; ++t) {
      slots[static_cast<size_t>(t)] =
          slot_of(table, positions_[static_cast<size_t>(t)], block_size);
    }
  }
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
  batch.positions = positions_.data();
  batch.num_groups = static_cast<int32_t>(slots_.size());
  for (size_t g = 0; g < slots_.size(); ++g) {
    batch.groups[g] = {step.tables[g].block_ids.data(), step.tables[g].start.data(),
                       slots_[g].data()};
  }
  if (limits_.recurrent.any()) {
    batch.state_in = step.state_in.data();
    batch.state_out = step.state_out.data();
    batch.old_records = step.old_records.data();
    batch.new_records = new_records_.data();
  }
  // Also where no sequence is long: a graph that is replayed later reads the same array.
  batch.long_rope = has_long_rope_ ? long_rope_.data() : nullptr;
  batch.copies = step.copies.data();
  batch.output_rows = output_rows_.data();
  return batch;
}

void Forward::profile() {
  StepInput nothing;
  nothing.query_start = {0};
  nothing.tables.assign(slots_.size(), {{}, {0}});
  nothing.token_ids.assign(static_cast<size_t>(limits_.max_num_batched_tokens), 0);
  resolve_rows(nothing);
  StepGuard step(ops_);
  batch_ = ops_.begin_step(ops_.context, host_view(nothing));
  cut_ = &program_.head;
  run_layers(this);
  if (ops_.graphs) ops_.run_graph(ops_.context, kMeasureGraph, &Forward::run_layers, this);
  step.end_step();
}

// Blocks, states and records, each in pools of their own.
void Forward::swap(const StepInput& step, bool to_host) {
  const auto move = [&](const StepSwaps& swaps, void* pool, void* host_pool, int64_t bytes) {
    const std::vector<BlockSwap>& list = to_host ? swaps.outs : swaps.ins;
    if (list.empty()) return;
    ops_.swap_blocks(ops_.context, pool, host_pool, bytes, list.data(),
                     static_cast<int32_t>(list.size()), to_host);
  };
  move(step.block_swaps, cache_.pool(), cache_.host_pool(), cache_.block_bytes());
  move(step.state_swaps, states_.states(), states_.host_states(), states_.state_bytes());
  move(step.record_swaps, states_.records(), states_.host_records(), states_.record_bytes());
}

void Forward::run(StepInput& step, StepOutput& out) {
  MaskFiller::Run masks(mask_filler_, step.mask_tasks);
  resolve_rows(step);
  StepGuard guard(ops_);
  batch_ = ops_.begin_step(ops_.context, host_view(step));
  swap(step, true);
  swap(step, false);
  if (batch_.num_copies > 0) {
    ops_.copy_blocks(ops_.context, cache_.pool(), cache_.block_bytes(), batch_.copies,
                     batch_.num_copies);
  }
  const bool decode = step.token_ids.size() == step.context_len.size();
  const bool replay = ops_.graphs && decode && batch_.num_tokens <= 256;
  const bool trims = !replay && static_cast<int64_t>(output_rows_.size()) < batch_.num_tokens;
  cut_ = trims ? &program_.trim : &program_.head;
  ops_.run_graph(ops_.context, replay ? batch_.num_tokens : -1, &Forward::run_layers, this);
  if (!step.counted.empty()) {
    ops_.count_tokens(ops_.context, step.counted.data(), static_cast<int32_t>(step.counted.size()));
  }
  if (!step.masks.empty()) {
    masks.finish();
    ops_.set_masks(ops_.context, step.masks.data(), static_cast<int32_t>(step.masks.size()));
  }
  head(step, out);
  guard.end_step();
}

void Forward::run_layers(void* self) {
  Forward& f = *static_cast<Forward*>(self);
  f.interpreter_.run_until(*f.cut_, f.batch_);
}

// The head is computed only for rows that are sampled or asked about, each once, in slices.
void Forward::head(StepInput& step, StepOutput& out) {
  if (step.capture_logits) out.logits.resize(step.rows.size() * static_cast<size_t>(vocab_size_));

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
    const Tensor logits = interpreter_.run_from(*cut_, batch_, batch_.output_rows + begin, n);
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
