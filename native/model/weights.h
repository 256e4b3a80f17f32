// Weights bound to the names the forward pass uses. A matrix that the backend reads as it is stored
// stays in the mapped file; of others a copy is made in the form its ops read, and the pages of the
// file are given back. Vectors (norms, biases) are small and widened to F32 once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "buffer.h"
#include "model/config.h"

namespace octavo {

// A read-only private mapping of a whole file.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);  // throws ERR_MODEL_NOT_FOUND / ERR_MODEL_FORMAT
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  const char* data() const { return static_cast<const char*>(data_); }
  int64_t bytes() const { return bytes_; }
  const std::string& path() const { return path_; }
  // Gives the memory of the whole pages in [offset, offset + bytes) back; they can be read again.
  void forget(int64_t offset, int64_t bytes) const;

 private:
  std::string path_;
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Floats where ops read them; empty = the model has none.
class Vector {
 public:
  Vector() = default;
  Vector(const Ops& ops, const std::vector<float>& values)
      : memory_(ops, values.size() * sizeof(float), "the weights") {
    ops.write(ops.context, memory_.data(), values.data(), memory_.bytes());
  }
  const float* data() const { return static_cast<const float*>(memory_.data()); }  // or null

 private:
  Buffer memory_;
};

struct LayerWeights {
  Vector attn_norm, mlp_norm, q_norm, k_norm;
  Tensor q, k, v, o, gate, up, down;
  Vector q_bias, k_bias, v_bias, o_bias, gate_bias, up_bias, down_bias;
};

class Weights {
 public:
  // Maps the files, reads every tensor and lets go of the files; a missing, unknown, doubled or
  // misshapen one, or bytes past the end of a file, throw ERR_MODEL_FORMAT naming file and tensor.
  // quantise: kQ8_0 or kQ4_0 (embedding and head then as Q8_0): plain matrices whose rows are whole
  // blocks become that; kF32: every matrix as it is.
  Weights(const Ops& ops, const ModelConfig& config, const std::vector<std::string>& files,
          const std::vector<TensorSpec>& tensors, DType quantise);

  int64_t bytes() const { return bytes_; }  // of all matrices, as the ops read them

  Tensor embed, head;
  Vector final_norm;
  std::vector<LayerWeights> layers;

 private:
  std::vector<Buffer> memory_;  // of the matrices, as the ops read them
  int64_t bytes_ = 0;
};

}  // namespace octavo
