#include "kernels/cublas_lt.h"

#include <dlfcn.h>

#include <algorithm>

namespace octavo::device {
namespace {

// Numbers of the API: cudaDataType, cublasComputeType_t and the attributes that are set.
constexpr int kTypeF32 = 0, kTypeF16 = 2, kTypeBF16 = 14, kComputeF32 = 68;
constexpr int kDescTransA = 3;
constexpr int kPreferWorkspaceBytes = 1, kPreferAlignments[] = {5, 6, 7, 8};  // of A, B, C, D
constexpr int32_t kTransposed = 1;
constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // as NVIDIA advises for Hopper

struct Heuristic {
  uint64_t algorithm[8];
  size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};

int type_of(DType type) { return type == DType::kF16 ? kTypeF16 : kTypeBF16; }

}  // namespace

// A function returns 0 for success. Descriptors and layouts are opaque.
struct CublasLt::Library {
  void* file = nullptr;
  int (*create)(void** handle) = nullptr;
  int (*destroy)(void* handle) = nullptr;
  int (*desc_create)(void** desc, int compute, int scale_type) = nullptr;
  int (*desc_destroy)(void* desc) = nullptr;
  int (*desc_set)(void* desc, int attribute, const void* value, size_t bytes) = nullptr;
  int (*layout_create)(void** layout, int type, uint64_t rows, uint64_t cols, int64_t ld) = nullptr;
  int (*layout_destroy)(void* layout) = nullptr;
  int (*preference_create)(void** preference) = nullptr;
  int (*preference_destroy)(void* preference) = nullptr;
  int (*preference_set)(void* preference, int attribute, const void* value, size_t) = nullptr;
  int (*heuristic)(void* handle, void* desc, void* a, void* b, void* c, void* d, void* preference,
                   int wanted, Heuristic* results, int* found) = nullptr;
  int (*matmul)(void* handle, void* desc, const void* alpha, const void* a, void* a_layout,
                const void* b, void* b_layout, const void* beta, const void* c, void* c_layout,
                void* d, void* d_layout, const void* algorithm, void* workspace,
                size_t workspace_bytes, cudaStream_t stream) = nullptr;

  ~Library() {
    if (file != nullptr) dlclose(file);
  }
  template <class Function>
  bool find(const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(file, name));
    return function != nullptr;
  }
  bool load(const char* path) {
    file = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return file != nullptr && find("cublasLtCreate", create) && find("cublasLtDestroy", destroy) &&
           find("cublasLtMatmulDescCreate", desc_create) &&
           find("cublasLtMatmulDescDestroy", desc_destroy) &&
           find("cublasLtMatmulDescSetAttribute", desc_set) &&
           find("cublasLtMatrixLayoutCreate", layout_create) &&
           find("cublasLtMatrixLayoutDestroy", layout_destroy) &&
           find("cublasLtMatmulPreferenceCreate", preference_create) &&
           find("cublasLtMatmulPreferenceDestroy", preference_destroy) &&
           find("cublasLtMatmulPreferenceSetAttribute", preference_set) &&
           find("cublasLtMatmulAlgoGetHeuristic", heuristic) && find("cublasLtMatmul", matmul);
  }
};

// What a problem needs again and again. The library counts in columns: a row-major [n, k] is its
// k × n. So out, n × m to it, is weightᵀ (k × n, transposed) times x (k × m).
struct CublasLt::Plan {
  explicit Plan(const Library& l) : library(l) {}
  ~Plan() {
    if (desc != nullptr) library.desc_destroy(desc);
    for (void* layout : {weight, x, out}) {
      if (layout != nullptr) library.layout_destroy(layout);
    }
  }
  const Library& library;
  void *desc = nullptr, *weight = nullptr, *x = nullptr, *out = nullptr;
  Heuristic chosen{};
  bool usable = false;
  uint64_t last_used = 0;
};

std::unique_ptr<CublasLt> CublasLt::open(const std::string& path) {
  const char* const names[] = {"libcublasLt.so.13", "libcublasLt.so.12",
                               "/usr/local/cuda/lib64/libcublasLt.so"};
  auto library = std::make_unique<Library>();
  bool loaded = false;
  if (!path.empty()) {
    loaded = library->load(path.c_str());
  } else {
    for (const char* name : names) {
      library = std::make_unique<Library>();
      if ((loaded = library->load(name))) break;
    }
  }
  if (!loaded) return nullptr;
  std::unique_ptr<CublasLt> out(new CublasLt(std::move(library)));
  if (out->library_->create(&out->handle_) != 0) return nullptr;
  out->workspace_ = DeviceMemory(kWorkspaceBytes, "cuBLASLt's workspace");
  return out;
}

CublasLt::CublasLt(std::unique_ptr<Library> library) : library_(std::move(library)) {}

CublasLt::~CublasLt() {
  plans_.clear();
  if (handle_ != nullptr) library_->destroy(handle_);
}

std::unique_ptr<CublasLt::Plan> CublasLt::make_plan(const Problem& p) const {
  const Library& l = *library_;
  auto plan = std::make_unique<Plan>(l);
  const auto m = static_cast<uint64_t>(p.m), n = static_cast<uint64_t>(p.n),
             k = static_cast<uint64_t>(p.k);
  const int in = type_of(p.type), out = p.float_out ? kTypeF32 : in;
  bool ok = l.desc_create(&plan->desc, kComputeF32, kTypeF32) == 0 &&
            l.desc_set(plan->desc, kDescTransA, &kTransposed, sizeof(kTransposed)) == 0 &&
            l.layout_create(&plan->weight, in, k, n, p.k) == 0 &&
            l.layout_create(&plan->x, in, k, m, p.k) == 0 &&
            l.layout_create(&plan->out, out, n, m, p.n) == 0;
  void* preference = nullptr;
  if (ok && l.preference_create(&preference) == 0) {
    const uint64_t workspace = kWorkspaceBytes;
    const uint32_t alignment = 16;
    ok = l.preference_set(preference, kPreferWorkspaceBytes, &workspace, sizeof(workspace)) == 0;
    for (int attribute : kPreferAlignments) {
      ok = ok && l.preference_set(preference, attribute, &alignment, sizeof(alignment)) == 0;
    }
    int found = 0;
    ok = ok &&
         l.heuristic(handle_, plan->desc, plan->weight, plan->x, plan->out, plan->out, preference,
                     1, &plan->chosen, &found) == 0 &&
         found > 0 && plan->chosen.status == 0 && plan->chosen.workspace_bytes <= kWorkspaceBytes;
    l.preference_destroy(preference);
    plan->usable = ok;
  }
  return plan;
}

// The library's choice depends on the problem alone, so a plan that was forgotten comes back as it
// was. Every batch size is a problem of its own: without a bound there would be thousands.
const CublasLt::Plan* CublasLt::plan_of(const Problem& p) {
  if (plans_.size() >= kMaxPlans && plans_.count(p) == 0) {
    const auto older = [](const auto& a, const auto& b) {
      return a.second->last_used < b.second->last_used;
    };
    plans_.erase(std::min_element(plans_.begin(), plans_.end(), older));
  }
  auto it = plans_.find(p);
  if (it == plans_.end()) it = plans_.emplace(p, make_plan(p)).first;
  Plan& plan = *it->second;
  plan.last_used = ++clock_;
  return plan.usable ? &plan : nullptr;
}

bool CublasLt::matmul(const Problem& p, const void* x, const void* weight, void* out,
                      cudaStream_t stream) {
  const Plan* plan = plan_of(p);
  if (plan == nullptr) return false;
  const float one = 1.0f, zero = 0.0f;
  const int status = library_->matmul(handle_, plan->desc, &one, weight, plan->weight, x, plan->x,
                                      &zero, out, plan->out, out, plan->out, plan->chosen.algorithm,
                                      workspace_.as<void>(), kWorkspaceBytes, stream);
  if (status != 0)
    static_cast<void>(cudaGetLastError());  // not for the launch that does it instead
  return status == 0;
}

}  // namespace octavo::device
