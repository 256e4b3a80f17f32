// The small device ops against float64: embedding, norms, gates, gathers, rotary embedding and the
// cache it writes, block copies and swaps.
#include <map>

#include "native/kernel_test.h"
#include "reference/reference.h"

namespace octavo::test {
namespace {

std::unique_ptr<Backend> make(DType type) {
  DeviceOptions options;
  options.activation = type;
  return make_device_backend(options);
}
DType any_type(Random& random) { return random.pick({DType::kBF16, DType::kF16}); }
double unit_of(DType type) { return type == DType::kF16 ? 0x1p-11 : 0x1p-8; }
std::vector<uint16_t> poison(int64_t n) { return std::vector<uint16_t>(n, kHalfNaN); }

void test_embedding(Random& random) {
  const DType type = any_type(random);
  const auto backend = make(type);
  const Ops& ops = backend->ops();
  const DType stored = random.pick({DType::kF32, DType::kBF16, DType::kF16, DType::kQ8_0,
                                    DType::kQ4_0, DType::kQ5_1, DType::kQ4_K, DType::kQ6_K});
  const int64_t rows = random.between(1, 20);
  const int64_t cols = random.between(1, 3) * (block_values(stored) == 256 ? 256 : 192);
  const Bytes table = random_stored(random, stored, rows, cols);
  const Tensor host{table.data(), stored, rows, cols};
  const Buffer memory(ops, ops.weight_bytes(ops.context, host), "test");
  const Tensor loaded = ops.load_weight(ops.context, host, memory.data());
  std::vector<int32_t> ids;
  for (int64_t n = random.between(1, 9); n > 0; n--) {
    ids.push_back(static_cast<int32_t>(random.between(0, rows - 1)));
  }
  const int64_t n = static_cast<int64_t>(ids.size());
  const DeviceBytes out = to_device(ops, std::vector<float>(n * cols, kNaN));
  const DeviceBytes device_ids = to_device(ops, ids);
  ops.embedding(ops.context, {out.data(), DType::kF32, n, cols}, loaded, device_ids.as<int32_t>());
  const auto got = out.read<float>();
  for (int64_t i = 0; i < n * cols; i++) {
    const char* row = table.data() + ids[i / cols] * row_bytes(stored, cols);
    const double exact = reference::stored_row(stored, row, cols)[i % cols];
    const bool packed = stored == DType::kQ8_0 || stored == DType::kQ4_0;
    const float want =
        static_cast<float>(packed ? exact : rounded(type, static_cast<float>(exact)));
    expect(got[i] == want, "embedding: %g, want %g", got[i], want);
  }
}

void test_rms_norm(Random& random) {
  const DType type = any_type(random);
  const auto backend = make(type);
  const Ops& ops = backend->ops();
  const bool heads = random.chance(40), fused = !heads && random.chance(60);
  const bool long_rows = !heads && random.chance(10);  // more than a block's registers hold
  const int64_t rows = long_rows ? 2 : random.between(1, 20);
  const int64_t cols = heads       ? random.between(1, 256) * 2
                       : long_rows ? 8192 + random.between(-1, 2) * 8
                                   : random.between(1, 300) * 8;
  std::vector<float> x = random_values(random, heads ? type : DType::kBF16, rows * cols, 3);
  if (!heads) {
    for (float& v : x) v += 1e-4f * random.normal();  // the residual stream is float
  }
  const std::vector<float> add = random_values(random, type, rows * cols);
  std::vector<float> weight;
  for (int64_t i = 0; i < cols; i++) weight.push_back(random.normal());
  const DeviceBytes w = to_device(ops, weight), a = to_device(ops, to_halves(type, add));
  const DeviceBytes in = heads ? to_device(ops, to_halves(type, x)) : to_device(ops, x);
  const DeviceBytes out = to_device(ops, poison(rows * cols));
  const bool in_place = heads && random.chance(50);
  const Tensor source{in.data(), heads ? type : DType::kF32, rows, cols};
  const Tensor target{in_place ? in.data() : out.data(), type, rows, cols};
  ops.rms_norm(ops.context, target, source, fused ? Tensor{a.data(), type, rows, cols} : Tensor{},
               w.as<float>(), 1e-5f);
  const auto got = to_floats(type, (in_place ? in : out).read<uint16_t>());
  for (int64_t i = 0; fused && i < rows * cols; i++) x[i] += add[i];
  if (fused) {
    const auto sum = in.read<float>();
    expect(std::memcmp(sum.data(), x.data(), x.size() * 4) == 0, "rms_norm: other sums");
  }
  for (int64_t r = 0; r < rows; r++) {
    const auto want = reference::rms_norm(&x[r * cols], weight.data(), 1e-5, cols);
    for (int64_t i = 0; i < cols; i++) {
      expect_near("rms_norm", got[r * cols + i], want[i],
                  (unit_of(type) + 4e-6) * std::fabs(want[i]) + 1e-7);
    }
  }
}

void test_gated_mul(Random& random) {
  const DType type = any_type(random);
  const auto backend = make(type);
  const Ops& ops = backend->ops();
  const int64_t rows = random.between(1, 20), cols = random.between(1, 200) * 2, n = rows * cols;
  const Activation act = random.chance(50) ? Activation::kSilu : Activation::kGeluTanh;
  std::vector<float> gate = random_values(random, type, n, 4), up = random_values(random, type, n);
  gate[0] = 0, gate[n - 1] = -60;
  const DeviceBytes g = to_device(ops, to_halves(type, gate)),
                    u = to_device(ops, to_halves(type, up));
  const DeviceBytes out = to_device(ops, poison(n));
  const bool in_place = random.chance(50);
  ops.gated_mul(ops.context, {in_place ? g.data() : out.data(), type, rows, cols},
                {g.data(), type, rows, cols}, {u.data(), type, rows, cols}, act);
  const auto got = to_floats(type, (in_place ? g : out).read<uint16_t>());
  for (int64_t i = 0; i < n; i++) {
    const double want = act == Activation::kSilu ? reference::silu_mul(gate[i], up[i])
                                                 : reference::gelu_mul(gate[i], up[i]);
    expect_near("gated_mul", got[i], want,
                unit_of(type) * std::fabs(want) + 1e-6 * std::fabs(gate[i] * up[i]) + 1e-7);
  }
}

void test_gather_rows(Random& random) {
  const auto backend = make(DType::kBF16);
  const Ops& ops = backend->ops();
  const int64_t rows = random.between(1, 40), cols = random.between(1, 80) * 2;
  std::vector<float> x;
  for (int64_t i = 0; i < rows * cols; i++) x.push_back(random.normal());
  std::vector<int32_t> wanted;
  for (int64_t n = random.between(1, 60); n > 0; n--) {
    wanted.push_back(static_cast<int32_t>(random.between(0, rows - 1)));
  }
  const int64_t n = static_cast<int64_t>(wanted.size());
  const DeviceBytes in = to_device(ops, x), ids = to_device(ops, wanted);
  const DeviceBytes out = to_device(ops, std::vector<float>(n * cols, kNaN));
  ops.gather_rows(ops.context, {out.data(), DType::kF32, n, cols},
                  {in.data(), DType::kF32, rows, cols}, ids.as<int32_t>());
  const auto got = out.read<float>();
  for (int64_t i = 0; i < n; i++) {
    expect(std::memcmp(&got[i * cols], &x[wanted[i] * cols], cols * 4) == 0, "gather: wrong row");
  }
}

// The nearest value of an 8-bit type with this scale is at most half a step away.
double step_of(DType kv, double value, double scale) {
  if (kv == DType::kI8 || scale == 0) return scale * 0.5;
  const double magnitude = std::max(std::fabs(value) / scale, 0x1p-6);
  return scale * std::exp2(std::floor(std::log2(magnitude)) - 3) * 0.5;
}

double e4m3(uint8_t byte) {
  const int exponent = byte >> 3 & 15, mantissa = byte & 7;
  const double size =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return byte & 128 ? -size : size;
}

void test_rope_and_cache(Random& random) {
  const DType type = any_type(random);
  const DType kv_type = random.pick({type, type, DType::kF8E4M3, DType::kI8});
  const auto backend = make(type);
  const Ops& ops = backend->ops();
  const int32_t head = static_cast<int32_t>(random.pick({32, 64, 80, 96, 112, 128, 256}));
  const int32_t kv_heads = static_cast<int32_t>(random.between(1, 3));
  const int32_t heads = kv_heads * static_cast<int32_t>(random.between(1, 4));
  const int32_t block = static_cast<int32_t>(random.pick({8, 16, 32})), blocks = 5;
  const int32_t rotary = random.chance(60) ? head : head / 2;
  const int32_t tokens = static_cast<int32_t>(random.between(1, 7));
  const bool interleaved = random.chance(40);
  std::vector<float> inv_freq;
  for (int32_t i = 0; i < rotary / 2; i++) {
    inv_freq.push_back(static_cast<float>(std::pow(10000.0, -2.0 * i / rotary)));
  }
  const int64_t q_cols = int64_t{heads} * head, kv_cols = int64_t{kv_heads} * head;
  const auto q = random_values(random, type, tokens * q_cols);
  const auto k = random_values(random, type, tokens * kv_cols);
  auto v = random_values(random, type, tokens * kv_cols);
  std::fill_n(v.begin(), head, 0.0f);  // a row of zeros has no scale to divide by
  std::vector<int32_t> positions;
  std::vector<int64_t> slots;
  for (int32_t t = 0; t < tokens; t++) {
    positions.push_back(static_cast<int32_t>(random.between(0, 30000)));
    slots.push_back(random.chance(15) ? -1 : (t * 17) % (blocks * block));
  }
  const int64_t element = block_bytes(kv_type), page = kv_cols * block;
  const int64_t values = 2 * page * element;
  const int64_t stride = (values + 2 * kv_heads * block * 4 + 255) / 256 * 256;
  const DeviceBytes pool = to_device(ops, std::vector<uint8_t>(blocks * stride, 0xFF));
  PagedKV kv{pool.data(),
             kv_type,
             block,
             kv_heads,
             head,
             stride / element,
             page,
             int64_t{block} * head,
             reinterpret_cast<float*>(pool.as<char>() + values),
             stride / 4,
             int64_t{kv_heads} * block};
  const DeviceBytes dq = to_device(ops, to_halves(type, q)),
                    dk = to_device(ops, to_halves(type, k)),
                    dv = to_device(ops, to_halves(type, v)), freq = to_device(ops, inv_freq),
                    pos = to_device(ops, positions), slot = to_device(ops, slots);
  BatchView batch;
  batch.num_tokens = tokens;
  batch.positions = pos.as<int32_t>();
  batch.slots = slot.as<int64_t>();
  const float factor = random.chance(30) ? 1.2f : 1.0f;
  ops.rope_and_cache(ops.context,
                     {{dq.data(), type, tokens, q_cols},
                      {dk.data(), type, tokens, kv_cols},
                      {dv.data(), type, tokens, kv_cols},
                      freq.as<float>(),
                      rotary,
                      interleaved,
                      factor},
                     kv, batch);
  const auto got_q = to_floats(type, dq.read<uint16_t>());
  const auto bytes = pool.read<uint8_t>();
  std::vector<char> written(bytes.size(), 0);
  for (int32_t t = 0; t < tokens; t++) {
    for (int32_t h = 0; h < heads; h++) {
      const int64_t at = t * q_cols + int64_t{h} * head;
      const auto want =
          reference::rope(&q[at], head, positions[t], inv_freq.data(), rotary, interleaved, factor);
      for (int32_t d = 0; d < head; d++) {
        expect_near("rope q", got_q[at + d], want[d], unit_of(type) * std::fabs(want[d]) + 1e-5);
      }
    }
    for (int32_t h = 0; slots[t] >= 0 && h < 2 * kv_heads; h++) {
      const bool value = h >= kv_heads;
      const int32_t kv_head = h % kv_heads;
      const float* row = (value ? v : k).data() + t * kv_cols + int64_t{kv_head} * head;
      std::vector<double> want(row, row + head);
      if (!value)
        want =
            reference::rope(row, head, positions[t], inv_freq.data(), rotary, interleaved, factor);
      const int32_t b = static_cast<int32_t>(slots[t] / block),
                    offset = static_cast<int32_t>(slots[t] % block);
      const int64_t at = (kv.page(b, kv_head, offset) + (value ? page : 0)) * element;
      float scale = 1;
      if (is_8bit_cache(kv_type)) {
        const int64_t s =
            values + 4 * (kv.scale(b, kv_head, offset) + (value ? kv.scale_v_offset : 0));
        std::memcpy(&scale, &bytes[s], 4);
        std::fill_n(written.begin() + s, 4, 1);
      }
      for (int32_t d = 0; d < head; d++) {
        double got, tolerance = unit_of(type) * std::fabs(want[d]) + 1e-5;
        if (is_8bit_cache(kv_type)) {
          const uint8_t byte = bytes[at + d];
          got = scale * (kv_type == DType::kI8 ? static_cast<int8_t>(byte) : e4m3(byte));
          tolerance = step_of(kv_type, want[d], scale) * 1.001 + 1e-5;
        } else {
          uint16_t bits;
          std::memcpy(&bits, &bytes[at + 2 * d], 2);
          got = from_half_bits(type, bits);
        }
        expect_near("cache", got, want[d], tolerance);
        std::fill_n(written.begin() + at + d * element, element, 1);
      }
    }
  }
  for (size_t i = 0; i < bytes.size(); i++) {
    expect(written[i] || bytes[i] == 0xFF, "rope_and_cache wrote outside its slots");
  }
}

void test_copy_and_swap(Random& random) {
  const auto backend = make(DType::kBF16);
  const Ops& ops = backend->ops();
  const int64_t blocks = random.between(4, 20), bytes = random.between(1, 900) * 16;
  std::vector<uint8_t> pool(static_cast<size_t>(blocks * bytes));
  for (uint8_t& b : pool) b = static_cast<uint8_t>(random.between(0, 255));
  const DeviceBytes device = to_device(ops, pool);
  std::vector<BlockCopy> copies;  // sources in the first half, each target once
  for (int64_t b = blocks / 2; b < blocks; b++) {
    copies.push_back(
        {static_cast<int32_t>(random.between(0, blocks / 2 - 1)), static_cast<int32_t>(b)});
  }
  const DeviceBytes list = to_device(ops, copies);
  ops.copy_blocks(ops.context, device.data(), bytes, list.as<BlockCopy>(),
                  static_cast<int32_t>(copies.size()));
  for (const BlockCopy& c : copies) {
    std::memcpy(&pool[c.target * bytes], &pool[c.source * bytes], static_cast<size_t>(bytes));
  }
  expect(device.read<uint8_t>() == pool, "copy_blocks: another pool than the host's");

  char* host = static_cast<char*>(ops.allocate_host(ops.context, static_cast<size_t>(3 * bytes)));
  std::vector<BlockSwap> out = {{1, 2}, {3, 0}}, in = {{0, 2}, {2, 0}};
  ops.swap_blocks(ops.context, device.data(), host, bytes, out.data(), 2, true);
  ops.swap_blocks(ops.context, device.data(), host, bytes, in.data(), 2, false);
  const auto swapped = device.read<uint8_t>();
  for (int i = 0; i < 2; i++) {
    expect(std::memcmp(&swapped[in[i].device * bytes], &pool[out[i].device * bytes], bytes) == 0,
           "swap_blocks: other bytes came back");
  }
  ops.release_host(ops.context, host, static_cast<size_t>(3 * bytes));
}

}  // namespace

void test_kernel_ops(Random& random, const Effort& effort) {
  for (int i = 0; i < effort.cases / 2; i++) {
    test_embedding(random);
    test_rms_norm(random);
    test_gated_mul(random);
    test_gather_rows(random);
    test_rope_and_cache(random);
    test_copy_and_swap(random);
  }
}

}  // namespace octavo::test
