// matmul: cuts the outputs of all parts of a call into rectangles and deals them to the threads.
// How they are cut never changes an output's bits (kernels_matmul.inc.h).
#include <algorithm>

#include "base/check.h"
#include "cpu/cpu_ops.h"
#include "cpu/kernels.h"

namespace octavo {
namespace {

constexpr int64_t kMaxRowBlock = 96;         // rows of x that stay in L2 while weights pass by,
constexpr int64_t kRowBlockBytes = 1 << 20;  // and how large they may be
constexpr int64_t kPanelCols = 8;            // weight rows widened at once; a multiple of any tile
constexpr int64_t kStreamBytes = 64 << 10;   // weights of one item when they are read once only
constexpr int64_t kItemsPerThread = 4;

struct Grid {
  int64_t row_block;
  int64_t panel_cols;
  int64_t num_panels;  // of all parts together
  int64_t num_row_blocks;
  bool direct;  // no part needs scratch
};

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// 0 where the weight is not ours (panel_matmul.cc).
int64_t panels_of(const MatmulPart& part, int64_t panel_cols) {
  return is_quantised(part.weight.dtype) ? 0 : ceil_div(part.out.cols, panel_cols);
}

int64_t count_panels(const MatmulPart* parts, int32_t num_parts, int64_t panel_cols) {
  int64_t panels = 0;
  for (int32_t i = 0; i < num_parts; i++) panels += panels_of(parts[i], panel_cols);
  return panels;
}

Grid make_grid(const CpuContext& c, const Tensor& x, const MatmulPart* parts, int32_t num_parts) {
  const int64_t tile_rows = c.kernels->tile_rows;
  const int64_t wanted = kItemsPerThread * c.pool.num_threads();
  int64_t cols = 0, bytes = 0;
  for (int32_t i = 0; i < num_parts; i++) {
    if (is_quantised(parts[i].weight.dtype)) continue;
    cols += parts[i].out.cols;
    bytes += parts[i].weight.bytes();
  }
  Grid grid{x.rows, kPanelCols, 0, 1, x.rows <= tile_rows};
  if (grid.direct) {  // one pass over the weights
    const int64_t by_bytes = kStreamBytes * cols / std::max<int64_t>(bytes, 1);
    const int64_t panel = std::min(by_bytes, ceil_div(cols, wanted));
    grid.panel_cols = std::max(kPanelCols, round_up(panel, kPanelCols));
  } else {
    const int64_t fit = kRowBlockBytes / (4 * x.cols);
    const int64_t block = std::clamp(fit, 4 * tile_rows, kMaxRowBlock);
    grid.num_row_blocks = ceil_div(x.rows, block);
    const int64_t items = grid.num_row_blocks * count_panels(parts, num_parts, kPanelCols);
    if (items < wanted) {
      const int64_t most = ceil_div(x.rows, 2 * tile_rows);
      grid.num_row_blocks = std::min(most, grid.num_row_blocks * ceil_div(wanted, items));
    }
    grid.row_block = round_up(ceil_div(x.rows, grid.num_row_blocks), tile_rows);
    grid.num_row_blocks = ceil_div(x.rows, grid.row_block);
  }
  grid.num_panels = count_panels(parts, num_parts, grid.panel_cols);
  return grid;
}

void check_parts(const Tensor& x, const MatmulPart* parts, int32_t num_parts) {
  OCTAVO_CHECK(x.dtype == DType::kF32 && x.rows > 0 && x.cols > 0);
  for (int32_t i = 0; i < num_parts; i++) {
    const MatmulPart& part = parts[i];
    OCTAVO_CHECK(part.out.dtype == DType::kF32 && part.out.rows == x.rows);
    OCTAVO_CHECK(part.weight.cols == x.cols && part.weight.rows == part.out.cols);
    OCTAVO_CHECK(x.cols % block_values(part.weight.dtype) == 0);
  }
}

}  // namespace

namespace {

void plain_matmul(CpuContext& c, Tensor x, const MatmulPart* parts, int32_t num_parts) {
  const int64_t depth = x.cols;
  const Grid grid = make_grid(c, x, parts, num_parts);
  const size_t scratch =
      static_cast<size_t>(c.kernels->matmul_scratch(grid.row_block, grid.panel_cols, depth));
  if (!grid.direct) {
    for (Scratch& s : c.worker_scratch) s.get_array<float>(scratch);
  }
  const int64_t work = x.rows * depth * grid.num_panels * grid.panel_cols;
  const int64_t num_items = grid.num_row_blocks * grid.num_panels;
  for_each_item(c, work, num_items, [&](int64_t item, int worker) {
    const int64_t row = item / grid.num_panels * grid.row_block;
    int64_t panel = item % grid.num_panels;
    const MatmulPart* part = parts;
    for (;; part++) {
      const int64_t panels = panels_of(*part, grid.panel_cols);
      if (panel < panels) break;
      panel -= panels;
    }
    const int64_t col = panel * grid.panel_cols;
    MatmulPanel p;
    p.x = x.f32() + row * depth;
    p.num_rows = std::min(grid.row_block, x.rows - row);
    p.depth = depth;
    p.weight_stride = part->weight.stride_bytes();
    p.weight = static_cast<const char*>(part->weight.data) + col * p.weight_stride;
    p.dtype = part->weight.dtype;
    p.num_cols = std::min(grid.panel_cols, part->out.cols - col);
    p.bias = part->bias != nullptr ? part->bias + col : nullptr;
    p.out = part->out.f32() + row * part->out.cols + col;
    p.out_stride = part->out.cols;
    p.scratch = static_cast<float*>(c.worker_scratch[worker].get(0));
    c.kernels->matmul(p);
  });
}

}  // namespace

// x [M, K]; per part out [M, N], weight [N, K], bias [N]; quantised weights packed
void cpu_matmul(void* context, Tensor x, const MatmulPart* parts, int32_t num_parts) {
  check_parts(x, parts, num_parts);
  CpuContext& c = cpu_context(context);
  int32_t quantised = 0;
  for (int32_t i = 0; i < num_parts; i++) quantised += is_quantised(parts[i].weight.dtype) ? 1 : 0;
  if (quantised > 0) cpu_panel_matmul(c, x, parts, num_parts);
  if (quantised < num_parts) plain_matmul(c, x, parts, num_parts);
}

}  // namespace octavo
