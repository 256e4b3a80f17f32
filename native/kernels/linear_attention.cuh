// The recurrence of layers with a state, as one block computes it: the gated delta rule and
// selective state spaces.
//
// A block has 32 columns of one head's state, of one sequence; its warps share the key's values
// among them: each has the same number of the state's rows, and of sums over them one part. So a
// state is read once, whole rows of 128 bytes at a time, and what no two blocks or threads write is
// all that is written. What is summed over tokens is a column's own, in their order.
//
// Tokens of a chunk stand as columns, too: of each value of the key, k of all 16, then q. Then what
// the state has for a token and what the tokens before it have, k_j · k_t, are one product: the
// state's columns and k's beside each other.
#pragma once

#include "kernels/mma.cuh"
#include "kernels/recurrent.cuh"
#include "kernels/row_ops.cuh"

namespace octavo::device::recurrent {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kCols = 32;  // of the state, in a block
constexpr int kRow =
    2 * kChunk + 4;  // floats from one value of the keys to the next: no bank twice
constexpr int kSeenRow = kChunk + 4;
constexpr float kUnitEps = 1e-6f;  // of the square of a length
static_assert(kChunk == 16 && kWarps * 4 == 2 * kChunk);

OCTAVO_HD int32_t pieces_of(int32_t value_size) { return (value_size + kCols - 1) / kCols; }

// A block's shared memory: what has one size for all models first, so that it lies at known places.
// kGroup: how many of a chunk's tokens go through a product with the state together, 1 where a
// query has one.
template <int kGroup>
struct HeadLayout {
  // Columns of q in kq: a single token's is among four.
  static constexpr int kQueries = kGroup == 1 ? 4 : kChunk;
  // From a value of the keys to the next one: fours of neighbours lie in different banks.
  static constexpr int kRow = kGroup == 1 ? kChunk + kQueries : kChunk + kQueries + 4;
  static constexpr int kParts = kGroup * kCols;  // of k or q
  static constexpr int kDots = 2 * kWarps * kParts;
  static constexpr int kU = kDots + kWarps * kParts;
  static constexpr int kSeen = kU + kChunk * kCols;
  static constexpr int kOfK = kSeen + kChunk * kCols;
  static constexpr int kOfQ = kOfK + kChunk * kSeenRow;
  static constexpr int kKept = kOfQ + kChunk * kSeenRow;
  static constexpr int kKq = kKept + 4 * kChunk;

  OCTAVO_HD static constexpr int64_t floats(int64_t key_size) {
    return kKq + key_size * (kRow + kCols);
  }

  float* at;

  // [kWarps][k, q][kGroup][kCols] of what the state has for tokens
  OCTAVO_DEVICE float* parts() const { return at; }
  // [kWarps][kGroup][with k, with q][kChunk]
  OCTAVO_DEVICE float* dots() const { return at + kDots; }
  // [kChunk][kCols], before that, what the state has for k
  OCTAVO_DEVICE float* u() const { return at + kU; }
  // [kChunk][kCols] what the state has for q
  OCTAVO_DEVICE float* seen() const { return at + kSeen; }
  // [kChunk j][kSeenRow t] what token t's k sees of what token j has added; the same of its q
  OCTAVO_DEVICE float* of_k() const { return at + kOfK; }
  OCTAVO_DEVICE float* of_q() const { return at + kOfQ; }
  // [kChunk] of each token, what it keeps of the state, and of u
  OCTAVO_DEVICE float* kept() const { return at + kKept; }
  OCTAVO_DEVICE float* scale() const { return kept() + kChunk; }
  // [kChunk] what is left for a token of the state at the chunk's beginning
  OCTAVO_DEVICE float* of_state() const { return kept() + 2 * kChunk; }
  // [kChunk] what is left of each token's u at the chunk's end
  OCTAVO_DEVICE float* left() const { return kept() + 3 * kChunk; }
  // [key_size][kRow] k of the chunk's tokens, then their q
  OCTAVO_DEVICE float* kq() const { return at + kKq; }
  // [key_size][kCols]; each thread reads and writes its own alone
  OCTAVO_DEVICE float* state(int key_size) const { return kq() + key_size * kRow; }
};

// Where the state of a block's columns lies: a row of it for each value of the key.
struct StateColumns {
  float* at;
  int64_t stride;
};

template <class T, bool kDelta, int kGroup>
class HeadBlock {
 public:
  OCTAVO_DEVICE HeadBlock(const LinearAttentionArgs& args, const RecurrentQuery& query,
                          float* memory)
      : a_(args),
        s_(args.kept.shape),
        q_(query),
        m_{memory},
        lane_(static_cast<int>(threadIdx.x) % 32),
        warp_(static_cast<int>(threadIdx.x) / 32) {
    const int32_t pieces = pieces_of(s_.value_size);
    const int32_t index = static_cast<int32_t>(blockIdx.x);
    head_ = index / pieces;
    key_head_ = s_.key_head_of(head_);
    first_col_ = index % pieces * kCols;
    in_ = first_col_ + lane_ < s_.value_size;
    const int32_t rows = (s_.key_size + kWarps - 1) / kWarps;
    low_ = min(warp_ * rows, s_.key_size);
    high_ = min(low_ + rows, s_.key_size);
  }

  OCTAVO_DEVICE void run() {
    border_ = border_of(q_.start);
    first_ = q_.start - border_;
    load_state();
    take_records();
    for (;;) {
      end_ = min(kChunk, q_.end - border_);
      stage();
      async_wait<0>();  // for what it has copied itself
      __syncthreads();
      for (int group = first_ / kGroup * kGroup; group < end_; group += kGroup) {
        multiply(group);
        __syncthreads();
        merge(group);
        __syncthreads();
      }
      solve();
      __syncthreads();
      put_out();
      if (end_ < kChunk) return;
      next_state();
      border_ += kChunk;
      first_ = 0;
      if (kGroup == 1 || border_ >= q_.end) return;
      __syncthreads();
    }
  }

 private:
  using Layout = HeadLayout<kGroup>;

  OCTAVO_DEVICE int32_t row_of(int t) const { return q_.row_of(border_ + t); }
  OCTAVO_DEVICE float& state(int d) const { return m_.state(s_.key_size)[d * kCols + lane_]; }
  OCTAVO_DEVICE StateColumns columns_of(int32_t slot) const {
    return {a_.kept.state(slot, head_) + first_col_ + lane_, s_.value_size};
  }

  // On its way while the tokens come.
  OCTAVO_DEVICE void load_state() const {
    const StateColumns before = columns_of(a_.step.state_in[q_.seq]);
    for (int d = low_; d < high_; d++) {
      async_copy4(&state(d), before.at + (in_ ? d * before.stride : 0), in_);
    }
    async_commit();
  }

  // u of the tokens before the query, and what they keep.
  OCTAVO_DEVICE void take_records() {
    for (int t = warp_; t < first_; t += kWarps) {
      const int32_t record = q_.old_record(a_.step, border_ + t);
      const float* const u = a_.kept.added(record, head_) + first_col_;
      m_.u()[t * kCols + lane_] = in_ ? u[lane_] : 0.0f;
      if (lane_ == 0) m_.kept()[t] = a_.kept.kept(record)[head_];
    }
  }

  // A token's k or q, as it comes from the convolution or from its record.
  struct Source {
    const T* row = nullptr;
    const float* record = nullptr;

    OCTAVO_DEVICE float read(int d) const {
      return row != nullptr ? widen(row[d]) : record != nullptr ? record[d] : 0.0f;
    }
  };
  OCTAVO_DEVICE Source source(int t, bool of_q) const {
    if (t >= end_ || (t < first_ && of_q)) return {};
    if (t < first_) {
      return {nullptr, a_.kept.key(q_.old_record(a_.step, border_ + t), key_head_)};
    }
    const T* const rows = static_cast<const T*>(of_q ? a_.q : a_.k);
    return {rows + row_of(t) * s_.key_width() + int64_t{key_head_} * s_.key_size, nullptr};
  }

  // The chunk's tokens into kq: each warp has the k or q of four neighbours.
  OCTAVO_DEVICE void stage() {
    const bool of_q = warp_ >= kWarps / 2;
    const int begin = warp_ % (kWarps / 2) * 4;
    const bool among = !of_q || kGroup > 1 || begin == first_ / 4 * 4;
    const int column = of_q ? kChunk + begin % Layout::kQueries : begin;
    Source sources[4];
    float factors[4];
#pragma unroll
    for (int i = 0; i < 4; i++) sources[i] = source(begin + i, of_q), factors[i] = 1.0f;
    if constexpr (kDelta) {
      const float scale = of_q ? 1.0f / sqrtf(static_cast<float>(s_.key_size)) : 1.0f;
      float squares[4] = {};
#pragma unroll 2
      for (int d = lane_; d < s_.key_size; d += 32) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float x = sources[i].read(d);
          squares[i] = fmaf(x, x, squares[i]);
        }
      }
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float sum = warp_sum(squares[i]);
        if (sources[i].row != nullptr) factors[i] = scale / sqrtf(add_rn(sum, kUnitEps));
      }
    }
#pragma unroll 2
    for (int d = lane_; d < s_.key_size; d += 32) {
      Four four;
#pragma unroll
      for (int i = 0; i < 4; i++) four.v[i] = mul_rn(sources[i].read(d), factors[i]);
      if (among) write4(m_.kq() + d * Layout::kRow + column, four);
    }
    const int t = static_cast<int>(threadIdx.x);
    if (t >= first_ && t < end_) gate(t);
  }

  OCTAVO_DEVICE void gate(int t) {
    const int64_t at = int64_t{row_of(t)} * s_.num_value_heads + head_;
    float step = softplus(add_rn(a_.dt[at], a_.dt_bias[head_]));
    step = fminf(a_.dt_max, fmaxf(a_.dt_min, step));
    m_.kept()[t] = expf(mul_rn(a_.decay[head_], step));
    m_.scale()[t] = kDelta ? sigmoid(a_.beta[at]) : step;
  }

  // The warp's parts of what the state, and k of the chunk's tokens, have for k and q of a group.
  OCTAVO_DEVICE void multiply(int group) {
    float of_k[kGroup] = {}, of_q[kGroup] = {}, dots[kGroup] = {};
    const float* const own_k = m_.kq() + group;
    const float* const own_q = m_.kq() + kChunk + group % Layout::kQueries;
    const auto add = [&](float state, int d) {
      float k[kGroup], q[kGroup];
      read_group(own_k + d * Layout::kRow, k);
      read_group(own_q + d * Layout::kRow, q);
      const float key = m_.kq()[d * Layout::kRow + lane_ % kChunk];
#pragma unroll
      for (int i = 0; i < kGroup; i++) {
        if (kDelta) of_k[i] = fmaf(state, k[i], of_k[i]);
        of_q[i] = fmaf(state, q[i], of_q[i]);
        dots[i] = fmaf(key, lane_ < kChunk ? k[i] : q[i], dots[i]);
      }
    };
#pragma unroll 2
    for (int d = low_; d < high_; d++) add(state(d), d);
#pragma unroll
    for (int i = 0; i < kGroup; i++) {
      const int at = warp_ * 2 * kGroup + i;
      if (kDelta) m_.parts()[at * kCols + lane_] = of_k[i];
      m_.parts()[(at + kGroup) * kCols + lane_] = of_q[i];
      m_.dots()[(warp_ * kGroup + i) * kCols + lane_] = dots[i];
    }
  }
  static OCTAVO_DEVICE void read_group(const float* from, float (&to)[kGroup]) {
    if constexpr (kGroup == 1) {
      to[0] = *from;
    } else {
#pragma unroll
      for (int i = 0; i < kGroup; i += 4) {
        const Four four = read4(from + i);
#pragma unroll
        for (int j = 0; j < 4; j++) to[i + j] = four.v[j];
      }
    }
  }

  // The sum of all warps' parts, in their order.
  static OCTAVO_DEVICE float sum_of(const float* parts, int stride) {
    float sum = parts[0];
    for (int w = 1; w < kWarps; w++) sum = add_rn(sum, parts[w * stride]);
    return sum;
  }
  OCTAVO_DEVICE void merge(int group) {
    for (int i = static_cast<int>(threadIdx.x); i < 3 * kGroup * kCols; i += kThreads) {
      const int which = i / (kGroup * kCols), rest = i % (kGroup * kCols), t = group + rest / kCols;
      if (t < first_ || t >= end_) continue;
      if (which == 2) {
        merge_dot(t, rest % kCols, sum_of(m_.dots() + rest, kGroup * kCols));
      } else if (kDelta || which == 1) {
        const float sum = sum_of(m_.parts() + i, 2 * kGroup * kCols);
        (which == 0 ? m_.u() : m_.seen())[t * kCols + rest % kCols] = sum;
      }
    }
  }
  // What token t sees of token j, which fades from token to token; of the state, too, which fades
  // once more than the first token.
  OCTAVO_DEVICE void merge_dot(int t, int which, float dot) {
    const int j = which % kChunk;
    const bool of_q = which >= kChunk;
    if (j > t) return;
    float weight = 1.0f;
    for (int i = t; i > j; i--) weight = mul_rn(weight, m_.kept()[i]);
    (of_q ? m_.of_q() : m_.of_k())[j * kSeenRow + t] = mul_rn(dot, weight);
    if (of_q) return;
    if (t == kChunk - 1) m_.left()[j] = weight;
    if (j == 0) m_.of_state()[t] = mul_rn(weight, m_.kept()[0]);
  }

  OCTAVO_DEVICE float value(int t) const {
    const int64_t at = row_of(t) * s_.value_width() + int64_t{head_} * s_.value_size + first_col_;
    return in_ ? widen(static_cast<const T*>(a_.v)[at + lane_]) : 0.0f;
  }

  // What each token adds to the state. By the delta rule it looks at what those before have added:
  // one warp, each lane a column, gives every later token its part as soon as u is there.
  OCTAVO_DEVICE void solve() {
    if constexpr (!kDelta) {
      for (int t = first_ + warp_; t < end_; t += kWarps) {
        m_.u()[t * kCols + lane_] = mul_rn(m_.scale()[t], value(t));
      }
    } else if constexpr (kGroup == 1) {
      if (warp_ > 0) return;
      const int t = first_;
      float known = mul_rn(m_.of_state()[t], m_.u()[t * kCols + lane_]);
      for (int j = 0; j < t; j++) {
        known = fmaf(m_.of_k()[j * kSeenRow + t], m_.u()[j * kCols + lane_], known);
      }
      m_.u()[t * kCols + lane_] = mul_rn(m_.scale()[t], add_rn(value(t), -known));
    } else {
      if (warp_ > 0) return;
      float known[kChunk], values[kChunk];
#pragma unroll
      for (int t = 0; t < kChunk; t++) {
        const bool inside = t >= first_ && t < end_;
        values[t] = inside ? value(t) : 0.0f;
        known[t] = inside ? mul_rn(m_.of_state()[t], m_.u()[t * kCols + lane_]) : 0.0f;
      }
#pragma unroll
      for (int j = 0; j < kChunk; j++) {
        if (j >= end_) break;
        float u;
        if (j < first_) {
          u = m_.u()[j * kCols + lane_];
        } else {
          u = mul_rn(m_.scale()[j], add_rn(values[j], -known[j]));
          m_.u()[j * kCols + lane_] = u;
        }
#pragma unroll
        for (int t = j + 1; t < kChunk; t++) {
          known[t] = fmaf(m_.of_k()[j * kSeenRow + t], u, known[t]);
        }
      }
    }
  }

  // The outputs, and the records of tokens that have one.
  OCTAVO_DEVICE void put_out() {
    T* const out = static_cast<T*>(a_.out) + int64_t{head_} * s_.value_size + first_col_ + lane_;
    for (int t = first_ + warp_; t < end_; t += kWarps) {
      const int64_t row = row_of(t);
      float sum = mul_rn(m_.of_state()[t], m_.seen()[t * kCols + lane_]);
      for (int j = 0; j <= t; j++) {
        sum = fmaf(m_.of_q()[j * kSeenRow + t], m_.u()[j * kCols + lane_], sum);
      }
      if (a_.skip != nullptr) sum = fmaf(a_.skip[head_], value(t), sum);
      if (in_) out[row * s_.value_width()] = narrow<T>(sum);
      const int32_t record = a_.step.new_records[row];
      if (record >= 0) keep_record(record, t);
    }
  }
  // Of blocks that have the same, the first one keeps it.
  OCTAVO_DEVICE void keep_record(int32_t record, int t) const {
    if (in_) a_.kept.added(record, head_)[first_col_ + lane_] = m_.u()[t * kCols + lane_];
    if (first_col_ > 0) return;
    if (lane_ == 0) a_.kept.kept(record)[head_] = m_.kept()[t];
    if (s_.first_reader_of(key_head_) != head_) return;
    float* const key = a_.kept.key(record, key_head_);
    for (int d = lane_; d < s_.key_size; d += 32) key[d] = m_.kq()[d * Layout::kRow + t];
  }

  // The state behind a whole chunk; behind the query's last one it goes to its slot.
  OCTAVO_DEVICE void next_state() {
    const bool last = border_ + kChunk == border_of(q_.end);
    const StateColumns to = last ? columns_of(a_.step.state_out[q_.seq]) : StateColumns{};
    const float of_state = m_.of_state()[kChunk - 1];
    float u[kChunk];
#pragma unroll
    for (int j = 0; j < kChunk; j++) u[j] = mul_rn(m_.left()[j], m_.u()[j * kCols + lane_]);
#pragma unroll 2
    for (int d = low_; d < high_; d++) {
      float sum = mul_rn(of_state, state(d));
#pragma unroll
      for (int j = 0; j < kChunk; j += 4) {
        const Four k = read4(m_.kq() + d * Layout::kRow + j);
#pragma unroll
        for (int i = 0; i < 4; i++) sum = fmaf(k.v[i], u[j + i], sum);
      }
      state(d) = sum;
      if (last && in_) to.at[d * to.stride] = sum;
    }
  }

  const LinearAttentionArgs& a_;
  const RecurrentShape& s_;
  const RecurrentQuery& q_;
  const Layout m_;
  const int lane_, warp_;
  int32_t head_, key_head_, first_col_;
  bool in_;          // the lane has a column
  int low_, high_;   // the warp's values of the key
  int32_t border_;   // where the chunk under way begins
  int first_, end_;  // its tokens that are the query's
};

}  // namespace octavo::device::recurrent
