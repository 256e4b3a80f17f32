// Quantised weights: packed at load, multiplied panel by panel (packed.h, panels.h).
#include <sys/mman.h>

#include <algorithm>

#include "base/check.h"
#include "cpu/cpu_ops.h"
#include "cpu/packed.h"
#include "cpu/panels.h"

namespace octavo {
namespace {

constexpr int64_t kMaxRowBlock = 256;        // rows of x that pass over a panel at once,
constexpr int64_t kRowBlockBytes = 1 << 20;  // and how large they may be: L2 holds them
constexpr int64_t kStreamBytes = 512 << 10;  // weights of one item
constexpr int64_t kItemsPerThread = 4;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

QuantRows quant_rows(CpuContext& c, const Tensor& x) {
  const int64_t values = x.rows * x.cols, blocks = values / kPanelBlock;
  const int64_t scale_bytes = round_up(blocks * 4, 64);
  char* at =
      c.quant_scratch.get_array<char>(static_cast<size_t>(round_up(values, 64) + scale_bytes * 5));
  QuantRows out;
  out.num_rows = x.rows;
  out.depth = x.cols;
  out.q = reinterpret_cast<int8_t*>(at);
  at += round_up(values, 64);
  out.d = reinterpret_cast<float*>(at);
  out.sums = reinterpret_cast<int32_t*>(at + scale_bytes);
  out.weighted = reinterpret_cast<float*>(at + 3 * scale_bytes);
  return out;
}

// How a call is cut: row blocks, and in each items of so many panels.
struct Grid {
  int64_t row_block, num_row_blocks;
  int64_t item_panels, num_items;
};

// A part of a call, and what gates it: out = silu(x · weight) · (x · up), if up is not null.
struct PanelPart {
  const MatmulPart& own;
  const MatmulPart* up;

  int64_t panels() const { return num_panels(own.out.cols); }
  int64_t bytes() const {
    const Tensor& w = own.weight;
    const int64_t bytes = packed_bytes(w.dtype, w.rows, w.cols);
    return up == nullptr ? bytes : bytes + packed_bytes(up->weight.dtype, w.rows, w.cols);
  }
};

// Calls fn(part) for all parts of a call that are ours.
template <class Fn>
void for_each_part(const MatmulPart* parts, int32_t num_parts, const MatmulPart* up, Fn fn) {
  for (int32_t i = 0; i < num_parts; i++) {
    if (is_quantised(parts[i].weight.dtype)) fn(PanelPart{parts[i], up});
  }
}

Grid make_grid(const CpuContext& c, const Tensor& x, const MatmulPart* parts, int32_t num_parts,
               const MatmulPart* up) {
  int64_t panels = 0, bytes = 0;
  for_each_part(parts, num_parts, up, [&](const PanelPart& part) {
    panels += part.panels();
    bytes += part.bytes();
  });
  const int64_t wanted = kItemsPerThread * c.pool.num_threads();
  const int64_t fit = kRowBlockBytes / x.cols / kQuantTileRows * kQuantTileRows;
  const int64_t most = std::clamp(fit, 2 * kQuantTileRows, kMaxRowBlock);
  Grid grid;
  grid.num_row_blocks = ceil_div(x.rows, most);
  grid.row_block = round_up(ceil_div(x.rows, grid.num_row_blocks), kQuantTileRows);
  grid.num_row_blocks = ceil_div(x.rows, grid.row_block);
  const int64_t by_bytes = kStreamBytes / std::max<int64_t>(1, bytes / panels);
  const int64_t by_share = ceil_div(panels * grid.num_row_blocks, wanted);
  grid.item_panels = std::max<int64_t>(1, std::min(by_bytes, by_share));
  grid.num_items = 0;
  for_each_part(parts, num_parts, up, [&](const PanelPart& part) {
    grid.num_items += ceil_div(part.panels(), grid.item_panels);
  });
  return grid;
}

PanelWeights panels_from(const MatmulPart& part, int64_t panel) {
  const Tensor& w = part.weight;
  return {w.dtype, static_cast<const char*>(w.data) + panel * panel_bytes(w.dtype, w.cols),
          part.bias != nullptr ? part.bias + panel * kPanelRows : nullptr};
}

void run_parts(CpuContext& c, Tensor x, const MatmulPart* parts, int32_t num_parts,
               const MatmulPart* up) {
  const Grid grid = make_grid(c, x, parts, num_parts, up);
  const QuantRows quantised = quant_rows(c, x);
  if (c.int8_activations) {
    // Items are tiles; pieces of their depth where there are few of them.
    const int64_t tiles = ceil_div(x.rows, kQuantTileRows), blocks = x.cols / kPanelBlock;
    const int64_t wanted = std::min(blocks, ceil_div(2 * c.pool.num_threads(), tiles));
    const int64_t piece = ceil_div(blocks, wanted), pieces = ceil_div(blocks, piece);
    for_each_item(c, kPointwiseCost * x.rows * x.cols, tiles * pieces, [&](int64_t item, int) {
      const int64_t first = item % pieces * piece, n = std::min(piece, blocks - first);
      c.panels->quantise(x.f32(), item / pieces, first, n, quantised);
    });
  }
  const size_t scratch = static_cast<size_t>(panel_scratch(grid.row_block));
  for (Scratch& s : c.worker_scratch) s.get(scratch);
  const int64_t work = x.rows * x.cols * grid.num_items * grid.item_panels * kPanelRows;
  for_each_item(c, work, grid.num_items * grid.num_row_blocks, [&](int64_t item, int worker) {
    const int64_t row = item / grid.num_items * grid.row_block;
    int64_t at = item % grid.num_items;
    for_each_part(parts, num_parts, up, [&](const PanelPart& part) {
      const int64_t items = ceil_div(part.panels(), grid.item_panels);
      const bool ours = at >= 0 && at < items;
      const int64_t panel = at * grid.item_panels, col = panel * kPanelRows;
      at -= items;
      if (!ours) return;
      const Tensor& out = part.own.out;
      PanelJob job;
      job.weights = panels_from(part.own, panel);
      job.up = part.up != nullptr ? panels_from(*part.up, panel) : PanelWeights{};
      job.depth = x.cols;
      job.num_panels = std::min(grid.item_panels, part.panels() - panel);
      job.num_cols = out.cols - col;
      job.first_row = row;
      job.num_rows = std::min(grid.row_block, x.rows - row);
      job.quantised = &quantised;
      job.x = x.f32();
      job.out = out.f32() + row * out.cols + col;
      job.out_stride = out.cols;
      job.scratch = static_cast<char*>(c.worker_scratch[worker].get(0));
      c.int8_activations ? c.panels->matmul(job) : c.panels->matmul_f32(job);
    });
  });
}

}  // namespace

void cpu_panel_matmul(CpuContext& c, Tensor x, const MatmulPart* parts, int32_t num_parts) {
  run_parts(c, x, parts, num_parts, nullptr);
}

bool cpu_gated_matmul(void* context, Tensor x, const MatmulPart& gate, const MatmulPart& up,
                      Activation activation) {
  const bool packed = is_quantised(gate.weight.dtype) && is_quantised(up.weight.dtype);
  if (!packed || activation != Activation::kSilu) return false;
  OCTAVO_CHECK(x.dtype == DType::kF32 && gate.out.dtype == DType::kF32 && x.rows > 0);
  OCTAVO_CHECK(gate.out.rows == x.rows && gate.weight.cols == x.cols && up.weight.cols == x.cols);
  OCTAVO_CHECK(gate.weight.rows == gate.out.cols && up.weight.rows == gate.out.cols);
  run_parts(cpu_context(context), x, &gate, 1, &up);
  return true;
}

// Plain types are read where the file is mapped, quantised ones packed.
size_t cpu_weight_bytes(void*, Tensor stored) {
  if (!is_quantised(stored.dtype)) return 0;
  return static_cast<size_t>(packed_bytes(stored.dtype, stored.rows, stored.cols));
}

Tensor cpu_load_weight(void* context, Tensor stored, void* memory) {
  CpuContext& c = cpu_context(context);
  const int64_t bytes = panel_bytes(stored.dtype, stored.cols);
  // Weights are read from end to end at every step: large pages, where the system grants them,
  // spare the processor most of its walks through page tables.
#if defined(MADV_HUGEPAGE)
  madvise(memory, static_cast<size_t>(bytes * num_panels(stored.rows)), MADV_HUGEPAGE);
#endif
  for_each_item(c, stored.rows * stored.cols, num_panels(stored.rows), [&](int64_t panel, int) {
    pack_panel(stored, panel, static_cast<char*>(memory) + panel * bytes);
  });
  return {memory, stored.dtype, stored.rows, stored.cols};
}

}  // namespace octavo
