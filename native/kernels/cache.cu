// Writing the KV cache: rotary embedding of q and k fused with the write of k and v into their
// slots; and copies of whole blocks.
#include <algorithm>

#include "kernels/launchers.h"
#include "kernels/row_ops.cuh"

namespace octavo::device {
namespace {

constexpr int kThreads = 128;

// The larger of a value over a warp's lanes.
OCTAVO_DEVICE float warp_max(float x) {
  for (int bit = 16; bit > 0; bit /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, bit));
  return x;
}

// One head's row, in shared memory, over its root mean square.
OCTAVO_DEVICE void norm_row(float* row, const float* weight, int size, float eps, int lane) {
  float squares = 0.0f;
  for (int i = lane; i < size; i += 32) squares = fmaf(row[i], row[i], squares);
  squares = warp_sum(squares);
  const float factor = 1.0f / sqrtf(squares / static_cast<float>(size) + eps);
  for (int i = lane; i < size; i += 32) {
    row[i] = row[i] * factor * (weight != nullptr ? weight[i] : 1.0f);
  }
  __syncwarp();
}

// Writes one head's row, given as floats in shared memory, into a page: as T, or as bytes with one
// scale. The lanes of a warp work together.
template <class T>
OCTAVO_DEVICE void write_row(const RopeCacheArgs& a, const float* row, int64_t slot, int head,
                             bool value, int lane) {
  const int size = a.row_size(!value);
  const int32_t block = static_cast<int32_t>(slot / a.kv.block_size);
  const int32_t offset = static_cast<int32_t>(slot % a.kv.block_size);
  const int64_t at = a.kv.page(block, head, offset) + (value ? a.kv.v_offset : a.kv.latent);
  if (!is_8bit_cache(a.kv.dtype)) {
    T* out = static_cast<T*>(a.kv.base) + at;
    for (int i = lane * 2; i < size; i += 64) {
      *reinterpret_cast<uint32_t*>(out + i) = pack2<T>(row[i], row[i + 1]);
    }
    return;
  }
  float largest = 0.0f;
  for (int i = lane; i < size; i += 32) largest = fmaxf(largest, fabsf(row[i]));
  largest = warp_max(largest);
  const bool f8 = a.kv.dtype == DType::kF8E4M3;
  const float scale = largest / (f8 ? kF8Max : kI8Max);
  const float inverse = largest > 0.0f ? 1.0f / scale : 0.0f;
  uint8_t* out = static_cast<uint8_t*>(a.kv.base) + at;
  for (int i = lane * 4; i < size; i += 128) {
    uint32_t word = 0;
    for (int j = 0; j < 4; j++) {
      const float x = row[i + j] * inverse;
      word |= (f8 ? narrow_f8(x) : narrow_i8(x)) << (8 * j);
    }
    *reinterpret_cast<uint32_t*>(out + i) = word;
  }
  if (lane == 0) {
    a.kv.scales[a.kv.scale(block, head, offset) + (value ? a.kv.scale_v_offset : 0)] = scale;
  }
}

// Grid: [tokens][any number]; the warps of a token's blocks take heads of q, k and v in turn.
template <class T>
__global__ void __launch_bounds__(kThreads) rope_and_cache_kernel(const RopeCacheArgs a) {
  OCTAVO_SHARED(shared);
  const int half = a.rotary_size / 2, size = a.kv.head_size;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float* cosines = reinterpret_cast<float*>(shared);
  float* sines = cosines + half;
  float* row = sines + half + warp * size;
  const int64_t token = blockIdx.x;
  const int64_t slot = a.slots[token];
  const float position = static_cast<float>(a.positions[token]);
  const bool is_long = a.inv_freq_long != nullptr && a.long_rope[token] != 0;
  const float* const inv_freq = is_long ? a.inv_freq_long : a.inv_freq;
  for (int i = threadIdx.x; i < half; i += kThreads) {
    const float angle = position * inv_freq[i];
    cosines[i] = cosf(angle) * a.attention_factor;
    sines[i] = sinf(angle) * a.attention_factor;
  }
  __syncthreads();
  // A layer that reads the KV of another has none to write.
  const int kv_heads = a.k == nullptr ? 0 : a.kv.num_kv_heads, all = a.num_heads + 2 * kv_heads;
  constexpr int kWarps = kThreads / 32;
  const float steps = static_cast<float>(a.temperature.steps(a.positions[token]));
  const float temper = 1.0f + a.temperature.beta * logf(1.0f + steps);
  const bool changes_q = half > 0 || a.norm || a.temperature.beta != 0.0f;
  const int begin = changes_q ? 0 : a.num_heads;  // else q stays as it is
  for (int h = begin + blockIdx.y * kWarps + warp; h < all; h += gridDim.y * kWarps) {
    const bool is_q = h < a.num_heads, is_v = h >= a.num_heads + kv_heads;
    const int head = is_q ? h : is_v ? h - a.num_heads - kv_heads : h - a.num_heads;
    const int own = is_q ? size : a.row_size(!is_v);
    T* data = static_cast<T*>(is_q   ? a.q
                              : is_v ? a.v
                                     : a.k) +
              (token * (is_q ? a.num_heads : kv_heads) + head) * own;
    __syncwarp();  // the head before has been written
    for (int i = lane; i < own; i += 32) row[i] = widen(data[i]);
    __syncwarp();
    if (!is_v) {
      float* const turned = is_q ? row + a.kv.latent : row;
      for (int i = lane; i < half; i += 32) {
        const int first = a.interleaved ? 2 * i : i, second = a.interleaved ? 2 * i + 1 : i + half;
        const float x = turned[first], y = turned[second];
        turned[first] = x * cosines[i] - y * sines[i];
        turned[second] = y * cosines[i] + x * sines[i];
      }
      __syncwarp();
      if (a.norm) norm_row(row, is_q ? a.q_norm : a.k_norm, size, a.norm_eps, lane);
    }
    if (is_q) {
      for (int i = lane; i < size; i += 32) data[i] = narrow<T>(row[i] * temper);
    } else if (slot >= 0) {
      write_row<T>(a, row, slot, head, is_v, lane);
    }
  }
}

// Grid: [pieces of a block][copies]. Each thread moves four 16-byte words, all loads first.
constexpr int kWordsPerThread = 4;
__global__ void __launch_bounds__(kThreads)
    copy_blocks_kernel(char* pool, int64_t block_bytes, const BlockCopy* copies) {
  const BlockCopy copy = copies[blockIdx.y];
  const uint4* from = reinterpret_cast<const uint4*>(pool + copy.source * block_bytes);
  uint4* to = reinterpret_cast<uint4*>(pool + copy.target * block_bytes);
  const int64_t words = block_bytes / 16;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads * kWordsPerThread + threadIdx.x;
  uint4 held[kWordsPerThread];
#pragma unroll
  for (int i = 0; i < kWordsPerThread; i++) {
    if (first + i * kThreads < words) held[i] = from[first + i * kThreads];
  }
#pragma unroll
  for (int i = 0; i < kWordsPerThread; i++) {
    if (first + i * kThreads < words) to[first + i * kThreads] = held[i];
  }
}

}  // namespace

void launch_rope_and_cache(const RopeCacheArgs& args, DType activation, const DeviceLimits& limits,
                           cudaStream_t stream) {
  const size_t shared =
      static_cast<size_t>(args.rotary_size + kThreads / 32 * args.kv.head_size) * sizeof(float);
  const auto kernel =
      activation == DType::kF16 ? rope_and_cache_kernel<F16> : rope_and_cache_kernel<Bf16>;
  // As many blocks of a token as fill the device, at most a warp for each head.
  const int32_t heads = args.num_heads + (args.k == nullptr ? 0 : 2 * args.kv.num_kv_heads);
  const int32_t fill = 4 * limits.multiprocessors / args.num_tokens;
  const int32_t blocks = std::clamp(fill, 1, static_cast<int32_t>(ceil_div(heads, kThreads / 32)));
  launch(kernel, dim3(static_cast<uint32_t>(args.num_tokens), static_cast<uint32_t>(blocks)),
         dim3(kThreads), shared, stream, args);
}

void launch_copy_blocks(void* pool, int64_t block_bytes, const BlockCopy* copies,
                        int32_t num_copies, cudaStream_t stream) {
  constexpr int64_t kBytes = int64_t{kThreads} * kWordsPerThread * 16;
  constexpr int32_t kMaxY = 65535;
  for (int32_t at = 0; at < num_copies; at += kMaxY) {
    const dim3 grid(static_cast<uint32_t>(ceil_div(block_bytes, kBytes)),
                    static_cast<uint32_t>(std::min(kMaxY, num_copies - at)));
    launch(copy_blocks_kernel, grid, dim3(kThreads), 0, stream, static_cast<char*>(pool),
           block_bytes, copies + at);
  }
}

}  // namespace octavo::device
