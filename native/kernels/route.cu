// Which experts rows go to, what gates their products, and the sum of what comes back.
#include <algorithm>

#include "kernels/activation.cuh"
#include "kernels/launchers.h"
#include "kernels/row_ops.cuh"

namespace octavo::device {
namespace {

constexpr int kThreads = 256, kRowWarps = 4;
constexpr float kLeastSum = 1e-20f;  // of weights that are divided by it

// Ordered as the values are, ±0 alike, no numbers as −∞; kTaken comes behind all.
constexpr int32_t kTaken = INT32_MIN;
OCTAVO_DEVICE int32_t key_of(float x) {
  const int32_t bits = static_cast<int32_t>(as_bits(x == x ? x + 0.0f : -INFINITY));
  return bits >= 0 ? bits : bits ^ 0x7fffffff;
}

// Index of the largest key, ties to the lowest; for a whole warp. A lane reads every 32nd key from
// its own on, and whoever writes keys writes those: nobody waits for another.
OCTAVO_DEVICE int32_t best_of(const int32_t* keys, int32_t count) {
  int32_t best = kTaken, at = INT32_MAX;
  for (int32_t i = threadIdx.x % 32; i < count; i += 32) {
    if (keys[i] > best) best = keys[i], at = i;
  }
  for (int bit = 16; bit > 0; bit /= 2) {
    const int32_t other = __shfl_xor_sync(kAllLanes, best, bit);
    const int32_t its_at = __shfl_xor_sync(kAllLanes, at, bit);
    if (other > best || (other == best && its_at < at)) best = other, at = its_at;
  }
  return at;
}

// One row, by a warp. Its scores and keys lie in shared memory, and keys of groups.
struct RowRouter {
  const RouteParams& p;
  float* scores;           // [num_experts]
  int32_t *keys, *groups;  // [num_experts], [num_groups]
  const int lane = threadIdx.x % 32;

  OCTAVO_DEVICE RowRouter(const RouteParams& params, float* memory)
      : p(params),
        scores(memory),
        keys(reinterpret_cast<int32_t*>(memory) + params.router.num_experts),
        groups(keys + params.router.num_experts) {}

  OCTAVO_DEVICE void score(const float* logits) const {
    const int32_t n = p.router.num_experts;
    if (p.router.score == RouterScore::kChosenSoftmax) {
      for (int32_t i = lane; i < n; i += 32) scores[i] = logits[i];
    } else if (p.router.score == RouterScore::kSigmoid) {
      for (int32_t i = lane; i < n; i += 32) scores[i] = 1.0f / (1.0f + expf(-logits[i]));
    } else {
      float max = -INFINITY, sum = 0.0f;
      for (int32_t i = lane; i < n; i += 32) max = fmaxf(max, logits[i]);
      for (int bit = 16; bit > 0; bit /= 2) max = fmaxf(max, __shfl_xor_sync(kAllLanes, max, bit));
      for (int32_t i = lane; i < n; i += 32) sum += scores[i] = expf(logits[i] - max);
      sum = warp_sum(sum);
      for (int32_t i = lane; i < n; i += 32) scores[i] /= sum;
    }
  }

  // Where nothing is added to scores, logits say the same and say it more exactly.
  OCTAVO_DEVICE void find_keys(const float* logits) const {
    const Router& r = p.router;
    const bool by_logits = p.choice_bias == nullptr && r.num_groups == 1;
    for (int32_t i = lane; i < r.num_experts; i += 32) {
      const float bias = p.choice_bias != nullptr ? p.choice_bias[i] : 0.0f;
      keys[i] = key_of(by_logits ? logits[i] : scores[i] + bias);
    }
    if (r.num_groups > 1) keep_groups();
  }

  OCTAVO_DEVICE float choice(int32_t i) const {
    const float x = scores[i] + (p.choice_bias != nullptr ? p.choice_bias[i] : 0.0f);
    return x == x ? x : -INFINITY;
  }

  // See cpu/route.cc: no expert of another group is ever chosen, as one may be in transformers.
  OCTAVO_DEVICE void keep_groups() const {
    const Router& r = p.router;
    const int32_t size = r.num_experts / r.num_groups;
    for (int32_t g = lane; g < r.num_groups; g += 32) {
      float best = -INFINITY, second = -INFINITY;
      for (int32_t i = g * size; i < (g + 1) * size; i++) {
        const float x = choice(i);
        if (x > best) {
          second = best;
          best = x;
        } else if (x > second) {
          second = x;
        }
      }
      groups[g] = key_of(r.group_best == 1 ? best : best + second);
    }
    for (int32_t i = 0; i < r.top_groups; i++) {
      const int32_t g = best_of(groups, r.num_groups);
      if (lane == g % 32) groups[g] = kTaken;
    }
    __syncwarp();
    for (int32_t i = lane; i < r.num_experts; i += 32) {
      if (groups[i / size] != kTaken) keys[i] = key_of(-INFINITY);
    }
  }

  OCTAVO_DEVICE void run(int64_t row) const {
    const Router& r = p.router;
    const float* const logits = static_cast<const float*>(p.logits.data) + row * r.num_experts;
    score(logits);
    __syncwarp();
    find_keys(logits);
    int32_t own = 0;  // the lane's choice
    for (int32_t k = 0; k < r.top_k; k++) {
      const int32_t e = best_of(keys, r.num_experts);
      if (lane == k) own = e;
      if (lane == e % 32) keys[e] = kTaken;
    }
    const bool chosen = lane < r.top_k;
    float weight = chosen ? scores[own] : 0.0f;
    if (r.score == RouterScore::kChosenSoftmax) {
      const float first = __shfl_sync(kAllLanes, weight, 0);
      weight = chosen ? expf(weight - first) : 0.0f;
    }
    const float sum = warp_sum(weight);
    if (r.normalise || r.score == RouterScore::kChosenSoftmax) {
      weight /= sum < kLeastSum ? kLeastSum : sum;
    }
    if (!chosen) return;
    p.out.experts[row * r.top_k + lane] = own;
    const float by = p.expert_scale != nullptr ? p.expert_scale[own] : 1.0f;
    p.out.weights[row * r.top_k + lane] = weight * r.scale * by;
  }
};

// Words of shared memory for a row.
OCTAVO_DEVICE int row_words(const Router& r) { return 2 * r.num_experts + r.num_groups; }

// Grid: a warp for each row.
__global__ void route_kernel(const RouteParams p) {
  OCTAVO_SHARED(shared);
  const int warp = threadIdx.x / 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowWarps + warp;
  if (row >= p.logits.rows) return;
  const RowRouter router(p, reinterpret_cast<float*>(shared) + warp * row_words(p.router));
  router.run(row);
}

// Sum over the block of two numbers below 2³¹; every thread gets it. `words` [2 · warps].
struct Two {
  int32_t a, b;
};
OCTAVO_DEVICE Two block_sum(Two x, int32_t* words) {
  for (int bit = 16; bit > 0; bit /= 2) {
    x.a += __shfl_xor_sync(kAllLanes, x.a, bit);
    x.b += __shfl_xor_sync(kAllLanes, x.b, bit);
  }
  const int warp = threadIdx.x / 32;
  if (threadIdx.x % 32 == 0) words[2 * warp] = x.a, words[2 * warp + 1] = x.b;
  __syncthreads();
  Two sum = {0, 0};
  for (int w = 0; w < kThreads / 32; w++) sum.a += words[2 * w], sum.b += words[2 * w + 1];
  __syncthreads();
  return sum;
}

// What the threads before this one count.
OCTAVO_DEVICE int32_t block_before(int32_t own, int32_t* words) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int32_t sum = own;
  for (int step = 1; step < 32; step *= 2) {
    const int32_t below = __shfl_up_sync(kAllLanes, sum, step);
    if (lane >= step) sum += below;
  }
  if (lane == 31) words[warp] = sum;
  __syncthreads();
  for (int w = 0; w < warp; w++) sum += words[w];
  return sum - own;
}

// The choices of one expert get their places, in order of rows. Each block counts all choices, so
// that it need not wait for another. Grid: [experts]
__global__ void sort_choices_kernel(const Routing r, int32_t tile_rows) {
  OCTAVO_SHARED(shared);
  int32_t* const counts = reinterpret_cast<int32_t*>(shared);  // [num_experts]
  int32_t* const words = counts + r.num_experts;               // [2 · warps]
  const int32_t expert = blockIdx.x;
  const int64_t n = r.num_places();
  for (int32_t e = threadIdx.x; e < r.num_experts; e += kThreads) counts[e] = 0;
  __syncthreads();
  for (int64_t i = threadIdx.x; i < n; i += kThreads) atomicAdd(&counts[r.experts[i]], 1);
  __syncthreads();
  Two before = {0, 0};  // places and tiles of lower experts
  for (int32_t e = threadIdx.x; e < expert; e += kThreads) {
    before.a += counts[e];
    before.b += (counts[e] + tile_rows - 1) / tile_rows;
  }
  before = block_sum(before, words);
  const int32_t own = counts[expert], tiles = (own + tile_rows - 1) / tile_rows;
  for (int32_t t = threadIdx.x; t < tiles; t += kThreads) {
    r.work[kTilesAt + 2 * (before.b + t)] = expert;
    r.work[kTilesAt + 2 * (before.b + t) + 1] = before.a + t * tile_rows;
  }
  if (threadIdx.x == 0) {
    r.starts[expert] = before.a;
    if (expert == r.num_experts - 1) {
      r.starts[expert + 1] = before.a + own;
      r.work[0] = before.b + tiles;
    }
  }
  if (own == 0) return;
  // Each thread has neighbouring choices.
  const int64_t share = (n + kThreads - 1) / kThreads, begin = threadIdx.x * share;
  const int64_t end = min(n, begin + share);
  int32_t found = 0;
  for (int64_t i = begin; i < end; i++) found += r.experts[i] == expert ? 1 : 0;
  int32_t place = before.a + block_before(found, words);
  for (int64_t i = begin; i < end && found > 0; i++) {
    if (r.experts[i] != expert) continue;
    r.places[i] = place;
    r.rows[place++] = static_cast<int32_t>(i / r.top_k);
    found--;
  }
}

OCTAVO_DEVICE float glu_of(float gate, float up, float weight, const Glu& glu) {
  gate *= weight;
  up *= weight;
  if (glu.limit > 0.0f) {  // no number stays none
    gate = gate > glu.limit ? glu.limit : gate;
    up = up > glu.limit ? glu.limit : up < -glu.limit ? -glu.limit : up;
  }
  return activation(gate * glu.alpha, glu.hidden_act) / glu.alpha * (up + glu.up_offset);
}

// Grid: one block a choice. Without `up`: gate = act(gate).
template <class T>
__global__ void glu_kernel(uint32_t* gate, const uint32_t* up, const Routing r, const Glu glu,
                           bool scales_input, int64_t pairs) {
  const int64_t at = r.places[blockIdx.x] * pairs;
  const float weight = scales_input ? r.weights[blockIdx.x] : 1.0f;
  for (int64_t i = at + threadIdx.x; i < at + pairs; i += kThreads) {
    const float2 g = unpack2<T>(gate[i]);
    if (up == nullptr) {
      gate[i] = pack2<T>(activation(g.x * weight, glu.hidden_act),
                         activation(g.y * weight, glu.hidden_act));
      continue;
    }
    const float2 u = unpack2<T>(up[i]);
    gate[i] = pack2<T>(glu_of(g.x, u.x, weight, glu), glu_of(g.y, u.y, weight, glu));
  }
}

// Grid: [rows][pieces of a row]
template <class T>
__global__ void combine_kernel(const CombineParams p, int64_t pairs) {
  const Routing& r = p.routing;
  const int64_t row = blockIdx.x, i = static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x;
  if (i >= pairs) return;
  const uint32_t* const y = static_cast<const uint32_t*>(p.y.data);
  float2 sum = {0.0f, 0.0f};
  for (int64_t k = row * r.top_k; k < (row + 1) * r.top_k; k++) {
    const float weight = p.weighted ? r.weights[k] : 1.0f;
    const float2 own = unpack2<T>(y[r.places[k] * pairs + i]);
    sum.x = fmaf(weight, own.x, sum.x);
    sum.y = fmaf(weight, own.y, sum.y);
  }
  if (p.shared.data != nullptr) {
    const float share =
        p.shared_gate.data == nullptr
            ? 1.0f
            : 1.0f / (1.0f + expf(-static_cast<const float*>(p.shared_gate.data)[row]));
    const float2 own = unpack2<T>(static_cast<const uint32_t*>(p.shared.data)[row * pairs + i]);
    sum.x = fmaf(share, own.x, sum.x);
    sum.y = fmaf(share, own.y, sum.y);
  }
  static_cast<uint32_t*>(p.out.data)[row * pairs + i] = pack2<T>(sum.x, sum.y);
}

}  // namespace

void launch_route(const RouteParams& p, cudaStream_t stream) {
  const Routing& r = p.out;
  const dim3 rows(static_cast<uint32_t>(ceil_div(r.num_rows, int64_t{kRowWarps})));
  const size_t words = 2 * static_cast<size_t>(r.num_experts) + p.router.num_groups;
  launch(route_kernel, rows, dim3(kRowWarps * 32), words * kRowWarps * 4, stream, p);
  const dim3 experts(static_cast<uint32_t>(r.num_experts));
  const size_t sort_words = static_cast<size_t>(r.num_experts) + kThreads / 32 * 2;
  launch(sort_choices_kernel, experts, dim3(kThreads), sort_words * 4, stream, r,
         expert_tile_rows(r.num_places(), r.num_experts));
}

void launch_glu(Tensor gate, Tensor up, const Routing& routing, const Glu& glu, bool scales_input,
                cudaStream_t stream) {
  const dim3 grid(static_cast<uint32_t>(routing.num_places()));
  const auto kernel = gate.dtype == DType::kF16 ? glu_kernel<F16> : glu_kernel<Bf16>;
  launch(kernel, grid, dim3(kThreads), 0, stream, static_cast<uint32_t*>(gate.data),
         static_cast<const uint32_t*>(up.data), routing, glu, scales_input, gate.cols / 2);
}

void launch_combine(const CombineParams& p, cudaStream_t stream) {
  const int64_t pairs = p.out.cols / 2;
  const dim3 grid(static_cast<uint32_t>(p.out.rows),
                  static_cast<uint32_t>(ceil_div(pairs, int64_t{kThreads})));
  const auto kernel = p.out.dtype == DType::kF16 ? combine_kernel<F16> : combine_kernel<Bf16>;
  launch(kernel, grid, dim3(kThreads), 0, stream, p, pairs);
}

}  // namespace octavo::device
