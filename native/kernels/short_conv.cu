// The causal convolution of recurrent layers, in place.
#include <algorithm>

#include "kernels/recurrent.cuh"

namespace octavo::device {
namespace {

constexpr int kPieceChannels = 64;  // of a block: two in each lane
constexpr int kWarpTokens = 8;      // that a warp convolves together
constexpr int kManyWarps = 8;

OCTAVO_HD int64_t pieces_of(int64_t channels) {
  return (channels + kPieceChannels - 1) / kPieceChannels;
}

// Two neighbouring channels; of the last piece maybe one, or none. Rows of an odd number of
// channels have no pairs that lie as a load needs them.
struct Pair {
  int num;  // channels that there are
  bool together;

  template <class T>
  OCTAVO_DEVICE float2 read(const T* from) const {
    if constexpr (sizeof(T) == 2) {
      if (num == 2 && together) return unpack2<T>(*reinterpret_cast<const uint32_t*>(from));
    }
    return {num > 0 ? widen(from[0]) : 0.0f, num > 1 ? widen(from[1]) : 0.0f};
  }
  template <class T>
  OCTAVO_DEVICE void write(T* to, float2 x) const {
    if constexpr (sizeof(T) == 2) {
      if (num == 2 && together) {
        *reinterpret_cast<uint32_t*>(to) = pack2<T>(x.x, x.y);
        return;
      }
    }
    if (num > 0) to[0] = narrow<T>(x.x);
    if (num > 1) to[1] = narrow<T>(x.y);
  }
};

// A piece of the channels of q, k or v, and what convolves it.
template <class T>
struct ConvPiece {
  T* x;
  const T *times, *gate;  // of kConv; the other kinds have none
  int64_t cols, channel;  // of a row of x; the lane's first among all channels
  Pair pair;
  const ShortConvArgs& a;

  OCTAVO_DEVICE ConvPiece(const ShortConvArgs& args, int32_t index, int lane)
      : times(nullptr), gate(nullptr), channel(0), a(args) {
    const RecurrentShape& s = args.kept.shape;
    const int64_t key_width = s.has_heads() ? s.key_width() : 0;
    const int64_t of_key = pieces_of(key_width);
    const int which = index < of_key ? 0 : index < 2 * of_key ? 1 : 2;
    const int64_t col = (index - which * of_key) * kPieceChannels + 2 * lane;
    cols = which < 2 ? key_width : s.value_width();
    channel = which * key_width + col;
    pair = {static_cast<int>(col + 2 <= cols ? 2 : col < cols ? 1 : 0), cols % 2 == 0};
    x = static_cast<T*>(which == 0 ? args.q : which == 1 ? args.k : args.v) + col;
    if (s.has_heads()) return;
    gate = static_cast<const T*>(args.q) + col;
    times = static_cast<const T*>(args.k) + col;
  }
  // What is convolved of a row of the step.
  OCTAVO_DEVICE float2 input(int64_t row) const {
    float2 in = pair.read(x + row * cols);
    if (times != nullptr) {
      const float2 by = pair.read(times + row * cols);
      in = {mul_rn(in.x, by.x), mul_rn(in.y, by.y)};
    }
    return in;
  }
  // The input of a token before the query.
  OCTAVO_DEVICE float2 input_before(const RecurrentQuery& q, int32_t position) const {
    const int32_t border = border_of(q.start), halo = a.kept.shape.conv_width - 1;
    const float* const from = position >= border
                                  ? a.kept.input(q.old_record(a.step, position))
                                  : a.kept.last_inputs(a.step.state_in[q.seq]) +
                                        (position - (border - halo)) * a.kept.shape.channels();
    return floats().read(from + channel);
  }
  OCTAVO_DEVICE Pair floats() const { return {pair.num, false}; }
  OCTAVO_DEVICE void finish(int64_t row, float2 sum) const {
    if (gate != nullptr) {
      const float2 by = pair.read(gate + row * cols);
      sum = {mul_rn(by.x, sum.x), mul_rn(by.y, sum.y)};
    } else {
      sum = {silu(sum.x), silu(sum.y)};
    }
    pair.write(x + row * cols, sum);
  }
};

// The inputs of a tile of tokens and, before them, of those that the first ones look back to.
template <class T, int kWarps>
struct ConvTile {
  static constexpr int kTokens = kWarps * kWarpTokens;
  static constexpr int kRows = kTokens + kChunk;  // a ring: a position has the row of its rest

  const ConvPiece<T>& piece;
  const RecurrentQuery& q;
  const RecurrentStep& step;
  float2* inputs;  // [kRows][32]
  int warp, lane;

  OCTAVO_DEVICE float2& at(int32_t position) const {
    return inputs[(position + kRows) % kRows * 32 + lane];
  }
  OCTAVO_DEVICE void load_before() const {
    const int32_t halo = piece.a.kept.shape.conv_width - 1;
    for (int32_t i = warp; i < halo; i += kWarps) {
      at(q.start - halo + i) = piece.input_before(q, q.start - halo + i);
    }
  }
  OCTAVO_DEVICE void load(int32_t first, int32_t end) const {
    for (int32_t position = first + warp; position < end; position += kWarps) {
      const int64_t row = q.row_of(position);
      const float2 input = piece.input(row);
      at(position) = input;
      const int32_t record = step.new_records[row];
      if (record < 0) continue;
      piece.floats().write(piece.a.kept.input(record) + piece.channel, input);
    }
  }
  // Where the query crosses a border, the inputs before the last one go into its state. Those of
  // the old state have been read by then, which may be the same.
  OCTAVO_DEVICE void keep_last(int32_t first, int32_t end) const {
    const RecurrentView& kept = piece.a.kept;
    const int32_t border = border_of(q.end), begin = border - (kept.shape.conv_width - 1);
    if (border == border_of(q.start)) return;
    float* const to = kept.last_inputs(step.state_out[q.seq]) + piece.channel;
    for (int32_t position = max(first, begin) + warp; position < min(end, border);
         position += kWarps) {
      piece.floats().write(to + (position - begin) * kept.shape.channels(), at(position));
    }
  }
  OCTAVO_DEVICE void convolve(int32_t first, int32_t end) const {
    const ShortConvArgs& a = piece.a;
    const int32_t width = a.kept.shape.conv_width;
    const int64_t channels = a.kept.shape.channels();
    const int32_t own = first + warp * kWarpTokens;
    const float2 bias =
        a.bias != nullptr ? piece.floats().read(a.bias + piece.channel) : float2{0.0f, 0.0f};
    float2 sums[kWarpTokens];
#pragma unroll
    for (int i = 0; i < kWarpTokens; i++) sums[i] = bias;
    for (int32_t j = 0; j < width; j++) {
      const float2 weight = piece.floats().read(a.weight + j * channels + piece.channel);
#pragma unroll
      for (int i = 0; i < kWarpTokens; i++) {
        if (own + i >= end) break;
        const float2 in = at(own + i - (width - 1) + j);
        sums[i] = {fmaf(weight.x, in.x, sums[i].x), fmaf(weight.y, in.y, sums[i].y)};
      }
    }
#pragma unroll
    for (int i = 0; i < kWarpTokens; i++) {
      if (own + i < end) piece.finish(q.row_of(own + i), sums[i]);
    }
  }
};

// Queries of one token with one warp, longer ones with several, a tile at a time. Grid: [pieces of
// channels][sequences].
template <class T, int kWarps>
__global__ void __launch_bounds__(kWarps * 32) short_conv_kernel(const ShortConvArgs a) {
  OCTAVO_SHARED(shared);
  using Tile = ConvTile<T, kWarps>;
  const RecurrentQuery q(a.step, static_cast<int32_t>(blockIdx.y));
  if (!q.is_for(kWarps == 1)) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const ConvPiece<T> piece(a, static_cast<int32_t>(blockIdx.x), lane);
  const Tile tile{piece, q, a.step, reinterpret_cast<float2*>(shared), warp, lane};
  tile.load_before();
  for (int32_t first = q.start; first < q.end; first += Tile::kTokens) {
    const int32_t end = min(first + Tile::kTokens, q.end);
    tile.load(first, end);
    __syncthreads();
    tile.keep_last(first == q.start ? q.start - kChunk : first, end);
    tile.convolve(first, end);
    if (end < q.end) __syncthreads();
  }
}

template <class T, int kWarps>
void launch_short_conv_as(const ShortConvArgs& a, cudaStream_t stream) {
  const RecurrentShape& s = a.kept.shape;
  const int64_t pieces =
      (s.has_heads() ? 2 * pieces_of(s.key_width()) : 0) + pieces_of(s.value_width());
  const dim3 grid(static_cast<uint32_t>(pieces), static_cast<uint32_t>(a.step.num_seqs));
  launch(short_conv_kernel<T, kWarps>, grid, dim3(kWarps * 32),
         ConvTile<T, kWarps>::kRows * 32 * sizeof(float2), stream, a);
}

template <class T>
void launch_short_conv_of(const ShortConvArgs& a, cudaStream_t stream) {
  if (a.step.single) launch_short_conv_as<T, 1>(a, stream);
  if (a.step.longer) launch_short_conv_as<T, kManyWarps>(a, stream);
}

}  // namespace

void launch_short_conv(const ShortConvArgs& args, DType activation, cudaStream_t stream) {
  if (activation == DType::kF16) {
    launch_short_conv_of<F16>(args, stream);
  } else {
    launch_short_conv_of<Bf16>(args, stream);
  }
}

}  // namespace octavo::device
