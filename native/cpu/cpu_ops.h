// What the files of cpu/ share: the context behind Ops::context, and one function per op with the
// signature that ops.h asks for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/thread_pool.h"
#include "cpu/packed.h"
#include "cpu/panels.h"
#include "base/rounding.h"
#include "cpu/token_counts.h"
#include "ops.h"

namespace octavo {

struct CpuKernels;  // kernels.h: one table per instruction set

// Memory that an op needs for itself. It keeps its size between calls and grows rarely, so the hot
// path allocates nothing once the shapes of a model have been seen.
class Scratch {
 public:
  Scratch() = default;
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // At least `bytes` bytes, 64-byte aligned; contents undefined and valid until the next call.
  // Throws ERR_OUT_OF_MEMORY.
  void* get(size_t bytes);
  template <class T>
  T* get_array(size_t count) {
    return static_cast<T*>(get(count * sizeof(T)));
  }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// cos and sin of every token's angles. All layers of a step ask for the same ones, so the last two
// tables are kept (two: some models rotate local and global layers differently).
struct RopeTable {
  std::vector<int32_t> positions;    // the question: [num_tokens]
  std::vector<float> inv_freq;       // [half]
  std::vector<int32_t> is_long;      // [num_tokens], 1 = by inv_freq_long; empty = none is
  std::vector<float> inv_freq_long;  // [half], or empty
  float factor = 0;
  std::vector<float> cos, sin;  // the answer: [num_tokens, half]
};

// Which tokens the rows of the slab let be drawn: a bit per token.
struct TokenMasks {
  int64_t words = 0;  // of a row; 0 = no model was prepared
  int32_t max_rows = 0;
  std::vector<uint32_t> bits;  // [rows, words], grown as rows are named
};

// How a call for experts is cut (experts.cc). Kept, so that later calls allocate nothing.
struct ExpertRows {
  int32_t expert;
  int64_t place, count;  // the first, and how many
};
struct ExpertItem {
  int32_t owner;  // index of its expert's rows
  int32_t panel, row;
};
struct ExpertLists {
  std::vector<ExpertRows> experts;  // that have rows
  std::vector<ExpertItem> items, tiles;
  std::vector<QuantRows> quantised;  // of each of these experts
  std::vector<float> weights;        // by place
  std::vector<int32_t> starts;       // of heads
};

struct CpuContext {
  explicit CpuContext(int num_threads) : pool(num_threads), worker_scratch(num_threads) {}

  ThreadPool pool;
  const CpuKernels* kernels = nullptr;
  const PanelKernels* panels = nullptr;
  Rounding rounding;
  // How weights lie in memory, from their loading on.
  PanelLayout layout() const {
    return {rounding.bf16, rounding.bf16 && panels->bf16_pairs, panels->unsigned_bytes};
  }
  RopeTable rope_tables[2];
  std::vector<TokenCounts> token_counts;  // [max_num_seqs], grown as rows are named
  TokenMasks masks;
  // One per worker index of parallel_for. Grow them before a loop: get() throws, loops must not.
  std::vector<Scratch> worker_scratch;
  Scratch shared_scratch, partial_scratch, quant_scratch;
  ExpertLists expert_lists;
};

// What a KV cache may be stored in here.
constexpr bool is_cpu_cache(DType t) {
  return t == DType::kF32 || t == DType::kF16 || t == DType::kBF16 || t == DType::kI8;
}

// Loops with less work than this (multiply-adds, or values moved) cost more to share than to do.
constexpr int64_t kInlineWork = 32768;
constexpr int64_t kPointwiseCost = 4;  // of a value that is computed and moved, in multiply-adds

template <class Fn>
void for_each_item(CpuContext& context, int64_t work, int64_t num_items, Fn&& fn) {
  if (work >= kInlineWork) return context.pool.parallel_for(num_items, fn);
  for (int64_t item = 0; item < num_items; item++) fn(item, 0);
}

inline CpuContext& cpu_context(void* context) { return *static_cast<CpuContext*>(context); }

void* cpu_allocate(void* context, size_t bytes);
void cpu_release(void* context, void* data, size_t bytes);
void cpu_embedding(void* context, const EmbeddingParams& p);
void cpu_norm(void* context, const NormParams& p);
size_t cpu_weight_bytes(void* context, Tensor stored);
Tensor cpu_load_weight(void* context, Tensor stored, const WeightSource& source, void* memory);
void cpu_matmul(void* context, Tensor x, const MatmulPart* parts, int32_t num_parts);
// route.cc
void cpu_route(void* context, const RouteParams& p);
void cpu_combine(void* context, const CombineParams& p);
// experts.cc
void cpu_expert_gated_matmul(void* context, Tensor x, const Routing& routing,
                             const ExpertPart& gate, const ExpertPart& up, const Glu& glu,
                             bool scales_input);
void cpu_expert_matmul(void* context, Tensor x, const Routing& routing, const ExpertPart& part);
void cpu_head_matmul(void* context, const HeadMatmulParams& p);
void cpu_rope_and_cache(void* context, const RopeCacheParams& p, const PagedKV& kv,
                        const BatchView& batch);
void cpu_paged_attention(void* context, const AttentionParams& p, const PagedKV& kv,
                         const BatchView& batch);
// recurrent.cc
void cpu_short_conv(void* context, const ShortConvParams& p, const RecurrentView& kept,
                    const BatchView& batch);
void cpu_linear_attention(void* context, const LinearAttentionParams& p, const RecurrentView& kept,
                          const BatchView& batch);
void cpu_activate(void* context, Tensor out, Tensor gate, Tensor up, HiddenAct hidden_act);
void cpu_transform_logits(void* context, Tensor logits, float scale, float softcap);
void cpu_gather_rows(void* context, Tensor out, Tensor x, const int32_t* rows);
void cpu_pool_rows(void* context, const PoolParams& p, const BatchView& batch);
void cpu_copy_blocks(void* context, void* pool, int64_t block_bytes, const BlockCopy* copies,
                     int32_t num_copies);
void cpu_swap_blocks(void* context, void* pool, void* host_pool, int64_t block_bytes,
                     const BlockSwap* swaps, int32_t num_swaps, bool to_host);
bool cpu_gated_matmul(void* context, Tensor x, const MatmulPart& gate, const MatmulPart& up,
                      HiddenAct hidden_act);
// sample.cc. context is a CpuContext*.
void cpu_set_masks(void* context, const MaskUpdate* updates, int32_t num_updates);
void cpu_count_tokens(void* context, const TokenUpdate* updates, int32_t num_updates);
void cpu_sample(void* context, Tensor logits, const SampleRow* rows, int32_t num_rows);

}  // namespace octavo
