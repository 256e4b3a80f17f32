// The recurrence of layers with a state: instantiations, and their launches.
#include "kernels/linear_attention.cuh"

namespace octavo::device {
namespace {

using recurrent::HeadBlock;
using recurrent::HeadLayout;
using recurrent::kThreads;
using recurrent::pieces_of;

constexpr int kTogether = 8;

// Queries of one token, or with kGroup > 1 longer ones; so many blocks at once for the sake of what
// they wait for. Grid: [pieces of all heads' columns]
// [sequences].
template <class T, bool kDelta, int kGroup>
__global__ void __launch_bounds__(kThreads, kGroup == 1 ? 4 : 2)
    linear_attention_kernel(const LinearAttentionArgs a) {
  OCTAVO_SHARED(shared);
  const RecurrentQuery q(a.step, static_cast<int32_t>(blockIdx.y));
  if (!q.is_for(kGroup == 1)) return;
  HeadBlock<T, kDelta, kGroup>(a, q, reinterpret_cast<float*>(shared)).run();
}

template <class T, bool kDelta, int kGroup>
void launch_as(const LinearAttentionArgs& a, cudaStream_t stream) {
  const RecurrentShape& s = a.kept.shape;
  const dim3 grid(static_cast<uint32_t>(s.num_value_heads * pieces_of(s.value_size)),
                  static_cast<uint32_t>(a.step.num_seqs));
  const int64_t floats = HeadLayout<kGroup>::floats(s.key_size);
  launch(linear_attention_kernel<T, kDelta, kGroup>, grid, dim3(kThreads),
         static_cast<size_t>(floats) * sizeof(float), stream, a);
}

template <class T, bool kDelta>
void launch_of(const LinearAttentionArgs& a, cudaStream_t stream) {
  if (a.step.single) launch_as<T, kDelta, 1>(a, stream);
  if (a.step.longer) launch_as<T, kDelta, kTogether>(a, stream);
}

}  // namespace

int64_t linear_attention_shared(int32_t key_size) {
  return HeadLayout<kTogether>::floats(key_size) * static_cast<int64_t>(sizeof(float));
}

void launch_linear_attention(const LinearAttentionArgs& args, DType activation,
                             cudaStream_t stream) {
  const bool delta = args.kept.shape.kind == RecurrentKind::kDelta;
  if (activation == DType::kF16) {
    delta ? launch_of<F16, true>(args, stream) : launch_of<F16, false>(args, stream);
  } else {
    delta ? launch_of<Bf16, true>(args, stream) : launch_of<Bf16, false>(args, stream);
  }
}

}  // namespace octavo::device
