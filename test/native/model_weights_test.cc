// How weights are bound: by name, turned around, one added, quantised, or refused; and where each
// value of a cache with unlike layers lies.
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <set>

#include "base/half.h"
#include "model/kv_cache.h"
#include "model/weights.h"
#include "native/model_test.h"

namespace octavo::test {
namespace {

std::vector<float> read_vector(const Ops& ops, const Vector& v, size_t n) {
  std::vector<float> out(n);
  if (v.data() != nullptr) ops.read(ops.context, out.data(), v.data(), n * 4);
  return out;
}

bool same_matrix(const Ops& ops, const Tensor& a, const Tensor& b) {
  if (a.dtype != b.dtype || a.rows != b.rows || a.cols != b.cols) return false;
  const size_t bytes = ops.weight_bytes(ops.context, {nullptr, a.dtype, a.rows, a.cols});
  return std::memcmp(a.data, b.data, bytes) == 0;
}

// The same as layers.0's `up`, as columns from `from` on of a wider matrix turned around, in runs.
void add_turned_up(Checkpoint& checkpoint, const ModelSpec& spec, DType dtype, Random& random) {
  const int64_t rows = spec.layers[0].mlp.intermediate_size, cols = spec.hidden_size;
  TensorSpec t{"layers.1.up", dtype, rows, cols};
  t.run = random.between(1, 3);
  t.step = t.run + random.pick({0, 2});
  const int64_t from = random.between(0, 9);
  const int64_t of = from + t.stored_at(rows - 1) + 1 + random.between(0, 9);
  const int64_t value = block_bytes(dtype);
  const std::vector<float>& plain = checkpoint.values.at("layers.0.up");
  std::vector<char> stored(static_cast<size_t>(cols * of * value), 0x55);
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t c = 0; c < cols; c++) {
      const float f = plain[static_cast<size_t>(r * cols + c)];
      const uint16_t half = float_to_half(f);
      char* at = stored.data() + (c * of + from + t.stored_at(r)) * value;
      std::memcpy(at, dtype == DType::kF32 ? static_cast<const void*>(&f) : &half, value);
    }
  }
  t.transposed_of = of;
  t.transposed_from = from;
  checkpoint.write(t, stored.data(), static_cast<int64_t>(stored.size()));
}

void drop(Checkpoint& checkpoint, const std::string& name) {
  auto& tensors = checkpoint.tensors;
  for (size_t i = tensors.size(); i-- > 0;) {
    if (tensors[i].name == name) tensors.erase(tensors.begin() + static_cast<int64_t>(i));
  }
}

void test_turned(const Ops& ops, Random& random, DType dtype, DType quantise) {
  ModelSpec spec = plain_spec(2);
  // Wide enough that the file is turned around piece by piece.
  spec.hidden_size = static_cast<int32_t>(32 * random.between(1, 60));
  for (LayerSpec& layer : spec.layers) {
    layer.mlp.intermediate_size = static_cast<int32_t>(random.between(1, 300));
  }
  spec.layers[1].mlp = spec.layers[0].mlp;
  Checkpoint checkpoint(random);
  checkpoint.add_all(spec);
  drop(checkpoint, "layers.1.up");
  if (dtype == DType::kF16) {  // `up` of layer 0 too, so that both are rounded alike
    std::vector<uint16_t> halves;
    for (float f : checkpoint.values["layers.0.up"]) halves.push_back(float_to_half(f));
    drop(checkpoint, "layers.0.up");
    checkpoint.write({"layers.0.up", dtype, spec.layers[0].mlp.intermediate_size, spec.hidden_size},
                     halves.data(), static_cast<int64_t>(2 * halves.size()));
  }
  add_turned_up(checkpoint, spec, dtype, random);
  checkpoint.close();
  const Weights w(ops, spec, checkpoint.files, checkpoint.tensors, quantise);
  expect(same_matrix(ops, w.layers[0].up.weight, w.layers[1].up.weight),
         "a %s matrix that is turned around is another one (quantise %d)", dtype_name(dtype),
         static_cast<int>(quantise));
}

// A quantised matrix that lies turned around is, as F32, that of its values.
void test_turned_blocks(const Ops& ops, Random& random) {
  ModelSpec spec = plain_spec(2);
  const int32_t rows = 32 * static_cast<int32_t>(random.between(1, 3));
  spec.layers[0].mlp.intermediate_size = spec.layers[1].mlp.intermediate_size = rows;
  const int64_t cols = spec.hidden_size;
  Checkpoint checkpoint(random);
  checkpoint.add_all(spec);
  const Bytes blocks = random_stored(random, DType::kQ8_0, cols, rows);
  std::vector<float> lying(static_cast<size_t>(cols * rows)), turned(lying.size());
  dequantise_row(DType::kQ8_0, blocks.data(), cols * rows, lying.data());
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t c = 0; c < cols; c++) {
      turned[static_cast<size_t>(r * cols + c)] = lying[static_cast<size_t>(c * rows + r)];
    }
  }
  drop(checkpoint, "layers.0.up");
  drop(checkpoint, "layers.1.up");
  checkpoint.write({"layers.0.up", DType::kF32, rows, cols}, turned.data(), rows * cols * 4);
  TensorSpec t{"layers.1.up", DType::kQ8_0, rows, cols};
  t.transposed_of = rows;
  checkpoint.write(t, blocks.data(), cols * row_bytes(DType::kQ8_0, rows));
  checkpoint.close();
  const Weights w(ops, spec, checkpoint.files, checkpoint.tensors, DType::kF32);
  expect(same_matrix(ops, w.layers[0].up.weight, w.layers[1].up.weight),
         "blocks that are turned around are another matrix");
}

// Rows, and values of a bias, that lie some apart; blocks whose codes and scales do.
void test_apart(const Ops& ops, Random& random) {
  ModelSpec spec = plain_spec(2);
  spec.hidden_size = 32 * static_cast<int32_t>(random.between(1, 4));
  for (LayerSpec& layer : spec.layers) {
    layer.mlp.intermediate_size = static_cast<int32_t>(random.between(2, 40));
    layer.mlp.up_bias = true;
  }
  spec.layers[1].mlp = spec.layers[0].mlp;
  const int64_t rows = spec.layers[0].mlp.intermediate_size, cols = spec.hidden_size;
  Checkpoint checkpoint(random);
  checkpoint.add_all(spec);
  TensorSpec place;
  place.run = random.between(1, 3);
  place.step = place.run + random.between(1, 3);
  const auto apart = [&](const std::string& name, const void* data, int64_t size, int64_t count) {
    const int64_t last = (count - 1) / place.run * place.step + (count - 1) % place.run;
    std::vector<char> stored(static_cast<size_t>((last + 1) * size), '\x7f');
    for (int64_t i = 0; i < count; i++) {
      const int64_t at = i / place.run * place.step + i % place.run;
      std::memcpy(&stored[at * size], static_cast<const char*>(data) + i * size, size);
    }
    drop(checkpoint, name);
    TensorSpec t{name, DType::kF32, 1, rows};
    t.step = place.step, t.run = place.run;
    return std::pair{t, stored};
  };
  auto [bias, bias_bytes] =
      apart("layers.1.up.bias", checkpoint.values["layers.0.up.bias"].data(), 4, rows);
  checkpoint.write(bias, bias_bytes.data(), static_cast<int64_t>(bias_bytes.size()));
  auto [up, up_bytes] =
      apart("layers.1.up", checkpoint.values["layers.0.up"].data(), 4 * cols, rows);
  up.rows = rows, up.cols = cols;
  checkpoint.write(up, up_bytes.data(), static_cast<int64_t>(up_bytes.size()));

  const Bytes blocks = random_stored(random, DType::kMXFP4, rows, cols);
  drop(checkpoint, "layers.0.gate");
  checkpoint.write({"layers.0.gate", DType::kMXFP4, rows, cols}, blocks.data(),
                   rows * cols / 32 * 17);
  std::vector<char> codes, scales;
  for (const char* b = blocks.data(); b < blocks.data() + rows * cols / 32 * 17; b += 17) {
    scales.push_back(b[0]);
    for (int i = 0; i < 32; i += 2) {
      const auto code = [&](int k) { return b[1 + k % 16] >> (k < 16 ? 0 : 4) & 15; };
      codes.push_back(static_cast<char>(code(i) | code(i + 1) << 4));
    }
  }
  auto [gate, code_bytes] = apart("layers.1.gate", codes.data(), cols / 2, rows);
  const std::vector<char> scale_bytes = apart("", scales.data(), cols / 32, rows).second;
  checkpoint.write({"scales"}, scale_bytes.data(), static_cast<int64_t>(scale_bytes.size()));
  gate.rows = rows, gate.cols = cols, gate.dtype = DType::kMXFP4;
  const int64_t stored = place.stored_at(rows - 1) + 1;
  StoredParts parts;
  parts.rows = stored, parts.group = 32, parts.is_float = true;
  parts.scales.file = 0, parts.scales.offset = checkpoint.tensors.back().offset;
  parts.scales.rows = stored, parts.scales.cols = cols / 32, parts.scales.type = ScaleType::kE8M0;
  parts.scales.bytes = static_cast<int64_t>(scale_bytes.size());
  checkpoint.tensors.pop_back();
  checkpoint.write(gate, code_bytes.data(), static_cast<int64_t>(code_bytes.size()));
  TensorSpec& written = checkpoint.tensors.back();
  parts.codes.file = 0, parts.codes.offset = written.offset;
  parts.codes.bytes = static_cast<int64_t>(code_bytes.size());
  parts.codes.bits = 4, parts.codes.rows = stored, parts.codes.cols = cols;
  written.parts = parts;
  checkpoint.close();
  const Weights w(ops, spec, checkpoint.files, checkpoint.tensors, DType::kF32);
  const LayerWeights &a = w.layers[0], &b = w.layers[1];
  expect(same_matrix(ops, a.up.weight, b.up.weight), "rows that lie apart are other ones");
  expect(same_matrix(ops, a.gate.weight, b.gate.weight), "MXFP4 in two parts is another matrix");
  const size_t n = static_cast<size_t>(rows);
  expect(read_vector(ops, a.up.bias, n) == read_vector(ops, b.up.bias, n),
         "values that lie apart are other ones");
}

// The matrices of a layer's experts stand one behind the other, each as if it were alone.
void test_experts(const Ops& ops, Random& random) {
  ModelSpec spec = plain_spec();
  spec.hidden_size = 64;
  ExpertsSpec& e = spec.layers[0].experts;
  e.router.num_experts = 3;
  e.router.top_k = 2;
  e.intermediate_size = 32 * static_cast<int32_t>(random.between(1, 3));
  e.down_bias = true;
  Checkpoint checkpoint(random);
  checkpoint.add_all(spec);
  checkpoint.close();
  for (const DType quantise : {DType::kF32, DType::kQ8_0}) {
    const Weights w(ops, spec, checkpoint.files, checkpoint.tensors, quantise);
    const LayerWeights& l = w.layers[0];
    expect(l.router.weight.dtype == DType::kF32, "a router is quantised");
    std::vector<float> biases;
    for (int32_t i = 0; i < 3; i++) {
      const std::string name = "layers.0.experts." + std::to_string(i) + ".down";
      const std::vector<float>& own = checkpoint.values.at(name + ".bias");
      biases.insert(biases.end(), own.begin(), own.end());
      std::vector<float>& values = checkpoint.values.at(name);
      const Tensor plain{values.data(), DType::kF32, 64, e.intermediate_size};
      Tensor stored = plain;
      std::vector<char> blocks(static_cast<size_t>(64 * row_bytes(DType::kQ8_0, plain.cols)));
      if (quantise != DType::kF32) {
        quantise_row(quantise, values.data(), 64 * plain.cols, blocks.data());
        stored = {blocks.data(), quantise, 64, plain.cols};
      }
      std::vector<char> want(ops.weight_bytes(ops.context, stored));
      ops.load_weight(ops.context, stored, MemorySource(stored.data), want.data());
      const char* const got = static_cast<const char*>(l.expert_down.weight.data);
      expect(std::memcmp(got + i * l.expert_down.stride, want.data(), want.size()) == 0,
             "expert %d of type %d is another one", i, static_cast<int>(quantise));
    }
    expect(read_vector(ops, l.expert_down.bias, biases.size()) == biases,
           "other biases of experts");
  }
}

void expect_refused(const char* what, const char* want, const Ops& ops, const ModelSpec& spec,
                    const Checkpoint& checkpoint) {
  std::string got = "nothing";
  try {
    const Weights weights(ops, spec, checkpoint.files, checkpoint.tensors, DType::kF32);
  } catch (const Error& e) {
    got = std::string(e.code()) + " " + e.what();
  }
  expect(got.rfind(kErrModelFormat, 0) == 0 && got.find(want) != std::string::npos, "%s gives: %s",
         what, got.c_str());
}

// What becomes of a file just before the n-th matrix is read from it.
struct Meddler {
  decltype(Ops::load_weight) load_weight;
  std::function<void()> meddle;
  int after;
};
Meddler* meddler;

Tensor load_meddled(void* context, Tensor stored, const WeightSource& source, void* memory) {
  if (meddler->after-- == 0) meddler->meddle();
  return meddler->load_weight(context, stored, source, memory);
}

}  // namespace

// Cut at any byte or longer, a file is refused, however much of it had been read.
void test_changed_files(const Ops& ops, Random& random) {
  ModelSpec spec = plain_spec();
  for (int i = 0; i < 20; i++) {
    Checkpoint checkpoint(random);
    checkpoint.add_all(spec);
    checkpoint.close();
    struct stat st = {};
    expect(stat(checkpoint.files[0].c_str(), &st) == 0, "a test's file cannot be measured");
    const int64_t left = random.pick<int64_t>(
        {0, 1, random.between(0, st.st_size - 1), st.st_size - 1, st.st_size + 1});
    const int after = static_cast<int>(random.between(0, 7));  // embed, q, k, v, o, gate, up, down
    const auto cut = [&] {
      expect(truncate(checkpoint.files[0].c_str(), left) == 0, "a test's file cannot be cut");
    };
    Meddler one{ops.load_weight, cut, after};
    meddler = &one;
    Ops meddled = ops;
    meddled.load_weight = load_meddled;
    const std::string what = "a file of " + std::to_string(st.st_size) + " bytes, then " +
                             std::to_string(left) + ", before matrix " + std::to_string(after);
    expect_refused(what.c_str(), "was changed", meddled, spec, checkpoint);
    expect(one.after < 0, "nobody meddled with %s", what.c_str());
  }
}

void test_weights(const Ops& ops, Random& random) {
  for (const DType dtype : {DType::kF32, DType::kF16}) {
    for (const DType quantise : {DType::kF32, DType::kQ8_0, DType::kQ4_0}) {
      test_turned(ops, random, dtype, quantise);
    }
  }
  test_turned_blocks(ops, random);
  test_apart(ops, random);
  test_experts(ops, random);
  ModelSpec spec = plain_spec();
  spec.num_positions = 12;
  spec.final_norm = norm_of(NormKind::kLayer, true, true);
  spec.layers[0].attention.qk_norm = norm_of(NormKind::kRms, true);
  spec.layers[0].attention.k_bias = true;
  Checkpoint checkpoint(random);
  checkpoint.add_all(spec);
  checkpoint.close();
  const Weights w(ops, spec, checkpoint.files, checkpoint.tensors, DType::kQ8_0);
  expect(w.positions.rows == 12 && w.positions.cols == spec.hidden_size, "no table of positions");
  std::vector<float> more = checkpoint.values["final_norm"];
  for (float& f : more) f += 1;
  expect(read_vector(ops, w.final_norm.weight, 16) == more, "final_norm is not 1 + what is stored");
  expect(read_vector(ops, w.final_norm.bias, 16) == checkpoint.values["final_norm.bias"],
         "final_norm.bias is another one");
  expect(read_vector(ops, w.layers[0].k.bias, 16) == checkpoint.values["layers.0.k.bias"],
         "k.bias is another one");
  expect(
      w.layers[0].q.bias.data() == nullptr && w.layers[0].post_attn_norm.weight.data() == nullptr,
      "there is more than the spec says");
}

void test_refused_weights(const Ops& ops, Random& random) {
  const auto refused = [&](const char* what, const char* want,
                           const std::function<void(ModelSpec&)>& of_spec,
                           const std::function<void(Checkpoint&)>& of_checkpoint) {
    ModelSpec spec = plain_spec();
    Checkpoint checkpoint(random);
    checkpoint.add_all(spec);
    of_spec(spec);
    of_checkpoint(checkpoint);
    checkpoint.close();
    expect_refused(what, want, ops, spec, checkpoint);
  };
  const auto as_it_is = [](auto&) {};
  const auto turned = [&](int64_t of, int64_t from) {
    return [of, from](Checkpoint& c) {
      for (TensorSpec& t : c.tensors) {
        if (t.name == "layers.0.up") t.transposed_of = of, t.transposed_from = from;
      }
    };
  };
  refused(
      "a bias that is not there", "no tensor layers.0.q.bias",
      [](ModelSpec& s) { s.layers[0].attention.q_bias = true; }, as_it_is);
  refused("a bias that nobody asked for", "layers.0.q.bias is not a tensor of this model", as_it_is,
          [](Checkpoint& c) { c.add("layers.0.q.bias", 1, 32); });
  refused(
      "a gate without a gated MLP", "layers.0.gate is not a tensor of this model",
      [](ModelSpec& s) { s.layers[0].mlp.gated = false; }, as_it_is);
  refused(
      "a norm that is not there", "no tensor layers.0.post_mlp_norm",
      [](ModelSpec& s) { s.layers[0].post_mlp_norm = norm_of(NormKind::kRms); }, as_it_is);
  refused(
      "positions that are too few", "positions has shape [11, 16], not [12, 16]",
      [](ModelSpec& s) { s.num_positions = 12; },
      [](Checkpoint& c) { c.add("positions", 11, 16); });
  refused(
      "a norm of the head's size for the projection", "q_norm has shape [1, 8], not [1, 32]",
      [](ModelSpec& s) {
        s.layers[0].attention.qk_norm = norm_of(NormKind::kRms);
        s.layers[0].attention.qk_norm_span = QkNormSpan::kProjection;
      },
      [](Checkpoint& c) { c.add("layers.0.q_norm", 1, 8); });
  refused("fewer columns than rows", "impossible place", as_it_is, turned(23, 0));
  refused("columns past the last", "impossible place", as_it_is, turned(24, 1));
  refused("a column before the first", "impossible place", as_it_is, turned(24, -1));
  refused("columns without end", "impossible place", as_it_is, turned(int64_t{1} << 52, 0));
  refused("more columns than bytes", "bytes that fit no shape", as_it_is, turned(25, 1));
  const auto step = [&](const char* name, int64_t by) {
    return [name, by](Checkpoint& c) {
      for (TensorSpec& t : c.tensors) {
        if (t.name == name) t.step = by;
      }
    };
  };
  refused("rows too far apart", "bytes that fit no shape", as_it_is, step("layers.0.up", 2));
  refused("values too far apart", "bytes that fit no shape", as_it_is, step("final_norm", 2));
  refused("rows without end", "impossible step", as_it_is, step("layers.0.up", int64_t{1} << 40));
  const auto run = [&](int64_t of) { return [of](Checkpoint& c) { c.tensors[0].run = of; }; };
  refused("runs longer than their step", "impossible step", as_it_is, run(2));
  refused("empty runs", "impossible step", as_it_is, run(0));
  refused("a step backwards", "impossible step", as_it_is, step("layers.0.up", 0));
  refused("floats in parts of nothing", "codes that are none of its type", as_it_is,
          [](Checkpoint& c) {
            for (TensorSpec& t : c.tensors) {
              if (t.name == "layers.0.up") t.parts.codes.file = 0;
            }
          });
  refused(
      "experts of two types", "not the type of the layer's other experts",
      [](ModelSpec& s) {
        s.layers[0].experts.router.num_experts = s.layers[0].experts.router.top_k = 2;
        s.layers[0].experts.intermediate_size = 2;
      },
      [](Checkpoint& c) {
        c.add("layers.0.router", 2, 16);
        for (const char* name : {"gate", "up"})
          c.add(std::string("layers.0.experts.0.") + name, 2, 16);
        c.add("layers.0.experts.0.down", 16, 2);
        const std::vector<char> zeros(64);
        c.write({"layers.0.experts.1.gate", DType::kF16, 2, 16}, zeros.data(), 64);
      });
  refused("a vector turned around", "is a vector", as_it_is, [](Checkpoint& c) {
    for (TensorSpec& t : c.tensors) {
      if (t.name == "final_norm") t.transposed_of = 1;
    }
  });
  refused("rows of no whole blocks turned around", "are not whole blocks", as_it_is,
          [](Checkpoint& c) {
            drop(c, "layers.0.up");
            const std::vector<char> blocks(24 * 34);
            TensorSpec t{"layers.0.up", DType::kQ8_0, 24, 32};
            t.transposed_of = 24;
            c.write(t, blocks.data(), static_cast<int64_t>(blocks.size()));
          });
}

// Bytes of a group's values and scales in two blocks of the pool; none lies where another does.
int64_t count_places(const KvCache& cache, const KvGroupSpec& group, int32_t g, DType dtype,
                     int64_t plane) {
  const int64_t begin = reinterpret_cast<int64_t>(cache.pool());
  std::vector<int> used(static_cast<size_t>(2 * cache.block_bytes()), 0);
  const auto use = [&](const void* base, int64_t offset, int64_t size, bool is_scale) {
    const int64_t at = reinterpret_cast<int64_t>(base) + offset * size - begin;
    const bool inside = at >= 0 && at + size <= 2 * cache.block_bytes();
    expect(inside, "a value lies outside the pool");
    expect((at % cache.block_bytes() >= plane) == is_scale, "values and scales lie mixed");
    for (int64_t b = 0; inside && b < size; b++) used[static_cast<size_t>(at + b)]++;
  };
  for (int32_t i : group.layers) {
    const PagedKV kv = cache.layer(i);
    expect(kv.group == g && kv.block_size == group.block_size, "a layer of another group");
    for (int32_t block = 0; block < 2; block++) {
      for (int32_t head = 0; head < kv.num_kv_heads; head++) {
        for (int32_t token = 0; token < kv.block_size; token++) {
          for (const int64_t v : {int64_t{0}, int64_t{1}}) {
            if (v > 0 && kv.latent > 0) continue;
            const int64_t row = kv.page(block, head, token) + v * kv.v_offset;
            for (int32_t d = 0; d < kv.head_size; d++) {
              use(kv.base, row + d, block_bytes(dtype), false);
            }
            if (kv.scales == nullptr) continue;
            use(kv.scales, kv.scale(block, head, token) + v * kv.scale_v_offset, 4, true);
          }
        }
      }
    }
  }
  int64_t taken = 0;
  for (int n : used) {
    expect(n <= 1, "two values lie in one place");
    taken += n;
  }
  return taken;
}

// Every value and every scale of unlike layers has a place of its own in its group's pages, all
// values before all scales, and the pages of the largest group have no gap.
void test_cache(const Ops& ops, Random& random) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kI8}) {
    ModelSpec spec = plain_spec(5);
    std::vector<KvGroupSpec> groups(static_cast<size_t>(random.between(1, 3)));
    for (KvGroupSpec& group : groups) group.block_size = random.pick({1, 8, 16});
    std::vector<int64_t> values(groups.size(), 0), scales(groups.size(), 0);
    for (int32_t i : {3, 0, 4, 2, 1}) {
      AttentionSpec& a = spec.layers[static_cast<size_t>(i)].attention;
      a.num_kv_heads = random.pick({1, 2, 4});
      a.head_size = static_cast<int32_t>(2 * random.between(1, 20));
      if (dtype != DType::kI8 && random.chance(30)) make_latent(a);
      const auto g =
          static_cast<size_t>(random.between(0, static_cast<int64_t>(groups.size()) - 1));
      groups[g].layers.push_back(i);
      const int64_t planes = a.latent.any() ? 1 : 2;
      const int64_t rows = planes * a.num_kv_heads * groups[g].block_size;
      values[g] += rows * a.head_size * block_bytes(dtype);
      scales[g] += dtype == DType::kI8 ? rows * 4 : 0;
    }
    const auto most = [](const std::vector<int64_t>& of) {
      return *std::max_element(of.begin(), of.end());
    };
    const int64_t plane = dtype == DType::kI8 ? (most(values) + 15) / 16 * 16 : most(values);
    KvCache cache(spec, groups, dtype);
    expect(cache.block_bytes() == (plane + most(scales) + 255) / 256 * 256,
           "a block has other bytes");
    cache.allocate(ops, 2, 0);
    for (size_t g = 0; g < groups.size(); g++) {
      const int64_t taken = count_places(cache, groups[g], static_cast<int32_t>(g), dtype, plane);
      expect(taken == 2 * (values[g] + scales[g]), "values are missing");
    }
  }
  // As many blocks as have 2⁶⁴ bytes, which as a product is 0.
  ModelSpec spec = plain_spec();
  spec.layers[0].attention.num_kv_heads = spec.layers[0].attention.head_size = 4096;
  const std::vector<KvGroupSpec> groups = {{{}, 256, 1, {0}}};
  KvCache cache(spec, groups, DType::kF32);
  expect(cache.block_bytes() == int64_t{1} << 35, "a block has other bytes");
  bool refused = false;
  try {
    cache.allocate(ops, 1 << 29, 0);
  } catch (const Error& e) {
    refused = e.code() == std::string(kErrOutOfMemory);
  }
  expect(refused, "a pool of more bytes than can be counted is taken");
}

}  // namespace octavo::test
