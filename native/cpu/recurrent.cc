// short_conv and linear_attention: the queries of a step cut into pieces of channels, or into value
// heads (of fewer columns, where threads would be idle), each of which walks its tokens in order.
// Whatever is cut shares no sum, so that bits do not depend on it.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "cpu/cpu_ops.h"
#include "cpu/kernels.h"

namespace octavo {
namespace {

static_assert(kChunk == kRecurrentChunk);
constexpr float kUnitEps = 1e-6f;  // of the square of a length
constexpr int64_t kGateHeads = 256;
constexpr int64_t kConvChannels = 256;
constexpr int64_t kLeastColumns = 32;

// One sequence's query: tokens [start, end), of which the first stands in row `row`.
struct Query {
  int32_t seq, row, start, end;

  Query(const BatchView& batch, int32_t s)
      : seq(s),
        row(batch.query_start[s]),
        start(batch.context_len[s] - (batch.query_start[s + 1] - row)),
        end(batch.context_len[s]) {}
  int32_t row_of(int32_t position) const { return row + position - start; }
};

// The record of a token between the query's border and its start.
int32_t old_record(const BatchView& batch, const Query& q, int32_t position) {
  return batch.old_records[q.seq * kChunk + position - border_of(q.start)];
}

void copy(const float* from, int64_t n, float* to) {
  std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
}

void check_layer(const RecurrentShape& s, const Tensor& q, const Tensor& k, const Tensor& v) {
  OCTAVO_CHECK(s.num_key_heads > 0 && s.num_value_heads % s.num_key_heads == 0);
  OCTAVO_CHECK(s.key_size > 0 && s.value_size > 0 && s.conv_width >= 1 && s.conv_width <= kChunk);
  OCTAVO_CHECK(q.cols == s.key_width() && k.cols == q.cols && v.cols == s.value_width());
  OCTAVO_CHECK(q.dtype == DType::kF32 && k.dtype == q.dtype && v.dtype == q.dtype);
}

// Where a query crosses a border there is a slot for the state behind it.
void check_slots(const BatchView& batch) {
  for (int32_t s = 0; s < batch.num_seqs; s++) {
    const Query q(batch, s);
    OCTAVO_CHECK(q.start >= 0 && batch.state_in[s] >= 0);
    OCTAVO_CHECK(border_of(q.end) == border_of(q.start) || batch.state_out[s] > 0);
  }
}

// Channels of q, of k or of v.
struct ConvPiece {
  const Tensor* x;
  int64_t col, channel, n;  // the first, in x and among all channels
};

template <class Fn>
void for_each_convolved(const ShortConvParams& p, const RecurrentShape& s, Fn fn) {
  if (s.has_heads()) fn(p.q), fn(p.k);
  fn(p.v);
}

int64_t num_pieces(int64_t channels) { return (channels + kConvChannels - 1) / kConvChannels; }

ConvPiece piece_of(const ShortConvParams& p, const RecurrentShape& s, int64_t index) {
  ConvPiece piece = {};
  int64_t channel = 0;
  for_each_convolved(p, s, [&](const Tensor& x) {
    const int64_t col = index * kConvChannels;
    if (index >= 0 && index < num_pieces(x.cols)) {
      piece = {&x, col, channel + col, std::min(kConvChannels, x.cols - col)};
    }
    index -= num_pieces(x.cols);
    channel += x.cols;
  });
  return piece;
}

// Inputs of a piece, as they pass: the last `width` of them.
class Inputs {
 public:
  Inputs(float* memory, int32_t width, int64_t n) : memory_(memory), width_(width), n_(n) {}

  const float* push(const float* input, const float* times = nullptr) {
    float* const to = memory_ + at_ * n_;
    at_ = (at_ + 1) % width_;
    copy(input, n_, to);
    for (int64_t i = 0; times != nullptr && i < n_; i++) to[i] *= times[i];
    return to;
  }
  void rows(const float** out) const {
    for (int32_t i = 0; i < width_; i++) out[i] = memory_ + (at_ + i) % width_ * n_;
  }

 private:
  float* const memory_;
  const int32_t width_;
  const int64_t n_;
  int32_t at_ = 0;
};

void convolve(const CpuContext& c, const ShortConvParams& p, const RecurrentView& kept,
              const BatchView& batch, const Query& q, const ConvPiece& piece, float* memory) {
  const RecurrentShape& s = kept.shape;
  const int32_t width = s.conv_width, border = border_of(q.end);
  const int64_t channels = s.channels();
  const bool crosses = border > border_of(q.start);
  // A new border's last inputs; where they are those of the old one, these have been read by then.
  const auto keep_last = [&](int32_t position, const float* input) {
    const int32_t at = position - (border - (width - 1));
    if (!crosses || at < 0 || position >= border) return;
    float* const to = kept.last_inputs(batch.state_out[q.seq]) + at * channels + piece.channel;
    copy(input, piece.n, to);
  };
  Inputs inputs(memory, width, piece.n);
  for (int32_t i = 0; i + 1 < width; i++) {
    inputs.push(kept.last_inputs(batch.state_in[q.seq]) + i * channels + piece.channel);
  }
  for (int32_t position = border_of(q.start); position < q.start; position++) {
    const int32_t record = old_record(batch, q, position);
    keep_last(position, inputs.push(kept.input(record) + piece.channel));
  }
  const float* rows[kChunk];
  for (int32_t position = q.start; position < q.end; position++) {
    const int32_t row = q.row_of(position), record = batch.new_records[row];
    const int64_t at = row * piece.x->cols + piece.col;
    float* const x = piece.x->f32() + at;
    const float* const times = s.has_heads() ? nullptr : p.k.f32() + at;
    const float* const gate = s.has_heads() ? nullptr : p.q.f32() + at;
    const float* const input = inputs.push(x, times);
    if (record >= 0) copy(input, piece.n, kept.input(record) + piece.channel);
    keep_last(position, input);
    inputs.rows(rows);
    const float* const bias = p.bias == nullptr ? nullptr : p.bias + piece.channel;
    c.kernels->convolve(rows, width, p.weight + piece.channel, channels, bias, gate, piece.n, x);
  }
}

}  // namespace

void cpu_short_conv(void* context, const ShortConvParams& p, const RecurrentView& kept,
                    const BatchView& batch) {
  const RecurrentShape& s = kept.shape;
  check_layer(s, p.q, p.k, p.v);
  check_slots(batch);
  CpuContext& c = cpu_context(context);
  int64_t pieces = 0;
  for_each_convolved(p, s, [&](const Tensor& x) { pieces += num_pieces(x.cols); });
  const size_t floats = static_cast<size_t>(s.conv_width * kConvChannels);
  for (Scratch& scratch : c.worker_scratch) scratch.get_array<float>(floats);
  const int64_t rows = batch.query_start[batch.num_seqs];
  const int64_t work = (s.conv_width + 2 * kPointwiseCost) * rows * s.channels();
  for_each_item(c, work, pieces * batch.num_seqs, [&](int64_t item, int worker) {
    const Query query(batch, static_cast<int32_t>(item / pieces));
    convolve(c, p, kept, batch, query, piece_of(p, s, item % pieces),
             static_cast<float*>(c.worker_scratch[worker].get(0)));
  });
}

namespace {

// Columns of a value head, of one sequence.
struct HeadPiece {
  int32_t head, key_head;
  int64_t col, num_cols;
  bool keeps_key, keeps_kept;  // of pieces that have the same, one keeps them
};

// The memory of one worker, for one chunk.
struct HeadMemory {
  float *kq, *u, *kept, *scale, *scratch;

  HeadMemory(float* memory, const RecurrentShape& s, int64_t num_cols) {
    kq = memory;
    u = kq + 2 * kChunk * s.key_size;
    kept = u + kChunk * num_cols;
    scale = kept + kChunk;
    scratch = scale + kChunk;
  }
  static int64_t floats(const CpuKernels& kernels, const RecurrentShape& s, int64_t num_cols) {
    return kChunk * (2 * s.key_size + num_cols + 2) +
           kernels.recurrent_scratch(s.key_size, num_cols);
  }
};

// Of all tokens, [rows][num_value_heads] each.
struct Gates {
  float *kept, *scale;
};

class HeadRun {
 public:
  HeadRun(const CpuContext& c, const LinearAttentionParams& p, const Gates& gates,
          const RecurrentView& kept, const BatchView& batch, const Query& q, const HeadPiece& piece,
          float* memory)
      : c_(c),
        p_(p),
        gates_(gates),
        kept_(kept),
        s_(kept.shape),
        batch_(batch),
        q_(q),
        piece_(piece),
        memory_(memory, s_, piece.num_cols) {}

  void run() {
    int32_t border = border_of(q_.start);
    const float* state = kept_.state(batch_.state_in[q_.seq], piece_.head) + piece_.col;
    for (int32_t position = border; position < q_.start; position++) take_record(position);
    for (int32_t start = q_.start; start < q_.end;) {
      const int32_t end = std::min(border + kChunk, q_.end);
      const bool whole = end == border + kChunk;
      float* const next =
          whole ? kept_.state(batch_.state_out[q_.seq], piece_.head) + piece_.col : nullptr;
      for (int32_t position = start; position < end; position++) take_token(position);
      run_chunk(border, start, end, state, next);
      for (int32_t position = start; position < end; position++) keep_record(position);
      start = end;
      if (!whole) break;
      border = end;
      state = next;
    }
  }

 private:
  float* key(int32_t position) const {
    return memory_.kq + 2 * int64_t{position % kChunk} * s_.key_size;
  }
  float* added(int32_t position) const { return memory_.u + position % kChunk * piece_.num_cols; }

  void take_record(int32_t position) {
    const int32_t record = old_record(batch_, q_, position);
    copy(kept_.key(record, piece_.key_head), s_.key_size, key(position));
    copy(kept_.added(record, piece_.head) + piece_.col, piece_.num_cols, added(position));
    memory_.kept[position % kChunk] = kept_.kept(record)[piece_.head];
  }

  void take_token(int32_t position) {
    const int64_t row = q_.row_of(position), size = s_.key_size;
    const int64_t at = row * p_.k.cols + piece_.key_head * size;
    const float *const k = p_.k.f32() + at, *const q = p_.q.f32() + at;
    if (s_.kind == RecurrentKind::kDelta) {
      const float scale = 1.0f / std::sqrt(static_cast<float>(size));
      c_.kernels->unit_row(k, 1, kUnitEps, size, key(position));
      c_.kernels->unit_row(q, scale, kUnitEps, size, key(position) + size);
    } else {
      copy(k, size, key(position));
      copy(q, size, key(position) + size);
    }
    const int64_t gate = row * s_.num_value_heads + piece_.head;
    memory_.kept[position % kChunk] = gates_.kept[gate];
    memory_.scale[position % kChunk] = gates_.scale[gate];
  }

  void run_chunk(int32_t border, int32_t start, int32_t end, const float* state, float* next) {
    const int64_t at =
        int64_t{q_.row_of(start)} * p_.v.cols + piece_.head * s_.value_size + piece_.col;
    RecurrentChunk chunk;
    chunk.delta = s_.kind == RecurrentKind::kDelta;
    chunk.key_size = s_.key_size;
    chunk.num_cols = static_cast<int32_t>(piece_.num_cols);
    chunk.first = start - border;
    chunk.end = end - border;
    chunk.kq = memory_.kq;
    chunk.kept = memory_.kept;
    chunk.scale = memory_.scale;
    chunk.skip = p_.skip == nullptr ? 0 : p_.skip[piece_.head];
    chunk.u = memory_.u;
    chunk.v = p_.v.f32() + at;
    chunk.out = p_.out.f32() + at;
    chunk.stride = p_.v.cols;
    chunk.state = state;
    chunk.next = next;
    chunk.state_stride = s_.value_size;
    chunk.scratch = memory_.scratch;
    c_.kernels->recurrent_chunk(chunk);
  }

  void keep_record(int32_t position) {
    const int32_t record = batch_.new_records[q_.row_of(position)];
    if (record < 0) return;
    copy(added(position), piece_.num_cols, kept_.added(record, piece_.head) + piece_.col);
    if (piece_.keeps_key) copy(key(position), s_.key_size, kept_.key(record, piece_.key_head));
    if (piece_.keeps_kept) kept_.kept(record)[piece_.head] = memory_.kept[position % kChunk];
  }

  const CpuContext& c_;
  const LinearAttentionParams& p_;
  const Gates& gates_;
  const RecurrentView& kept_;
  const RecurrentShape& s_;
  const BatchView& batch_;
  const Query& q_;
  const HeadPiece& piece_;
  const HeadMemory memory_;
};

Gates compute_gates(CpuContext& c, const LinearAttentionParams& p, int64_t heads, int64_t rows) {
  float* const memory = c.shared_scratch.get_array<float>(static_cast<size_t>(2 * rows * heads));
  const Gates gates = {memory, memory + rows * heads};
  const int64_t step = std::max<int64_t>(1, kGateHeads / heads);
  const auto compute_row = [&](int64_t row) {
    const int64_t at = row * heads;
    const float* const beta = p.beta.empty() ? nullptr : p.beta.f32() + at;
    c.kernels->recurrent_gates({heads, beta, p.dt.f32() + at, p.decay, p.dt_bias, p.dt_min,
                                p.dt_max, gates.kept + at, gates.scale + at});
  };
  for_each_item(c, 16 * kPointwiseCost * rows * heads, (rows + step - 1) / step,
                [&](int64_t item, int) {
                  const int64_t end = std::min(rows, (item + 1) * step);
                  for (int64_t row = item * step; row < end; row++) compute_row(row);
                });
  return gates;
}

}  // namespace

void cpu_linear_attention(void* context, const LinearAttentionParams& p, const RecurrentView& kept,
                          const BatchView& batch) {
  const RecurrentShape& s = kept.shape;
  check_layer(s, p.q, p.k, p.v);
  check_slots(batch);
  OCTAVO_CHECK(p.out.dtype == DType::kF32 && p.out.cols == p.v.cols && p.out.data != p.v.data);
  OCTAVO_CHECK(s.has_heads() && p.beta.empty() == (s.kind == RecurrentKind::kSsm));
  for (const Tensor* gate : {&p.beta, &p.dt}) {
    if (gate->empty()) continue;
    OCTAVO_CHECK(gate->dtype == DType::kF32 && gate->cols == s.num_value_heads);
  }
  CpuContext& c = cpu_context(context);
  const int64_t rows = batch.query_start[batch.num_seqs];
  const Gates gates = compute_gates(c, p, s.num_value_heads, rows);
  const int64_t heads = int64_t{s.num_value_heads} * batch.num_seqs;
  int64_t num_cols = s.value_size;
  const auto pieces = [&] { return (s.value_size + num_cols - 1) / num_cols; };
  while (heads * pieces() < 2 * c.pool.num_threads() && num_cols % (2 * kLeastColumns) == 0) {
    num_cols /= 2;
  }
  const auto floats = static_cast<size_t>(HeadMemory::floats(*c.kernels, s, num_cols));
  for (Scratch& scratch : c.worker_scratch) scratch.get_array<float>(floats);
  const int64_t per_head = pieces();
  // Sequences that share a state (forks) read it one after the other.
  for_each_item(
      c, 4 * rows * s.key_size * s.value_width(), heads * per_head, [&](int64_t item, int worker) {
        const Query query(batch, static_cast<int32_t>(item % batch.num_seqs));
        const int64_t at = item / batch.num_seqs;
        HeadPiece piece;
        piece.head = static_cast<int32_t>(at / per_head);
        piece.key_head = s.key_head_of(piece.head);
        piece.col = at % per_head * num_cols;
        piece.num_cols = std::min(num_cols, s.value_size - piece.col);
        piece.keeps_kept = piece.col == 0;
        piece.keeps_key = piece.keeps_kept && s.first_reader_of(piece.key_head) == piece.head;
        float* const memory = static_cast<float*>(c.worker_scratch[worker].get(0));
        HeadRun(c, p, gates, kept, batch, query, piece, memory).run();
      });
}

}  // namespace octavo
