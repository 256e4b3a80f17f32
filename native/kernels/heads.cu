// Heads of rows to places of experts, and back: so that a product of each head with a matrix of its
// own is one of experts.
#include "kernels/launchers.h"
#include "kernels/row_ops.cuh"

namespace octavo::device {
namespace {

constexpr int kThreads = 128;

// Grid: [rows]. Eight values at a time; block 0 also says where heads begin, and which tiles there
// are.
__global__ void __launch_bounds__(kThreads) part_heads_kernel(const HeadRowsArgs a) {
  const int64_t row = blockIdx.x, in = (a.depth + a.rest) / 8, out = (a.width + a.rest) / 8;
  const int64_t depth = a.depth / 8, width = a.width / 8;
  const uint4* const x = static_cast<const uint4*>(a.x) + row * a.num_heads * in;
  uint4* const rest = static_cast<uint4*>(a.out) + row * a.num_heads * out;
  uint4* const gathered = static_cast<uint4*>(a.gathered);
  for (int64_t i = threadIdx.x; i < a.num_heads * in; i += kThreads) {
    const int64_t head = i / in, at = i % in;
    if (at < depth) {
      gathered[(head * a.rows + row) * depth + at] = x[i];
    } else {
      rest[head * out + width + at - depth] = x[i];
    }
  }
  if (row != 0) return;
  const Routing& r = a.routing;
  const int32_t rows = static_cast<int32_t>(a.rows);
  const int32_t tile = a.tile_rows, tiles = (rows + tile - 1) / tile;
  for (int32_t h = threadIdx.x; h <= a.num_heads; h += kThreads) r.starts[h] = h * rows;
  for (int32_t i = threadIdx.x; i < a.num_heads * tiles; i += kThreads) {
    const int32_t head = i / tiles;
    r.work[kTilesAt + 2 * i] = head;
    r.work[kTilesAt + 2 * i + 1] = head * rows + i % tiles * tile;
  }
  if (threadIdx.x == 0) r.work[0] = a.num_heads * tiles;
}

// Grid: [rows].
__global__ void __launch_bounds__(kThreads) join_heads_kernel(const HeadRowsArgs a) {
  const int64_t row = blockIdx.x, out = (a.width + a.rest) / 8, width = a.width / 8;
  const uint4* const products = static_cast<const uint4*>(a.products);
  uint4* const to = static_cast<uint4*>(a.out) + row * a.num_heads * out;
  for (int64_t i = threadIdx.x; i < a.num_heads * width; i += kThreads) {
    const int64_t head = i / width, at = i % width;
    to[head * out + at] = products[(head * a.rows + row) * width + at];
  }
}

}  // namespace

void launch_part_heads(const HeadRowsArgs& args, cudaStream_t stream) {
  launch(part_heads_kernel, dim3(static_cast<uint32_t>(args.rows)), dim3(kThreads), 0, stream,
         args);
}

void launch_join_heads(const HeadRowsArgs& args, cudaStream_t stream) {
  launch(join_heads_kernel, dim3(static_cast<uint32_t>(args.rows)), dim3(kThreads), 0, stream,
         args);
}

}  // namespace octavo::device
