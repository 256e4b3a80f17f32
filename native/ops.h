// The waist: everything a backend must be able to do, as plain function pointers. model/ calls
// nothing else; cpu/ fills one table, kernels/ another (which simt/ builds a second time for tests
// without a GPU). An op takes memory only where it meets a size for the first time, never
// synchronises with the host beyond its own return, and asserts what it needs (contiguous rows,
// positive sizes). Every op gives a row the same bits whatever rows stand beside it and however
// many threads work (batch invariance).
//
// Activations ("A") have the type Ops::activation; the residual stream and logits are always F32.
// Pointers are the backend's: what comes from the host goes through write() or begin_step().
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/paged_kv.h"
#include "base/reach.h"
#include "base/recurrent.h"
#include "base/routing.h"
#include "base/tensor.h"
#include "base/weight_source.h"

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

// What a step says about one KV group. The table of sequence i is block_tables[table_start[i]] ..
// block_tables[table_start[i+1]], as long as its context takes: groups with blocks of one size have
// the same table_start.
struct TableView {
  const int32_t* block_tables = nullptr;  // block ids of all sequences, one after the other
  const int32_t* table_start = nullptr;   // [num_seqs + 1]
  const int64_t* slots = nullptr;         // [num_tokens], −1 = padding
};
constexpr int32_t kMaxKvGroups = 32;

// The queries of one step. Sequence i owns token rows query_start[i] .. query_start[i+1]; its last
// query stands at position context_len[i] − 1.
// Rows past those of the sequences are padding: slot −1, attention leaves them as they are. Of a
// device's own view, sequences may be padded, too, by some without tokens.
struct BatchView {
  int32_t num_seqs = 0;
  int32_t num_tokens = 0;  // padding included
  int32_t num_copies = 0;
  int32_t num_output_rows = 0;
  const int32_t* token_ids = nullptr;    // [num_tokens]
  const int32_t* query_start = nullptr;  // [num_seqs + 1]
  const int32_t* context_len = nullptr;  // [num_seqs]
  const int32_t* positions = nullptr;    // [num_tokens]
  const int32_t* long_rope = nullptr;    // [num_tokens] 1 = by inv_freq_long; null = none is
  const BlockCopy* copies = nullptr;     // [num_copies]
  const int32_t* output_rows = nullptr;  // [num_output_rows] token rows that the head is asked for
  const int32_t* token_types = nullptr;  // [num_tokens]; null = the model has none
  const int32_t* poolings = nullptr;     // [num_seqs] Pooling; null = nothing is pooled
  int32_t num_groups = 1;
  TableView groups[kMaxKvGroups];  // PagedKV::group says which is a layer's
  // Of recurrent layers, null where the model has none: the slots of each sequence's state at the
  // border of its first query and, where its end lies behind another border, of the one to write
  // (which may be the same), else −1; the records of its tokens between the two, in their order;
  // where the record of a token goes, −1 = none is kept.
  const int32_t *state_in = nullptr, *state_out = nullptr;  // [num_seqs]
  const int32_t* old_records = nullptr;                     // [num_seqs][kChunk]
  const int32_t* new_records = nullptr;                     // [num_tokens]
};

// out[i] = table[ids[i] · id_step + id_first] · scale, + position_table[positions[i]] where
// positions are learned, then + type_table[types[i]] where tokens have types.
struct EmbeddingParams {
  Tensor out;                    // [n, hidden] F32
  Tensor table;                  // [vocab · id_step, hidden] any stored type
  const int32_t* ids = nullptr;  // [n]
  float scale = 1;
  Tensor position_table{};             // [num_positions, hidden] any stored type, or empty
  const int32_t* positions = nullptr;  // [n], each below num_positions; null without a table
  Tensor type_table{};                 // [num_types, hidden] any stored type, or empty
  const int32_t* types = nullptr;      // [n], each below num_types; null without a table
  int64_t id_step = 1, id_first = 0;   // of a table that several layers share by turns
};

enum class NormKind : int32_t { kNone = 0, kRms = 1, kLayer = 2 };

// If add is not empty: x = sum_scale · (x + add_scale · add). Then, row by row,
//   none   out = x
//   rms    out = x / sqrt(mean(x²) + eps) · weight
//   layer  out = (x − mean(x)) / sqrt(mean((x − mean(x))²) + eps) · weight + bias
struct NormParams {
  Tensor out;  // [n, cols] A, perhaps add itself; or x
  Tensor x;    // [n, cols] F32 or, without add, A
  Tensor add;  // [n, cols] A, or empty
  NormKind kind = NormKind::kRms;
  const float* weight = nullptr;  // [weight_rows, cols]; null = ones
  const float* bias = nullptr;    // the same, of kLayer; null = zeros
  float eps = 0;
  float add_scale = 1;
  int64_t weight_rows = 1;  // row r of x takes row r % weight_rows of both
  float sum_scale = 1;
};

// x times 1 + beta · ln(1 + ⌊(position + offset) / length⌋); beta 0 = as it is.
struct Temperature {
  float beta = 0;
  int32_t length = 1;  // positions that have the same factor
  int32_t offset = 0;

  OCTAVO_HD int64_t steps(int32_t position) const { return (int64_t{position} + offset) / length; }
};

// Rotates q and k (pairs (i, i + rotary/2), or (2i, 2i+1) when interleaved) by
// position · inv_freq[i], q in place, then writes k and v into their slots; k may be left in either
// state. cos and sin are multiplied by `attention_factor` (yarn). rotary_size ≤ head_size; the rest
// of a head passes unrotated; rotary_size 0: nothing rotates. In between, where asked, each head of
// q and k is normed as kRms does it, then q multiplied by its position's temperature. Without k and
// v, of a layer that reads the KV of another, only q is changed.
// Of latent rows v is what a row begins with and k what stands behind it; only k rotates, and of
// each head of q as many values at its end.
struct RopeCacheParams {
  Tensor q;                         // [num_tokens, num_heads · head_size] A
  Tensor k;                         // [num_tokens, num_kv_heads · head_size] A, or empty, or
                                    // [num_tokens, head_size − latent]
  Tensor v;                         // [num_tokens, num_kv_heads · head_size] A, or empty, or
                                    // [num_tokens, latent]
  const float* inv_freq = nullptr;  // [rotary_size / 2]
  // The same for tokens that batch.long_rope marks (longrope); null where the model has one table.
  const float* inv_freq_long = nullptr;
  int32_t rotary_size = 0;
  bool interleaved = false;
  float attention_factor = 1.0f;
  bool norm = false;
  float norm_eps = 0;
  const float *q_norm = nullptr, *k_norm = nullptr;  // weights [head_size]; null = ones
  Temperature temperature{};
};

struct AttentionParams {
  Tensor out;  // [num_tokens, num_heads · kv.value_size()] A
  Tensor q;    // [num_tokens, num_heads · head_size] A
  int32_t num_heads = 0;
  float scale = 0.0f;  // 1/√head_size as a rule
  Reach reach{};
  // Scores become softcap · tanh(score / softcap), 0 = as they are; then a head's slope times
  // (key position − query position) is added (ALiBi), [num_heads] or null.
  float softcap = 0.0f;
  const float* alibi = nullptr;
  // A logit per head [num_heads], as it is, of a token whose value is 0 and that all see: e to it
  // stands in the softmax's denominator. Null = there is none.
  const float* sinks = nullptr;
};

// kGelu by erf; kRelu2 = max(x, 0)²; kSigmoid = 1 / (1 + e⁻ˣ).
enum class HiddenAct : int32_t {
  kSilu = 0,
  kGeluTanh = 1,
  kGelu = 2,
  kRelu2 = 3,
  kSigmoid = 4,
  kTanh = 5,
};

// A gated activation: out = act(α · g) / α · (u + up_offset), where g is at most `limit` and u lies
// in [−limit, limit]; limit 0 = none.
struct Glu {
  HiddenAct hidden_act = HiddenAct::kSilu;
  float alpha = 1, limit = 0, up_offset = 0;
};

struct RouteParams {
  Routing out;
  Tensor logits;  // [num_rows, num_experts] F32
  Router router;
  const float* choice_bias = nullptr;   // [num_experts] or null
  const float* expert_scale = nullptr;  // [num_experts] that weights are multiplied by, or null
};

// A matrix of every expert, and a row for each place that it gives.
struct ExpertPart {
  Tensor out;                   // [num_places, N] A
  Tensor weight;                // [N, K] of the first expert, any stored type
  int64_t stride = 0;           // bytes from one expert's to the next one's
  const float* bias = nullptr;  // [num_experts, N] or null
};

// Of each head of x [n, num_heads · (K + rest)] its first K values become N, by a matrix of its
// own; the rest stands behind them in out [n, num_heads · (N + rest)], as it was.
struct HeadMatmulParams {
  Tensor out, x;       // A
  Tensor weight;       // [N, K] of the first head, any stored type
  int64_t stride = 0;  // bytes from one head's to the next one's
  int32_t num_heads = 0;

  OCTAVO_HD int64_t rest() const { return x.cols / num_heads - weight.cols; }
};

// out = Σ of a row's experts, best first, of their weights (ones, if not `weighted`) times what y
// has at their places; then + shared (· sigmoid(shared_gate)).
struct CombineParams {
  Tensor out;  // [num_rows, cols] A
  Tensor y;    // [num_places, cols] A
  Routing routing;
  bool weighted = true;
  Tensor shared{};       // [num_rows, cols] A, may be out; or empty
  Tensor shared_gate{};  // [num_rows, 1] F32, or empty
};

// What a sequence's rows become one of: their mean, the first or the last.
enum class Pooling : int32_t { kMean = 0, kFirst = 1, kLast = 2 };

// out[i] = the rows of x that are sequence i's, pooled as batch.poolings[i] says. The order in
// which a mean is summed depends on their number alone.
struct PoolParams {
  Tensor out;  // [num_seqs, cols] A or F32
  Tensor x;    // [num_tokens, cols] A
};

// Blocks between the pool and another of the same layout in host memory.
struct BlockSwap {
  int32_t device;  // block of the pool
  int32_t host;    // block of the host pool
};

// Ids that penalties count from now on, in one of max_num_seqs rows. A row begins with its prompt;
// later only output comes.
struct TokenUpdate {
  int32_t row = 0;
  bool begins = false;  // what the row has counted is forgotten first
  int32_t prompt_len = 0, output_len = 0;
  const int32_t* prompt = nullptr;
  const int32_t* output = nullptr;
};

// A row of the mask slab: bit id % 32 of word id / 32 says whether a token may be drawn.
struct MaskUpdate {
  int32_t row = 0;                 // of max_num_seqs
  const uint32_t* bits = nullptr;  // [⌈vocab / 32⌉]
};

// One draw from one row of raw logits. Order of the steps, as vLLM's: mask, allowed ids, banned
// ids, bias; repetition (prompt + output), frequency, presence (output only); temperature; min-p;
// top-k (ties at the edge stay); top-p (smallest set whose mass reaches p). Temperature 0 takes
// the largest, ties the lowest id. The row itself is left as it is.
struct SampleRow {
  int64_t logits_row = 0;  // row of the logits tensor
  double temperature = 1, top_p = 1, min_p = 0;
  double repetition = 1, frequency = 0, presence = 0;
  int32_t top_k = 0;                // 0 = all
  uint64_t seed = 0, position = 0;  // key and counter of the generator
  int32_t mask_row = -1;            // of set_masks; −1 = no mask
  int32_t num_allowed = -1;         // −1 = every token is allowed
  int32_t num_banned = 0, num_bias = 0;
  const int32_t* allowed = nullptr;
  const int32_t* banned = nullptr;
  const int32_t* bias_ids = nullptr;
  const float* bias = nullptr;
  int32_t counted = -1;  // row of count_tokens that the penalties look at; −1 = nothing was counted
  // Instead of drawing, report on this token (prompt logprobs); −1 = draw.
  int32_t target = -1;
  // What is asked: num_top −1 = only the logprob, 0 = and its rank, n = and the n best tokens.
  int32_t num_top = -1;
  // Of a draw: the n best are of what may be drawn, everything else having logprob −inf: for a
  // beam, whose candidates they are.
  bool top_drawable = false;
  // Out. token −1 = no finite logit; then nothing else is written but logprob = NaN.
  int32_t* token = nullptr;
  double* logprob = nullptr;       // raw log-softmax of the token
  int32_t* rank = nullptr;         // 1 + number of tokens with a larger logit
  int32_t* top_ids = nullptr;      // [num_top]
  double* top_logprobs = nullptr;  // [num_top]
};

inline bool has_penalties(const SampleRow& r) {
  return r.repetition != 1 || r.frequency != 0 || r.presence != 0;
}

// The attention of one or more layers.
struct AttentionShape {
  int32_t num_heads, num_kv_heads, head_size;
  Reach reach{};
  int32_t block_size = 16;
  std::vector<int32_t> groups = {0};  // KV groups that have such layers
  int32_t latent = 0;                 // PagedKV::latent
};

// A product of heads (HeadMatmulParams), as it is known before any step.
struct HeadMatmulShape {
  int32_t num_heads;
  int64_t in, out;  // K and N
};

struct RecurrentLayerShape {
  RecurrentShape shape;
  int32_t norm_size;  // neighbours of what comes out that are normed together
};

// What a backend is asked before a model is built on it.
struct ModelShape {
  int32_t hidden_size, vocab_size;
  int32_t max_num_seqs, max_num_batched_tokens;
  std::vector<int32_t> blocks_per_row;               // of each KV group: entries of its table
  bool kv_8bit = false;                              // the cache is kF8E4M3 or kI8
  std::vector<int32_t> mlp_sizes;                    // intermediate sizes, each that occurs once
  std::vector<AttentionShape> attentions;            // each that occurs, once
  std::vector<Router> routers = {};                  // of all layers with experts
  std::vector<RecurrentLayerShape> recurrents = {};  // of all recurrent layers
  std::vector<HeadMatmulShape> head_matmuls = {};
};

constexpr int64_t kMeasureGraph = 0;

struct Ops {
  const char* name;  // "cpu", "cuda"
  const char* isa;   // "avx512", "sm_90", …
  void* context;     // first argument of every op
  DType activation;  // A
  bool graphs;       // run_graph may replay: pad decode steps to a few sizes

  // Sizes what ops need for themselves; null, or a sentence why the model cannot run here.
  const char* (*prepare)(void* context, const ModelShape& shape);
  // Bytes free and in all where pools live; {0, 0} where only the system knows. What the backend
  // will take later counts as taken.
  void (*memory)(void* context, int64_t* free_bytes, int64_t* total_bytes);
  void* (*allocate)(void* context, size_t bytes);  // 64-byte aligned; zero on the CPU; or null
  void (*release)(void* context, void* data, size_t bytes);
  void (*write)(void* context, void* target, const void* host, size_t bytes);
  void (*read)(void* context, void* host, const void* source, size_t bytes);  // waits
  // Memory that a stored matrix [rows, cols] needs in the form the ops read; load_weight fills it
  // from the source and says what it holds: nothing, if the source failed. stored.data is not read.
  size_t (*weight_bytes)(void* context, Tensor stored);
  Tensor (*load_weight)(void* context, Tensor stored, const WeightSource& source, void* memory);

  // A step: its arrays, from host to wherever ops read them; valid until end_step, which waits for
  // everything and puts sampled tokens where their rows say.
  BatchView (*begin_step)(void* context, const BatchView& host);
  void (*end_step)(void* context);
  // Instead of end_step, after an op that threw: waits for what the step has started and forgets it
  // and its errors; throws nothing.
  void (*drain)(void* context);
  // Runs body(argument), or replays what it did when it ran with this key. Key < 0: never replayed.
  // kMeasureGraph: runs nothing, but finds what memory such replays take.
  void (*run_graph)(void* context, int64_t key, void (*body)(void*), void* argument);

  void (*embedding)(void* context, const EmbeddingParams& p);
  void (*norm)(void* context, const NormParams& p);
  void (*matmul)(void* context, Tensor x, const MatmulPart* parts, int32_t num_parts);
  void (*rope_and_cache)(void* context, const RopeCacheParams& p, const PagedKV& kv,
                         const BatchView& batch);
  void (*paged_attention)(void* context, const AttentionParams& p, const PagedKV& kv,
                          const BatchView& batch);
  void (*short_conv)(void* context, const ShortConvParams& p, const RecurrentView& kept,
                     const BatchView& batch);
  void (*linear_attention)(void* context, const LinearAttentionParams& p, const RecurrentView& kept,
                           const BatchView& batch);
  // out = act(gate) · up, or act(gate) where up is empty.  All [n, cols] A; out may be one of them.
  void (*activate)(void* context, Tensor out, Tensor gate, Tensor up, HiddenAct hidden_act);
  // gate.out = activation(x · gate.weightᵀ) · (x · up.weightᵀ), up.out in either state: the bits of
  // matmul and activate, with less to write and read. False, or null: those must do it.
  bool (*gated_matmul)(void* context, Tensor x, const MatmulPart& gate, const MatmulPart& up,
                       HiddenAct hidden_act);
  // Chooses each row's experts and sorts the choices.
  void (*route)(void* context, const RouteParams& p);
  // At each place, x being its row of x [num_rows, K] (times its weight, if `scales_input`):
  // gate.out = glu(x · gateᵀ, x · upᵀ), up.out in either state; or, where up is empty,
  // gate.out = act(x · gateᵀ), glu having nothing but its act then.
  void (*expert_gated_matmul)(void* context, Tensor x, const Routing& routing,
                              const ExpertPart& gate, const ExpertPart& up, const Glu& glu,
                              bool scales_input);
  // At each place, x [num_places, K] having a row for it: out = x · weightᵀ.
  void (*expert_matmul)(void* context, Tensor x, const Routing& routing, const ExpertPart& part);
  void (*combine)(void* context, const CombineParams& p);
  void (*head_matmul)(void* context, const HeadMatmulParams& p);
  // out[i] = x[rows[i]].  Same type
  void (*gather_rows)(void* context, Tensor out, Tensor x, const int32_t* rows);
  void (*pool_rows)(void* context, const PoolParams& p, const BatchView& batch);
  // All copies of a step at once; whole blocks of block_bytes from the pool's base.
  void (*copy_blocks)(void* context, void* pool, int64_t block_bytes, const BlockCopy* copies,
                      int32_t num_copies);
  // Memory that swaps are fast with (page-locked for a device); null when there is none.
  void* (*allocate_host)(void* context, size_t bytes);
  void (*release_host)(void* context, void* data, size_t bytes);
  // Whole blocks out of the pool or into it, ordered with the steps around it; `swaps` on the host.
  void (*swap_blocks)(void* context, void* pool, void* host_pool, int64_t block_bytes,
                      const BlockSwap* swaps, int32_t num_swaps, bool to_host);
  // Takes in what penalties count, each row at most once a call; `updates` on the host. It stays
  // for all later steps.
  void (*count_tokens)(void* context, const TokenUpdate* updates, int32_t num_updates);
  // Rows of the mask slab, each at most once a call; `updates` on the host. They stay for all later
  // steps.
  void (*set_masks)(void* context, const MaskUpdate* updates, int32_t num_updates);
  // logits = scale · logits, then, where softcap > 0, softcap · tanh(logits / softcap).
  // [n, vocab] F32
  void (*transform_logits)(void* context, Tensor logits, float scale, float softcap);
  // logits [n, vocab] F32. Tokens and logprobs are there after end_step.
  void (*sample)(void* context, Tensor logits, const SampleRow* rows, int32_t num_rows);
};

}  // namespace octavo
