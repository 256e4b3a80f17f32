#include "napi/load_request.h"

#include <string>
#include <utility>

#include "napi/args.h"

namespace octavo {
namespace {

constexpr int64_t kMaxSize = 1 << 24;  // of any one dimension of a model
constexpr int64_t kMaxBytes = int64_t{1} << 52;

int32_t size_of(const Napi::Object& from, const char* name, int64_t low = 1,
                int64_t high = kMaxSize) {
  return static_cast<int32_t>(get_int(from, name, low, high));
}

ModelConfig read_config(const Napi::Object& from) {
  ModelConfig c;
  c.vocab_size = size_of(from, "vocabSize");
  c.hidden_size = size_of(from, "hiddenSize");
  c.num_layers = size_of(from, "numLayers", 1, 4096);
  c.num_heads = size_of(from, "numHeads", 1, 4096);
  c.num_kv_heads = size_of(from, "numKvHeads", 1, 4096);
  c.head_size = size_of(from, "headSize", 1, 4096);
  c.intermediate_size = size_of(from, "intermediateSize");
  c.norm_eps = static_cast<float>(get_number(from, "normEps", 0, 1));
  c.attention_scale = static_cast<float>(get_number(from, "attentionScale", -1e6, 1e6));
  c.qk_norm = get_bool(from, "qkNorm");
  c.activation = static_cast<Activation>(get_int(from, "activation", 0, 1));
  c.tied_head = get_bool(from, "tiedHead");
  c.rotary_size = size_of(from, "rotarySize", 2, c.head_size);
  c.rope_interleaved = get_bool(from, "ropeInterleaved");
  c.rope_attention_factor = static_cast<float>(get_number(from, "ropeAttentionFactor", 0, 1e6));
  c.inverse_frequencies = copy_typed_array<float>(get(from, "inverseFrequencies"),
                                                  napi_float32_array, "inverseFrequencies");
  c.windows = copy_typed_array<int32_t>(get(from, "windows"), napi_int32_array, "windows");
  if (c.num_heads % c.num_kv_heads != 0) bad_option("numHeads", "a multiple of numKvHeads");
  if (c.rotary_size % 2 != 0) bad_option("rotarySize", "even");
  if (c.inverse_frequencies.size() != static_cast<size_t>(c.rotary_size / 2)) {
    bad_option("inverseFrequencies", "rotarySize / 2 long");
  }
  if (c.windows.size() != static_cast<size_t>(c.num_layers)) {
    bad_option("windows", "one number per layer");
  }
  for (int32_t w : c.windows) {
    if (w < 0) bad_option("windows", "0 or positive");
  }
  return c;
}

EngineLimits read_limits(const Napi::Object& from) {
  EngineLimits l;
  l.num_blocks = size_of(from, "numBlocks", 0, INT32_MAX);
  l.block_size = size_of(from, "blockSize", 1, 256);
  l.max_num_seqs = size_of(from, "maxNumSeqs", 1, 1 << 20);
  l.max_num_batched_tokens = size_of(from, "maxNumBatchedTokens", 1, 1 << 24);
  l.max_model_len = size_of(from, "maxModelLen", 1, INT32_MAX);
  l.blocks_per_row = size_of(from, "blocksPerRow", 1, INT32_MAX);
  l.num_host_blocks = size_of(from, "numHostBlocks", 0, INT32_MAX);
  return l;
}

// What a device is told; on the CPU nothing of it is looked at.
void read_device(const Napi::Object& from, LoadRequest& r) {
  r.device = size_of(from, "index", -1, 1023);
  const int64_t activation = get_int(from, "activation", 0, kNumDTypes - 1);
  r.activation = activation == static_cast<int64_t>(DType::kF16) ? DType::kF16 : DType::kBF16;
  const std::string kv = get_string(from, "kvCacheDtype");
  r.kv_as_activation = kv == "auto";
  const std::pair<const char*, DType> caches[] = {{"float32", DType::kF32},
                                                  {"float16", DType::kF16},
                                                  {"bfloat16", DType::kBF16},
                                                  {"fp8", DType::kF8E4M3},
                                                  {"int8", DType::kI8}};
  bool known = r.kv_as_activation;
  for (const auto& [name, dtype] : caches) {
    if (kv != name) continue;
    known = true;
    r.kv_dtype = dtype;
  }
  if (!known) bad_option("kvCacheDtype", "auto, float32, float16, bfloat16, fp8 or int8");
  r.memory_utilization = get_number(from, "memoryUtilization", 0.01, 1);
  r.max_num_blocks = size_of(from, "maxNumBlocks", 2, INT32_MAX);
  r.graphs = get_bool(from, "graphs");
  r.share_prefixes = get_bool(from, "sharePrefixes");
  r.batch_invariant = get_bool(from, "batchInvariant");
}

TensorSpec read_tensor(const Napi::Object& from) {
  TensorSpec t;
  t.name = get_string(from, "name");
  t.dtype = static_cast<DType>(get_int(from, "dtype", 0, kNumDTypes - 1));
  t.rows = get_int(from, "rows", 1, kMaxBytes);
  t.cols = get_int(from, "cols", 1, kMaxBytes);
  t.file = static_cast<int32_t>(get_int(from, "file", 0, INT32_MAX));
  t.offset = get_int(from, "offset", 0, kMaxBytes);
  t.bytes = get_int(from, "bytes", 0, kMaxBytes);
  return t;
}

Napi::Object element(const Napi::Array& array, uint32_t i, const char* name) {
  const Napi::Value v = array.Get(i);
  if (!v.IsObject()) bad_option(name, "an array of objects");
  return v.As<Napi::Object>();
}

}  // namespace

LoadRequest read_load_request(const Napi::Object& from) {
  LoadRequest r;
  r.config = read_config(get_object(from, "config"));
  r.limits = read_limits(get_object(from, "limits"));
  r.num_threads = size_of(from, "numThreads", 1, 1024);
  r.isa = get_string(from, "isa");
  const std::string activations = get_string(from, "activations");
  r.int8_activations = activations == "int8";
  if (!r.int8_activations && activations != "f32") bad_option("activations", "int8 or f32");
  const std::string quantise = get_string(from, "quantize");
  if (quantise == "q8_0") r.quantise = DType::kQ8_0;
  if (quantise == "q4_0") r.quantise = DType::kQ4_0;
  if (!quantise.empty() && r.quantise == DType::kF32) bad_option("quantize", "q8_0, q4_0 or ''");
  read_device(get_object(from, "device"), r);
  if (r.limits.num_blocks < 2 && (r.device < 0 || r.limits.num_blocks == 1)) {
    bad_option("numBlocks", "at least 2");
  }
  const Napi::Array files = get_array(from, "files");
  for (uint32_t i = 0; i < files.Length(); ++i) {
    const Napi::Value v = files.Get(i);
    if (!v.IsString()) bad_option("files", "an array of paths");
    r.files.push_back(v.As<Napi::String>().Utf8Value());
  }
  const Napi::Array tensors = get_array(from, "tensors");
  for (uint32_t i = 0; i < tensors.Length(); ++i) {
    r.tensors.push_back(read_tensor(element(tensors, i, "tensors")));
  }
  return r;
}

}  // namespace octavo
