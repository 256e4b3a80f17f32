// One launcher for each kernel: chooses the instantiation, sizes the grid, starts it on a stream.
// Everything they are given is asserted by device_backend.cc; they neither allocate nor
// synchronise.
#pragma once

#include "kernels/attention.h"
#include "kernels/experts.h"
#include "kernels/matmul.h"
#include "kernels/runtime.h"
#include "kernels/sample.h"
#include "ops.h"

namespace octavo::device {

// What a launcher must know of the device.
struct DeviceLimits {
  int32_t multiprocessors = 1;
  int64_t shared_per_block = 0;
  int64_t shared_per_multiprocessor = 0;
  bool wgmma = false;  // Hopper, and code for it is in this build
};

// [words] from pinned host memory to fixed device addresses: the arrays of a step, by one kernel,
// so that nothing but it knows where they came from.
struct UnpackArgs {
  static constexpr int kMaxRegions = 136;
  const int32_t* source = nullptr;  // pinned, read through the bus
  int32_t* target[kMaxRegions];
  int64_t begin[kMaxRegions];  // words into source
  int64_t words[kMaxRegions];
  int32_t num_regions = 0;
};
void launch_unpack(const UnpackArgs& args, cudaStream_t stream);

// Scales of what is Q8_0 or Q4_0, else null.
struct EmbeddingScales {
  const void *table, *position_table, *type_table;
};
void launch_embedding(const EmbeddingParams& p, const EmbeddingScales& scales, DType activation,
                      cudaStream_t stream);
// Rows of the activations' type up to this length may have any number of columns, others a multiple
// of four.
constexpr int64_t kMaxShortRow = 512;
void launch_norm(const NormParams& p, DType activation, cudaStream_t stream);
void launch_activate(Tensor out, Tensor gate, Tensor up, HiddenAct hidden_act, cudaStream_t stream);
void launch_transform_logits(Tensor logits, float scale, float softcap, cudaStream_t stream);
void launch_gather_rows(Tensor out, Tensor x, const int32_t* rows, cudaStream_t stream);
void launch_pool_rows(const PoolParams& p, const BatchView& batch, cudaStream_t stream);

struct RopeCacheArgs {
  void *q, *k, *v;  // [num_tokens][heads · head_size]; k and v may be null
  PagedKV kv;
  const int32_t* positions;
  const int64_t* slots;
  const float* inv_freq;       // [rotary_size / 2]
  const float* inv_freq_long;  // the same for tokens marked in long_rope; null = none is
  const int32_t* long_rope;    // [num_tokens]
  int32_t num_tokens, num_heads, rotary_size;
  bool interleaved;
  float attention_factor;
  bool norm;  // of heads of q and k, once they have turned
  float norm_eps;
  const float *q_norm, *k_norm;  // [head_size], or null
  Temperature temperature;       // of q, at last

  // Values of a row of k or v: of latent rows what rotates, or what does not.
  OCTAVO_HD int row_size(bool of_k) const {
    if (kv.latent == 0) return kv.head_size;
    return of_k ? kv.head_size - kv.latent : kv.latent;
  }
};
void launch_rope_and_cache(const RopeCacheArgs& args, DType activation, const DeviceLimits& limits,
                           cudaStream_t stream);

void launch_copy_blocks(void* pool, int64_t block_bytes, const BlockCopy* copies,
                        int32_t num_copies, cudaStream_t stream);

// Attention: narrow items, wide items, merge; `wide` and `merge` false skips what a plan has none
// of. The grid is the same for every plan.
struct AttentionLaunch {
  DType activation = DType::kBF16;
  bool wide = false, merge = false;
};
bool attention_supports(const HeadForm& head, bool kv_8bit);
// Whether a block has shared memory enough for it.
bool attention_fits(const HeadForm& head, bool kv_8bit, const DeviceLimits& limits);
int32_t attention_wide_rows(const HeadForm& head, bool kv_8bit, const DeviceLimits& limits);
// Blocks that run at once on the whole device, for the plan.
int32_t attention_grid(const HeadForm& head, bool kv_8bit, const DeviceLimits& limits);
void launch_attention(const AttentionArgs& args, const AttentionLaunch& how,
                      const DeviceLimits& limits, cudaStream_t stream);

// Floats of MatmulArgs::partial and words of ::arrived that suffice for any launch.
constexpr int64_t kMatmulPartialFloats = int64_t{8} << 20;
constexpr int64_t kMatmulCounters = 4096;
void launch_matmul(MatmulArgs args, DType activation, DType weight, const DeviceLimits& limits,
                   cudaStream_t stream);

// Experts of more than this many would not fit where choices are sorted.
constexpr int32_t kMaxExperts = 1024;
void launch_route(const RouteParams& p, cudaStream_t stream);
void launch_expert_matmul(const ExpertArgs& args, DType activation, DType weight,
                          cudaStream_t stream);
// The heads of x [n, heads · (K + rest)] one after the other, gathered [heads, n, K], as rows of
// experts; the rest to out [n, heads · (N + rest)]. Then back: products [heads, n, N] to out.
struct HeadRowsArgs {
  const void* x = nullptr;
  void *out = nullptr, *gathered = nullptr, *products = nullptr;
  Routing routing;  // starts and work are filled
  int64_t rows = 0, depth = 0, width = 0, rest = 0;
  int32_t num_heads = 0, tile_rows = 1;
};
void launch_part_heads(const HeadRowsArgs& args, cudaStream_t stream);
void launch_join_heads(const HeadRowsArgs& args, cudaStream_t stream);

// gate = glu(gate, up), both [num_places, N], times weights first if `scales_input`; up empty:
// gate = act(gate).
void launch_glu(Tensor gate, Tensor up, const Routing& routing, const Glu& glu, bool scales_input,
                cudaStream_t stream);
void launch_combine(const CombineParams& p, cudaStream_t stream);

void launch_count_tokens(const CountArgs& args, cudaStream_t stream);
void launch_set_masks(const MaskArgs& args, cudaStream_t stream);
void launch_sample(const SampleArgs& args, cudaStream_t stream);

}  // namespace octavo::device
