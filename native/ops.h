// The waist: everything a backend must be able to do, as plain function pointers. model/ calls
// nothing else; cpu/ fills one table, kernels/ another (which simt/ builds a second time for tests
// without a GPU). An op allocates nothing, never synchronises with the host beyond its own return,
// and asserts what it needs (contiguous rows, positive sizes). Every op gives a row the same bits
// whatever rows stand beside it and however many threads work (batch invariance).
//
// Activations ("A") have the type Ops::activation; the residual stream and logits are always F32.
// Pointers are the backend's: what comes from the host goes through write() or begin_step().
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/paged_kv.h"
#include "base/tensor.h"

namespace octavo {

// One of several products that share their left side: out[M,N] = x[M,K] · weight[N,K]ᵀ + bias[N].
struct MatmulPart {
  Tensor out;                   // [M, N] A or F32
  Tensor weight;                // [N, K] any stored type
  const float* bias = nullptr;  // [N] or null
};

struct BlockCopy {
  int32_t source;
  int32_t target;
};

// The queries of one step. Sequence i owns token rows query_start[i] .. query_start[i+1]; its last
// query stands at position context_len[i] − 1. Block tables are rows of `table_stride` block ids.
// Rows past those of the sequences are padding: slot −1, attention leaves them as they are.
struct BatchView {
  int32_t num_seqs = 0;
  int32_t num_tokens = 0;  // padding included
  int32_t num_copies = 0;
  int32_t num_output_rows = 0;
  const int32_t* token_ids = nullptr;     // [num_tokens]
  const int32_t* query_start = nullptr;   // [num_seqs + 1]
  const int32_t* context_len = nullptr;   // [num_seqs]
  const int32_t* block_tables = nullptr;  // [num_seqs][table_stride]
  int64_t table_stride = 0;
  const int32_t* positions = nullptr;    // [num_tokens]
  const int64_t* slots = nullptr;        // [num_tokens], −1 = padding
  const BlockCopy* copies = nullptr;     // [num_copies]
  const int32_t* output_rows = nullptr;  // [num_output_rows] token rows that the head is asked for
};

// Rotates q and k (pairs (i, i + rotary/2), or (2i, 2i+1) when interleaved) by
// position · inv_freq[i], q in place, then writes k and v into their slots; k may be left in either
// state. cos and sin are multiplied by `attention_factor` (yarn). rotary_size ≤ head_size; the rest
// of a head passes unrotated.
struct RopeCacheParams {
  Tensor q;                         // [num_tokens, num_heads · head_size] A
  Tensor k;                         // [num_tokens, num_kv_heads · head_size] A
  Tensor v;                         // [num_tokens, num_kv_heads · head_size] A
  const float* inv_freq = nullptr;  // [rotary_size / 2]
  int32_t rotary_size = 0;
  bool interleaved = false;
  float attention_factor = 1.0f;
};

struct AttentionParams {
  Tensor out;  // [num_tokens, num_heads · head_size] A
  Tensor q;    // [num_tokens, num_heads · head_size] A
  int32_t num_heads = 0;
  float scale = 0.0f;  // 1/√head_size as a rule
  int32_t window = 0;  // a query sees itself and the window − 1 tokens before it; 0 = all
  // Of the device backend only: scores become softcap · tanh(score / softcap), 0 = as they are;
  // a head's slope times (key position − query position) is added (ALiBi), [num_heads] or null.
  float softcap = 0.0f;
  const float* alibi = nullptr;
};

enum class Activation : int32_t { kSilu = 0, kGeluTanh = 1 };

// Blocks between the pool and another of the same layout in host memory.
struct BlockSwap {
  int32_t device;  // block of the pool
  int32_t host;    // block of the host pool
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

// What a backend is asked before a model is built on it.
struct ModelShape {
  int32_t hidden_size, num_heads, num_kv_heads, head_size, intermediate_size, vocab_size;
  int32_t block_size, max_num_seqs, max_num_batched_tokens, blocks_per_row;
  bool kv_8bit = false;  // the cache is kF8E4M3 or kI8
};

struct Ops {
  const char* name;  // "cpu", "cuda"
  const char* isa;   // "avx512", "sm_90", …
  void* context;     // first argument of every op
  DType activation;  // A
  bool graphs;       // run_graph may replay: pad decode steps to a few sizes

  // Sizes what ops need for themselves; null, or a sentence why the model cannot run here.
  const char* (*prepare)(void* context, const ModelShape& shape);
  // Bytes free and in all where pools live; {0, 0} where only the system knows.
  void (*memory)(void* context, int64_t* free_bytes, int64_t* total_bytes);
  void* (*allocate)(void* context, size_t bytes);  // 64-byte aligned; zero on the CPU; or null
  void (*release)(void* context, void* data, size_t bytes);
  void (*write)(void* context, void* target, const void* host, size_t bytes);
  void (*read)(void* context, void* host, const void* source, size_t bytes);  // waits
  // Memory that a stored matrix [rows, cols] in host memory needs in the form the ops read;
  // load_weight fills it and says what it holds.
  size_t (*weight_bytes)(void* context, Tensor stored);
  Tensor (*load_weight)(void* context, Tensor stored, void* memory);

  // A step: its arrays, from host to wherever ops read them; valid until end_step, which waits for
  // everything and puts sampled tokens where their rows say.
  BatchView (*begin_step)(void* context, const BatchView& host);
  void (*end_step)(void* context);
  // Runs body(argument), or replays what it did when it ran with this key. Key < 0: never replayed.
  void (*run_graph)(void* context, int64_t key, void (*body)(void*), void* argument);

  // out[i] = table[ids[i]].  out [n, hidden] F32, table [vocab, hidden]
  void (*embedding)(void* context, Tensor out, Tensor table, const int32_t* ids);
  // If add is not empty: x += add. Then out = x / sqrt(mean(x²) + eps) · weight.
  // out, add [n, cols] A, x [n, cols] F32 or, without add, A
  void (*rms_norm)(void* context, Tensor out, Tensor x, Tensor add, const float* weight, float eps);
  void (*matmul)(void* context, Tensor x, const MatmulPart* parts, int32_t num_parts);
  void (*rope_and_cache)(void* context, const RopeCacheParams& p, const PagedKV& kv,
                         const BatchView& batch);
  void (*paged_attention)(void* context, const AttentionParams& p, const PagedKV& kv,
                          const BatchView& batch);
  // out = activation(gate) · up.  All [n, cols] A; out may be gate.
  void (*gated_mul)(void* context, Tensor out, Tensor gate, Tensor up, Activation activation);
  // gate.out = activation(x · gate.weightᵀ) · (x · up.weightᵀ), up.out in either state: the bits of
  // matmul and gated_mul, with less to write and read. False, or null: those must do it.
  bool (*gated_matmul)(void* context, Tensor x, const MatmulPart& gate, const MatmulPart& up,
                       Activation activation);
  // out[i] = x[rows[i]].  Same type
  void (*gather_rows)(void* context, Tensor out, Tensor x, const int32_t* rows);
  // All copies of a step at once; whole blocks of block_bytes from the pool's base.
  void (*copy_blocks)(void* context, void* pool, int64_t block_bytes, const BlockCopy* copies,
                      int32_t num_copies);
  // Memory that swaps are fast with (page-locked for a device); null when there is none.
  void* (*allocate_host)(void* context, size_t bytes);
  void (*release_host)(void* context, void* data, size_t bytes);
  // Whole blocks out of the pool or into it, ordered with the steps around it; `swaps` on the host.
  void (*swap_blocks)(void* context, void* pool, void* host_pool, int64_t block_bytes,
                      const BlockSwap* swaps, int32_t num_swaps, bool to_host);
  // logits [n, vocab] F32. Tokens and logprobs are there after end_step.
  void (*sample)(void* context, Tensor logits, const SampleRow* rows, int32_t num_rows);
};

}  // namespace octavo
