// Finds the tensors of a checkpoint by name, checks them, and loads them into the backend's forms.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/half.h"
#include "base/quants.h"
#include "model/weight_file.h"
#include "model/weights.h"

namespace octavo {

// Remembers which tensors were used.
class Binder {
 public:
  Binder(const Ops& ops, const std::vector<std::unique_ptr<WeightFile>>& files,
         const std::vector<TensorSpec>& tensors, std::vector<Buffer>& memory, DType quantise)
      : ops_(ops), files_(files), memory_(memory), quantise_(quantise) {
    for (const auto& file : files) views_.push_back(file.get());
    for (const TensorSpec& t : tensors) {
      check_inside(t);
      if (!by_name_.emplace(t.name, &t).second) fail(t, "is given twice");
    }
  }

  enum class Quality { kAsAsked, kFiner, kAsStored, kExact };

  // How a matrix is quantised where that was asked: kFiner not below eight bits, kAsStored and
  // kExact not at all. What meets a kExact one is not rounded either, where others' would be.
  Tensor matrix(const std::string& name, int64_t rows, int64_t cols,
                Quality quality = Quality::kAsAsked) {
    const TensorSpec& t = take(name, rows, cols);
    const Tensor stored = stored_as(t, quality);
    memory_.emplace_back(ops_, static_cast<size_t>(weight_bytes(stored)), "the weights");
    return load(t, stored, memory_.back().data());
  }
  int64_t bytes() const { return bytes_; }
  const std::vector<WeightKind>& kinds() const { return kinds_; }

  LinearWeights linear(const std::string& name, int64_t rows, int64_t cols, bool bias,
                       Quality quality = Quality::kAsAsked) {
    LinearWeights w;
    w.weight = matrix(name, rows, cols, quality);
    if (bias) w.bias = Vector(ops_, vector(name + ".bias", rows));
    return w;
  }

  Vector row(const std::string& name, int64_t length) { return {ops_, vector(name, length)}; }

  // [rows, cols] of each of `count` experts: `before`, its number, `after`.
  ExpertWeights experts(const std::string& before, const std::string& after, int64_t count,
                        int64_t rows, int64_t cols, bool bias) {
    ExpertWeights w;
    DType dtype = DType::kF32;
    std::vector<float> biases;
    for (int64_t e = 0; e < count; ++e) {
      const std::string name = before + std::to_string(e) + after;
      const TensorSpec& t = take(name, rows, cols);
      const Tensor stored = stored_as(t, Quality::kAsAsked);
      if (e == 0) {
        dtype = stored.dtype;
        w.stride = (weight_bytes(stored) + 255) / 256 * 256;
        memory_.emplace_back(ops_, static_cast<size_t>(count * w.stride), "the weights");
      }
      if (stored.dtype != dtype) fail(t, "has not the type of the layer's other experts");
      const Tensor loaded =
          load(t, stored, static_cast<char*>(memory_.back().data()) + e * w.stride);
      if (e == 0) w.weight = loaded;
      if (!bias) continue;
      const std::vector<float> own = vector(name + ".bias", rows);
      biases.insert(biases.end(), own.begin(), own.end());
    }
    if (bias) w.bias = Vector(ops_, biases);
    return w;
  }

  NormWeights norm(const NormSpec& spec, const std::string& name, int64_t length) {
    return norms(spec, {name}, length);
  }
  // Of several norms, one after the other.
  NormWeights norms(const NormSpec& spec, const std::vector<std::string>& names, int64_t length) {
    NormWeights w;
    if (spec.kind == NormKind::kNone) return w;
    const float offset = spec.offset ? 1.0f : 0.0f;
    if (spec.weight) w.weight = Vector(ops_, joined(names, "", length, offset, spec.scale));
    if (spec.bias) w.bias = Vector(ops_, joined(names, ".bias", length, 0, 1));
    return w;
  }
  float number(const std::string& name) { return vector(name, 1)[0]; }
  Vector floats(const std::string& name, int64_t length) {
    return Vector(ops_, vector(name, length));
  }
  // Tensors of which one is made, each with its rows or its length, and what multiplies its values.
  struct Part {
    std::string name;
    int64_t length;
    float scale = 1;
  };
  using Parts = std::vector<Part>;
  // Of small matrices, one below the other, the columns, each as floats in a row.
  Vector columns(const Parts& parts, int64_t cols) {
    std::vector<float> below;
    for (const Part& part : parts) {
      for (const float value : small_matrix(part.name, part.length, cols)) {
        below.push_back(value * part.scale);
      }
    }
    const size_t rows = below.size() / static_cast<size_t>(cols);
    std::vector<float> out;
    for (int64_t c = 0; c < cols; ++c) {
      for (size_t r = 0; r < rows; ++r) out.push_back(below[r * static_cast<size_t>(cols) + c]);
    }
    return Vector(ops_, out);
  }
  // Vectors, one behind the other.
  Vector behind(const Parts& parts) {
    std::vector<float> out;
    for (const Part& part : parts) {
      for (const float value : vector(part.name, part.length)) out.push_back(value * part.scale);
    }
    return Vector(ops_, out);
  }

  // fn(source of what a tensor is in its own type)
  template <class Fn>
  void with_source(const TensorSpec& t, Fn fn) const {
    if (t.rows == 1 && t.step > 1) fail(t, "is a matrix of one row, whose values lie apart");
    if (widens_turned(t)) {
      return with_stored(as_it_lies(t),
                         [&](const WeightSource& stored) { fn(WidenedTurnedSource(stored, t)); });
    }
    if (t.transposed_of != 0) return fn(TurnedSource(*files_[static_cast<size_t>(t.file)], t));
    with_stored(t, fn);
  }

  void check_all_used() const {
    for (const auto& [name, spec] : by_name_) {
      if (spec != nullptr) fail(*spec, "is not a tensor of this model");
    }
  }

 private:
  // As much as a slow disk brings in a second; less than any machine would miss.
  static constexpr int64_t kPrefetched = int64_t{64} << 20;
  static constexpr const char* kGone = "cannot be read; the file is damaged or was changed";

  template <class Fn>
  void with_stored(const TensorSpec& t, Fn fn) const {
    const WeightFile& file = *files_[static_cast<size_t>(t.file)];
    if (t.parts.any()) return fn(PartsSource(views_, t));
    if (t.dtype == DType::kNVFP4) return fn(Nvfp4Source(FileSource(file, t), factor_of(t)));
    fn(FileSource(file, t));
  }

  // What its file holds of a tensor that is turned around.
  static TensorSpec as_it_lies(const TensorSpec& t) {
    TensorSpec stored = t;
    stored.rows = t.cols;
    stored.cols = t.transposed_of;
    stored.transposed_of = stored.transposed_from = 0;
    stored.step = stored.run = 1;
    return stored;
  }
  // Whether it is turned around as F32: its values have no bytes of their own.
  static bool widens_turned(const TensorSpec& t) {
    return t.transposed_of != 0 && (is_quantised(t.dtype) || t.parts.any());
  }
  // The type that its source gives it in.
  static DType source_type(const TensorSpec& t) { return widens_turned(t) ? DType::kF32 : t.dtype; }

  // The type that a matrix is kept in.
  Tensor stored_as(const TensorSpec& t, Quality quality) const {
    Tensor stored{nullptr, source_type(t), t.rows, t.cols};
    if (quality == Quality::kExact && t.dtype == DType::kBF16 && ops_.activation == DType::kF32) {
      stored.dtype = DType::kF32;
    }
    const bool asked = quantise_ != DType::kF32 && quality < Quality::kAsStored;
    if (!asked || is_quantised(stored.dtype) || t.cols % 32 != 0) return stored;
    stored.dtype = quality == Quality::kFiner ? DType::kQ8_0 : quantise_;
    return stored;
  }
  int64_t weight_bytes(const Tensor& stored) const {
    return static_cast<int64_t>(ops_.weight_bytes(ops_.context, stored));
  }

  Tensor load(const TensorSpec& t, const Tensor& stored, void* memory) {
    // Files hold their matrices about in the order in which they are asked for.
    files_[t.file]->prefetch(t.offset, t.offset + t.bytes + kPrefetched);
    Tensor loaded;
    with_source(t,
                [&](const WeightSource& source) { loaded = load_from(t, stored, source, memory); });
    return loaded;
  }
  Tensor load_from(const TensorSpec& t, const Tensor& stored, const WeightSource& source,
                   void* memory) {
    const DType from = source_type(t);
    if (stored.dtype == from) return load_whole(t, stored, source, memory);
    return load_whole(t, stored, ConvertingSource(source, from, stored.dtype, t.cols), memory);
  }
  Tensor load_whole(const TensorSpec& t, const Tensor& stored, const WeightSource& source,
                    void* memory) {
    bytes_ += weight_bytes(stored);
    const Tensor loaded = ops_.load_weight(ops_.context, stored, source, memory);
    if (loaded.empty()) fail(t, kGone);
    count(t.dtype, loaded.dtype, weight_bytes(stored));
    return loaded;
  }

  void count(DType stored, DType kept, int64_t bytes) {
    const auto same = [&](const WeightKind& k) { return k.stored == stored && k.kept == kept; };
    auto it = std::find_if(kinds_.begin(), kinds_.end(), same);
    if (it == kinds_.end()) it = kinds_.insert(it, {stored, kept, 0, 0});
    ++it->num_matrices;
    it->bytes += bytes;
  }

  float factor_of(const TensorSpec& t) const {
    float factor = 1;
    const FilePart& p = t.factor;
    if (p.any() && !files_[static_cast<size_t>(p.file)]->read(p.offset, 4, &factor)) fail(t, kGone);
    return factor;
  }

  std::vector<float> joined(const std::vector<std::string>& names, const char* suffix,
                            int64_t length, float more, float scale) {
    std::vector<float> all;
    for (const std::string& name : names) {
      for (const float value : vector(name + suffix, length)) all.push_back((value + more) * scale);
    }
    return all;
  }

  std::vector<float> vector(const std::string& name, int64_t length) {
    const TensorSpec& t = take(name, 1, length);
    if (t.transposed_of != 0) fail(t, "is a vector and cannot be turned around");
    if (t.parts.any()) fail(t, "is a vector and cannot be quantised");
    std::vector<char> stored(static_cast<size_t>(t.bytes));
    if (!files_[t.file]->read(t.offset, t.bytes, stored.data())) fail(t, kGone);
    std::vector<float> out(static_cast<size_t>(length));
    for (int64_t i = 0; i < length; ++i) {
      const char* const at = stored.data() + t.stored_at(i) * block_bytes(t.dtype);
      switch (t.dtype) {
        case DType::kF32:
          std::memcpy(&out[i], at, 4);
          break;
        case DType::kF16:
          out[i] = half_to_float(load_u16(at));
          break;
        case DType::kBF16:
          out[i] = bf16_to_float(load_u16(at));
          break;
        default:
          fail(t, "is a vector and cannot be quantised");
      }
      if (t.neg_exp) out[i] = static_cast<float>(-std::exp(static_cast<double>(out[i])));
    }
    return out;
  }

  std::vector<float> small_matrix(const std::string& name, int64_t rows, int64_t cols) {
    const TensorSpec& t = take(name, rows, cols);
    if (t.parts.any() || t.transposed_of != 0) fail(t, "is a convolution's and must be plain");
    const FileSource source(*files_[t.file], t);
    const ConvertingSource floats(source, t.dtype, DType::kF32, cols);
    std::vector<float> out(static_cast<size_t>(rows * cols));
    if (!floats.read(0, rows * cols * 4, out.data())) fail(t, kGone);
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
    if (widens_turned(t)) return check_turned(t);
    if (t.cols % block_values(t.dtype) != 0) {
      fail(t, "has rows that are not whole blocks of its type");
    }
    if (t.parts.any()) {
      const char* const why = why_not(t);
      if (why != nullptr) fail(t, why);
      for_each_part(t.parts, [&](const FilePart& part) { check_part(t, part, part.bytes); });
      return;
    }
    if (t.bytes != stored_bytes(t)) fail(t, "has bytes that fit no shape");
    check_end(t, files_[t.file]->bytes(), t.offset, t.bytes);
    if (t.factor.any()) check_part(t, t.factor, 4);
  }
  // A quantised matrix is turned around as a whole.
  void check_turned(const TensorSpec& t) const {
    const int64_t of = t.transposed_of;
    if (of < t.rows || of > (int64_t{1} << 40) / t.cols || t.step != 1 || t.run != 1 ||
        t.transposed_from < 0 || t.transposed_from > of - t.rows) {
      fail(t, "has an impossible place in what its file holds");
    }
    check_inside(as_it_lies(t));
  }
  void check_part(const TensorSpec& t, const FilePart& part, int64_t bytes) const {
    if (static_cast<size_t>(part.file) >= files_.size()) fail(t, "names no file");
    check_end(t, files_[static_cast<size_t>(part.file)]->bytes(), part.offset, bytes);
  }
  void check_end(const TensorSpec& t, int64_t size, int64_t offset, int64_t bytes) const {
    if (offset < 0 || offset > size || bytes > size - offset) {
      fail(t, "lies past the end of its file; the file is truncated");
    }
  }

  // Of all that the file holds of it; where it is turned around, other rows may lie there too.
  int64_t stored_bytes(const TensorSpec& t) const {
    if (t.run < 1 || t.step < t.run || t.step > (int64_t{1} << 40) / (t.rows * t.cols)) {
      fail(t, "has an impossible step");
    }
    if (t.transposed_of == 0) {
      const int64_t rows = t.stored_at(t.rows - 1) + 1, values = t.stored_at(t.cols - 1) + 1;
      if (t.rows > 1 || t.step == 1) return rows * stored_row_bytes(t);
      if (is_quantised(t.dtype)) fail(t, "is quantised and cannot be taken apart");
      return values * block_bytes(t.dtype);
    }
    if (is_quantised(t.dtype)) fail(t, "is quantised and cannot be turned around");
    const int64_t limit = int64_t{1} << 40, of = t.transposed_of, from = t.transposed_from;
    if (of < 0 || of > limit / t.cols || from < 0 || from > of ||
        t.stored_at(t.rows - 1) + 1 > of - from) {
      fail(t, "has an impossible place in what its file holds");
    }
    return t.cols * row_bytes(t.dtype, of);
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
  const std::vector<std::unique_ptr<WeightFile>>& files_;
  std::vector<const WeightFile*> views_;
  std::vector<Buffer>& memory_;
  const DType quantise_;
  std::vector<WeightKind> kinds_;
  int64_t bytes_ = 0;
  std::unordered_map<std::string, const TensorSpec*> by_name_;
};

}  // namespace octavo
