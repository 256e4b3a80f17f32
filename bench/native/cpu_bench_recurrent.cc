// Recurrent layers: sixteen heads of 128 × 128, as models of one billion have them. A decoded token
// reads each head's state once and the chunk's records; forks of one prompt read the same state.
#include <algorithm>
#include <string>

#include "bench/native/cpu_bench.h"

namespace octavo::bench {
namespace {

constexpr int32_t kHeads = 16;
constexpr RecurrentShape kShape = {kHeads, kHeads, 128, 128, 4, false};

// Sequences with a query of so many tokens each, which stand `done` tokens behind a border.
class Layer {
 public:
  Layer(Session& s, int32_t num_seqs, int32_t queries, int32_t done, bool forks)
      : s_(s), rows_(int64_t{num_seqs} * queries), done_(done) {
    const int32_t slots = 2 * num_seqs + 1, records = 2 * kChunk * num_seqs;
    states_ = s.random_floats(slots * kShape.state_floats());
    records_ = s.random_floats(records * kShape.record_floats());
    for (Buffer* x : {&q_, &k_, &v_, &out_}) *x = s.random_floats(rows_ * kShape.key_width());
    for (Buffer* x : {&beta_, &dt_}) *x = s.random_floats(rows_ * kShape.num_value_heads);
    weight_ = s.random_floats(kShape.conv_width * kShape.channels());
    gates_ = s.random_floats(kShape.num_value_heads);
    query_start_ = {0};
    for (int32_t i = 0; i < num_seqs; i++) {
      const int32_t start = kChunk + done, end = start + queries;
      query_start_.push_back((i + 1) * queries);
      context_len_.push_back(end);
      state_in_.push_back(forks ? 1 : 1 + i);
      state_out_.push_back(border_of(end) > kChunk ? 1 + num_seqs + i : -1);
      for (int32_t j = 0; j < kChunk; j++) old_records_.push_back(j < done ? kChunk * i + j : -1);
      for (int32_t p = start; p < end; p++) {
        const int32_t record = kChunk * (num_seqs + i) + p % kChunk;
        new_records_.push_back(p < border_of(end) ? -1 : record);
      }
    }
  }

  double conv_seconds() {
    return seconds_of([&] {
      s_.ops.short_conv(s_.ops.context, {q(), k(), v(), f32(weight_), nullptr}, view(), batch());
    });
  }
  double attention_seconds() {
    return seconds_of([&] {
      s_.ops.linear_attention(
          s_.ops.context, {of(out_), q(), k(), v(), of(beta_), of(dt_), f32(gates_), f32(gates_)},
          view(), batch());
    });
  }
  // That a step reads, or writes, of states and records.
  double bytes() const {
    double floats = 0;
    for (size_t i = 0; i < context_len_.size(); i++) {
      floats += static_cast<double>(kShape.key_size * kShape.value_width());
      floats += done_ * static_cast<double>(kShape.key_width() + kShape.value_width());
    }
    return 4 * floats;
  }

 private:
  Tensor of(const Buffer& b) const {
    return tensor(b, rows_, static_cast<int64_t>(b.bytes()) / 4 / rows_);
  }
  Tensor q() const { return of(q_); }
  Tensor k() const { return of(k_); }
  Tensor v() const { return of(v_); }
  RecurrentView view() const {
    return {kShape, f32(states_), f32(records_), kShape.state_floats(), kShape.record_floats()};
  }
  BatchView batch() const {
    BatchView b;
    b.num_seqs = static_cast<int32_t>(context_len_.size());
    b.num_tokens = static_cast<int32_t>(rows_);
    b.query_start = query_start_.data();
    b.context_len = context_len_.data();
    b.state_in = state_in_.data();
    b.state_out = state_out_.data();
    b.old_records = old_records_.data();
    b.new_records = new_records_.data();
    return b;
  }

  Session& s_;
  const int64_t rows_;
  const int32_t done_;
  Buffer states_, records_, q_, k_, v_, out_, beta_, dt_, weight_, gates_;
  std::vector<int32_t> query_start_, context_len_, state_in_, state_out_, old_records_,
      new_records_;
};

// A decoded token costs its state, what it reads of records, and a share of what is written at the
// border: a + b · (C − 1) / 2 + w / C for chunks of C; a, b and w are measured.
void chunk_lengths(Session& s) {
  const auto seconds = [&](int32_t done) {
    return Layer(s, 8, 1, done, false).attention_seconds();
  };
  const double first = seconds(0), last = seconds(kChunk - 2), border = seconds(kChunk - 1);
  const double each = std::max(0.0, (last - first) / (kChunk - 2));
  const double write = std::max(0.0, border - last - each);
  for (const int32_t chunk : {4, 8, 16, 32, 64}) {
    const double mean = first + each * (chunk - 1) / 2 + write / chunk;
    s.rows.push_back({"a token of 8, chunks of " + std::to_string(chunk), 1e6 * mean, "us", 0});
  }
}

}  // namespace

void bench_recurrent(Session& s) {
  for (const int32_t n : {1, 8, 32}) {
    Layer layer(s, n, 1, kChunk / 2, false);
    const double rate = 1e-9 * layer.bytes() / layer.attention_seconds();
    const std::string name = "linear_attention decode " + std::to_string(n);
    s.rows.push_back({name, rate, "GB/s", s.gbytes});
    s.rows.push_back({name, 1e6 * layer.attention_seconds(), "us", 0});
    s.rows.push_back({name + ", step form", 1e6 * step_form_seconds(s, n, 1, kHeads), "us", 0});
  }
  chunk_lengths(s);
  Layer forks(s, 8, 1, kChunk / 2, true);
  s.rows.push_back({"linear_attention decode 8 forks", 1e6 * forks.attention_seconds(), "us", 0});
  Layer border(s, 8, 1, kChunk - 1, false);
  s.rows.push_back(
      {"linear_attention decode 8, border", 1e6 * border.attention_seconds(), "us", 0});
  Layer prefill(s, 1, 512, 0, false);
  // Of the state's products with k, q and what is added to it; all else comes on top.
  const double flops = 6.0 * 512 * static_cast<double>(kShape.key_size * kShape.value_width());
  const double taken = prefill.attention_seconds();
  s.rows.push_back({"linear_attention prefill 512", 1e-9 * flops / taken, "GFLOP/s", s.gflops});
  s.rows.push_back({"linear_attention prefill 512", 1e6 * taken, "us", 0});
  s.rows.push_back({"linear_attention prefill 512, step form",
                    1e6 * step_form_seconds(s, 1, 512, kHeads), "us", 0});
  s.add_rate("short_conv prefill 512", 8.0 * 512 * static_cast<double>(kShape.channels()),
             prefill.conv_seconds());
  Layer decode(s, 8, 1, kChunk / 2, false);
  s.rows.push_back({"short_conv decode 8", 1e6 * decode.conv_seconds(), "us", 0});
}

}  // namespace octavo::bench
