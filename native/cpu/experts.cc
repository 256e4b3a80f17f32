// Products of rows with the weights of the experts they go to. All rows of an expert pass over its
// weights together, so that each weight is read once a step; threads share experts and their
// panels. An output's bits depend on its row and its expert alone.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "cpu/kernels.h"
#include "cpu/panel_calls.h"

namespace octavo {
namespace {

// One call: a product, or two whose results gate each other.
struct Call {
  CpuContext& c;
  const Routing& routing;
  Tensor x;
  bool by_place;  // x has a row for each place, else for each row of the step
  const ExpertPart& own;
  const ExpertPart* up;  // null, or out = silu(x · own) · (x · up)
  std::vector<ExpertRows>& experts;
  std::vector<ExpertItem>& items;
  // Floats of out from an expert's first row to that of the next one, where they do not lie by
  // their places, and from a row to the next.
  int64_t head_step = 0, out_row = 0;
  int64_t row_block = 0, item_panels = 0;

  Meets kind() const { return meets(c, own.weight.dtype); }
  bool int8() const { return kind() == Meets::kInt8; }
  int64_t panels() const { return num_panels(own.weight.rows); }

  void find_experts() {
    experts.clear();
    for (int32_t e = 0; e < routing.num_experts; e++) {
      const int64_t place = routing.starts[e], count = routing.starts[e + 1] - place;
      if (count > 0) experts.push_back({e, place, count});
    }
  }

  void cut() {
    int64_t most_rows = 0, bytes = panel_bytes(own.weight.dtype, x.cols);
    for (const ExpertRows& e : experts) most_rows = std::max(most_rows, e.count);
    if (up != nullptr) bytes += panel_bytes(up->weight.dtype, x.cols);
    row_block = std::min(most_block_rows(c, x.cols, kind()), round_up(most_rows, kQuantTileRows));
    const int64_t wanted = kItemsPerThread * c.pool.num_threads();
    const int64_t by_bytes = std::max<int64_t>(1, kStreamBytes / bytes);
    const int64_t by_share = ceil_div(panels() * static_cast<int64_t>(experts.size()), wanted);
    const int64_t group = panel_group(c, kind());
    item_panels = std::max(group, std::min(by_bytes, by_share) / group * group);
    items.clear();
    for (size_t i = 0; i < experts.size(); i++) {
      for (int64_t row = 0; row < experts[i].count; row += row_block) {
        for (int64_t panel = 0; panel < panels(); panel += item_panels) {
          items.push_back(
              {static_cast<int32_t>(i), static_cast<int32_t>(panel), static_cast<int32_t>(row)});
        }
      }
    }
  }

  // The rows of an expert among those of all places.
  QuantRows part_of(const QuantRows& all, const ExpertRows& e) const {
    const int64_t blocks = e.place * (all.depth / kPanelBlock);
    QuantRows out = all;
    out.num_rows = e.count;
    out.rows = by_place ? nullptr : routing.rows + e.place;
    out.q += e.place * all.depth;
    out.d += blocks;
    out.sums += 2 * blocks;
    out.weighted += 2 * blocks;
    out.both_sums += blocks;
    out.both += blocks;
    return out;
  }

  const QuantRows* quantise() const {
    QuantRows all = quant_rows(c, routing.num_places(), x.cols);
    will_meet(all, own.weight.dtype);
    if (up != nullptr) will_meet(all, up->weight.dtype);
    std::vector<QuantRows>& parts = c.expert_lists.quantised;
    std::vector<ExpertItem>& tiles = c.expert_lists.tiles;
    parts.clear();
    tiles.clear();
    for (size_t i = 0; i < experts.size(); i++) {
      parts.push_back(part_of(all, experts[i]));
      for (int64_t tile = 0; tile * kQuantTileRows < experts[i].count; tile++) {
        tiles.push_back({static_cast<int32_t>(i), 0, static_cast<int32_t>(tile)});
      }
    }
    const int64_t work = kPointwiseCost * routing.num_places() * x.cols;
    for_each_item(c, work, static_cast<int64_t>(tiles.size()), [&](int64_t item, int) {
      const ExpertItem& t = tiles[static_cast<size_t>(item)];
      const float* const from =
          x.f32() + (by_place ? experts[static_cast<size_t>(t.owner)].place * x.cols : 0);
      const QuantRows& to = parts[static_cast<size_t>(t.owner)];
      c.panels->quantise(from, t.row, 0, x.cols / kPanelBlock, to);
    });
    return parts.data();
  }

  // Rows of `all` that a job reads: where they lie, or brought together in `near`. That is done for
  // every piece of an expert's panels anew, which is little beside their product.
  const char* rows_of(const char* all, int64_t row_bytes, const ExpertRows& e,
                      const ExpertItem& item, int64_t count, char* near) const {
    const int64_t first = e.place + item.row;
    if (by_place) return all + first * row_bytes;
    for (int64_t r = 0; r < count; r++) {
      std::memcpy(near + r * row_bytes, all + routing.rows[first + r] * row_bytes,
                  static_cast<size_t>(row_bytes));
    }
    return near;
  }

  PanelWeights weights_of(const ExpertPart& part, int32_t expert, int64_t panel) const {
    Tensor w = part.weight;
    w.data = static_cast<char*>(w.data) + expert * part.stride;
    return panels_from(w, part.bias != nullptr ? part.bias + expert * w.rows : nullptr, panel);
  }

  void run() {
    find_experts();
    cut();
    const QuantRows* const quantised = int8() ? quantise() : nullptr;
    const bool bf16 = kind() == Meets::kBF16;
    const char* const rows =
        bf16 ? round_rows(c, x.f32(), x.rows, x.cols) : reinterpret_cast<const char*>(x.f32());
    const int64_t row_bytes = bf16 ? rounded_row(c, x.cols) : x.cols * 4;
    const int64_t scratch = panel_scratch(row_block), near = int8() ? 0 : row_block * row_bytes;
    for (Scratch& s : c.worker_scratch) s.get(static_cast<size_t>(scratch + near));
    const int64_t work = routing.num_places() * x.cols * panels() * kPanelRows;
    for_each_item(c, work, static_cast<int64_t>(items.size()), [&](int64_t i, int worker) {
      const ExpertItem& item = items[static_cast<size_t>(i)];
      const ExpertRows& e = experts[static_cast<size_t>(item.owner)];
      const int64_t col = item.panel * kPanelRows;
      const int64_t first = head_step > 0 ? e.expert * head_step : e.place * out_row;
      PanelJob job = {};
      job.weights = weights_of(own, e.expert, item.panel);
      if (up != nullptr) job.up = weights_of(*up, e.expert, item.panel);
      job.depth = x.cols;
      job.num_panels = std::min(item_panels, panels() - item.panel);
      job.num_cols = own.weight.rows - col;
      job.first_row = int8() ? item.row : 0;
      job.num_rows = std::min(row_block, e.count - item.row);
      job.quantised = int8() ? quantised + item.owner : nullptr;
      job.out = own.out.f32() + first + item.row * out_row + col;
      job.out_stride = out_row;
      job.scratch = static_cast<char*>(c.worker_scratch[worker].get(0));
      if (!int8()) {
        const char* const from =
            rows_of(rows, row_bytes, e, item, job.num_rows, job.scratch + scratch);
        if (bf16) {
          job.rounded = from;
        } else {
          job.x = reinterpret_cast<const float*>(from);
        }
      }
      int8() ? c.panels->matmul(job) : c.panels->matmul_f32(job);
    });
  }
};

void check_part(const Tensor& x, const Routing& r, const ExpertPart& part) {
  const Tensor &w = part.weight, &out = part.out;
  OCTAVO_CHECK(x.dtype == DType::kF32 && x.cols > 0 && x.cols == w.cols && w.rows == out.cols);
  OCTAVO_CHECK(out.dtype == DType::kF32 && out.rows == r.num_places());
  OCTAVO_CHECK(x.cols % block_values(w.dtype) == 0);
  OCTAVO_CHECK(part.stride >= packed_bytes(w.dtype, w.rows, w.cols));
}

void multiply(CpuContext& c, const Tensor& x, const Routing& r, bool by_place,
              const ExpertPart& own, const ExpertPart* up) {
  ExpertLists& lists = c.expert_lists;
  Call{c, r, x, by_place, own, up, lists.experts, lists.items, 0, own.out.cols}.run();
}

// The heads of p.x one after the other, [num_heads, rows, K]; what is not multiplied goes to where
// it is wanted.
Tensor part_heads(CpuContext& c, const HeadMatmulParams& p) {
  const int64_t n = p.x.rows, heads = p.num_heads, depth = p.weight.cols, rest = p.rest();
  const int64_t in = p.x.cols / heads, out = p.out.cols / heads;
  const Tensor parted{c.shared_scratch.get_array<float>(static_cast<size_t>(n * heads * depth)),
                      DType::kF32, n * heads, depth};
  const size_t depth_bytes = static_cast<size_t>(depth) * 4, rest_bytes = size_t(rest) * 4;
  for_each_item(c, kPointwiseCost * n * p.x.cols, n, [&](int64_t row, int) {
    for (int64_t h = 0; h < heads; h++) {
      const float* const from = p.x.f32() + (row * heads + h) * in;
      std::memcpy(parted.f32() + (h * n + row) * depth, from, depth_bytes);
      if (rest == 0) continue;
      float* const to = p.out.f32() + (row * heads + h) * out + p.weight.rows;
      std::memcpy(to, from + depth, rest_bytes);
    }
  });
  return parted;
}

// gate = glu(weight · gate, weight · up), at a place
struct Gating {
  const CpuContext& c;
  const Glu& glu;
  bool scales_input;

  void run(float* gate, float* up, float weight, int64_t n) const {
    if (scales_input) {
      for (int64_t i = 0; i < n; i++) gate[i] *= weight, up[i] *= weight;
    }
    if (glu.limit > 0) {
      for (int64_t i = 0; i < n; i++) {  // no number stays none
        gate[i] = std::min(gate[i], glu.limit);
        up[i] = std::max(std::min(up[i], glu.limit), -glu.limit);
      }
    }
    if (glu.up_offset != 0 || glu.alpha != 1) {
      for (int64_t i = 0; i < n; i++) {
        gate[i] *= glu.alpha;
        up[i] = (up[i] + glu.up_offset) / glu.alpha;
      }
    }
    c.kernels->activate[static_cast<int>(glu.hidden_act)](gate, gate, up, n);
  }

  void run_alone(float* x, float weight, int64_t n) const {
    if (scales_input) {
      for (int64_t i = 0; i < n; i++) x[i] *= weight;
    }
    c.kernels->activate[static_cast<int>(glu.hidden_act)](x, x, nullptr, n);
  }
};

}  // namespace

// x [num_rows, K]; gate, up out [places, N], weight [N, K] of each expert, bias [experts, N]; up
// may be empty
void cpu_expert_gated_matmul(void* context, Tensor x, const Routing& r, const ExpertPart& gate,
                             const ExpertPart& up, const Glu& glu, bool scales_input) {
  CpuContext& c = cpu_context(context);
  const bool gated = !up.weight.empty();
  OCTAVO_CHECK(x.rows == r.num_rows);
  check_part(x, r, gate);
  if (gated) check_part(x, r, up);
  const bool plain = glu.hidden_act == HiddenAct::kSilu && glu.alpha == 1 && glu.limit == 0 &&
                     glu.up_offset == 0 && !scales_input && gated;
  if (plain && meets(c, gate.weight.dtype) == meets(c, up.weight.dtype)) {
    return multiply(c, x, r, false, gate, &up);
  }
  multiply(c, x, r, false, gate, nullptr);
  if (gated) multiply(c, x, r, false, up, nullptr);
  const int64_t n = gate.out.cols;
  std::vector<float>& weights = c.expert_lists.weights;
  weights.resize(scales_input ? static_cast<size_t>(r.num_places()) : 0);
  for (size_t i = 0; i < weights.size(); i++) {
    weights[static_cast<size_t>(r.places[i])] = r.weights[i];
  }
  const Gating gating{c, glu, scales_input};
  for_each_item(c, kPointwiseCost * r.num_places() * n, r.num_places(), [&](int64_t p, int) {
    const float weight = scales_input ? weights[static_cast<size_t>(p)] : 1.0f;
    float* const own = gate.out.f32() + p * n;
    gated ? gating.run(own, up.out.f32() + p * n, weight, n) : gating.run_alone(own, weight, n);
  });
}

// x [places, K], out [places, N]
void cpu_expert_matmul(void* context, Tensor x, const Routing& r, const ExpertPart& part) {
  OCTAVO_CHECK(x.rows == r.num_places());
  check_part(x, r, part);
  multiply(cpu_context(context), x, r, true, part, nullptr);
}

// Heads are as experts that every row goes to.
// x [n, num_heads · (K + rest)], out [n, num_heads · (N + rest)], weight [N, K] of each head
void cpu_head_matmul(void* context, const HeadMatmulParams& p) {
  const Tensor& w = p.weight;
  OCTAVO_CHECK(p.num_heads > 0 && p.x.rows > 0 && p.x.rows == p.out.rows);
  OCTAVO_CHECK(p.x.dtype == DType::kF32 && p.out.dtype == DType::kF32);
  OCTAVO_CHECK(p.x.cols % p.num_heads == 0 && p.rest() >= 0);
  OCTAVO_CHECK(p.out.cols == p.num_heads * (w.rows + p.rest()));
  OCTAVO_CHECK(w.cols % block_values(w.dtype) == 0);
  OCTAVO_CHECK(p.stride >= packed_bytes(w.dtype, w.rows, w.cols));
  CpuContext& c = cpu_context(context);
  const Tensor x = part_heads(c, p);
  std::vector<int32_t>& starts = c.expert_lists.starts;
  starts.resize(static_cast<size_t>(p.num_heads) + 1);
  for (int32_t h = 0; h <= p.num_heads; h++) {
    starts[static_cast<size_t>(h)] = static_cast<int32_t>(h * p.x.rows);
  }
  Routing routing;
  routing.num_experts = p.num_heads;
  routing.top_k = 1;
  routing.num_rows = x.rows;
  routing.starts = starts.data();
  const ExpertPart part{p.out, w, p.stride, nullptr};
  ExpertLists& lists = c.expert_lists;
  Call{c,
       routing,
       x,
       true,
       part,
       nullptr,
       lists.experts,
       lists.items,
       p.out.cols / p.num_heads,
       p.out.cols}
      .run();
}

}  // namespace octavo
