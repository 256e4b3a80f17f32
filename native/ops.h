// The waist: everything a backend must be able to do, as plain function pointers. model/ calls
// nothing else; cpu/, kernels/ and simt/ each fill one table. An op allocates nothing, never
// synchronises with the host beyond its own return, and asserts what it needs (contiguous rows,
// positive sizes). Every op gives a row the same bits whatever rows stand beside it and however
// many threads work (batch invariance).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/paged_kv.h"
#include "base/tensor.h"

namespace octavo {

// One of several products that share their left side: out[M,N] = x[M,K] · weight[N,K]ᵀ + bias[N].
struct MatmulPart {
  Tensor out;                   // [M, N] F32
  Tensor weight;                // [N, K] any stored type
  const float* bias = nullptr;  // [N] or null
};

// The queries of one step. Sequence i owns token rows query_start[i] .. query_start[i+1]; its last
// query stands at position context_len[i] − 1. Block tables are rows of `table_stride` block ids.
struct BatchView {
  int32_t num_seqs = 0;
  int32_t num_tokens = 0;
  const int32_t* query_start = nullptr;   // [num_seqs + 1]
  const int32_t* context_len = nullptr;   // [num_seqs]
  const int32_t* block_tables = nullptr;  // [num_seqs][table_stride]
  int64_t table_stride = 0;
  const int32_t* positions = nullptr;  // [num_tokens]
  const int64_t* slots = nullptr;      // [num_tokens], −1 = padding
};

// Rotates q and k in place (pairs (i, i + rotary/2), or (2i, 2i+1) when interleaved) by
// position · inv_freq[i], then writes k and v into their slots. cos and sin are multiplied by
// `attention_factor` (yarn). rotary_size ≤ head_size; the rest of a head passes unrotated.
struct RopeCacheParams {
  Tensor q;                         // [num_tokens, num_heads · head_size] F32
  Tensor k;                         // [num_tokens, num_kv_heads · head_size] F32
  Tensor v;                         // [num_tokens, num_kv_heads · head_size] F32
  const float* inv_freq = nullptr;  // [rotary_size / 2]
  int32_t rotary_size = 0;
  bool interleaved = false;
  float attention_factor = 1.0f;
};

struct AttentionParams {
  Tensor out;  // [num_tokens, num_heads · head_size] F32
  Tensor q;    // [num_tokens, num_heads · head_size] F32
  int32_t num_heads = 0;
  float scale = 0.0f;  // 1/√head_size as a rule
  int32_t window = 0;  // a query sees itself and the window − 1 tokens before it; 0 = all
};

struct BlockCopy {
  int32_t source;
  int32_t target;
};

// One draw from one row of raw logits. Order of the steps, as vLLM's: allowed ids, banned ids,
// bias; repetition (prompt + output), frequency, presence (output only); temperature; min-p;
// top-k (ties at the edge stay); top-p (smallest set whose mass reaches p). Temperature 0 takes
// the largest, ties the lowest id. The row itself is left as it is.
struct SampleRow {
  int64_t logits_row = 0;  // row of the logits tensor
  double temperature = 1, top_p = 1, min_p = 0;
  double repetition = 1, frequency = 0, presence = 0;
  int32_t top_k = 0;                // 0 = all
  uint64_t seed = 0, position = 0;  // key and counter of the generator
  int32_t num_allowed = -1;         // −1 = every token is allowed
  int32_t num_banned = 0, num_bias = 0, prompt_len = 0, output_len = 0;
  const int32_t* allowed = nullptr;
  const int32_t* banned = nullptr;
  const int32_t* bias_ids = nullptr;
  const float* bias = nullptr;
  const int32_t* prompt = nullptr;  // ids for the penalties, or null
  const int32_t* output = nullptr;
  // Instead of drawing, report on this token (prompt logprobs); −1 = draw.
  int32_t target = -1;
  // What is asked: num_top −1 = only the logprob, 0 = and its rank, n = and the n best tokens.
  int32_t num_top = -1;
  // Out. token −1 = no finite logit; then nothing else is written but logprob = NaN.
  int32_t* token = nullptr;
  double* logprob = nullptr;       // raw log-softmax of the token
  int32_t* rank = nullptr;         // 1 + number of tokens with a larger logit
  int32_t* top_ids = nullptr;      // [num_top]
  double* top_logprobs = nullptr;  // [num_top]
};

struct Ops {
  const char* name;  // "cpu"
  const char* isa;   // "avx512", …
  void* context;     // first argument of every op

  void* (*allocate)(void* context, size_t bytes);  // 64-byte aligned, zero, lazily touched; or null
  void (*release)(void* context, void* data, size_t bytes);

  // out[i] = table[ids[i]] widened to F32.  out [n, hidden], table [vocab, hidden]
  void (*embedding)(void* context, Tensor out, Tensor table, const int32_t* ids);
  // If add is not empty: x += add. Then out = x / sqrt(mean(x²) + eps) · weight.  All [n, cols]
  void (*rms_norm)(void* context, Tensor out, Tensor x, Tensor add, const float* weight, float eps);
  void (*matmul)(void* context, Tensor x, const MatmulPart* parts, int32_t num_parts);
  void (*rope_and_cache)(void* context, const RopeCacheParams& p, const PagedKV& kv,
                         const BatchView& batch);
  void (*paged_attention)(void* context, const AttentionParams& p, const PagedKV& kv,
                          const BatchView& batch);
  // out = silu(gate) · up.  All [n, cols]; out may be gate.
  void (*silu_mul)(void* context, Tensor out, Tensor gate, Tensor up);
  // x += add.  Both [n, cols]
  void (*add)(void* context, Tensor x, Tensor add);
  // out[i] = x[rows[i]].
  void (*gather_rows)(void* context, Tensor out, Tensor x, const int32_t* rows);
  // All copies of a step at once; whole blocks of block_bytes from the pool's base.
  void (*copy_blocks)(void* context, void* pool, int64_t block_bytes, const BlockCopy* copies,
                      int32_t num_copies);
  // logits [n, vocab] F32
  void (*sample)(void* context, Tensor logits, const SampleRow* rows, int32_t num_rows);
};

}  // namespace octavo
