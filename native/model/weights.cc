#include "model/weights.h"

#include <cstring>
#include <memory>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/half.h"
#include "model/weight_file.h"

namespace octavo {

namespace {

// Finds tensors by name, checks them, and remembers which were used.
class Binder {
 public:
  Binder(const Ops& ops, const std::vector<std::unique_ptr<WeightFile>>& files,
         const std::vector<TensorSpec>& tensors, std::vector<Buffer>& memory, DType quantise)
      : ops_(ops), files_(files), memory_(memory), quantise_(quantise) {
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
    if (spec.weight) w.weight = Vector(ops_, joined(names, "", length, spec.offset ? 1.0f : 0.0f));
    if (spec.bias) w.bias = Vector(ops_, joined(names, ".bias", length, 0));
    return w;
  }
  Vector floats(const std::string& name, int64_t length) {
    return Vector(ops_, vector(name, length));
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

  // The type that a matrix is kept in.
  Tensor stored_as(const TensorSpec& t, Quality quality) const {
    Tensor stored{nullptr, t.dtype, t.rows, t.cols};
    if (quality == Quality::kExact && t.dtype == DType::kBF16 && ops_.activation == DType::kF32) {
      stored.dtype = DType::kF32;
    }
    const bool asked = quantise_ != DType::kF32 && quality < Quality::kAsStored;
    if (!asked || is_quantised(t.dtype) || t.cols % 32 != 0) return stored;
    stored.dtype = quality == Quality::kFiner ? DType::kQ8_0 : quantise_;
    return stored;
  }
  int64_t weight_bytes(const Tensor& stored) const {
    return static_cast<int64_t>(ops_.weight_bytes(ops_.context, stored));
  }

  Tensor load(const TensorSpec& t, const Tensor& stored, void* memory) {
    // Files hold their matrices about in the order in which they are asked for.
    files_[t.file]->prefetch(t.offset, t.offset + t.bytes + kPrefetched);
    if (t.scales_file >= 0) {
      const SplitMxfp4Source source(*files_[t.file], *files_[t.scales_file], t);
      return load_whole(t, stored, source, memory);
    }
    if (t.transposed_of != 0) return load_from(t, stored, TurnedSource(*files_[t.file], t), memory);
    return load_from(t, stored, FileSource(*files_[t.file], t), memory);
  }
  Tensor load_from(const TensorSpec& t, const Tensor& stored, const WeightSource& source,
                   void* memory) {
    if (stored.dtype == t.dtype) return load_whole(t, stored, source, memory);
    return load_whole(t, stored, ConvertingSource(source, t.dtype, stored.dtype, t.cols), memory);
  }
  Tensor load_whole(const TensorSpec& t, const Tensor& stored, const WeightSource& source,
                    void* memory) {
    bytes_ += weight_bytes(stored);
    const Tensor loaded = ops_.load_weight(ops_.context, stored, source, memory);
    if (loaded.empty()) fail(t, kGone);
    return loaded;
  }

  std::vector<float> joined(const std::vector<std::string>& names, const char* suffix,
                            int64_t length, float more) {
    std::vector<float> all;
    for (const std::string& name : names) {
      for (const float value : vector(name + suffix, length)) all.push_back(value + more);
    }
    return all;
  }

  std::vector<float> vector(const std::string& name, int64_t length) {
    const TensorSpec& t = take(name, 1, length);
    if (t.transposed_of != 0) fail(t, "is a vector and cannot be turned around");
    std::vector<char> stored(static_cast<size_t>(t.bytes));
    if (!files_[t.file]->read(t.offset, t.bytes, stored.data())) fail(t, kGone);
    std::vector<float> out(static_cast<size_t>(length));
    for (int64_t i = 0; i < length; ++i) {
      const char* const at = stored.data() + i * t.step * block_bytes(t.dtype);
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
    if (t.bytes != stored_bytes(t)) fail(t, "has bytes that fit no shape");
    check_end(t, files_[t.file]->bytes(), t.offset, t.bytes);
    if (t.scales_file < 0) return;
    if (t.dtype != DType::kMXFP4) fail(t, "is of no type whose scales lie apart");
    if (static_cast<size_t>(t.scales_file) >= files_.size()) fail(t, "names no file");
    check_end(t, files_[t.scales_file]->bytes(), t.scales_offset, t.bytes / 16);
  }
  void check_end(const TensorSpec& t, int64_t size, int64_t offset, int64_t bytes) const {
    if (offset < 0 || offset > size || bytes > size - offset) {
      fail(t, "lies past the end of its file; the file is truncated");
    }
  }

  // Of all that the file holds of it; where it is turned around, other rows may lie there too.
  int64_t stored_bytes(const TensorSpec& t) const {
    if (t.step < 1 || t.step > (int64_t{1} << 40) / (t.rows * t.cols)) {
      fail(t, "has an impossible step");
    }
    if (t.transposed_of == 0) {
      const int64_t rows = (t.rows - 1) * t.step + 1, values = (t.cols - 1) * t.step + 1;
      if (t.scales_file >= 0) return rows * (t.cols / 2);
      if (t.rows > 1 || t.step == 1) return rows * row_bytes(t.dtype, t.cols);
      if (is_quantised(t.dtype)) fail(t, "is quantised and cannot be taken apart");
      return values * block_bytes(t.dtype);
    }
    if (is_quantised(t.dtype)) fail(t, "is quantised and cannot be turned around");
    const int64_t limit = int64_t{1} << 40, of = t.transposed_of, from = t.transposed_from;
    if (of < 0 || of > limit / t.cols || from < 0 || from > of ||
        (t.rows - 1) * t.step + 1 > of - from) {
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
  std::vector<Buffer>& memory_;
  const DType quantise_;
  int64_t bytes_ = 0;
  std::unordered_map<std::string, const TensorSpec*> by_name_;
};

void bind_experts(Binder& bind, const ExpertsSpec& e, int64_t hidden, const std::string& at,
                  LayerWeights& w) {
  const int64_t count = e.router.num_experts, inner = e.intermediate_size;
  w.router = bind.linear(at + "router", count, hidden, e.router_bias, Binder::Quality::kExact);
  if (e.choice_bias) w.choice_bias = bind.row(at + "router.choice_bias", count);
  if (e.shared_gate) {
    w.shared_gate = bind.matrix(at + "shared_gate", 1, hidden, Binder::Quality::kExact);
  }
  const std::string one = at + "experts.";
  w.expert_gate = bind.experts(one, ".gate", count, inner, hidden, e.gate_bias);
  w.expert_up = bind.experts(one, ".up", count, inner, hidden, e.up_bias);
  w.expert_down = bind.experts(one, ".down", count, hidden, inner, e.down_bias);
}

// The norm of q or k: one for each head, for all heads, or for the whole projection.
NormWeights bind_qk_norm(Binder& bind, const AttentionSpec& a, const std::string& name,
                         int32_t heads) {
  std::vector<std::string> names = {name};
  if (a.qk_norm_span == QkNormSpan::kOwnHead) {
    names.clear();
    for (int32_t h = 0; h < heads; ++h) names.push_back(name + "." + std::to_string(h));
  }
  const bool whole = a.qk_norm_span == QkNormSpan::kProjection;
  return bind.norms(a.qk_norm, names, int64_t{whole ? heads : 1} * a.head_size);
}

LayerWeights bind_layer(Binder& bind, const ModelSpec& spec, const LayerSpec& layer,
                        const std::string& at) {
  const AttentionSpec& a = layer.attention;
  const MlpSpec& m = layer.mlp;
  const int64_t hidden = spec.hidden_size, inner = m.intermediate_size;
  LayerWeights w;
  w.attn_norm = bind.norm(layer.attn_norm, at + "attn_norm", hidden);
  w.post_attn_norm = bind.norm(layer.post_attn_norm, at + "post_attn_norm", hidden);
  w.mlp_norm = bind.norm(layer.mlp_norm, at + "mlp_norm", hidden);
  w.post_mlp_norm = bind.norm(layer.post_mlp_norm, at + "post_mlp_norm", hidden);
  w.q_norm = bind_qk_norm(bind, a, at + "q_norm", a.num_heads);
  w.k_norm = bind_qk_norm(bind, a, at + "k_norm", a.num_kv_heads);
  if (a.sinks) w.sinks = bind.floats(at + "sinks", a.num_heads);
  if (a.gated) w.attn_gate = bind.linear(at + "attn_gate", a.q_size(), hidden, false);
  w.q = bind.linear(at + "q", a.q_size(), hidden, a.q_bias);
  w.k = bind.linear(at + "k", a.kv_size(), hidden, a.k_bias);
  w.v = bind.linear(at + "v", a.kv_size(), hidden, a.v_bias);
  w.o = bind.linear(at + "o", hidden, a.q_size(), a.o_bias);
  if (layer.experts.any()) bind_experts(bind, layer.experts, hidden, at, w);
  if (inner == 0) return w;
  if (m.gated) w.gate = bind.linear(at + "gate", inner, hidden, m.gate_bias);
  w.up = bind.linear(at + "up", inner, hidden, m.up_bias);
  w.down = bind.linear(at + "down", hidden, inner, m.down_bias);
  return w;
}

// Small, and the last that a vector goes through: exact.
std::vector<DenseWeights> bind_pooler(Binder& bind, const ModelSpec& spec) {
  std::vector<DenseWeights> out;
  int64_t in = spec.hidden_size;
  for (const DenseSpec& dense : spec.pooler) {
    const std::string name = "pooled." + std::to_string(out.size());
    DenseWeights w;
    w.linear = bind.linear(name, dense.out_size, in, dense.bias, Binder::Quality::kExact);
    w.norm = bind.norm(dense.norm, name + ".norm", dense.out_size);
    out.push_back(std::move(w));
    in = dense.out_size;
  }
  return out;
}

}  // namespace

Weights::Weights(const Ops& ops, const ModelSpec& spec, const std::vector<std::string>& files,
                 const std::vector<TensorSpec>& tensors, DType quantise) {
  std::vector<std::unique_ptr<WeightFile>> open;
  for (const std::string& path : files) open.push_back(std::make_unique<WeightFile>(path));
  Binder bind(ops, open, tensors, memory_, quantise);
  const int64_t vocab = spec.vocab_size, hidden = spec.hidden_size;
  embed = bind.matrix("embed", vocab, hidden, Binder::Quality::kFiner);
  if (spec.num_positions > 0) {
    positions = bind.matrix("positions", spec.num_positions, hidden, Binder::Quality::kAsStored);
  }
  if (spec.num_token_types > 0) {
    token_types =
        bind.matrix("token_types", spec.num_token_types, hidden, Binder::Quality::kAsStored);
  }
  if (spec.has_head) {
    head = spec.tied_head ? embed : bind.matrix("head", vocab, hidden, Binder::Quality::kFiner);
  }
  embed_norm = bind.norm(spec.embedding_norm, "embed_norm", hidden);
  final_norm = bind.norm(spec.final_norm, "final_norm", hidden);
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const std::string at = "layers." + std::to_string(i) + ".";
    layers.push_back(bind_layer(bind, spec, spec.layers[i], at));
  }
  pooler = bind_pooler(bind, spec);
  bind.check_all_used();
  for (const auto& file : open) file->check_unchanged();
  bytes_ = bind.bytes();
}

}  // namespace octavo
