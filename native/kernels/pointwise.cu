// Rows in, rows out: embedding, RMS norm with the residual add, gated activations, row gather.
// A row is a block's (or a warp's), read in 16-byte vectors, reduced in a fixed tree.
#include <algorithm>

#include "kernels/launch.cuh"
#include "kernels/launchers.h"
#include "kernels/types.cuh"

namespace octavo::device {
namespace {

constexpr int kThreads = 256;

// out[i] = table[ids[i]]. Grid: one block a row.
template <class T>
__global__ void embedding_kernel(float* out, const T* table, const int32_t* ids, int64_t cols) {
  const T* from = table + ids[blockIdx.x] * cols;
  float* to = out + blockIdx.x * cols;
  for (int64_t i = threadIdx.x; i < cols; i += kThreads) to[i] = widen(from[i]);
}
// Of quantised rows; kBits 8 or 4.
template <int kBits>
__global__ void embedding_quantised_kernel(float* out, const uint8_t* table, const F16* scales,
                                           const int32_t* ids, int64_t cols) {
  const int64_t row = ids[blockIdx.x];
  const uint8_t* from = table + row * cols * kBits / 8;
  for (int64_t i = threadIdx.x; i < cols; i += kThreads) {
    const float scale = widen(scales[row * (cols / 32) + i / 32]);
    float value;
    if constexpr (kBits == 8) {
      value = widen_i8(from[i]);
    } else {
      const int byte = from[i / 32 * 16 + i % 16];
      value = static_cast<float>((i % 32 < 16 ? byte & 15 : byte >> 4) - 8);
    }
    out[blockIdx.x * cols + i] = value * scale;
  }
}

// Sum over the block, the same tree whatever runs beside it; every thread gets it.
OCTAVO_DEVICE float block_sum(float x, float* parts) {
  for (int bit = 16; bit > 0; bit /= 2) x += __shfl_xor_sync(kAllLanes, x, bit);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0.0f;
  for (int w = 0; w < kThreads / 32; w++) sum += parts[w];
  return sum;
}

// Four neighbours, read or written at once.
struct Four {
  float v[4];
};
OCTAVO_DEVICE Four read4(const float* from) {
  const float4 f = *reinterpret_cast<const float4*>(from);
  return {{f.x, f.y, f.z, f.w}};
}
OCTAVO_DEVICE void write4(float* to, const Four& f) {
  *reinterpret_cast<float4*>(to) = {f.v[0], f.v[1], f.v[2], f.v[3]};
}
template <class T>
OCTAVO_DEVICE Four read4(const T* from) {
  const uint2 pairs = *reinterpret_cast<const uint2*>(from);
  const float2 low = unpack2<T>(pairs.x), high = unpack2<T>(pairs.y);
  return {{low.x, low.y, high.x, high.y}};
}
template <class T>
OCTAVO_DEVICE void write4(T* to, const Four& f) {
  *reinterpret_cast<uint2*>(to) = {pack2<T>(f.v[0], f.v[1]), pack2<T>(f.v[2], f.v[3])};
}

// x += add; out = x / sqrt(mean(x²) + eps) · weight. Grid: one block a row of a multiple of four
// columns. Rows of up to 8,192 stay in registers, all loads before the first use: a single row is
// all latency.
constexpr int kHeld = 8;  // fours of a thread
template <class T, class X>
__global__ void __launch_bounds__(kThreads)
    rms_norm_kernel(T* out, X* x, const T* add, const float* weight, float eps, int64_t cols) {
  OCTAVO_SHARED(shared);
  X* const row = x + blockIdx.x * cols;
  const T* const add_row = add == nullptr ? nullptr : add + blockIdx.x * cols;
  constexpr int64_t kStep = int64_t{kThreads} * 4, kOnce = kStep * kHeld;
  const int64_t own = static_cast<int64_t>(threadIdx.x) * 4;
  Four held[kHeld];
  float squares = 0.0f;
  for (int64_t begin = own; begin < cols; begin += kOnce) {
    Four more[kHeld];
#pragma unroll
    for (int i = 0; i < kHeld; i++) {
      const int64_t at = begin + i * kStep;
      held[i] = at < cols ? read4(row + at) : Four{};
      more[i] = at < cols && add != nullptr ? read4(add_row + at) : Four{};
    }
#pragma unroll
    for (int i = 0; i < kHeld; i++) {
      const int64_t at = begin + i * kStep;
      if (add != nullptr) {
#pragma unroll
        for (int j = 0; j < 4; j++) held[i].v[j] += more[i].v[j];
        if (at < cols) write4(row + at, held[i]);
      }
#pragma unroll
      for (int j = 0; j < 4; j++) squares = fmaf(held[i].v[j], held[i].v[j], squares);
    }
  }
  Four weights[kHeld];
#pragma unroll
  for (int i = 0; i < kHeld; i++) {
    const int64_t at = own + i * kStep;
    weights[i] = at < cols ? read4(weight + at) : Four{};
  }
  const float mean =
      block_sum(squares, reinterpret_cast<float*>(shared)) / static_cast<float>(cols);
  const float factor = 1.0f / sqrtf(mean + eps);
  for (int64_t begin = own; begin < cols; begin += kOnce) {
#pragma unroll
    for (int i = 0; i < kHeld; i++) {
      const int64_t at = begin + i * kStep;
      if (at >= cols) continue;
      const Four value = cols <= kOnce ? held[i] : read4(row + at);
      const Four by = begin == own ? weights[i] : read4(weight + at);
      Four result;
#pragma unroll
      for (int j = 0; j < 4; j++) result.v[j] = value.v[j] * factor * by.v[j];
      write4(out + blockIdx.x * cols + at, result);
    }
  }
}

// The same for short rows (norms of heads). Grid: one warp a row.
template <class T, class X>
__global__ void __launch_bounds__(kThreads)
    rms_norm_short_kernel(T* out, X* x, const float* weight, float eps, int64_t rows,
                          int64_t cols) {
  const int lane = threadIdx.x % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (row >= rows) return;  // a whole warp
  float squares = 0.0f;
  for (int64_t i = lane; i < cols; i += 32) {
    const float value = widen(x[row * cols + i]);
    squares = fmaf(value, value, squares);
  }
  for (int bit = 16; bit > 0; bit /= 2) squares += __shfl_xor_sync(kAllLanes, squares, bit);
  const float factor = 1.0f / sqrtf(squares / static_cast<float>(cols) + eps);
  for (int64_t i = lane; i < cols; i += 32) {
    out[row * cols + i] = narrow<T>(widen(x[row * cols + i]) * factor * weight[i]);
  }
}

// Gaussian error linear unit as Gemma computes it (Hendrycks & Gimpel 2016, tanh form).
OCTAVO_DEVICE float gelu_tanh(float x) {
  constexpr float kRoot = 0.7978845608028654f;  // √(2/π)
  return 0.5f * x * (1.0f + tanhf(kRoot * (x + 0.044715f * x * x * x)));
}

// out = activation(gate) · up, over all values in pairs. Grid: enough for one pair a thread.
template <class T>
__global__ void gated_kernel(uint32_t* out, const uint32_t* gate, const uint32_t* up,
                             Activation activation, int64_t pairs) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= pairs) return;
  const float2 a = unpack2<T>(gate[i]), b = unpack2<T>(up[i]);
  const auto act = [&](float x) {
    return activation == Activation::kSilu ? x / (1.0f + expf(-x)) : gelu_tanh(x);
  };
  out[i] = pack2<T>(act(a.x) * b.x, act(a.y) * b.y);
}

// out[i] = x[rows[i]], in 16-byte pieces where rows allow, else 4. Grid: one block a row.
template <class Piece>
__global__ void gather_rows_kernel(Piece* out, const Piece* x, const int32_t* rows, int64_t cols) {
  const Piece* from = x + rows[blockIdx.x] * cols;
  for (int64_t i = threadIdx.x; i < cols; i += kThreads) out[blockIdx.x * cols + i] = from[i];
}

__global__ void unpack_kernel(const UnpackArgs a) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int r = 0; r < a.num_regions; r++) {
    const int32_t* from = a.source + a.begin[r];
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < a.words[r];
         i += stride) {
      a.target[r][i] = from[i];
    }
  }
}

template <class T>
void rms_norm_of(Tensor out, Tensor x, Tensor add, const float* weight, float eps,
                 cudaStream_t stream) {
  T* to = static_cast<T*>(out.data);
  const dim3 block(kThreads), rows(static_cast<uint32_t>(x.rows));
  constexpr size_t kShared = kThreads / 32 * sizeof(float);
  if (x.dtype == DType::kF32) {
    launch(rms_norm_kernel<T, float>, rows, block, kShared, stream, to, x.f32(),
           static_cast<const T*>(add.data), weight, eps, x.cols);
  } else if (x.cols <= 512 && add.empty()) {
    const dim3 grid(static_cast<uint32_t>(ceil_div(x.rows, kThreads / 32)));
    launch(rms_norm_short_kernel<T, T>, grid, block, 0, stream, to, static_cast<T*>(x.data), weight,
           eps, x.rows, x.cols);
  } else {
    launch(rms_norm_kernel<T, T>, rows, block, kShared, stream, to, static_cast<T*>(x.data),
           static_cast<const T*>(add.data), weight, eps, x.cols);
  }
}

}  // namespace

void launch_unpack(const UnpackArgs& args, cudaStream_t stream) {
  int64_t words = 0;
  for (int r = 0; r < args.num_regions; r++) words = std::max(words, args.words[r]);
  const int64_t blocks = std::min<int64_t>(64, ceil_div(std::max<int64_t>(words, 1), kThreads));
  launch(unpack_kernel, dim3(static_cast<uint32_t>(blocks)), dim3(kThreads), 0, stream, args);
}

void launch_embedding(Tensor out, Tensor table, const void* scales, const int32_t* ids,
                      cudaStream_t stream) {
  const dim3 grid(static_cast<uint32_t>(out.rows)), block(kThreads);
  if (is_quantised(table.dtype)) {
    const auto kernel =
        table.dtype == DType::kQ8_0 ? embedding_quantised_kernel<8> : embedding_quantised_kernel<4>;
    launch(kernel, grid, block, 0, stream, out.f32(), static_cast<const uint8_t*>(table.data),
           static_cast<const F16*>(scales), ids, out.cols);
  } else if (table.dtype == DType::kF16) {
    launch(embedding_kernel<F16>, grid, block, 0, stream, out.f32(),
           static_cast<const F16*>(table.data), ids, out.cols);
  } else {
    launch(embedding_kernel<Bf16>, grid, block, 0, stream, out.f32(),
           static_cast<const Bf16*>(table.data), ids, out.cols);
  }
}

void launch_rms_norm(Tensor out, Tensor x, Tensor add, const float* weight, float eps,
                     cudaStream_t stream) {
  if (out.dtype == DType::kF16) {
    rms_norm_of<F16>(out, x, add, weight, eps, stream);
  } else {
    rms_norm_of<Bf16>(out, x, add, weight, eps, stream);
  }
}

void launch_gated(Tensor out, Tensor gate, Tensor up, Activation activation, cudaStream_t stream) {
  const int64_t pairs = out.rows * out.cols / 2;
  const dim3 grid(static_cast<uint32_t>(ceil_div(pairs, kThreads))), block(kThreads);
  uint32_t* to = static_cast<uint32_t*>(out.data);
  const uint32_t *a = static_cast<const uint32_t*>(gate.data),
                 *b = static_cast<const uint32_t*>(up.data);
  const auto kernel = out.dtype == DType::kF16 ? gated_kernel<F16> : gated_kernel<Bf16>;
  launch(kernel, grid, block, 0, stream, to, a, b, activation, pairs);
}

void launch_gather_rows(Tensor out, Tensor x, const int32_t* rows, cudaStream_t stream) {
  const int64_t bytes = x.stride_bytes();
  const dim3 grid(static_cast<uint32_t>(out.rows)), block(kThreads);
  if (bytes % 16 == 0) {
    launch(gather_rows_kernel<uint4>, grid, block, 0, stream, static_cast<uint4*>(out.data),
           static_cast<const uint4*>(x.data), rows, bytes / 16);
  } else {
    launch(gather_rows_kernel<uint32_t>, grid, block, 0, stream, static_cast<uint32_t*>(out.data),
           static_cast<const uint32_t*>(x.data), rows, bytes / 4);
  }
}

}  // namespace octavo::device
