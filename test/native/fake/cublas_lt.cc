// libcublasLt for the emulator's tests: the entry points that kernels/cublas_lt.cc asks for, which
// refuse whatever the documentation does not allow, and a plain column-major multiply.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "base/half.h"

namespace {

constexpr int kInvalid = 7, kUnsupported = 15;

struct Desc {
  int32_t transposed_a = 0;
};
struct Layout {
  int type;
  uint64_t rows, cols;
  int64_t ld;
};
struct Preference {
  uint64_t workspace = 0;
  uint32_t alignment[4] = {256, 256, 256, 256};
};
struct Result {
  uint64_t algorithm[8];
  size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};
constexpr uint64_t kMark = 0x6f637461766f4c74;  // of an algorithm that came from here

// A product as the stream gets it.
struct Product {
  Layout la, lb, ld;
  const void *a, *b;
  void *d, *workspace;
  size_t workspace_bytes;
};

float value_at(const Layout& l, const void* data, uint64_t row, uint64_t col) {
  const uint64_t at = col * static_cast<uint64_t>(l.ld) + row;
  if (l.type == 0) return static_cast<const float*>(data)[at];
  const uint16_t bits = static_cast<const uint16_t*>(data)[at];
  return l.type == 2 ? octavo::half_to_float(bits) : octavo::bf16_to_float(bits);
}

void multiply(const Product& p) {
  std::memset(p.workspace, 0xFF, p.workspace_bytes / 2);  // it is ours to spoil
  for (uint64_t col = 0; col < p.ld.cols; col++) {
    for (uint64_t row = 0; row < p.ld.rows; row++) {
      float sum = 0;
      for (uint64_t k = 0; k < p.la.rows; k++) {
        sum += value_at(p.la, p.a, k, row) * value_at(p.lb, p.b, k, col);
      }
      const uint64_t at = col * static_cast<uint64_t>(p.ld.ld) + row;
      if (p.ld.type == 0) {
        static_cast<float*>(p.d)[at] = sum;
      } else {
        static_cast<uint16_t*>(p.d)[at] =
            p.ld.type == 2 ? octavo::float_to_half(sum) : octavo::float_to_bf16(sum);
      }
    }
  }
}

}  // namespace

#define EXPORTED __attribute__((visibility("default")))
#define FAKE extern "C" EXPORTED int

// Puts work on a stream of the emulator; set by the test program. Null = it is done at once.
extern "C" EXPORTED void (*octavo_fake_submit)(void* stream, void (*run)(void*), void* argument);
void (*octavo_fake_submit)(void*, void (*)(void*), void*) = nullptr;
// How often a plan was asked for.
extern "C" EXPORTED int octavo_fake_num_heuristics;
int octavo_fake_num_heuristics = 0;

FAKE cublasLtCreate(void** handle) { return (*handle = std::malloc(1)) == nullptr; }
FAKE cublasLtDestroy(void* handle) { return std::free(handle), 0; }
FAKE cublasLtMatmulDescCreate(void** desc, int compute, int scale) {
  *desc = new Desc;
  return compute == 68 && scale == 0 ? 0 : kInvalid;
}
FAKE cublasLtMatmulDescDestroy(void* desc) { return delete static_cast<Desc*>(desc), 0; }
FAKE cublasLtMatmulDescSetAttribute(void* desc, int attribute, const void* value, size_t bytes) {
  if (attribute != 3 || bytes != 4) return kInvalid;
  std::memcpy(&static_cast<Desc*>(desc)->transposed_a, value, 4);
  return 0;
}
FAKE cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t cols, int64_t ld) {
  *layout = new Layout{type, rows, cols, ld};
  return ld >= static_cast<int64_t>(rows) ? 0 : kInvalid;
}
FAKE cublasLtMatrixLayoutDestroy(void* layout) { return delete static_cast<Layout*>(layout), 0; }
FAKE cublasLtMatmulPreferenceCreate(void** preference) { return *preference = new Preference, 0; }
FAKE cublasLtMatmulPreferenceDestroy(void* p) { return delete static_cast<Preference*>(p), 0; }
FAKE cublasLtMatmulPreferenceSetAttribute(void* p, int attribute, const void* value, size_t bytes) {
  Preference& preference = *static_cast<Preference*>(p);
  if (attribute == 1 && bytes == 8) return std::memcpy(&preference.workspace, value, 8), 0;
  if (attribute < 5 || attribute > 8 || bytes != 4) return kInvalid;
  return std::memcpy(&preference.alignment[attribute - 5], value, 4), 0;
}
// Nothing for odd n, so that the caller must do without.
FAKE cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void* d, void* preference,
                                    int wanted, Result* results, int* found) {
  octavo_fake_num_heuristics++;
  const Preference& p = *static_cast<Preference*>(preference);
  const bool aligned = p.alignment[0] == 16 && p.alignment[3] == 16;
  *found = wanted > 0 && aligned && static_cast<Layout*>(d)->rows % 2 == 0;
  if (*found == 0) return kUnsupported;
  *results = Result{};
  results->algorithm[0] = kMark;
  results->workspace_bytes = p.workspace / 2;
  return 0;
}
FAKE cublasLtMatmul(void*, void* desc, const void* alpha, const void* a, void* a_layout,
                    const void* b, void* b_layout, const void* beta, const void*, void*, void* d,
                    void* d_layout, const void* algorithm, void* workspace, size_t workspace_bytes,
                    void* stream) {
  const Layout &la = *static_cast<Layout*>(a_layout), &lb = *static_cast<Layout*>(b_layout);
  const Layout& ld = *static_cast<Layout*>(d_layout);
  uint64_t mark;
  std::memcpy(&mark, algorithm, 8);
  const bool fits = static_cast<Desc*>(desc)->transposed_a == 1 && la.cols == ld.rows &&
                    la.rows == lb.rows && lb.cols == ld.cols;
  const float one = *static_cast<const float*>(alpha), zero = *static_cast<const float*>(beta);
  if (!fits || mark != kMark || one != 1 || zero != 0) return kInvalid;
  auto* product = new Product{la, lb, ld, a, b, d, workspace, workspace_bytes};
  const auto run = [](void* p) {
    multiply(*static_cast<Product*>(p));
    delete static_cast<Product*>(p);
  };
  if (octavo_fake_submit == nullptr) return run(product), 0;
  return octavo_fake_submit(stream, run, product), 0;
}
