// A view of a row-major matrix. It owns nothing; Buffer (buffer.h) does.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace octavo {

struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;

  int64_t stride_bytes() const { return row_bytes(dtype, cols); }  // rows are contiguous
  int64_t bytes() const { return rows * stride_bytes(); }
  float* f32() const { return static_cast<float*>(data); }
  bool empty() const { return data == nullptr; }
};

}  // namespace octavo
