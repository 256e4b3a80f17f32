// Products of rows with the weights of the experts they go to.
#pragma once

#include "kernels/matmul.h"
#include "ops.h"

namespace octavo::device {

struct ExpertArgs {
  MatmulArgs product;  // parts: the first expert's; m: places
  int64_t strides[kMaxMatmulParts] = {};
  Routing routing;
  bool by_place = false;  // x has a row for each place
};

// Rows of one expert that a block takes; by the sizes alone, so that a graph is the same whatever
// the router says. More where experts have more: bits do not depend on it.
constexpr int32_t kFewRows = 16, kManyRows = 64;
inline int32_t expert_tile_rows(int64_t num_places, int32_t num_experts) {
  return num_places > int64_t{24} * num_experts ? kManyRows : kFewRows;
}
// As many tiles as there can be.
inline int64_t most_expert_tiles(int64_t num_places, int32_t num_experts) {
  const int64_t busy = num_places < num_experts ? num_places : num_experts;
  return busy + num_places / expert_tile_rows(num_places, num_experts);
}

// What route leaves in Routing::work: how many tiles there are, and a word that nobody uses; then,
// tile by tile, the expert and the first of its places.
constexpr int32_t kTilesAt = 2;

}  // namespace octavo::device
