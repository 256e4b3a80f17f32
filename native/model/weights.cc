#include "model/weights.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <unordered_map>

#include "base/error.h"
#include "base/half.h"
#include "base/quants.h"

namespace octavo {

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    throw Error(kErrModelNotFound, "cannot open " + path + ": " + std::strerror(errno));
  }
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
    close(fd);
    throw Error(kErrModelFormat, path + " is not a regular file with something in it");
  }
  bytes_ = st.st_size;
  data_ = mmap(nullptr, static_cast<size_t>(bytes_), PROT_READ, MAP_PRIVATE, fd, 0);
  const int error = errno;
  close(fd);
  if (data_ == MAP_FAILED) {
    data_ = nullptr;
    throw Error(kErrOutOfMemory, "cannot map " + path + ": " + std::strerror(error));
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(bytes_));
}

void MappedFile::forget(int64_t offset, int64_t bytes) const {
  const int64_t page = sysconf(_SC_PAGESIZE);
  const int64_t begin = (offset + page - 1) / page * page, end = (offset + bytes) / page * page;
  if (begin >= end) return;
  madvise(static_cast<char*>(data_) + begin, static_cast<size_t>(end - begin), MADV_DONTNEED);
}

namespace {

// Finds tensors by name, checks them, and remembers which were used.
class Binder {
 public:
  Binder(const Ops& ops, const std::vector<std::unique_ptr<MappedFile>>& files,
         const std::vector<TensorSpec>& tensors, std::vector<Buffer>& memory, DType quantise)
      : ops_(ops), files_(files), memory_(memory), quantise_(quantise) {
    for (const TensorSpec& t : tensors) {
      check_inside(t);
      if (!by_name_.emplace(t.name, &t).second) fail(t, "is given twice");
    }
  }

  // `finer`: a matrix that is not quantised below eight bits.
  Tensor matrix(const std::string& name, int64_t rows, int64_t cols, bool finer = false) {
    const TensorSpec& t = take(name, rows, cols);
    char* data = const_cast<char*>(files_[t.file]->data()) + t.offset;
    Tensor stored{data, t.dtype, t.rows, t.cols};
    std::vector<char> quantised;
    if (quantise_ != DType::kF32 && !is_quantised(t.dtype) && t.cols % 32 == 0) {
      quantised = quantised_copy(stored, finer ? DType::kQ8_0 : quantise_);
      stored.dtype = finer ? DType::kQ8_0 : quantise_;
      stored.data = quantised.data();
    }
    const size_t bytes = ops_.weight_bytes(ops_.context, stored);
    bytes_ += static_cast<int64_t>(bytes);
    memory_.emplace_back(ops_, bytes, "the weights");
    const Tensor loaded = ops_.load_weight(ops_.context, stored, memory_.back().data());
    files_[t.file]->forget(t.offset, t.bytes);
    return loaded;
  }
  int64_t bytes() const { return bytes_; }

  Vector vector(const std::string& name, int64_t length) {
    const TensorSpec& t = take(name, 1, length);
    const char* data = files_[t.file]->data() + t.offset;
    std::vector<float> out(static_cast<size_t>(length));
    for (int64_t i = 0; i < length; ++i) {
      switch (t.dtype) {
        case DType::kF32:
          std::memcpy(&out[i], data + 4 * i, 4);
          break;
        case DType::kF16:
          out[i] = half_to_float(load_u16(data + 2 * i));
          break;
        case DType::kBF16:
          out[i] = bf16_to_float(load_u16(data + 2 * i));
          break;
        default:
          fail(t, "is a vector and cannot be quantised");
      }
    }
    return Vector(ops_, out);
  }

  Vector optional_vector(const std::string& name, int64_t length) {
    return by_name_.count(name) ? vector(name, length) : Vector{};
  }

  void check_all_used() const {
    for (const auto& [name, spec] : by_name_) {
      if (spec != nullptr) fail(*spec, "is not a tensor of this model");
    }
  }

 private:
  static std::vector<char> quantised_copy(const Tensor& plain, DType dtype) {
    std::vector<char> out(static_cast<size_t>(plain.rows * row_bytes(dtype, plain.cols)));
    std::vector<float> row(static_cast<size_t>(plain.cols));
    for (int64_t i = 0; i < plain.rows; ++i) {
      const char* from = static_cast<const char*>(plain.data) + i * plain.stride_bytes();
      dequantise_row(plain.dtype, from, plain.cols, row.data());
      quantise_row(dtype, row.data(), plain.cols, out.data() + i * row_bytes(dtype, plain.cols));
    }
    return out;
  }

  static uint16_t load_u16(const char* p) {
    uint16_t v;
    std::memcpy(&v, p, 2);
    return v;
  }

  [[noreturn]] void fail(const TensorSpec& t, const std::string& why) const {
    const bool known = t.file >= 0 && static_cast<size_t>(t.file) < files_.size();
    throw Error(kErrModelFormat, (known ? files_[t.file]->path() : std::string("the checkpoint")) +
                                     ": tensor " + t.name + " " + why);
  }

  void check_inside(const TensorSpec& t) const {
    if (t.file < 0 || static_cast<size_t>(t.file) >= files_.size()) fail(t, "names no file");
    const int64_t limit = int64_t{1} << 40;
    if (t.rows < 1 || t.cols < 1 || t.rows > limit / t.cols) fail(t, "has an impossible shape");
    if (t.cols % block_values(t.dtype) != 0) {
      fail(t, "has rows that are not whole blocks of its type");
    }
    if (t.bytes != t.rows * row_bytes(t.dtype, t.cols)) fail(t, "has bytes that fit no shape");
    const int64_t size = files_[t.file]->bytes();
    if (t.offset < 0 || t.offset > size || t.bytes > size - t.offset) {
      fail(t, "lies past the end of its file; the file is truncated");
    }
  }

  const TensorSpec& take(const std::string& name, int64_t rows, int64_t cols) {
    auto it = by_name_.find(name);
    if (it == by_name_.end() || it->second == nullptr) {
      throw Error(kErrModelFormat, "the checkpoint has no tensor " + name);
    }
    const TensorSpec& t = *it->second;
    if (t.rows != rows || t.cols != cols) {
      fail(t, "has shape [" + std::to_string(t.rows) + ", " + std::to_string(t.cols) + "], not [" +
                  std::to_string(rows) + ", " + std::to_string(cols) + "]");
    }
    it->second = nullptr;
    return t;
  }

  const Ops& ops_;
  const std::vector<std::unique_ptr<MappedFile>>& files_;
  std::vector<Buffer>& memory_;
  const DType quantise_;
  int64_t bytes_ = 0;
  std::unordered_map<std::string, const TensorSpec*> by_name_;
};

LayerWeights bind_layer(Binder& bind, const ModelConfig& c, const std::string& at) {
  const int64_t q_size = int64_t{c.num_heads} * c.head_size;
  const int64_t kv_size = int64_t{c.num_kv_heads} * c.head_size;
  LayerWeights w;
  w.attn_norm = bind.vector(at + "attn_norm", c.hidden_size);
  w.mlp_norm = bind.vector(at + "mlp_norm", c.hidden_size);
  if (c.qk_norm) {
    w.q_norm = bind.vector(at + "q_norm", c.head_size);
    w.k_norm = bind.vector(at + "k_norm", c.head_size);
  }
  w.q = bind.matrix(at + "q", q_size, c.hidden_size);
  w.k = bind.matrix(at + "k", kv_size, c.hidden_size);
  w.v = bind.matrix(at + "v", kv_size, c.hidden_size);
  w.o = bind.matrix(at + "o", c.hidden_size, q_size);
  w.gate = bind.matrix(at + "gate", c.intermediate_size, c.hidden_size);
  w.up = bind.matrix(at + "up", c.intermediate_size, c.hidden_size);
  w.down = bind.matrix(at + "down", c.hidden_size, c.intermediate_size);
  w.q_bias = bind.optional_vector(at + "q.bias", q_size);
  w.k_bias = bind.optional_vector(at + "k.bias", kv_size);
  w.v_bias = bind.optional_vector(at + "v.bias", kv_size);
  w.o_bias = bind.optional_vector(at + "o.bias", c.hidden_size);
  w.gate_bias = bind.optional_vector(at + "gate.bias", c.intermediate_size);
  w.up_bias = bind.optional_vector(at + "up.bias", c.intermediate_size);
  w.down_bias = bind.optional_vector(at + "down.bias", c.hidden_size);
  return w;
}

}  // namespace

Weights::Weights(const Ops& ops, const ModelConfig& config, const std::vector<std::string>& files,
                 const std::vector<TensorSpec>& tensors, DType quantise) {
  std::vector<std::unique_ptr<MappedFile>> mapped;  // nothing points into them afterwards
  for (const std::string& path : files) mapped.push_back(std::make_unique<MappedFile>(path));
  Binder bind(ops, mapped, tensors, memory_, quantise);
  embed = bind.matrix("embed", config.vocab_size, config.hidden_size, true);
  head =
      config.tied_head ? embed : bind.matrix("head", config.vocab_size, config.hidden_size, true);
  final_norm = bind.vector("final_norm", config.hidden_size);
  for (int32_t i = 0; i < config.num_layers; ++i) {
    layers.push_back(bind_layer(bind, config, "layers." + std::to_string(i) + "."));
  }
  bind.check_all_used();
  bytes_ = bind.bytes();
}

}  // namespace octavo
