// What the one suite of ops runs over, and all in which kinds of backend differ for it: types,
// rounding, the sizes they take. A case is made once, lies in memory of the backend, goes through
// the Ops table and is read back; float64 judges it.
#pragma once

#include <functional>
#include <string>

#include "base/half.h"
#include "base/rounding.h"
#include "native/op_test.h"

namespace octavo::test {

// Backends that read the same memory and must give the same bits: one for every instruction set of
// the machine and several numbers of threads, or one for a device.
struct Backends {
  std::vector<std::unique_ptr<Backend>> all;
  Rounding rounding = {false, false};  // of the CPU

  const Ops& ops() const { return all[0]->ops(); }
  const Ops& any(Random& random) const {
    return all[random.between(0, static_cast<int64_t>(all.size()) - 1)]->ops();
  }
  bool on_cpu() const { return std::strcmp(ops().name, "cpu") == 0; }
  // What products with weights of a type round their left side to; F32 = nothing.
  DType left_type(DType weight) const {
    if (is_fp8(weight)) return DType::kF32;
    if (is_quantised(weight)) return rounding.int8 ? DType::kI8 : DType::kF32;
    return weight == DType::kBF16 && rounding.bf16 ? weight : DType::kF32;
  }
  DType type() const { return ops().activation; }
  // A device reads rows in pieces.
  int64_t cols(int64_t some, int64_t multiple) const { return on_cpu() ? some : some * multiple; }
};

// What values of a stored type are rounded to when they are loaded, exact = F32.
inline DType kept_type(const Backends& backends, DType stored) {
  const bool packed = stored == DType::kQ8_0 || stored == DType::kQ4_0;
  return backends.on_cpu() || packed ? DType::kF32 : backends.type();
}

inline Backends one_backend(std::unique_ptr<Backend> backend) {
  Backends out;
  out.all.push_back(std::move(backend));
  return out;
}

inline uint16_t to_half_bits(DType type, float x) {
  return type == DType::kF16 ? float_to_half(x) : float_to_bf16(x);
}
inline float from_half_bits(DType type, uint16_t bits) {
  return type == DType::kF16 ? half_to_float(bits) : bf16_to_float(bits);
}
// To a plain type and back: what ops are given, and what they may leave.
inline float rounded(DType type, float x) {
  return type == DType::kF32 ? x : from_half_bits(type, to_half_bits(type, x));
}
inline std::vector<float> random_values(Random& random, DType type, int64_t n, float scale = 1) {
  std::vector<float> out;
  for (int64_t i = 0; i < n; i++) out.push_back(rounded(type, random.normal() * scale));
  return out;
}
// What a value may lose when it is stored: half the distance from 1 to the next one, and half of a
// subnormal float16. Of F32 it is part of what float32 arithmetic may be off by, said with each op.
inline double unit_of(DType type) {
  return type == DType::kF32 ? 0 : type == DType::kF16 ? 0x1p-11 : 0x1p-8;
}
inline void expect_stored(const char* what, DType type, double got, double want, double tolerance) {
  const double least = type == DType::kF16 ? 0x1p-25 : 0;
  expect_near(what, got, want, tolerance + unit_of(type) * std::fabs(want) + least);
}

// Memory that ops read, exactly as large as asked: a sanitizer sees one byte too far. (What the CPU
// allocates are whole pages; it reads any.)
class Memory {
 public:
  Memory(const Ops& ops, size_t bytes)
      : ops_(&ops),
        bytes_(bytes),
        data_(on_heap() ? std::malloc(bytes + (bytes == 0)) : ops.allocate(ops.context, bytes)) {}
  Memory(const Ops& ops, const void* data, size_t bytes) : Memory(ops, bytes) { write(data); }
  ~Memory() {
    if (on_heap()) {
      std::free(data_);
    } else if (data_ != nullptr) {
      ops_->release(ops_->context, data_, bytes_);
    }
  }
  Memory(Memory&& other) noexcept : ops_(other.ops_), bytes_(other.bytes_), data_(other.data_) {
    other.data_ = nullptr;
  }
  Memory& operator=(Memory&&) = delete;

  void write(const void* from) const { ops_->write(ops_->context, data_, from, bytes_); }
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  template <class T>
  std::vector<T> read() const {
    std::vector<T> out(bytes_ / sizeof(T));
    ops_->read(ops_->context, out.data(), data_, bytes_);
    return out;
  }

 private:
  bool on_heap() const { return std::strcmp(ops_->name, "cpu") == 0; }
  const Ops* ops_;
  size_t bytes_;
  void* data_;
};

template <class T>
Memory put(const Ops& ops, const std::vector<T>& values) {
  return Memory(ops, values.data(), values.size() * sizeof(T));
}

inline std::vector<char> narrowed(DType type, const std::vector<float>& values) {
  const size_t size = static_cast<size_t>(block_bytes(type));
  std::vector<char> out(values.size() * size);
  for (size_t i = 0; i < values.size(); i++) {
    const uint16_t half = to_half_bits(type, values[i]);
    std::memcpy(&out[i * size], size == 4 ? static_cast<const void*>(&values[i]) : &half, size);
  }
  return out;
}
inline std::vector<float> widened(DType type, const std::vector<char>& bytes) {
  const size_t size = static_cast<size_t>(block_bytes(type));
  std::vector<float> out(bytes.size() / size);
  for (size_t i = 0; i < out.size(); i++) {
    uint16_t half = 0;
    if (size == 4) std::memcpy(&out[i], &bytes[i * 4], 4);
    if (size == 2) std::memcpy(&half, &bytes[i * 2], 2), out[i] = from_half_bits(type, half);
  }
  return out;
}

// A matrix of a plain type that ops read or write, between two guard zones; NaN until it is filled.
class Values {
 public:
  Values(const Backends& backends, DType type, int64_t rows, int64_t cols)
      : size_(static_cast<size_t>(rows * cols * block_bytes(type))),
        memory_(backends.ops(), size_ + 2 * kGuard),
        tensor_{memory_.as<char>() + kGuard, type, rows, cols} {
    poison();
  }
  Values(const Backends& backends, DType type, int64_t rows, int64_t cols,
         const std::vector<float>& values)
      : Values(backends, type, rows, cols) {
    fill(values);
  }
  void poison() const { set(std::vector<char>(size_, '\xff')); }
  void fill(const std::vector<float>& values) const { set(narrowed(tensor_.dtype, values)); }
  const Tensor& tensor() const { return tensor_; }
  std::vector<char> bits(const char* what) const {
    const std::vector<char> all = memory_.read<char>();
    bool whole = true;
    for (size_t i = 0; i < kGuard; i++) {
      whole = whole && all[i] == kMark && all[kGuard + size_ + i] == kMark;
    }
    expect(whole, "%s: wrote outside its output", what);
    return {all.begin() + kGuard, all.end() - kGuard};
  }
  std::vector<float> read(const char* what) const { return widened(tensor_.dtype, bits(what)); }

 private:
#ifdef __SANITIZE_ADDRESS__
  static constexpr size_t kGuard = 0;  // it guards itself, against reading too
#else
  static constexpr size_t kGuard = 256;
#endif
  static constexpr char kMark = 0x5a;
  void set(const std::vector<char>& bytes) const {
    std::vector<char> all(size_ + 2 * kGuard, kMark);
    std::copy(bytes.begin(), bytes.end(), all.begin() + kGuard);
    memory_.write(all.data());
  }
  size_t size_;
  Memory memory_;
  Tensor tensor_;
};

// Runs fn(ops) on every backend into `out`, poisoned before (or filled by `prepare`); all must give
// the bits of the first. Returns those.
template <class Prepare, class Fn>
std::vector<float> run_everywhere(const Backends& backends, const Values& out, const char* what,
                                  Prepare prepare, Fn fn) {
  std::vector<char> first;
  for (const auto& backend : backends.all) {
    out.poison();
    prepare();
    fn(backend->ops());
    const std::vector<char> bits = out.bits(what);
    if (first.empty()) first = bits;
    expect(bits == first, "%s: %s with %d threads gives other bits", what, backend->ops().isa,
           backend->num_threads());
  }
  return widened(out.tensor().dtype, first);
}
template <class Fn>
std::vector<float> run_everywhere(const Backends& backends, const Values& out, const char* what,
                                  Fn fn) {
  return run_everywhere(
      backends, out, what, [] {}, fn);
}

// What lies in memory otherwise for every instruction set: made for each where it is first used.
template <class T>
class PerIsa {
 public:
  template <class Make>
  const T& of(const Ops& ops, Make make) const {
    for (const auto& [isa, one] : made_) {
      if (std::strcmp(isa, ops.isa) == 0) return *one;
    }
    made_.emplace_back(ops.isa, make());
    return *made_.back().second;
  }

 private:
  mutable std::vector<std::pair<const char*, std::unique_ptr<T>>> made_;
};

// Memory that a backend's ops allocate, for weights.
struct WeightMemory {
  WeightMemory(const Ops& o, size_t n) : ops(o), bytes(n), data(o.allocate(o.context, n)) {}
  ~WeightMemory() { ops.release(ops.context, data, bytes); }
  WeightMemory(const WeightMemory&) = delete;
  WeightMemory& operator=(const WeightMemory&) = delete;
  const Ops& ops;
  const size_t bytes;
  void* const data;
  Tensor tensor;  // what was loaded there
};

// A stored matrix as the ops of backends read it. The bytes are the caller's.
class Loaded {
 public:
  Loaded(const Bytes& bytes, DType dtype, int64_t rows, int64_t cols)
      : bytes_(bytes.data()), stored_{nullptr, dtype, rows, cols} {}
  const Tensor& tensor(const Ops& ops) const {
    const auto load = [&] {
      auto memory = std::make_unique<WeightMemory>(ops, ops.weight_bytes(ops.context, stored_));
      memory->tensor = ops.load_weight(ops.context, stored_, MemorySource(bytes_), memory->data);
      return memory;
    };
    return memory_.of(ops, load).tensor;
  }

 private:
  const char* const bytes_;
  const Tensor stored_;
  PerIsa<WeightMemory> memory_;
};

// One case of an op, as the CPU's program and the device's run them; i counts a run's cases.
using OpTest = void (*)(const Backends& backends, Random& random, int i);
void test_load_weight(const Backends& backends, Random& random, int i);
void test_embedding(const Backends& backends, Random& random, int i);
void test_norm(const Backends& backends, Random& random, int i);
void test_activate(const Backends& backends, Random& random, int i);
void test_transform_logits(const Backends& backends, Random& random, int i);
void test_gather_rows(const Backends& backends, Random& random, int i);
void test_pool_rows(const Backends& backends, Random& random, int i);
void test_route(const Backends& backends, Random& random, int i);
void test_expert_matmul(const Backends& backends, Random& random, int i);
void test_head_matmul(const Backends& backends, Random& random, int i);
void test_latent_rows(const Backends& backends, Random& random, int i);
void test_combine(const Backends& backends, Random& random, int i);
void test_sample(const Backends& backends, Random& random, int i);
void test_rope_and_cache(const Backends& backends, Random& random, int i);
void test_recurrent(const Backends& backends, Random& random, int i);
void test_delta_forms(Random& random);
void test_copy_blocks(const Backends& backends, Random& random, int i);
void test_swap_blocks(const Backends& backends, Random& random, int i);

}  // namespace octavo::test
