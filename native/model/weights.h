// Weights bound to the names the forward pass uses. On the CPU matrices stay in the mapped file in
// their stored type; a device gets copies in the form its ops read, and the files are let go.
// Vectors (norms, biases) are small and widened to F32 once.
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
  // Maps the files and binds every tensor; a missing, unknown, doubled or misshapen one, or bytes
  // past the end of a file, throw ERR_MODEL_FORMAT naming file and tensor.
  Weights(const Ops& ops, const ModelConfig& config, const std::vector<std::string>& files,
          const std::vector<TensorSpec>& tensors);

  Tensor embed, head;
  Vector final_norm;
  std::vector<LayerWeights> layers;

 private:
  std::vector<std::unique_ptr<MappedFile>> files_;
  std::vector<Buffer> copies_;  // of matrices that are not used where they are stored
};

}  // namespace octavo
