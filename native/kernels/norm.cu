// Norms of rows, with the residual add before them. A row is a block's (or a warp's), read in
// vectors of four values, reduced in a fixed tree.
#include "kernels/launchers.h"
#include "kernels/row_ops.cuh"

namespace octavo::device {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
// Rows of up to 8,192 stay in registers, all loads before the first use: a single row is all
// latency.
constexpr int kHeld = 8;  // fours of a thread
constexpr int64_t kStep = int64_t{kThreads} * 4, kOnce = kStep * kHeld;

// Sum over the block, the same tree whatever runs beside it; every thread gets it.
OCTAVO_DEVICE float block_sum(float x, float* parts) {
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0.0f;
  for (int w = 0; w < kWarps; w++) sum += parts[w];
  return sum;
}

// Of a weight or bias; past the row, or where there is none, `otherwise`.
OCTAVO_DEVICE Four read4_or(const float* from, int64_t at, int64_t cols, float otherwise) {
  if (from != nullptr && at < cols) return read4(from + at);
  return {{otherwise, otherwise, otherwise, otherwise}};
}

// The row of weights or biases that this block's row takes.
OCTAVO_DEVICE const float* own_row(const float* rows, const NormParams& p) {
  if (rows == nullptr || p.weight_rows == 1) return rows;
  return rows + blockIdx.x % p.weight_rows * p.x.cols;
}

// One row of NormParams; a thread's fours of a pass are `begin`, `begin` + kStep, …
template <class T, class X>
struct NormRow {
  X* x;
  const T* add;
  float add_scale, sum_scale;
  int64_t cols;

  OCTAVO_DEVICE explicit NormRow(const NormParams& p)
      : x(static_cast<X*>(p.x.data) + blockIdx.x * p.x.cols),
        add(p.add.data == nullptr ? nullptr
                                  : static_cast<const T*>(p.add.data) + blockIdx.x * p.x.cols),
        add_scale(p.add_scale),
        sum_scale(p.sum_scale),
        cols(p.x.cols) {}

  OCTAVO_DEVICE void load(int64_t begin, Four (&held)[kHeld]) const {
#pragma unroll
    for (int i = 0; i < kHeld; i++) {
      const int64_t at = begin + i * kStep;
      held[i] = at < cols ? read4(x + at) : Four{};
    }
  }
  // x = sum_scale · (x + add_scale · add); what lies past the row stays zero.
  OCTAVO_DEVICE void load_sum(int64_t begin, Four (&held)[kHeld]) const {
    load(begin, held);
    Four more[kHeld];
#pragma unroll
    for (int i = 0; i < kHeld; i++) {
      const int64_t at = begin + i * kStep;
      more[i] = at < cols && add != nullptr ? read4(add + at) : Four{};
    }
    if (add == nullptr) return;
#pragma unroll
    for (int i = 0; i < kHeld; i++) {
      const int64_t at = begin + i * kStep;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        held[i].v[j] = fmaf(add_scale, more[i].v[j], held[i].v[j]) * sum_scale;
      }
      if (at < cols) write4(x + at, held[i]);
    }
  }
};

// Sum over the row of (x − mean)², in `held` what load_sum has left there.
template <class T, class X>
OCTAVO_DEVICE float squares_around(float mean, const NormRow<T, X>& row, int64_t own,
                                   Four (&held)[kHeld]) {
  float squares = 0.0f;
  for (int64_t begin = own; begin < row.cols; begin += kOnce) {
    if (row.cols > kOnce) row.load(begin, held);
#pragma unroll
    for (int i = 0; i < kHeld; i++) {
      if (begin + i * kStep >= row.cols) continue;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const float d = held[i].v[j] - mean;
        squares = fmaf(d, d, squares);
      }
    }
  }
  return squares;
}

// Root mean square, or with kMean a layer norm. Grid: one block a row of a multiple of four
// columns.
template <class T, class X, bool kMean>
__global__ void __launch_bounds__(kThreads) norm_kernel(const NormParams p) {
  OCTAVO_SHARED(shared);
  float* const parts = reinterpret_cast<float*>(shared);
  const NormRow<T, X> row(p);
  const bool in_residual = p.out.data == p.x.data && sizeof(X) == 4;
  T* const out = static_cast<T*>(p.out.data) + blockIdx.x * row.cols;
  const int64_t own = static_cast<int64_t>(threadIdx.x) * 4;
  const float cols = static_cast<float>(row.cols);
  Four held[kHeld];
  float sum = 0.0f;
  for (int64_t begin = own; begin < row.cols; begin += kOnce) {
    row.load_sum(begin, held);
#pragma unroll
    for (int i = 0; i < kHeld * 4; i++) {
      const float value = held[i / 4].v[i % 4];
      sum = kMean ? sum + value : fmaf(value, value, sum);
    }
  }
  const float* const weight = own_row(p.weight, p);
  Four weights[kHeld];
#pragma unroll
  for (int i = 0; i < kHeld; i++) weights[i] = read4_or(weight, own + i * kStep, row.cols, 1.0f);
  float mean = block_sum(sum, parts) / cols;
  [[maybe_unused]] float centre = 0.0f;
  if constexpr (kMean) {
    centre = mean;
    mean = block_sum(squares_around(centre, row, own, held), parts + kWarps) / cols;
  }
  const float factor = 1.0f / sqrtf(mean + p.eps);
  for (int64_t begin = own; begin < row.cols; begin += kOnce) {
#pragma unroll
    for (int i = 0; i < kHeld; i++) {
      const int64_t at = begin + i * kStep;
      if (at >= row.cols) continue;
      const Four value = row.cols <= kOnce ? held[i] : read4(row.x + at);
      const Four by = begin == own ? weights[i] : read4_or(weight, at, row.cols, 1.0f);
      Four result;
      if constexpr (kMean) {
        const Four bias = read4_or(own_row(p.bias, p), at, row.cols, 0.0f);
#pragma unroll
        for (int j = 0; j < 4; j++) {
          result.v[j] = fmaf((value.v[j] - centre) * factor, by.v[j], bias.v[j]);
        }
      } else {
#pragma unroll
        for (int j = 0; j < 4; j++) result.v[j] = value.v[j] * factor * by.v[j];
      }
      if (in_residual) {
        write4(row.x + at, result);
      } else {
        write4(out + at, result);
      }
    }
  }
}

// The same for short rows (norms of heads). Grid: one warp a row.
template <class T, bool kMean>
__global__ void __launch_bounds__(kThreads) norm_short_kernel(const NormParams p) {
  const int lane = threadIdx.x % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= p.x.rows) return;  // a whole warp
  const int64_t cols = p.x.cols, weights = p.weight_rows > 1 ? row % p.weight_rows * cols : 0;
  const T* const x = static_cast<const T*>(p.x.data) + row * cols;
  float centre = 0.0f;
  if constexpr (kMean) {
    float sum = 0.0f;
    for (int64_t i = lane; i < cols; i += 32) sum += widen(x[i]);
    centre = warp_sum(sum) / static_cast<float>(cols);
  }
  float squares = 0.0f;
  for (int64_t i = lane; i < cols; i += 32) {
    const float value = kMean ? widen(x[i]) - centre : widen(x[i]);
    squares = fmaf(value, value, squares);
  }
  squares = warp_sum(squares);
  const float factor = 1.0f / sqrtf(squares / static_cast<float>(cols) + p.eps);
  for (int64_t i = lane; i < cols; i += 32) {
    const float by = p.weight != nullptr ? p.weight[weights + i] : 1.0f;
    float value = kMean ? widen(x[i]) - centre : widen(x[i]);
    value = value * factor * by;
    if (kMean && p.bias != nullptr) value += p.bias[weights + i];
    static_cast<T*>(p.out.data)[row * cols + i] = narrow<T>(value);
  }
}

// No norm: out = x, after the add. Grid: enough for four values a thread.
template <class T, class X>
__global__ void __launch_bounds__(kThreads) pass_on_kernel(const NormParams p) {
  const int64_t at = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * 4;
  if (at >= p.x.rows * p.x.cols) return;
  X* const x = static_cast<X*>(p.x.data) + at;
  Four value = read4(x);
  if (p.add.data != nullptr) {
    const Four more = read4(static_cast<const T*>(p.add.data) + at);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      value.v[j] = fmaf(p.add_scale, more.v[j], value.v[j]) * p.sum_scale;
    }
    write4(x, value);
  }
  write4(static_cast<T*>(p.out.data) + at, value);
}

// All instantiations.
template <class T>
void launch_norm_as(const NormParams& p, cudaStream_t stream) {
  const bool f32 = p.x.dtype == DType::kF32, mean = p.kind == NormKind::kLayer;
  if (p.kind == NormKind::kNone) {
    const dim3 grid(static_cast<uint32_t>(ceil_div(p.x.rows * p.x.cols / 4, kThreads)));
    launch(f32 ? pass_on_kernel<T, float> : pass_on_kernel<T, T>, grid, dim3(kThreads), 0, stream,
           p);
  } else if (!f32 && p.x.cols <= kMaxShortRow) {
    const dim3 grid(static_cast<uint32_t>(ceil_div(p.x.rows, kWarps)));
    launch(mean ? norm_short_kernel<T, true> : norm_short_kernel<T, false>, grid, dim3(kThreads), 0,
           stream, p);
  } else {
    const auto kernel = f32 ? (mean ? norm_kernel<T, float, true> : norm_kernel<T, float, false>)
                            : (mean ? norm_kernel<T, T, true> : norm_kernel<T, T, false>);
    launch(kernel, dim3(static_cast<uint32_t>(p.x.rows)), dim3(kThreads),
           (mean ? 2 : 1) * kWarps * sizeof(float), stream, p);
  }
}

}  // namespace

void launch_norm(const NormParams& p, DType activation, cudaStream_t stream) {
  if (activation == DType::kF16) {
    launch_norm_as<F16>(p, stream);
  } else {
    launch_norm_as<Bf16>(p, stream);
  }
}

}  // namespace octavo::device
