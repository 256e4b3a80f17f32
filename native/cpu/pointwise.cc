// The ops that touch every value once: embedding, rms_norm, gated_mul, gather_rows, copy_blocks and
// swap_blocks.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "cpu/cpu_ops.h"
#include "cpu/kernels.h"
#include "cpu/packed.h"

namespace octavo {
namespace {

// Values per item: small enough to share a few hundred rows, large enough to forget the sharing.
constexpr int64_t kItemValues = 4096;

bool same_shape(const Tensor& a, const Tensor& b) { return a.rows == b.rows && a.cols == b.cols; }
bool is_f32(const Tensor& t) { return t.dtype == DType::kF32 && !t.empty() && t.cols > 0; }

// fn(first_row, num_rows) over all rows.
template <class Fn>
void for_each_rows(CpuContext& context, int64_t rows, int64_t cols, Fn fn) {
  const int64_t step = std::max<int64_t>(1, kItemValues / cols);
  for_each_item(context, kPointwiseCost * rows * cols, (rows + step - 1) / step,
                [&](int64_t item, int) {
                  const int64_t first = item * step;
                  fn(first, std::min(step, rows - first));
                });
}

// fn(first_value, num_values) over a flat range, cut at whole vectors.
template <class Fn>
void for_each_values(CpuContext& context, int64_t values, Fn fn) {
  for_each_item(context, kPointwiseCost * values, (values + kItemValues - 1) / kItemValues,
                [&](int64_t item, int) {
                  const int64_t first = item * kItemValues;
                  fn(first, std::min(kItemValues, values - first));
                });
}

}  // namespace

// out [n, hidden], table [vocab, hidden], ids [n]
void cpu_embedding(void* context, Tensor out, Tensor table, const int32_t* ids) {
  OCTAVO_CHECK(is_f32(out) && out.cols == table.cols);
  CpuContext& c = cpu_context(context);
  for_each_rows(c, out.rows, out.cols, [&](int64_t first, int64_t n) {
    for (int64_t i = first; i < first + n; i++) {
      unpack_row(table, ids[i], out.f32() + i * out.cols);
    }
  });
}

// out, x, add [n, cols], weight [cols]; out may be x
void cpu_rms_norm(void* context, Tensor out, Tensor x, Tensor add, const float* weight, float eps) {
  OCTAVO_CHECK(is_f32(out) && is_f32(x) && same_shape(out, x));
  OCTAVO_CHECK(add.empty() || (is_f32(add) && same_shape(add, x)));
  CpuContext& c = cpu_context(context);
  for_each_rows(c, x.rows, x.cols, [&](int64_t first, int64_t n) {
    const int64_t at = first * x.cols;
    c.kernels->rms_norm(out.f32() + at, x.f32() + at, add.empty() ? nullptr : add.f32() + at,
                        weight, eps, n, x.cols);
  });
}

// Gaussian error linear unit in its tanh form (Hendrycks & Gimpel 2016), for one instruction set:
// the same bits everywhere.
static float gelu_tanh(float x) {
  constexpr float kRoot = 0.7978845608028654f;  // √(2/π)
  return 0.5f * x * (1.0f + std::tanh(kRoot * (x + 0.044715f * x * x * x)));
}

// out, gate, up [n, cols]; out may be gate or up
void cpu_gated_mul(void* context, Tensor out, Tensor gate, Tensor up, Activation activation) {
  OCTAVO_CHECK(is_f32(out) && is_f32(gate) && is_f32(up));
  OCTAVO_CHECK(same_shape(out, gate) && same_shape(out, up));
  CpuContext& c = cpu_context(context);
  for_each_values(c, out.rows * out.cols, [&](int64_t first, int64_t n) {
    float* to = out.f32() + first;
    const float *g = gate.f32() + first, *u = up.f32() + first;
    if (activation == Activation::kSilu) {
      c.kernels->silu_mul(to, g, u, n);
    } else {
      for (int64_t i = 0; i < n; i++) to[i] = gelu_tanh(g[i]) * u[i];
    }
  });
}

// out [n, cols], x [any, cols], rows [n]; out and x do not overlap
void cpu_gather_rows(void* context, Tensor out, Tensor x, const int32_t* rows) {
  OCTAVO_CHECK(out.dtype == x.dtype && out.cols == x.cols && out.cols > 0);
  const int64_t bytes = out.stride_bytes();
  const char* source = static_cast<const char*>(x.data);
  char* target = static_cast<char*>(out.data);
  for_each_rows(cpu_context(context), out.rows, out.cols, [&](int64_t first, int64_t n) {
    for (int64_t i = first; i < first + n; i++) {
      std::memcpy(target + i * bytes, source + rows[i] * bytes, static_cast<size_t>(bytes));
    }
  });
}

// pool: blocks of block_bytes. No target is the source or target of another copy of the call.
void cpu_copy_blocks(void* context, void* pool, int64_t block_bytes, const BlockCopy* copies,
                     int32_t num_copies) {
  constexpr int64_t kPiece = 256 << 10;  // one big block is shared among threads too
  OCTAVO_CHECK(block_bytes > 0);
  char* base = static_cast<char*>(pool);
  const int64_t pieces = (block_bytes + kPiece - 1) / kPiece;
  for_each_item(cpu_context(context), block_bytes / 4 * num_copies, pieces * num_copies,
                [&](int64_t item, int) {
                  const BlockCopy& copy = copies[item / pieces];
                  const int64_t at = item % pieces * kPiece;
                  std::memcpy(base + copy.target * block_bytes + at,
                              base + copy.source * block_bytes + at,
                              static_cast<size_t>(std::min(kPiece, block_bytes - at)));
                });
}

// pool and host_pool: blocks of block_bytes
void cpu_swap_blocks(void* context, void* pool, void* host_pool, int64_t block_bytes,
                     const BlockSwap* swaps, int32_t num_swaps, bool to_host) {
  OCTAVO_CHECK(block_bytes > 0);
  for_each_item(cpu_context(context), block_bytes / 4 * num_swaps, num_swaps, [&](int64_t i, int) {
    char* here = static_cast<char*>(pool) + swaps[i].device * block_bytes;
    char* there = static_cast<char*>(host_pool) + swaps[i].host * block_bytes;
    std::memcpy(to_host ? there : here, to_host ? here : there, static_cast<size_t>(block_bytes));
  });
}

}  // namespace octavo
