#include "kernels/device_recurrent.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/device_context.h"

namespace octavo::device {

const char* RecurrentQueries::unsupported(const ModelShape& shape, const DeviceLimits& limits) {
  for (const RecurrentLayerShape& layer : shape.recurrents) {
    const RecurrentShape& s = layer.shape;
    const bool odd_norm = layer.norm_size > kMaxShortRow && layer.norm_size % 4 != 0;
    if (s.value_width() % 8 != 0 || odd_norm) {
      return "the CUDA kernels need recurrent layers whose heads have a multiple of 8 values in "
             "all, "
             "and long norms of a multiple of 4; use device \"cpu\"";
    }
    if (s.has_heads() && linear_attention_shared(s.key_size) > limits.shared_per_block) {
      return "the keys of this model's recurrent layers need more shared memory than this GPU's "
             "blocks have; use device \"cpu\"";
    }
  }
  return nullptr;
}

void RecurrentQueries::add_capacity(int64_t seqs, int64_t tokens, std::vector<int64_t>* capacity) {
  capacity->insert(capacity->end(), {seqs, seqs, seqs, seqs * kChunk, tokens});
}

void RecurrentQueries::pad(const BatchView& host, const ModelShape& shape, BatchView* view) {
  view->context_len = nullptr;
  if (shape.recurrents.empty()) {
    if (host.poolings == nullptr) view->query_start = nullptr;
    return;
  }
  single_ = longer_ = false;
  for (int32_t s = 0; s < host.num_seqs; s++) {
    (host.query_start[s + 1] - host.query_start[s] == 1 ? single_ : longer_) = true;
  }
  if (longer_) return;
  single_ = true;  // also where there is no sequence: such a step is recorded to be measured
  view->num_seqs = std::max(host.num_seqs, std::min(host.num_tokens, shape.max_num_seqs));
  starts_.assign(host.query_start, host.query_start + host.num_seqs + 1);
  starts_.resize(static_cast<size_t>(view->num_seqs) + 1, starts_.back());
  view->query_start = starts_.data();
}

void RecurrentQueries::put(const BatchView& host, StepArrays* arrays, BatchView* view) const {
  for (int32_t s = 0; s < host.num_seqs; s++) {
    const int32_t end = host.context_len[s];
    const int32_t start = end - (host.query_start[s + 1] - host.query_start[s]);
    OCTAVO_CHECK(start >= 0 && host.state_in[s] >= 0);
    // Where a query crosses a border there is a slot for the state behind it.
    OCTAVO_CHECK(border_of(end) == border_of(start) || host.state_out[s] > 0);
  }
  const int64_t seqs = host.num_seqs;
  view->context_len = arrays->put(host.context_len, seqs);
  view->state_in = arrays->put(host.state_in, seqs);
  view->state_out = arrays->put(host.state_out, seqs);
  view->old_records = arrays->put(host.old_records, seqs * kChunk);
  view->new_records = arrays->put(host.new_records, host.num_tokens);
}

RecurrentStep RecurrentQueries::of(const BatchView& view) const {
  return {view.query_start, view.context_len, view.state_in, view.state_out, view.old_records,
          view.new_records, view.num_seqs,    single_,       longer_};
}

namespace {

const DeviceContext& self(void* context) { return *static_cast<const DeviceContext*>(context); }

void check_rows(const DeviceContext& c, const Tensor& t, int64_t cols) {
  OCTAVO_CHECK(t.dtype == c.options.dtype && t.cols == cols);
  OCTAVO_CHECK(reinterpret_cast<uintptr_t>(t.data) % 16 == 0);
}

void check_layer(const DeviceContext& c, const RecurrentShape& s, const Tensor& q, const Tensor& k,
                 const Tensor& v) {
  OCTAVO_CHECK(s.num_key_heads > 0 && s.num_value_heads % s.num_key_heads == 0);
  OCTAVO_CHECK(s.key_size > 0 && s.value_size > 0 && s.conv_width >= 1 && s.conv_width <= kChunk);
  check_rows(c, q, s.key_width());
  check_rows(c, k, s.key_width());
  check_rows(c, v, s.value_width());
}

}  // namespace

void short_conv(void* context, const ShortConvParams& p, const RecurrentView& kept,
                const BatchView& batch) {
  const DeviceContext& c = self(context);
  check_layer(c, kept.shape, p.q, p.k, p.v);
  const ShortConvArgs args{
      p.q.data, p.k.data, p.v.data, p.weight, p.bias, kept, c.recurrent().of(batch)};
  launch_short_conv(args, c.options.dtype, c.stream);
}

void linear_attention(void* context, const LinearAttentionParams& p, const RecurrentView& kept,
                      const BatchView& batch) {
  const DeviceContext& c = self(context);
  const RecurrentShape& s = kept.shape;
  check_layer(c, s, p.q, p.k, p.v);
  check_rows(c, p.out, s.value_width());
  OCTAVO_CHECK(s.has_heads() && p.beta.empty() == (s.kind == RecurrentKind::kSsm));
  OCTAVO_CHECK(p.out.data != p.v.data);
  for (const Tensor* gate : {&p.beta, &p.dt}) {
    if (gate->empty()) continue;
    OCTAVO_CHECK(gate->dtype == DType::kF32 && gate->cols == s.num_value_heads);
  }
  const LinearAttentionArgs args{p.out.data,
                                 p.q.data,
                                 p.k.data,
                                 p.v.data,
                                 p.beta.empty() ? nullptr : p.beta.f32(),
                                 p.dt.f32(),
                                 p.decay,
                                 p.dt_bias,
                                 p.skip,
                                 p.dt_min,
                                 p.dt_max,
                                 kept,
                                 c.recurrent().of(batch)};
  launch_linear_attention(args, c.options.dtype, c.stream);
}

}  // namespace octavo::device
