// matmul: weights are packed at load and multiplied panel by panel (packed.h, panels.h). How a call
// is cut never changes an output's bits.
#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "base/os.h"
#include "cpu/cpu_ops.h"
#include "cpu/panel_calls.h"

namespace octavo {
namespace {

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

// The parts of a call whose weights meet activations of one kind.
struct Parts {
  const CpuContext& context;
  const MatmulPart* list;
  int32_t count;
  const MatmulPart* up;
  Meets kind;

  template <class Fn>
  void for_each(Fn fn) const {
    for (int32_t i = 0; i < count; i++) {
      if (meets(context, list[i].weight.dtype) == kind) fn(PanelPart{list[i], up});
    }
  }
};

Grid make_grid(const CpuContext& c, const Tensor& x, const Parts& parts) {
  int64_t panels = 0, bytes = 0;
  parts.for_each([&](const PanelPart& part) {
    panels += part.panels();
    bytes += part.bytes();
  });
  const int64_t wanted = kItemsPerThread * c.pool.num_threads();
  const int64_t most = most_block_rows(c, x.cols, parts.kind);
  Grid grid;
  grid.num_row_blocks = ceil_div(x.rows, most);
  grid.row_block = round_up(ceil_div(x.rows, grid.num_row_blocks), kQuantTileRows);
  grid.num_row_blocks = ceil_div(x.rows, grid.row_block);
  const int64_t by_bytes = kStreamBytes / std::max<int64_t>(1, bytes / panels);
  const int64_t by_share = ceil_div(panels * grid.num_row_blocks, wanted);
  const int64_t group = panel_group(c, parts.kind);
  grid.item_panels = std::max(group, std::min(by_bytes, by_share) / group * group);
  grid.num_items = 0;
  parts.for_each(
      [&](const PanelPart& part) { grid.num_items += ceil_div(part.panels(), grid.item_panels); });
  return grid;
}

QuantRows quantise(CpuContext& c, const Tensor& x, const Parts& parts) {
  QuantRows out = quant_rows(c, x.rows, x.cols);
  parts.for_each([&](const PanelPart& part) {
    will_meet(out, part.own.weight.dtype);
    if (part.up != nullptr) will_meet(out, part.up->weight.dtype);
  });
  // Items are tiles; pieces of their depth where there are few of them, of sixteen blocks or more.
  const int64_t tiles = ceil_div(x.rows, kQuantTileRows), blocks = x.cols / kPanelBlock;
  const int64_t threads = c.pool.num_threads();
  const int64_t wanted = tiles == 1 ? threads : ceil_div(2 * threads, tiles);
  const int64_t fewest = ceil_div(16, std::min(x.rows, kQuantTileRows));
  const int64_t piece = round_up(ceil_div(blocks, wanted), fewest);
  const int64_t pieces = ceil_div(blocks, piece);
  for_each_item(c, kPointwiseCost * x.rows * x.cols, tiles * pieces, [&](int64_t item, int) {
    const int64_t first = item % pieces * piece, n = std::min(piece, blocks - first);
    c.panels->quantise(x.f32(), item / pieces, first, n, out);
  });
  return out;
}

void run_parts(CpuContext& c, const Tensor& x, const Parts& parts) {
  const Grid grid = make_grid(c, x, parts);
  const bool int8 = parts.kind == Meets::kInt8;
  const QuantRows quantised = int8 ? quantise(c, x, parts) : QuantRows{};
  const bool bf16 = parts.kind == Meets::kBF16;
  const char* const rounded = bf16 ? round_rows(c, x.f32(), x.rows, x.cols) : nullptr;
  const size_t scratch = static_cast<size_t>(panel_scratch(grid.row_block));
  for (Scratch& s : c.worker_scratch) s.get(scratch);
  const int64_t work = x.rows * x.cols * grid.num_items * grid.item_panels * kPanelRows;
  for_each_item(c, work, grid.num_items * grid.num_row_blocks, [&](int64_t item, int worker) {
    const int64_t row = item / grid.num_items * grid.row_block;
    int64_t at = item % grid.num_items;
    parts.for_each([&](const PanelPart& part) {
      const int64_t items = ceil_div(part.panels(), grid.item_panels);
      const bool ours = at >= 0 && at < items;
      const int64_t panel = at * grid.item_panels, col = panel * kPanelRows;
      at -= items;
      if (!ours) return;
      const Tensor& out = part.own.out;
      PanelJob job;
      job.weights = panels_from(part.own.weight, part.own.bias, panel);
      job.up =
          part.up != nullptr ? panels_from(part.up->weight, part.up->bias, panel) : PanelWeights{};
      job.depth = x.cols;
      job.num_panels = std::min(grid.item_panels, part.panels() - panel);
      job.num_cols = out.cols - col;
      job.first_row = row;
      job.num_rows = std::min(grid.row_block, x.rows - row);
      job.quantised = &quantised;
      job.rounded = rounded;
      job.x = x.f32();
      job.out = out.f32() + row * out.cols + col;
      job.out_stride = out.cols;
      job.scratch = static_cast<char*>(c.worker_scratch[worker].get(0));
      int8 ? c.panels->matmul(job) : c.panels->matmul_f32(job);
    });
  });
}

void check_part(const Tensor& x, const MatmulPart& part) {
  OCTAVO_CHECK(x.dtype == DType::kF32 && x.rows > 0 && x.cols > 0);
  OCTAVO_CHECK(part.out.dtype == DType::kF32 && part.out.rows == x.rows);
  OCTAVO_CHECK(part.weight.cols == x.cols && part.weight.rows == part.out.cols);
  OCTAVO_CHECK(x.cols % block_values(part.weight.dtype) == 0);
}

}  // namespace

// x [M, K]; per part out [M, N], weight [N, K], bias [N]
void cpu_matmul(void* context, Tensor x, const MatmulPart* parts, int32_t num_parts) {
  CpuContext& c = cpu_context(context);
  bool has[3] = {};
  for (int32_t i = 0; i < num_parts; i++) {
    check_part(x, parts[i]);
    has[static_cast<int>(meets(c, parts[i].weight.dtype))] = true;
  }
  for (const Meets kind : {Meets::kInt8, Meets::kBF16, Meets::kFloats}) {
    if (has[static_cast<int>(kind)]) run_parts(c, x, {c, parts, num_parts, nullptr, kind});
  }
}

bool cpu_gated_matmul(void* context, Tensor x, const MatmulPart& gate, const MatmulPart& up,
                      HiddenAct hidden_act) {
  CpuContext& c = cpu_context(context);
  const Meets kind = meets(c, gate.weight.dtype);
  if (kind != meets(c, up.weight.dtype) || hidden_act != HiddenAct::kSilu) return false;
  check_part(x, gate);
  check_part(x, {gate.out, up.weight, nullptr});
  run_parts(c, x, {c, &gate, 1, &up, kind});
  return true;
}

size_t cpu_weight_bytes(void*, Tensor stored) {
  return static_cast<size_t>(packed_bytes(stored.dtype, stored.rows, stored.cols));
}

// Each thread reads the rows of its panel and packs them while they are in its cache.
Tensor cpu_load_weight(void* context, Tensor stored, const WeightSource& source, void* memory) {
  CpuContext& c = cpu_context(context);
  const int64_t bytes = panel_bytes(stored.dtype, stored.cols);
  // Weights are read from end to end at every step: large pages, where the system grants them,
  // spare the processor most of its walks through page tables.
  os::prefer_large_pages(memory, static_cast<size_t>(bytes * num_panels(stored.rows)));
  const int64_t stride = stored.stride_bytes();
  for (Scratch& s : c.worker_scratch) s.get(static_cast<size_t>(kPanelRows * stride));
  const PanelLayout layout = c.layout();
  std::atomic<bool> whole{true};
  const auto pack = [&](int64_t panel, int worker) {
    const int64_t first = panel * kPanelRows, rows = std::min(kPanelRows, stored.rows - first);
    char* const some = static_cast<char*>(c.worker_scratch[worker].get(0));
    if (!whole.load(std::memory_order_relaxed)) return;
    if (!source.read(first * stride, rows * stride, some)) return whole.store(false);
    pack_panel({some, stored.dtype, rows, stored.cols}, 0, layout,
               static_cast<char*>(memory) + panel * bytes);
  };
  for_each_item(c, stored.rows * stored.cols, num_panels(stored.rows), pack);
  if (!whole) return {};
  return {memory, stored.dtype, stored.rows, stored.cols};
}

}  // namespace octavo
