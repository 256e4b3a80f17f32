// What latent attention has of its own: products of each head with a matrix of its own against
// float64, and rows of the cache that are K and V at once. (Their attention:
// ops_attention_test.cc.)
#include <algorithm>

#include "native/test_pool.h"
#include "reference/reference.h"

namespace octavo::test {
namespace {

struct HeadCase {
  DType dtype;
  int64_t heads, rows, cols, rest, n;
  std::vector<Bytes> bytes;  // of each head's matrix
  std::vector<float> x;

  int64_t in() const { return heads * (cols + rest); }
  int64_t out() const { return heads * (rows + rest); }
};

HeadCase random_head_case(const Backends& backends, Random& random) {
  HeadCase c;
  const bool cpu = backends.on_cpu();
  c.dtype = cpu ? random.pick({DType::kF32, DType::kBF16, DType::kF16, DType::kQ8_0, DType::kQ4_K})
                : random.pick({backends.type(), backends.type(), DType::kQ8_0, DType::kQ4_0});
  const int64_t block = block_values(c.dtype);
  c.heads = random.between(1, 9);
  c.rows = cpu ? random.between(1, 70) : 8 * random.between(1, 9);
  c.cols = block > 1 ? block * random.between(1, 2) : 8 * random.between(1, 12);
  c.rest = random.chance(50) ? 0 : 8 * random.between(1, 4);
  c.n = random.between(1, random.chance(20) ? 150 : 20);
  for (int64_t h = 0; h < c.heads; h++) {
    c.bytes.push_back(random_stored(random, c.dtype, c.rows, c.cols));
  }
  c.x = random_values(random, backends.type(), c.n * c.in());
  return c;
}

std::vector<float> run_heads(const Backends& backends, const Ops& ops, const HeadCase& c,
                             int64_t row, int64_t n) {
  const Tensor stored{nullptr, c.dtype, c.rows, c.cols};
  const auto each = static_cast<int64_t>(ops.weight_bytes(ops.context, stored));
  HeadMatmulParams p;
  p.stride = (each + 255) / 256 * 256;
  p.num_heads = static_cast<int32_t>(c.heads);
  ModelShape shape{64, 64, 1, static_cast<int32_t>(n), {1}, false, {}, {}};
  shape.head_matmuls = {{p.num_heads, c.cols, c.rows}};
  const char* why = ops.prepare(ops.context, shape);
  expect(why == nullptr, "prepare: %s", why);
  const WeightMemory weights(ops, static_cast<size_t>(p.stride * c.heads));
  for (int64_t h = 0; h < c.heads; h++) {
    const MemorySource source(c.bytes[static_cast<size_t>(h)].data());
    char* const to = static_cast<char*>(weights.data) + h * p.stride;
    const Tensor one = ops.load_weight(ops.context, stored, source, to);
    if (h == 0) p.weight = one;
  }
  const float* const from = &c.x[static_cast<size_t>(row * c.in())];
  const Values x(backends, backends.type(), n, c.in(), {from, from + n * c.in()});
  const Values out(backends, backends.type(), n, c.out());
  p.x = x.tensor();
  p.out = out.tensor();
  ops.head_matmul(ops.context, p);
  return out.read("head_matmul");
}

void judge_head(const Backends& backends, const HeadCase& c, int64_t h, const float* x,
                const float* got) {
  const bool int8 = backends.left_type(c.dtype) == DType::kI8;
  const auto left = reference::left_row(backends.left_type(c.dtype), x, c.cols);
  for (int64_t n = 0; n < c.rows; n++) {
    const char* const at = c.bytes[static_cast<size_t>(h)].data() + n * row_bytes(c.dtype, c.cols);
    std::vector<double> weight = reference::stored_row(c.dtype, at, c.cols);
    for (double& w : weight) w = rounded(kept_type(backends, c.dtype), static_cast<float>(w));
    double magnitude;
    const double want = reference::dot(left.data(), weight, 0, &magnitude);
    magnitude += 2 * reference::min_magnitude(left.data(), c.dtype, at, c.cols);
    const double terms = static_cast<double>(int8 ? c.cols / 8 : c.cols) + 8;
    const double tolerance = backends.on_cpu() ? terms * 0x1p-24 * magnitude : 2e-6 * magnitude;
    expect_stored("head_matmul", backends.type(), got[n], want, tolerance + 1e-37);
  }
  for (int64_t i = 0; i < c.rest; i++) {
    expect(got[c.rows + i] == x[c.cols + i], "head_matmul: the rest is another");
  }
}

}  // namespace

void test_head_matmul(const Backends& backends, Random& random, int) {
  const HeadCase c = random_head_case(backends, random);
  const std::vector<float> got = run_heads(backends, backends.ops(), c, 0, c.n);
  for (int64_t t = 0; t < c.n; t++) {
    for (int64_t h = 0; h < c.heads; h++) {
      judge_head(backends, c, h, &c.x[static_cast<size_t>(t * c.in() + h * (c.cols + c.rest))],
                 &got[static_cast<size_t>(t * c.out() + h * (c.rows + c.rest))]);
    }
  }
  for (const auto& backend : backends.all) {
    const bool same = run_heads(backends, backend->ops(), c, 0, c.n) == got;
    expect(same, "head_matmul: %s gives other bits", backend->ops().isa);
  }
  const int64_t row = random.between(0, c.n - 1);
  const auto alone = run_heads(backends, backends.any(random), c, row, 1);
  expect(std::equal(alone.begin(), alone.end(), got.begin() + row * c.out()),
         "head_matmul: other bits alone");
}

// A row of the cache is v, then k as it has turned; of each head of q as much turns at its end.
void test_latent_rows(const Backends& backends, Random& random, int) {
  const bool cpu = backends.on_cpu();
  const DType type = backends.type();
  const int32_t latent = 8 * static_cast<int32_t>(random.between(1, 9));
  const int32_t rope = 8 * static_cast<int32_t>(random.between(1, 3)), size = latent + rope;
  const int32_t rotary = random.chance(70) ? rope : 2 * static_cast<int32_t>(random.between(0, 3));
  const int32_t heads = static_cast<int32_t>(random.between(1, 6)), block = random.pick({8, 16});
  const int64_t tokens = random.between(1, 12);
  const DType kv_type = cpu ? random.pick({DType::kF32, DType::kF16, DType::kBF16}) : type;
  const bool interleaved = random.chance(50);
  TestPool empty(backends, kv_type, 5, block, 1, size, latent);
  std::vector<int64_t> slots;
  for (int64_t s = block; s < 5 * block; s++) slots.push_back(s);
  std::shuffle(slots.begin(), slots.end(), random.engine());
  slots.resize(static_cast<size_t>(tokens));
  std::vector<int32_t> positions;
  for (int64_t t = 0; t < tokens; t++) {
    positions.push_back(static_cast<int32_t>(random.between(0, 4000)));
  }
  const std::vector<float> freq = random_values(random, DType::kF32, rotary / 2);
  const auto q0 = random_values(random, type, tokens * heads * size),
             k0 = random_values(random, type, tokens * rope),
             v0 = random_values(random, type, tokens * latent);
  const Ops& ops = backends.any(random);
  const Values q(backends, type, tokens, heads * size, q0), k(backends, type, tokens, rope, k0),
      v(backends, type, tokens, latent, v0);
  const Memory pool(ops, empty.bytes.size()), at = put(ops, positions), to = put(ops, slots),
                                              inv_freq = put(ops, freq);
  pool.write(empty.bytes.data());
  BatchView batch;
  batch.num_tokens = static_cast<int32_t>(tokens);
  batch.positions = at.as<int32_t>();
  batch.groups[0].slots = to.as<int64_t>();
  RopeCacheParams p;
  p.q = q.tensor();
  p.k = k.tensor();
  p.v = v.tensor();
  p.inv_freq = rotary == 0 ? nullptr : inv_freq.as<float>();
  p.rotary_size = rotary;
  p.interleaved = interleaved;
  ops.rope_and_cache(ops.context, p, empty.view(pool.data()), batch);
  empty.bytes = pool.read<char>();
  const auto turned = [&](const float* from, int64_t t) {
    return reference::rope(from, rope, positions[static_cast<size_t>(t)], freq.data(), rotary,
                           interleaved, 1);
  };
  const std::vector<float> q1 = q.read("rope of q");
  for (int64_t t = 0; t < tokens; t++) {
    for (int32_t h = 0; h < heads; h++) {
      const int64_t first = (t * heads + h) * size;
      const auto want = turned(&q0[static_cast<size_t>(first + latent)], t);
      for (int32_t d = 0; d < latent; d++) {
        expect(q1[static_cast<size_t>(first + d)] == q0[static_cast<size_t>(first + d)],
               "rope of latent rows: what does not turn has changed");
      }
      for (int32_t d = 0; d < rope; d++) {
        expect_stored("rope of q", type, q1[static_cast<size_t>(first + latent + d)],
                      want[static_cast<size_t>(d)], 1e-5);
      }
    }
    const int64_t slot = slots[static_cast<size_t>(t)];
    const CachedRow row = empty.take_row(static_cast<int32_t>(slot / block),
                                         static_cast<int32_t>(slot % block), 0, false);
    std::vector<float> got(static_cast<size_t>(size));
    read_cached(kv_type, row, got.data());
    const auto want = turned(&k0[static_cast<size_t>(t * rope)], t);
    for (int32_t d = 0; d < size; d++) {
      const double value = d < latent ? v0[static_cast<size_t>(t * latent + d)]
                                      : want[static_cast<size_t>(d - latent)];
      expect_stored("latent row", kv_type, got[static_cast<size_t>(d)], value, 1e-5);
    }
  }
  expect(empty.untouched(), "latent rows: wrote outside their slots");
}

}  // namespace octavo::test
