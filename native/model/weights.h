// Weights bound to the names the forward pass uses. Matrices stay in the mapped file in their
// stored type; vectors (norms, biases) are small and widened to F32 once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/tensor.h"
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

using Vector = std::vector<float>;  // empty = the model has none

struct LayerWeights {
  Vector attn_norm, mlp_norm, q_norm, k_norm;
  Tensor q, k, v, o, gate, up, down;
  Vector q_bias, k_bias, v_bias, o_bias, gate_bias, up_bias, down_bias;
};

class Weights {
 public:
  // Maps the files and binds every tensor; a missing, unknown, doubled or misshapen one, or bytes
  // past the end of a file, throw ERR_MODEL_FORMAT naming file and tensor.
  Weights(const ModelConfig& config, const std::vector<std::string>& files,
          const std::vector<TensorSpec>& tensors);

  Tensor embed, head;
  Vector final_norm;
  std::vector<LayerWeights> layers;

 private:
  std::vector<std::unique_ptr<MappedFile>> files_;
};

}  // namespace octavo
