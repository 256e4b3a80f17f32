// The inner loops, one table per instruction set. Plain pointers and sizes only: this header is
// read by translation units built with different flags, so it holds no inline functions and no
// standard library types.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace octavo {

// Query rows of one sequence and one KV head against one chunk of its context. Row r is a head of
// the group at some token; it may look at positions [first[r], last[r]) of the chunk only.
constexpr int32_t kChunkTokens = 256;
constexpr int32_t kMaxQueryRows = 48;

// What a row knows of the tokens it has seen; Σ exp(score − max) · v stands beside it in memory.
struct SoftmaxState {
  float max;
  float sum;  // Σ exp(score − max); 0 = nothing seen
};

struct AttentionChunk {
  int32_t num_rows;  // ≤ kMaxQueryRows
  int32_t head_size;
  int32_t value_size;  // of what is weighed; below head_size where rows are latent
  bool latent;         // pages of K are [block_size][head_size], and those of V
  float scale;
  float softcap;             // 0 = none
  const float* slopes;       // [num_rows] of ALiBi, or null
  const int32_t* positions;  // [num_rows] of the queries, counted from the chunk's first token
  const float* const* q;     // [num_rows] → [head_size]
  const int32_t* first;      // [num_rows], 0 .. kChunkTokens
  const int32_t* last;       // [num_rows]; first ≥ last: the row sees nothing here
  DType dtype;               // of K and V
  bool rounds;               // K and V are kBF16: q and weights are rounded so, too (bf16.h)
  int32_t block_size;
  // Pages of the blocks that the chunk lies in; set where some row may look. Position t of the
  // chunk lies in page (t + block_offset) / block_size.
  int32_t block_offset;
  const char* const* k_pages;    // → [head_size][block_size]
  const char* const* v_pages;    // → [block_size][head_size]
  const float* const* k_scales;  // → [block_size], of kI8
  const float* const* v_scales;
  SoftmaxState* state;  // out [num_rows]
  float* acc;           // out [num_rows, value_size]: Σ exp(score − max) · v
  float* scratch;       // kernels.attention_scratch(head_size) floats
};

// How much of a head's state each token of a row keeps, and what is added for it multiplied by.
struct RecurrentGates {
  int64_t n;          // heads
  const float* beta;  // null: of a state space
  const float* dt;    // both before they are activated
  const float* decay;
  const float* bias;  // of dt
  float dt_min, dt_max;
  float* kept;   // out: e^(decay · softplus(dt + bias)), the softplus within its limits
  float* scale;  // sigmoid(beta), or that softplus
};

// Tokens of one chunk of a recurrent layer (base/recurrent.h) and some columns of a value head's
// state: those before `first` have been computed before, the others are now.
constexpr int32_t kRecurrentChunk = 16;
struct RecurrentChunk {
  bool delta;  // u = scale · (v − what the state knows of k), else scale · v
  int32_t key_size, num_cols;
  int32_t first, end;
  const float* kq;     // [end][2][key_size]: k and q of a token; of those before first k alone
  const float* kept;   // [end]
  const float* scale;  // [end]; of those before first none
  float skip;          // of v, added to what comes out; not of delta
  float* u;            // [kRecurrentChunk][num_cols]
  const float* v;      // of token `first`; rows of v and out are `stride` apart
  float* out;
  int64_t stride;
  const float* state;  // [key_size] rows, state_stride apart
  float* next;         // the state behind a chunk that ends here, may be `state`; else null
  int64_t state_stride;
  float* scratch;  // kernels.recurrent_scratch(key_size, num_cols) floats
};

struct CpuKernels {
  const char* isa;

  // out[n] = row[n] rounded to kF16, kBF16 (0 below kLeastBF16) or (times the returned scale:
  // max|row| / 127) kI8.
  float (*narrow_row)(DType dtype, const float* row, int64_t n, void* out);
  // x [n] += scale · y
  void (*add_scaled)(float* x, const float* y, float scale, int64_t n);
  // out, x [rows, cols]; out may be x. No weight = ones, no bias = zeros.
  // rms: out = x / √(mean(x²) + eps) · weight; layer: the same of x − mean(x), + bias.
  void (*rms_norm)(float* out, const float* x, const float* weight, float eps, int64_t rows,
                   int64_t cols);
  void (*layer_norm)(float* out, const float* x, const float* weight, const float* bias, float eps,
                     int64_t rows, int64_t cols);
  // By HiddenAct: out[n] = act(gate[n]) · up[n], or without up act(gate[n]).
  void (*activate[6])(float* out, const float* gate, const float* up, int64_t n);
  // x [n] = scale · x, then softcap · tanh(x / softcap) unless softcap is 0.
  void (*scale_and_cap)(float* x, float scale, float softcap, int64_t n);
  // Rotates num_heads heads of `stride` floats by the half angles' cos and sin [half].
  void (*rotate)(float* heads, int64_t num_heads, int64_t stride, const float* cos,
                 const float* sin, int32_t half, bool interleaved);

  void (*attend_chunk)(const AttentionChunk& chunk);
  int64_t (*attention_scratch)(int64_t head_size);
  // Takes the next chunk's state and acc [value_size] into those of a row.
  void (*merge_softmax)(SoftmaxState* state, float* acc, const SoftmaxState* chunk,
                        const float* chunk_acc, int32_t value_size);
  // out = acc / sum; 0 where nothing was seen. `sink`, if not null: e to it joins the sum.
  void (*finish_softmax)(const SoftmaxState* state, const float* acc, const float* sink, float* out,
                         int32_t value_size);

  // out [n] = silu(sum) or, with a gate, gate · sum, where sum = bias + Σ_i weight[i · stride ..] ·
  // rows[i]; no bias = 0.
  void (*convolve)(const float* const* rows, int32_t num_rows, const float* weight, int64_t stride,
                   const float* bias, const float* gate, int64_t n, float* out);
  // out [n] = x · scale / √(Σ x² + eps)
  void (*unit_row)(const float* x, float scale, float eps, int64_t n, float* out);
  void (*recurrent_gates)(const RecurrentGates& gates);
  void (*recurrent_chunk)(const RecurrentChunk& chunk);
  int64_t (*recurrent_scratch)(int64_t key_size, int64_t num_cols);

  // Of sampling: the largest value (NaN if one is NaN or +∞); Σ e^(x − max);
  // weight = e^((x − max) · inverse); Σ x of at most kSampleBlock values.
  float (*row_max)(const float* x, int64_t n);
  double (*exp_sum)(const float* x, int64_t n, float max_value);
  void (*exp_weights)(const float* x, int64_t n, float max_value, float inverse, float* weight);
  float (*block_sum)(const float* x, int64_t n);
  // out [n] = x where bit i % 32 of word i / 32 is set, else −∞
  void (*apply_mask)(const float* x, int64_t n, const uint32_t* mask, float* out);

  // What the machine can do with these instructions, for bench/: multiply-adds in registers
  // (2 · 16 · kProbeChains flops a round), and reading n floats (n a multiple of 128).
  float (*fma_probe)(int64_t rounds);
  float (*read_probe)(const float* data, int64_t n);
};
constexpr int64_t kProbeChains = 24;
constexpr int64_t kSampleBlock = 512;

// Null where the build has no such path or the machine cannot run it.
const CpuKernels* kernels_avx512_bf16();
const CpuKernels* kernels_avx512();
const CpuKernels* kernels_avx2();
const CpuKernels* kernels_neon();
const CpuKernels* kernels_scalar();

}  // namespace octavo
