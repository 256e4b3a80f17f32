#include "napi/load_request.h"

#include <string>
#include <utility>

#include "napi/args.h"
#include "napi/model_spec.h"

namespace octavo {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 52;
constexpr int64_t kMaxSide = int64_t{1} << 28;  // of a matrix in parts
constexpr int64_t kMaxBlockSize = 256;

// The groups' layers are checked against the model's by check_groups.
KvGroupSpec read_group(const Napi::Object& from, int64_t block_size, int64_t blocks_per_row) {
  KvGroupSpec group;
  group.reach.window = get_size(from, "window", 0, INT32_MAX);
  group.reach.chunked = !get(from, "chunked").IsUndefined() && get_bool(from, "chunked");
  group.block_size = get_size(from, "blockSize", block_size, kMaxBlockSize);
  const int64_t ratio = group.block_size / block_size;
  if (group.block_size % block_size != 0 || (ratio & (ratio - 1)) != 0) {
    bad_option("blockSize of a group", "limits.blockSize times a power of two");
  }
  group.blocks_per_row = static_cast<int32_t>((blocks_per_row + ratio - 1) / ratio);
  group.layers = get_sizes(from, "layers", 0, kMaxSize);
  return group;
}

// Each layer with KV of its own is in one group, which keeps what the layer looks at.
void check_groups(const std::vector<KvGroupSpec>& groups, const ModelSpec& spec) {
  if (!spec.has_head) bad_option("head", "an object where a cache is kept");
  for (const LayerSpec& layer : spec.layers) {
    if (layer.attention.reach.both) bad_option("causal", "true where a cache is kept");
  }
  std::vector<bool> known;  // or in no need of one
  size_t count = 0;
  for (const LayerSpec& layer : spec.layers) {
    known.push_back(!layer.attention.owns_kv());
    if (known.back()) ++count;
  }
  for (const KvGroupSpec& group : groups) {
    for (int32_t index : group.layers) {
      const auto layer = static_cast<size_t>(index);
      if (layer >= known.size() || known[layer]) bad_option("groups", "of layers, each in one");
      known[layer] = true;
      ++count;
      if (!group.reach.covers(spec.layers[layer].attention.reach)) {
        bad_option("window of a group", "0, or what covers that of each of its layers");
      }
    }
  }
  if (count != known.size()) bad_option("groups", "of layers, each in one");
}

// Room for what recurrent layers keep, where there are any.
RecurrentLimits read_recurrent(const Napi::Object& limits, const ModelSpec& spec) {
  RecurrentLimits l;
  const bool given = !get(limits, "recurrent").IsUndefined();
  const Napi::Array groups = get_array(limits, "groups");
  if (given != has_recurrent(spec)) {
    bad_option("recurrent", "there where the model has recurrent layers, and only there");
  }
  if (!given) return l;
  if (groups.Length() == 0)
    bad_option("groups", "there: texts cannot be pooled by such layers yet");
  const Napi::Object from = get_object(limits, "recurrent");
  l.num_slots = get_size(from, "numSlots", 2, INT32_MAX);
  l.num_records = get_size(from, "numRecords", kChunk, INT32_MAX);
  if (!get(from, "numHostSlots").IsUndefined()) {
    l.num_host_slots = get_size(from, "numHostSlots", 0, INT32_MAX / kChunk);
  }
  return l;
}

EngineLimits read_limits(const Napi::Object& from) {
  EngineLimits l;
  const Napi::Array groups = get_array(from, "groups");
  if (groups.Length() > kMaxKvGroups) bad_option("groups", "at most 32");
  const int64_t no_cache = groups.Length() == 0 ? 0 : INT32_MAX;
  l.num_blocks = get_size(from, "numBlocks", 0, no_cache);
  l.max_num_seqs = get_size(from, "maxNumSeqs", 1, 1 << 20);
  l.max_num_batched_tokens = get_size(from, "maxNumBatchedTokens", 1, 1 << 24);
  l.max_model_len = get_size(from, "maxModelLen", 1, INT32_MAX);
  l.num_host_blocks = get_size(from, "numHostBlocks", 0, no_cache);
  l.block_size = get_size(from, "blockSize", 1, kMaxBlockSize);
  const int32_t blocks_per_row = get_size(from, "blocksPerRow", no_cache > 0 ? 1 : 0, no_cache);
  for (uint32_t g = 0; g < groups.Length(); ++g) {
    l.groups.push_back(read_group(get_element(groups, g, "groups"), l.block_size, blocks_per_row));
  }
  if (l.table_row() > INT32_MAX / l.max_num_seqs) {
    bad_option("blocksPerRow", "so small that all block tables have less than 2^31 entries");
  }
  return l;
}

// What a device is told; on the CPU nothing of it is looked at.
void read_device(const Napi::Object& from, LoadRequest& r) {
  BackendOptions& b = r.backend;
  b.device = get_size(from, "index", -1, 1023);
  const int64_t dtype = get_int(from, "dtype", 0, kNumDTypes - 1);
  b.dtype = dtype == static_cast<int64_t>(DType::kF16) ? DType::kF16 : DType::kBF16;
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
  r.max_num_blocks = get_size(from, "maxNumBlocks", 2, INT32_MAX);
  b.graphs = get_bool(from, "graphs");
  b.share_prefixes = get_bool(from, "sharePrefixes");
  b.batch_invariant = get_bool(from, "batchInvariant");
}

// A part that may not be there.
bool read_part(const Napi::Object& from, const char* name, FilePart* part) {
  if (get(from, name).IsUndefined()) return false;
  const Napi::Object p = get_object(from, name);
  part->file = static_cast<int32_t>(get_int(p, "file", 0, INT32_MAX));
  part->offset = get_int(p, "offset", 0, kMaxBytes);
  part->bytes = get_int(p, "bytes", 1, kMaxBytes);
  return true;
}

void read_codes(const Napi::Object& from, const char* name, CodePart* codes) {
  if (!read_part(from, name, codes)) return;
  const Napi::Object c = get_object(from, name);
  codes->order = static_cast<CodeOrder>(get_int(c, "order", 0, 3));
  codes->bits = get_int(c, "bits", 1, 8);
  codes->rows = get_int(c, "rows", 1, kMaxSide);
  codes->cols = get_int(c, "cols", 1, kMaxSide);
  codes->unit = get_int(c, "unit", 1, 4);
  codes->is_signed = get_bool(c, "signed");
}

StoredParts read_parts(const Napi::Object& from) {
  StoredParts p;
  read_codes(from, "codes", &p.codes);
  p.is_float = get_bool(from, "float");
  p.rows = get_int(from, "rows", 1, kMaxSide);
  p.from = get_int(from, "from", 0, kMaxSide);
  p.group = get_int(from, "group", 1, kMaxBytes);
  read_part(from, "scales", &p.scales);
  const Napi::Object s = get_object(from, "scales");
  p.scales.type = static_cast<ScaleType>(get_int(s, "type", 0, 5));
  p.scales.rows = get_int(s, "rows", 1, kMaxBytes);
  p.scales.cols = get_int(s, "cols", 1, kMaxBytes);
  p.scales.row_span = get_int(s, "rowSpan", 1, kMaxSide);
  p.scales.turned = get_bool(s, "turned");
  p.scales.flat = get_bool(s, "flat");
  read_part(from, "factor", &p.factor);
  p.divides = get_bool(from, "divides");
  p.divisor = static_cast<int32_t>(get_int(from, "divisor", 1, 1 << 20));
  read_codes(from, "zeros", &p.zeros);
  p.zeros_turned = get_bool(from, "zerosTurned");
  p.zero = static_cast<int32_t>(get_int(from, "zero", 0, 255));
  read_part(from, "groupOf", &p.order);
  read_part(from, "values", &p.values);
  if (read_part(from, "book", &p.book)) {
    read_part(from, "bookScales", &p.book_scales);
    p.book_offset = static_cast<float>(get_number(from, "bookOffset", -1e30, 1e30));
  }
  return p;
}

}  // namespace

TensorSpec read_tensor(const Napi::Object& from) {
  TensorSpec t;
  t.name = get_string(from, "name");
  t.dtype = static_cast<DType>(get_int(from, "dtype", 0, kNumDTypes - 1));
  t.rows = get_int(from, "rows", 1, kMaxBytes);
  t.cols = get_int(from, "cols", 1, kMaxBytes);
  t.file = static_cast<int32_t>(get_int(from, "file", 0, INT32_MAX));
  t.offset = get_int(from, "offset", 0, kMaxBytes);
  t.bytes = get_int(from, "bytes", 0, kMaxBytes);
  if (!get(from, "step").IsUndefined()) t.step = get_int(from, "step", 1, kMaxBytes);
  if (!get(from, "run").IsUndefined()) t.run = get_int(from, "run", 1, kMaxBytes);
  if (!get(from, "negExp").IsUndefined()) t.neg_exp = get_bool(from, "negExp");
  if (!get(from, "parts").IsUndefined()) t.parts = read_parts(get_object(from, "parts"));
  read_part(from, "factor", &t.factor);
  if (get(from, "transposed").IsUndefined()) return t;
  const Napi::Object transposed = get_object(from, "transposed");
  t.transposed_of = get_int(transposed, "of", 1, kMaxBytes);
  t.transposed_from = get_int(transposed, "from", 0, kMaxBytes);
  return t;
}

LoadRequest read_load_request(const Napi::Object& from) {
  LoadRequest r;
  r.spec = read_model_spec(get_object(from, "spec"));
  const Napi::Object limits = get_object(from, "limits");
  r.limits = read_limits(limits);
  r.limits.recurrent = read_recurrent(limits, r.spec);
  if (!r.limits.pools()) check_groups(r.limits.groups, r.spec);
  // A learned position has a row, or it does not exist.
  if (r.spec.num_positions > 0 && r.limits.max_model_len > r.spec.num_positions) {
    bad_option("maxModelLen", "at most numPositions");
  }
  r.backend.num_threads = get_size(from, "numThreads", 1, 1024);
  r.backend.isa = get_string(from, "isa");
  const std::string activations = get_string(from, "activations");
  r.backend.rounding.int8 = activations == "auto" || activations == "int8";
  r.backend.rounding.bf16 = activations == "auto" || activations == "bf16";
  if (!r.backend.rounding.int8 && !r.backend.rounding.bf16 && activations != "f32") {
    bad_option("activations", "auto, int8, bf16 or f32");
  }
  const std::string quantise = get_string(from, "quantize");
  if (quantise == "q8_0") r.quantise = DType::kQ8_0;
  if (quantise == "q4_0") r.quantise = DType::kQ4_0;
  if (!quantise.empty() && r.quantise == DType::kF32) bad_option("quantize", "q8_0, q4_0 or ''");
  read_device(get_object(from, "device"), r);
  if (r.limits.pools()) {
    if (!r.kv_as_activation) bad_option("kvCacheDtype", "auto where no cache is kept");
  } else if (r.limits.num_blocks < 2 && (r.backend.device < 0 || r.limits.num_blocks == 1)) {
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
    r.tensors.push_back(read_tensor(get_element(tensors, i, "tensors")));
  }
  return r;
}

}  // namespace octavo
