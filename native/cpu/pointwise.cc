// The ops that touch every value once: embedding, norm, activate, transform_logits, gather_rows,
// pool_rows, copy_blocks and swap_blocks.
#include <algorithm>
#include <cstring>
#include <utility>

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

// fn(first_row, num_rows, worker) over all rows.
template <class Fn>
void for_each_rows(CpuContext& context, int64_t rows, int64_t cols, Fn fn) {
  const int64_t step = std::max<int64_t>(1, kItemValues / cols);
  for_each_item(context, kPointwiseCost * rows * cols, (rows + step - 1) / step,
                [&](int64_t item, int worker) {
                  const int64_t first = item * step;
                  fn(first, std::min(step, rows - first), worker);
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

void cpu_embedding(void* context, const EmbeddingParams& p) {
  const Tensor &out = p.out, &table = p.table;
  // What is added to a token's row: another one of each of these tables.
  const std::pair<const Tensor&, const int32_t*> more[] = {{p.position_table, p.positions},
                                                           {p.type_table, p.types}};
  OCTAVO_CHECK(is_f32(out) && out.cols == table.cols);
  for (const auto& [rows, ids] : more) {
    OCTAVO_CHECK(rows.empty() || (rows.cols == table.cols && ids != nullptr));
  }
  CpuContext& c = cpu_context(context);
  const int64_t cols = out.cols;
  if (!p.position_table.empty() || !p.type_table.empty()) {
    for (Scratch& scratch : c.worker_scratch) scratch.get_array<float>(static_cast<size_t>(cols));
  }
  for_each_rows(c, out.rows, cols, [&](int64_t first, int64_t n, int worker) {
    for (int64_t i = first; i < first + n; i++) {
      float* const row = out.f32() + i * cols;
      unpack_row(table, p.ids[i] * p.id_step + p.id_first, c.layout(), row);
      if (p.scale != 1) c.kernels->scale_and_cap(row, p.scale, 0, cols);
      for (const auto& [rows, ids] : more) {
        if (rows.empty()) continue;
        float* const added = static_cast<float*>(c.worker_scratch[worker].get(0));
        unpack_row(rows, ids[i], c.layout(), added);
        c.kernels->add_scaled(row, added, 1, cols);
      }
    }
  });
}

namespace {

// Rows that have the same weight.
void norm_rows(const CpuContext& c, const NormParams& p, int64_t first, int64_t rows) {
  const int64_t cols = p.x.cols, weights = first % p.weight_rows * cols;
  const float* const from = p.x.f32() + first * cols;
  float* const to = p.out.f32() + first * cols;
  const float* const weight = p.weight == nullptr ? nullptr : p.weight + weights;
  const float* const bias = p.bias == nullptr ? nullptr : p.bias + weights;
  switch (p.kind) {
    case NormKind::kNone:
      if (to != from) std::memcpy(to, from, static_cast<size_t>(rows * cols) * sizeof(float));
      break;
    case NormKind::kRms:
      c.kernels->rms_norm(to, from, weight, p.eps, rows, cols);
      break;
    case NormKind::kLayer:
      c.kernels->layer_norm(to, from, weight, bias, p.eps, rows, cols);
      break;
  }
}

}  // namespace

// out may be x, or add
void cpu_norm(void* context, const NormParams& p) {
  const Tensor &out = p.out, &x = p.x, &add = p.add;
  OCTAVO_CHECK(is_f32(out) && is_f32(x) && same_shape(out, x));
  OCTAVO_CHECK(add.empty() || (is_f32(add) && same_shape(add, x)));
  OCTAVO_CHECK((p.bias == nullptr || p.kind == NormKind::kLayer) && p.weight_rows > 0);
  CpuContext& c = cpu_context(context);
  for_each_rows(c, x.rows, x.cols, [&](int64_t first, int64_t rows, int) {
    const int64_t at = first * x.cols, n = rows * x.cols;
    if (!add.empty()) {
      c.kernels->add_scaled(x.f32() + at, add.f32() + at, p.add_scale, n);
      if (p.sum_scale != 1) c.kernels->scale_and_cap(x.f32() + at, p.sum_scale, 0, n);
    }
    if (p.weight_rows == 1) return norm_rows(c, p, first, rows);
    for (int64_t r = first; r < first + rows; r++) norm_rows(c, p, r, 1);
  });
}

// out, gate, up [n, cols]; out may be gate or up
void cpu_activate(void* context, Tensor out, Tensor gate, Tensor up, HiddenAct hidden_act) {
  OCTAVO_CHECK(is_f32(out) && is_f32(gate) && same_shape(out, gate));
  OCTAVO_CHECK(up.empty() || (is_f32(up) && same_shape(out, up)));
  CpuContext& c = cpu_context(context);
  const auto act = c.kernels->activate[static_cast<int>(hidden_act)];
  for_each_values(c, out.rows * out.cols, [&](int64_t first, int64_t n) {
    act(out.f32() + first, gate.f32() + first, up.empty() ? nullptr : up.f32() + first, n);
  });
}

void cpu_transform_logits(void* context, Tensor logits, float scale, float softcap) {
  OCTAVO_CHECK(is_f32(logits) && softcap >= 0);
  CpuContext& c = cpu_context(context);
  for_each_values(c, logits.rows * logits.cols, [&](int64_t first, int64_t n) {
    c.kernels->scale_and_cap(logits.f32() + first, scale, softcap, n);
  });
}

// out [n, cols], x [any, cols], rows [n]; out and x do not overlap
void cpu_gather_rows(void* context, Tensor out, Tensor x, const int32_t* rows) {
  OCTAVO_CHECK(out.dtype == x.dtype && out.cols == x.cols && out.cols > 0);
  const int64_t bytes = out.stride_bytes();
  const char* source = static_cast<const char*>(x.data);
  char* target = static_cast<char*>(out.data);
  for_each_rows(cpu_context(context), out.rows, out.cols, [&](int64_t first, int64_t n, int) {
    for (int64_t i = first; i < first + n; i++) {
      std::memcpy(target + i * bytes, source + rows[i] * bytes, static_cast<size_t>(bytes));
    }
  });
}

namespace {

constexpr int64_t kPoolRows = 64, kPoolCols = 512;

// out [n] = the mean of so many rows at x, n ≤ kPoolCols: rows are summed in blocks of kPoolRows,
// then the blocks' sums, each in their order.
void mean_of_rows(const CpuContext& c, const float* x, int64_t rows, int64_t stride, int64_t n,
                  float* out) {
  float sum[kPoolCols];
  std::fill_n(out, n, 0.0f);
  for (int64_t first = 0; first < rows; first += kPoolRows) {
    std::fill_n(sum, n, 0.0f);
    for (int64_t r = first; r < std::min(first + kPoolRows, rows); r++) {
      c.kernels->add_scaled(sum, x + r * stride, 1, n);
    }
    c.kernels->add_scaled(out, sum, 1, n);
  }
  for (int64_t i = 0; i < n; i++) out[i] /= static_cast<float>(std::max<int64_t>(1, rows));
}

}  // namespace

// out [num_seqs, cols], x [num_tokens, cols]
void cpu_pool_rows(void* context, const PoolParams& p, const BatchView& batch) {
  const Tensor &out = p.out, &x = p.x;
  OCTAVO_CHECK(is_f32(out) && is_f32(x) && out.cols == x.cols && out.rows == batch.num_seqs);
  OCTAVO_CHECK(batch.poolings != nullptr && x.rows >= batch.query_start[batch.num_seqs]);
  CpuContext& c = cpu_context(context);
  const int64_t cols = x.cols, pieces = (cols + kPoolCols - 1) / kPoolCols;
  for_each_item(c, kPointwiseCost * x.rows * cols, out.rows * pieces, [&](int64_t item, int) {
    const int64_t seq = item / pieces, first_col = item % pieces * kPoolCols;
    const Pooling how = static_cast<Pooling>(batch.poolings[seq]);
    int64_t first = batch.query_start[seq], rows = batch.query_start[seq + 1] - first;
    if (how == Pooling::kLast) first += std::max<int64_t>(0, rows - 1);
    if (how != Pooling::kMean) rows = std::min<int64_t>(rows, 1);
    mean_of_rows(c, x.f32() + first * cols + first_col, rows, cols,
                 std::min(kPoolCols, cols - first_col), out.f32() + seq * cols + first_col);
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
