// Logits to tokens, one block a row, without a sort. Weights are fixed-point integers (40 bits
// after the point), so that sums, borders of top-p and the draw itself are exact and have no order.
#include "base/rng.h"
#include "kernels/launch.cuh"
#include "kernels/launchers.h"
#include "kernels/types.cuh"

namespace octavo::device {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;
constexpr int kBinBits = 11, kBins = 1 << kBinBits;
// A bin's sum is kept in limbs, so that the atomic additions are of 32 bits: shared memory has none
// of 64, only an exchange to be tried again. 2^19 tokens of 13 bits fit.
constexpr int kLimbBits = 13, kLimbs = 4;
static_assert(kMaxSampledVocab <= 1 << (32 - kLimbBits));
using Mass = unsigned long long;

// Unsigned order = order of the floats; −0 counts as 0.
OCTAVO_DEVICE uint32_t key_of(float x) {
  const uint32_t bits = as_bits(x + 0.0f);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

struct Shared {
  uint32_t limbs[kLimbs][kBins];
  Mass chunks[kThreads];
  Mass chosen_before;
  float floats[kWarps];
  double doubles[kWarps];
  int32_t ints[kWarps];
  int32_t chosen;
  uint32_t listed;
};

struct Sampler {
  const SampleArgs& a;
  const SampleRequest& r;
  const float* raw;  // the row as it came
  const float* x;    // the row after lists, bias and penalties
  Shared& s;
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  float raw_max = 0, x_max = 0;
  int32_t raw_best = -1, x_best = -1;
  double log_sum = 0;
  // What may be drawn: key above `edge`, or equal to it with an id up to `edge_id`; and in min-p.
  uint32_t edge = 0;
  int32_t edge_id = INT32_MAX;

  template <class Fn>
  OCTAVO_DEVICE void each(Fn fn) {
    for (int32_t i = tid; i < a.vocab; i += kThreads) fn(i);
  }

  // Largest value, ties the lowest id; −1 where nothing is finite or something is NaN or +inf.
  OCTAVO_DEVICE void find_best(const float* v, float* max_out, int32_t* best_out) {
    float best = -INFINITY;
    int32_t id = -1;
    bool bad = false;
    each([&](int32_t i) {
      bad |= !(v[i] <= 3.402823466e38f);
      if (v[i] > best) best = v[i], id = i;
    });
    if (bad) best = INFINITY, id = -1;
    for (int bit = 16; bit > 0; bit /= 2) {
      take_better(best, id, __shfl_xor_sync(kAllLanes, best, bit),
                  __shfl_xor_sync(kAllLanes, id, bit));
    }
    __syncthreads();  // whoever used s before is done
    if (lane == 0) s.floats[warp] = best, s.ints[warp] = id;
    __syncthreads();
    best = s.floats[0], id = s.ints[0];
    for (int w = 1; w < kWarps; w++) take_better(best, id, s.floats[w], s.ints[w]);
    *max_out = best;
    *best_out = id;
  }
  OCTAVO_DEVICE static void take_better(float& best, int32_t& id, float other, int32_t other_id) {
    if (other > best || (other == best && other_id < id)) best = other, id = other_id;
  }

  OCTAVO_DEVICE double block_sum(double v) {
    for (int bit = 16; bit > 0; bit /= 2) v += __shfl_xor_sync(kAllLanes, v, bit);
    __syncthreads();  // whoever used s before is done
    if (lane == 0) s.doubles[warp] = v;
    __syncthreads();
    double sum = 0;
    for (int w = 0; w < kWarps; w++) sum += s.doubles[w];
    return sum;
  }

  OCTAVO_DEVICE bool read_raw() {
    find_best(raw, &raw_max, &raw_best);
    if (raw_best < 0) return false;
    double sum = 0;
    each([&](int32_t i) { sum += static_cast<double>(expf(raw[i] - raw_max)); });
    log_sum = static_cast<double>(raw_max) + log(block_sum(sum));
    return true;
  }

  OCTAVO_DEVICE bool has_penalties() const {
    return r.repetition != 1 || r.frequency != 0 || r.presence != 0;
  }
  OCTAVO_DEVICE bool is_plain() const {
    return r.mask_row < 0 && r.num_allowed < 0 && r.num_banned == 0 && r.num_bias == 0 &&
           !has_penalties();
  }

  // What the mask leaves of a logit.
  OCTAVO_DEVICE float unmasked(const uint32_t* mask, int32_t i) const {
    return mask == nullptr || (mask[i / 32] >> (i % 32) & 1u) != 0 ? raw[i] : -INFINITY;
  }

  // Mask, lists, bias, penalties, in the order of ops.h.
  OCTAVO_DEVICE void adjust(float* values) {
    const auto list = [&](int32_t begin, int32_t count, auto fn) {
      for (int32_t i = tid; i < count; i += kThreads) fn(a.ints[begin + i], i);
      __syncthreads();
    };
    const int32_t words = mask_words_of(a.vocab);
    const uint32_t* const mask =
        r.mask_row < 0 ? nullptr : a.masks + static_cast<int64_t>(r.mask_row) * words;
    each([&](int32_t i) { values[i] = r.num_allowed >= 0 ? -INFINITY : unmasked(mask, i); });
    __syncthreads();
    list(r.allowed, r.num_allowed, [&](int32_t id, int32_t) { values[id] = unmasked(mask, id); });
    list(r.banned, r.num_banned, [&](int32_t id, int32_t) { values[id] = -INFINITY; });
    list(r.bias_ids, r.num_bias,
         [&](int32_t id, int32_t i) { values[id] += a.floats[r.bias_values + i]; });
    if (r.counted < 0 || !has_penalties()) return;
    const uint32_t* counts = a.counts + static_cast<int64_t>(r.counted) * a.vocab;
    each([&](int32_t i) {
      const uint32_t count = counts[i];
      if (count == 0) return;
      float v = values[i];
      if (r.repetition != 1) v = v > 0 ? v / r.repetition : v * r.repetition;
      const float times = static_cast<float>(count & ~kInPrompt);
      if (times > 0) v -= r.frequency * times + r.presence;
      values[i] = v;
    });
  }

  // Probability up to a factor, as an integer; 0 = cannot be drawn.
  OCTAVO_DEVICE Mass weight(int32_t i) const {
    const float v = x[i];
    const uint32_t key = key_of(v);
    if (key < edge || (key == edge && i > edge_id) || v == -INFINITY) return 0;
    const float w = expf((v - x_max) / r.temperature);
    if (w < r.min_p) return 0;
    return static_cast<Mass>(static_cast<double>(w) * 0x1p40 + 0.5);
  }

  // For one warp: the first of `count` places at which the amounts, summed in order on top of
  // `before`, exceed `wanted`, and in `before` what lies before it; −1 = none does.
  template <class Amount>
  OCTAVO_DEVICE int32_t first_exceeding(int32_t count, Mass& before, Mass wanted, Amount amount) {
    const int32_t own = (count + 31) / 32, begin = lane * own, end = min(count, begin + own);
    Mass mine = 0;
#pragma unroll 1
    for (int32_t i = begin; i < end; i++) mine += amount(i);
    Mass sum = mine;
    for (int d = 1; d < 32; d *= 2) {
      const Mass other = __shfl_up_sync(kAllLanes, sum, d);
      if (lane >= d) sum += other;
    }
    const uint32_t exceeding = __ballot_sync(kAllLanes, before + sum > wanted);
    if (exceeding == 0) return -1;
    const int owner = __ffs(static_cast<int>(exceeding)) - 1;
    int32_t place = begin;
    sum += before - mine;
    if (lane == owner) {
      for (Mass next = amount(place); sum + next <= wanted; next = amount(++place)) sum += next;
    }
    before = __shfl_sync(kAllLanes, sum, owner);
    return __shfl_sync(kAllLanes, place, owner);
  }

  OCTAVO_DEVICE Mass mass_of_bin(int bin) const {
    Mass sum = 0;
#pragma unroll
    for (int l = 0; l < kLimbs; l++) sum += static_cast<Mass>(s.limbs[l][bin]) << (l * kLimbBits);
    return sum;
  }

  // The key at which the amounts of the tokens, summed from the largest key down, reach `wanted`;
  // s.chosen_before gets what lies above it. Radix selection, eleven bits at a time: the first
  // eleven are sign, exponent and two bits more, so that logits spread over many bins.
  template <class Amount>
  OCTAVO_DEVICE uint32_t select_key(Mass wanted, Amount amount) {
    uint32_t prefix = 0, high = 0;
    Mass above = 0;
    for (int shift = 32 - kBinBits; shift >= 0; shift -= shift > kBinBits ? kBinBits : 10) {
      __syncthreads();  // whoever used s before is done
      for (int b = tid; b < kBins * kLimbs; b += kThreads) s.limbs[b / kBins][b % kBins] = 0;
      __syncthreads();
      const uint32_t digit = ~high >> shift;  // bits of this pass
      each([&](int32_t i) {
        const uint32_t key = key_of(x[i]);
        if ((key & high) != prefix) return;
        const Mass m = amount(i);
        const uint32_t bin = key >> shift & digit;
#pragma unroll
        for (int l = 0; l < kLimbs; l++) {
          const auto limb = static_cast<uint32_t>(m >> (l * kLimbBits)) & ((1u << kLimbBits) - 1);
          if (limb != 0) atomicAdd(&s.limbs[l][bin], limb);
        }
      });
      __syncthreads();
      if (warp == 0) {
        Mass before = above;
        const int32_t down = first_exceeding(kBins, before, wanted - 1,
                                             [&](int32_t i) { return mass_of_bin(kBins - 1 - i); });
        if (lane == 0) s.chosen = down < 0 ? 0 : kBins - 1 - down, s.chosen_before = before;
      }
      __syncthreads();
      above = s.chosen_before;
      prefix |= static_cast<uint32_t>(s.chosen) << shift;
      high |= digit << shift;
    }
    return prefix;
  }

  // The first id at which the amounts, summed by ascending id, exceed `wanted`; −1 = none does.
  template <class Amount>
  OCTAVO_DEVICE int32_t find_id(Mass wanted, Amount amount) {
    const int32_t size = ((a.vocab + kThreads - 1) / kThreads + 31) / 32 * 32;
    __syncthreads();  // whoever used s before is done
    for (int c = warp; c < kThreads; c += kWarps) {
      Mass sum = 0;
      for (int32_t i = c * size + lane; i < min(a.vocab, (c + 1) * size); i += 32) sum += amount(i);
      for (int bit = 16; bit > 0; bit /= 2) sum += __shfl_xor_sync(kAllLanes, sum, bit);
      if (lane == 0) s.chunks[c] = sum;
    }
    __syncthreads();
    if (warp == 0) {
      Mass before = 0;
      const int32_t c =
          first_exceeding(kThreads, before, wanted, [&](int32_t i) { return s.chunks[i]; });
      int32_t id = -1;
      if (c >= 0) {
        id = c * size + first_exceeding(min(a.vocab - c * size, size), before, wanted,
                                        [&](int32_t i) { return amount(c * size + i); });
      }
      if (lane == 0) s.chosen = id;
    }
    __syncthreads();
    return s.chosen;
  }

  // The smallest set, best first (ties: lower id), whose mass reaches p.
  OCTAVO_DEVICE void keep_top_p() {
    const Mass total = sum_of_weights();
    const Mass wanted = static_cast<Mass>(ceil(r.top_p * static_cast<double>(total)));
    const uint32_t key = select_key(wanted, [&](int32_t i) { return weight(i); });
    const Mass above = s.chosen_before;
    // Equal keys weigh the same: as many of them as are still missing, by id.
    int32_t first =
        find_id(0, [&](int32_t i) -> Mass { return key_of(x[i]) == key && weight(i) > 0; });
    if (first < 0) return;
    const Mass each_mass = weight(first);
    const Mass needed = wanted > above ? (wanted - above + each_mass - 1) / each_mass : 1;
    const int32_t last = find_id(
        needed - 1, [&](int32_t i) -> Mass { return key_of(x[i]) == key && weight(i) > 0; });
    if (last >= 0) edge_id = last;
    edge = key;
  }

  OCTAVO_DEVICE Mass sum_of_weights() {
    Mass sum = 0;
    each([&](int32_t i) { sum += weight(i); });
    for (int bit = 16; bit > 0; bit /= 2) sum += __shfl_xor_sync(kAllLanes, sum, bit);
    __syncthreads();  // whoever used s before is done
    if (lane == 0) s.chunks[warp] = sum;
    __syncthreads();
    Mass total = 0;
    for (int w = 0; w < kWarps; w++) total += s.chunks[w];
    return total;
  }

  OCTAVO_DEVICE int32_t choose() {
    find_best(x, &x_max, &x_best);
    if (x_best < 0 || r.temperature == 0) return x_best;
    if (r.top_k > 0 && r.top_k < a.vocab) {
      const auto one = [&](int32_t i) -> Mass { return weight(i) > 0; };
      edge = select_key(static_cast<Mass>(r.top_k), one);
    }
    if (r.top_p < 1) keep_top_p();
    const Mass total = sum_of_weights();
    const double u = uniform(r.seed, r.position);
    const Mass at = static_cast<Mass>(u * static_cast<double>(total));
    return find_id(at < total ? at : total - 1, [&](int32_t i) { return weight(i); });
  }

  OCTAVO_DEVICE int32_t count_larger(float value) {
    double n = 0;
    each([&](int32_t i) { n += raw[i] > value; });
    return static_cast<int32_t>(block_sum(n));
  }

  // Leaves the raw logits of what may be drawn, from what choose() has looked at.
  OCTAVO_DEVICE void restore_raw(float* values) {
    each([&](int32_t i) { values[i] = values[i] == -INFINITY ? -INFINITY : raw[i]; });
  }

  // The best tokens of the raw row, or of x, ties by lower id, in no order: the host sorts so few.
  OCTAVO_DEVICE void report_top() {
    if (r.num_top == 0) return;
    if (r.top_drawable == 0) x = raw;
    const Mass wanted = static_cast<Mass>(r.num_top);
    const uint32_t key = select_key(wanted, [](int32_t) -> Mass { return 1; });
    const Mass missing = wanted - s.chosen_before;
    const int32_t last =
        find_id(missing - 1, [&](int32_t i) -> Mass { return key_of(x[i]) == key; });
    if (tid == 0) s.listed = 0;
    __syncthreads();
    each([&](int32_t i) {
      const uint32_t own = key_of(x[i]);
      if (own < key || (own == key && i > last)) return;
      const int32_t place = r.top_begin + static_cast<int32_t>(atomicAdd(&s.listed, 1u));
      a.top_ids[place] = i;
      a.top_logits[place] = x[i];
    });
  }
};

// Grid: one block a request.
__global__ void __launch_bounds__(kThreads) count_tokens_kernel(const CountArgs a) {
  const CountRequest& r = a.requests[blockIdx.x];
  uint32_t* counts = a.counts + static_cast<int64_t>(r.row) * a.vocab;
  if (r.begins != 0) {
    for (int32_t i = threadIdx.x; i < a.vocab; i += kThreads) counts[i] = 0;
  }
  __syncthreads();
  for (int32_t i = threadIdx.x; i < r.prompt_len; i += kThreads) {
    atomicMax(&counts[a.ints[r.prompt + i]], kInPrompt);
  }
  __syncthreads();  // before counts, which atomicMax would lose
  for (int32_t i = threadIdx.x; i < r.output_len; i += kThreads) {
    atomicAdd(&counts[a.ints[r.output + i]], 1u);
  }
}

// Grid: one block an update.
__global__ void __launch_bounds__(kThreads) set_masks_kernel(const MaskArgs a) {
  const uint32_t* const from = a.bits + static_cast<int64_t>(blockIdx.x) * a.words;
  uint32_t* const to = a.masks + static_cast<int64_t>(a.rows[blockIdx.x]) * a.words;
  for (int32_t i = threadIdx.x; i < a.words; i += kThreads) to[i] = from[i];
}

// Grid: one block a request.
__global__ void __launch_bounds__(kThreads) sample_kernel(const SampleArgs a) {
  OCTAVO_SHARED(shared);
  const SampleRequest& r = a.requests[blockIdx.x];
  const float* raw = a.logits + r.logits_row * a.vocab;
  Sampler sampler{a, r, raw, raw, *reinterpret_cast<Shared*>(shared)};
  SampleResult& result = a.results[blockIdx.x];
  const bool first = threadIdx.x == 0;
  if (first) result = {NAN, 0, -1, 0};
  if (!sampler.read_raw()) return;
  int32_t token = r.target;
  if (token < 0 && r.temperature == 0 && sampler.is_plain()) token = sampler.raw_best;
  float* const values = a.values + static_cast<int64_t>(blockIdx.x) * a.vocab;
  const bool adjusts = token < 0 && !sampler.is_plain();
  if (token < 0) {
    if (adjusts) {
      sampler.adjust(values);
      sampler.x = values;
    }
    token = sampler.choose();
  }
  if (token < 0) return;
  if (first) {
    result.token = token;
    result.logprob = static_cast<double>(raw[token]) - sampler.log_sum;
    result.log_sum = sampler.log_sum;
  }
  if (r.num_top < 0) return;
  const int32_t larger = sampler.count_larger(raw[token]);
  if (first) result.rank = 1 + larger;
  if (adjusts && r.top_drawable != 0) sampler.restore_raw(values);
  sampler.report_top();
}

}  // namespace

void launch_count_tokens(const CountArgs& args, cudaStream_t stream) {
  launch(count_tokens_kernel, dim3(static_cast<uint32_t>(args.num_requests)), dim3(kThreads), 0,
         stream, args);
}

void launch_set_masks(const MaskArgs& args, cudaStream_t stream) {
  launch(set_masks_kernel, dim3(static_cast<uint32_t>(args.num_updates)), dim3(kThreads), 0, stream,
         args);
}

void launch_sample(const SampleArgs& args, cudaStream_t stream) {
  launch(sample_kernel, dim3(static_cast<uint32_t>(args.num_requests)), dim3(kThreads),
         sizeof(Shared), stream, args);
}

}  // namespace octavo::device
