// Rows in, rows out, value by value: embedding, activations, the transform of logits, row gather,
// pooling; and the arrays of a step.
#include <algorithm>

#include "kernels/activation.cuh"
#include "kernels/launchers.h"
#include "kernels/packed.cuh"
#include "kernels/row_ops.cuh"

namespace octavo::device {
namespace {

constexpr int kThreads = 256;

// A matrix as load_weight leaves it, read value by value.
struct StoredRows {
  const void* data;
  const F16* scales;  // of Q8_0 and Q4_0, one per 32 values
  DType dtype;
  int64_t rows, cols;
  bool as_f16;  // values in tiles are rounded to F16, else to BF16

  OCTAVO_DEVICE float value(int64_t row, int64_t i) const {
    const int64_t at = row * cols + i;
    if (dtype == DType::kF16) return widen(static_cast<const F16*>(data)[at]);
    if (dtype == DType::kBF16) return widen(static_cast<const Bf16*>(data)[at]);
    if (has_tiles(dtype)) {
      const float value = tile_value(row, i);
      return as_f16 ? widen(narrow<F16>(value)) : widen(narrow<Bf16>(value));
    }
    const float scale = widen(scales[at / 32]);
    const uint8_t* const bytes = static_cast<const uint8_t*>(data);
    if (dtype == DType::kQ8_0) return widen_i8(bytes[at]) * scale;
    const int byte = bytes[at / 32 * 16 + at % 16];  // kQ4_0
    return static_cast<float>((at % 32 < 16 ? byte & 15 : byte >> 4) - 8) * scale;
  }
  OCTAVO_DEVICE float tile_value(int64_t row, int64_t i) const {
    const PackedPlanes planes(dtype, rows, cols);
    const unsigned char* const matrix = static_cast<const unsigned char*>(data);
    switch (dtype) {
      case DType::kQ4_K:
        return packed_value<Q4K>(matrix, planes, row, i);
      case DType::kQ5_K:
        return packed_value<Q5K>(matrix, planes, row, i);
      case DType::kQ6_K:
        return packed_value<Q6K>(matrix, planes, row, i);
      case DType::kMXFP4:
        return packed_value<Mxfp4>(matrix, planes, row, i);
      case DType::kINT4_G32:
      case DType::kINT4_G128:
        return packed_value<Int4>(matrix, planes, row, i);
      case DType::kINT8_G32:
      case DType::kINT8_G128:
        return packed_value<Int8>(matrix, planes, row, i);
      default:
        return packed_value<Fp8>(matrix, planes, row, i);
    }
  }
};

// See EmbeddingParams. Grid: one block a row; a thread adds to what it has written itself.
__global__ void embedding_kernel(const EmbeddingParams p, const StoredRows table,
                                 const StoredRows position_table, const StoredRows type_table) {
  const int64_t cols = p.out.cols, row = p.ids[blockIdx.x] * p.id_step + p.id_first;
  float* const to = static_cast<float*>(p.out.data) + blockIdx.x * cols;
  if (p.positions == nullptr) {
    for (int64_t i = threadIdx.x; i < cols; i += kThreads) to[i] = table.value(row, i) * p.scale;
  } else {
    const int64_t position = p.positions[blockIdx.x];
    for (int64_t i = threadIdx.x; i < cols; i += kThreads) {
      to[i] = fmaf(table.value(row, i), p.scale, position_table.value(position, i));
    }
  }
  if (p.types == nullptr) return;
  const int64_t type = p.types[blockIdx.x];
  for (int64_t i = threadIdx.x; i < cols; i += kThreads) to[i] += type_table.value(type, i);
}

// out = activation(gate) · up, or without up activation(gate), over all values in pairs. Grid:
// enough for one pair a thread.
template <class T>
__global__ void activate_kernel(uint32_t* out, const uint32_t* gate, const uint32_t* up,
                                HiddenAct hidden_act, int64_t pairs) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= pairs) return;
  const float2 a = unpack2<T>(gate[i]);
  const float2 b = up != nullptr ? unpack2<T>(up[i]) : float2{1.0f, 1.0f};
  out[i] = pack2<T>(activation(a.x, hidden_act) * b.x, activation(a.y, hidden_act) * b.y);
}

OCTAVO_DEVICE float transformed(float x, float scale, float softcap) {
  x *= scale;
  return softcap > 0 ? softcap * tanhf(x / softcap) : x;
}
// In place, in fours; the last few values one by one. Grid: enough for four values a thread.
__global__ void transform_logits_kernel(float* logits, int64_t values, float scale, float softcap) {
  const int64_t at = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * 4;
  if (at + 4 <= values) {
    Four four = read4(logits + at);
#pragma unroll
    for (int j = 0; j < 4; j++) four.v[j] = transformed(four.v[j], scale, softcap);
    write4(logits + at, four);
  } else {
    for (int64_t i = at; i < values; i++) logits[i] = transformed(logits[i], scale, softcap);
  }
}

// out[i] = x[rows[i]], in 16-byte pieces where rows allow, else 4. Grid: one block a row.
template <class Piece>
__global__ void gather_rows_kernel(Piece* out, const Piece* x, const int32_t* rows, int64_t cols) {
  const Piece* from = x + rows[blockIdx.x] * cols;
  for (int64_t i = threadIdx.x; i < cols; i += kThreads) out[blockIdx.x * cols + i] = from[i];
}

// A row of each sequence: the mean of some of its rows, which for the first or last is one. Warps
// sum blocks of kPoolRows rows, the first of them adds those up in order. Grid: [sequences][of 32
// pairs of columns].
constexpr int kPoolRows = 64, kPoolWarps = kThreads / 32;
template <class T, class Out>
__global__ void __launch_bounds__(kThreads)
    pool_rows_kernel(Out* out, const uint32_t* x, const int32_t* query_start,
                     const int32_t* poolings, int64_t pairs) {
  OCTAVO_SHARED(shared);
  float2* const parts = reinterpret_cast<float2*>(shared);  // [kPoolWarps][32]
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t pair = static_cast<int64_t>(blockIdx.y) * 32 + lane;
  const Pooling how = static_cast<Pooling>(poolings[blockIdx.x]);
  int64_t first = query_start[blockIdx.x];
  int rows = static_cast<int>(query_start[blockIdx.x + 1] - first);
  if (how == Pooling::kLast) first += max(rows - 1, 0);
  if (how != Pooling::kMean) rows = min(rows, 1);
  float2 total{0.0f, 0.0f};
  for (int begin = 0; begin < rows; begin += kPoolWarps * kPoolRows) {
    const int from = begin + warp * kPoolRows, to = min(from + kPoolRows, rows);
    float2 sum{0.0f, 0.0f};
    if (pair < pairs) {
#pragma unroll 8
      for (int r = from; r < to; r++) {
        const float2 value = unpack2<T>(x[(first + r) * pairs + pair]);
        sum.x += value.x;
        sum.y += value.y;
      }
    }
    parts[threadIdx.x] = sum;
    __syncthreads();
    for (int w = 0; warp == 0 && w < kPoolWarps; w++) {
      total.x += parts[w * 32 + lane].x;
      total.y += parts[w * 32 + lane].y;
    }
    __syncthreads();
  }
  if (warp > 0 || pair >= pairs) return;
  const float count = static_cast<float>(max(rows, 1));
  const float2 mean{total.x / count, total.y / count};
  if constexpr (sizeof(Out) == 8) {
    out[blockIdx.x * pairs + pair] = mean;
  } else {
    out[blockIdx.x * pairs + pair] = pack2<T>(mean.x, mean.y);
  }
}

// Grid: [any number][regions], so that no region waits for another's way through the bus.
__global__ void unpack_kernel(const UnpackArgs a) {
  const int32_t* const from = a.source + a.begin[blockIdx.y];
  int32_t* const to = a.target[blockIdx.y];
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads, words = a.words[blockIdx.y];
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < words;
       i += stride) {
    to[i] = from[i];
  }
}

}  // namespace

void launch_unpack(const UnpackArgs& args, cudaStream_t stream) {
  int64_t words = 0;
  for (int r = 0; r < args.num_regions; r++) words = std::max(words, args.words[r]);
  const int64_t blocks = std::min<int64_t>(64, ceil_div(std::max<int64_t>(words, 1), kThreads));
  const dim3 grid(static_cast<uint32_t>(blocks), static_cast<uint32_t>(args.num_regions));
  launch(unpack_kernel, grid, dim3(kThreads), 0, stream, args);
}

void launch_embedding(const EmbeddingParams& p, const EmbeddingScales& scales, DType activation,
                      cudaStream_t stream) {
  const auto rows = [&](const Tensor& t, const void* of) {
    return StoredRows{t.data, static_cast<const F16*>(of), t.dtype, t.rows,
                      t.cols, activation == DType::kF16};
  };
  launch(embedding_kernel, dim3(static_cast<uint32_t>(p.out.rows)), dim3(kThreads), 0, stream, p,
         rows(p.table, scales.table), rows(p.position_table, scales.position_table),
         rows(p.type_table, scales.type_table));
}

void launch_activate(Tensor out, Tensor gate, Tensor up, HiddenAct hidden_act,
                     cudaStream_t stream) {
  const int64_t pairs = out.rows * out.cols / 2;
  const dim3 grid(static_cast<uint32_t>(ceil_div(pairs, kThreads))), block(kThreads);
  uint32_t* to = static_cast<uint32_t*>(out.data);
  const uint32_t *a = static_cast<const uint32_t*>(gate.data),
                 *b = static_cast<const uint32_t*>(up.data);
  const auto kernel = out.dtype == DType::kF16 ? activate_kernel<F16> : activate_kernel<Bf16>;
  launch(kernel, grid, block, 0, stream, to, a, b, hidden_act, pairs);
}

void launch_transform_logits(Tensor logits, float scale, float softcap, cudaStream_t stream) {
  const int64_t values = logits.rows * logits.cols;
  const dim3 grid(static_cast<uint32_t>(ceil_div(values, int64_t{kThreads} * 4)));
  launch(transform_logits_kernel, grid, dim3(kThreads), 0, stream, logits.f32(), values, scale,
         softcap);
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

namespace {

template <class T>
void launch_pool_rows_as(const PoolParams& p, const BatchView& batch, cudaStream_t stream) {
  const int64_t pairs = p.x.cols / 2;
  const dim3 grid(static_cast<uint32_t>(p.out.rows), static_cast<uint32_t>(ceil_div(pairs, 32)));
  const auto run = [&](auto kernel, auto* out) {
    launch(kernel, grid, dim3(kThreads), kThreads * sizeof(float2), stream, out,
           static_cast<const uint32_t*>(p.x.data), batch.query_start, batch.poolings, pairs);
  };
  if (p.out.dtype == DType::kF32) {
    run(pool_rows_kernel<T, float2>, static_cast<float2*>(p.out.data));
  } else {
    run(pool_rows_kernel<T, uint32_t>, static_cast<uint32_t*>(p.out.data));
  }
}

}  // namespace

void launch_pool_rows(const PoolParams& p, const BatchView& batch, cudaStream_t stream) {
  const auto run = p.x.dtype == DType::kF16 ? launch_pool_rows_as<F16> : launch_pool_rows_as<Bf16>;
  run(p, batch, stream);
}

}  // namespace octavo::device
