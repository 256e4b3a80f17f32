// The gated delta rule as it is written down: each token reads the state and writes it anew.
#include <cmath>
#include <vector>

#include "bench/native/cpu_bench.h"
#include "cpu/cpu_ops.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define OCTAVO_WIDE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define OCTAVO_WIDE
#endif

namespace octavo::bench {
namespace {

constexpr int64_t kSize = 128, kTile = 64;

// One token of one head: S ← g S, u = b (v − Sᵀk), S ← S + k uᵀ, out = Sᵀq. Columns of the state go
// by themselves, so a tile of them stays in registers while its rows pass.
OCTAVO_WIDE void step(float* state, const float* q, const float* k, const float* v, float g,
                      float b, float* out) {
  for (int64_t first = 0; first < kSize; first += kTile) {
    float sum[kTile] = {}, u[kTile], o[kTile] = {};
    for (int64_t i = 0; i < kSize; i++) {
      const float* row = state + i * kSize + first;
      for (int64_t j = 0; j < kTile; j++) sum[j] += row[j] * k[i];
    }
    for (int64_t j = 0; j < kTile; j++) u[j] = b * (v[first + j] - g * sum[j]);
    for (int64_t i = 0; i < kSize; i++) {
      float* row = state + i * kSize + first;
      for (int64_t j = 0; j < kTile; j++) {
        row[j] = g * row[j] + k[i] * u[j];
        o[j] += row[j] * q[i];
      }
    }
    for (int64_t j = 0; j < kTile; j++) out[first + j] = o[j];
  }
}

}  // namespace

double step_form_seconds(Session& s, int32_t num_seqs, int32_t queries, int32_t num_heads) {
  const int64_t width = num_heads * kSize, rows = int64_t{num_seqs} * queries;
  const Buffer states = s.random_floats(int64_t{num_seqs} * width * kSize);
  const Buffer q = s.random_floats(rows * width), k = s.random_floats(rows * width),
               v = s.random_floats(rows * width), out = s.random_floats(rows * width);
  // Of length 1, or the state would grow beyond all bounds.
  for (int64_t i = 0; i < rows * num_heads; i++) {
    float* key = f32(k) + i * kSize;
    float squares = 0;
    for (int64_t j = 0; j < kSize; j++) squares += key[j] * key[j];
    for (int64_t j = 0; j < kSize; j++) key[j] /= std::sqrt(squares);
  }
  CpuContext& c = *static_cast<CpuContext*>(s.ops.context);
  return seconds_of([&] {
    c.pool.parallel_for(int64_t{num_seqs} * num_heads, [&](int64_t item, int) {
      const int64_t seq = item / num_heads, head = item % num_heads;
      float* state = f32(states) + item * kSize * kSize;
      for (int64_t t = 0; t < queries; t++) {
        const int64_t at = (seq * queries + t) * width + head * kSize;
        step(state, f32(q) + at, f32(k) + at, f32(v) + at, 0.97F, 0.5F, f32(out) + at);
      }
    });
  });
}

}  // namespace octavo::bench
