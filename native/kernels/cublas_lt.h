// NVIDIA's matrix multiply, where libcublasLt is found when a model is loaded: for large batches of
// an engine that need not be batch invariant. Nothing of it is linked; the few entry points are
// declared after the documentation ("Using the cuBLASLt API").
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "base/dtype.h"
#include "kernels/device_memory.h"

namespace octavo::device {

class CublasLt {
 public:
  // Null where the library is not there or does not start. `path` names one; empty = search.
  static std::unique_ptr<CublasLt> open(const std::string& path);
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  struct Problem {
    int64_t m, n, k;
    DType type;      // of x and weight: kBF16 or kF16
    bool float_out;  // out is float, else of `type`
    bool operator<(const Problem& o) const {
      return std::tie(m, n, k, type, float_out) < std::tie(o.m, o.n, o.k, o.type, o.float_out);
    }
  };
  // Plans of so many problems are kept; an older one is made anew, and is the same.
  static constexpr size_t kMaxPlans = 256;

  // out [m, n] = x [m, k] · weight [n, k]ᵀ, all contiguous and 16-byte aligned. False where the
  // library has nothing for it: then nothing was started.
  bool matmul(const Problem& p, const void* x, const void* weight, void* out, cudaStream_t stream);

 private:
  struct Library;
  struct Plan;
  explicit CublasLt(std::unique_ptr<Library> library);
  const Plan* plan_of(const Problem& p);
  std::unique_ptr<Plan> make_plan(const Problem& p) const;

  std::unique_ptr<Library> library_;
  void* handle_ = nullptr;
  DeviceMemory workspace_;
  std::map<Problem, std::unique_ptr<Plan>> plans_;
  uint64_t clock_ = 0;
};

}  // namespace octavo::device
