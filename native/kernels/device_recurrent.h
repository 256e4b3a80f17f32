// Recurrent layers on a device: the part of a step that they read, and their ops.
#pragma once

#include <vector>

#include "kernels/launchers.h"
#include "kernels/recurrent.h"
#include "kernels/step_arrays.h"

namespace octavo::device {

class RecurrentQueries {
 public:
  static constexpr size_t kRegions = 5;  // of StepArrays

  // Null, or a sentence why such layers cannot run here.
  static const char* unsupported(const ModelShape& shape, const DeviceLimits& limits);
  static void add_capacity(int64_t seqs, int64_t tokens, std::vector<int64_t>* capacity);
  // The view's sequences, where recurrent layers or pooling ask for them. A step of single tokens
  // may be replayed with as many as it has rows, or may have: the view gets all those, without
  // tokens beyond its own.
  void pad(const BatchView& host, const ModelShape& shape, BatchView* view);
  void put(const BatchView& host, StepArrays* arrays, BatchView* view) const;
  // Of a view that pad() and put() have made.
  RecurrentStep of(const BatchView& view) const;

 private:
  bool single_ = false, longer_ = false;  // RecurrentStep
  std::vector<int32_t> starts_;
};

void short_conv(void* context, const ShortConvParams& p, const RecurrentView& kept,
                const BatchView& batch);
void linear_attention(void* context, const LinearAttentionParams& p, const RecurrentView& kept,
                      const BatchView& batch);

}  // namespace octavo::device
