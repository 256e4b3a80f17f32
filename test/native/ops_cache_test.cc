// What ops write into the cache, against float64: rotary embedding by one table or two, norms of
// heads and temperatures behind it, values of every type with their scales; copies and swaps of
// blocks.
#include <algorithm>

#include "native/test_pool.h"
#include "reference/reference.h"

namespace octavo::test {
namespace {

struct RopeCase {
  int32_t head_size, rotary, num_heads, num_kv_heads, block_size, num_blocks;
  bool interleaved;
  float factor;
  bool norm;
  std::vector<float> q_norm, k_norm;  // weights, or none
  Temperature temperature;
  std::vector<int32_t> positions;
  std::vector<int64_t> slots;
  int64_t tokens() const { return static_cast<int64_t>(slots.size()); }
  int64_t q_cols() const { return int64_t{num_heads} * head_size; }
  int64_t kv_cols() const { return int64_t{num_kv_heads} * head_size; }
};

RopeCase random_rope_case(const Backends& backends, Random& random) {
  const bool cpu = backends.on_cpu();
  RopeCase c;
  c.head_size = static_cast<int32_t>(cpu ? random.pick({2, 16, 34, 64, 80, 128})
                                         : random.pick({32, 64, 80, 96, 112, 128, 256}));
  const int32_t some = 2 * static_cast<int32_t>(random.between(0, c.head_size / 2));
  c.rotary = random.chance(60) ? c.head_size : random.chance(25) ? 0 : some;
  c.num_kv_heads = static_cast<int32_t>(random.between(1, 4));
  c.num_heads = c.num_kv_heads * static_cast<int32_t>(random.between(1, 4));
  c.block_size =
      static_cast<int32_t>(cpu ? random.pick({1, 3, 16, 256}) : random.pick({8, 16, 32}));
  c.interleaved = random.chance(40);
  c.factor = random.chance(70) ? 1.0f : 1.2079442f;
  c.norm = random.chance(40);
  for (std::vector<float>* weight : {&c.q_norm, &c.k_norm}) {
    if (random.chance(70)) *weight = random_values(random, DType::kF32, c.head_size);
  }
  const int32_t length = random.pick({1, 7, 8192});
  if (random.chance(40)) c.temperature = {0.3f, length, static_cast<int32_t>(random.between(0, 1))};
  const int64_t tokens = random.between(1, cpu ? 70 : 7);
  c.num_blocks = static_cast<int32_t>(tokens / c.block_size + random.between(2, 9));
  std::vector<int64_t> free_slots;
  for (int64_t s = c.block_size; s < int64_t{c.num_blocks} * c.block_size; s++) {
    free_slots.push_back(s);
  }
  std::shuffle(free_slots.begin(), free_slots.end(), random.engine());
  for (int64_t t = 0; t < tokens; t++) {
    const bool padding = random.chance(10) || t >= static_cast<int64_t>(free_slots.size());
    c.slots.push_back(padding ? -1 : free_slots[t]);
    c.positions.push_back(static_cast<int32_t>(random.between(0, random.chance(50) ? 40 : 131071)));
  }
  return c;
}

// Frequencies of a case: one table, or a second one for the tokens that are marked.
struct Frequencies {
  std::vector<float> inv_freq, inv_freq_long;
  std::vector<int32_t> marks;  // empty = no token is
  const float* of(size_t token) const {
    const bool is_long = !inv_freq_long.empty() && !marks.empty() && marks[token] != 0;
    return (is_long ? inv_freq_long : inv_freq).data();
  }
};

// A head of q or k as it must come out, and what it may be off by.
struct Head {
  std::vector<double> values, tolerance;
};
constexpr float kNormEps = 1e-5f;

Head turned_head(const Backends& backends, const RopeCase& c, const Frequencies& f, size_t t,
                 const float* row, bool is_q) {
  const auto turned =
      reference::rope(row, c.head_size, c.positions[t], f.of(t), c.rotary, c.interleaved, c.factor);
  const std::vector<float>& weights = is_q ? c.q_norm : c.k_norm;
  double squares = 0;
  for (double x : turned) squares += x * x;
  const double scale = c.norm ? 1 / std::sqrt(squares / c.head_size + double{kNormEps}) : 1;
  const auto& [beta, length, offset] = c.temperature;
  const double steps = std::floor((c.positions[t] + double(offset)) / length);
  const double temper = is_q ? 1 + double{beta} * std::log(1 + steps) : 1;
  Head head;
  for (int32_t d = 0; d < c.head_size; d++) {
    const double by = scale * (c.norm && !weights.empty() ? double{weights[d]} : 1) * temper;
    const double off = !backends.on_cpu() ? 1e-5 : d < c.rotary ? 2e-6 : 0.0;
    const double more = by != 1 || c.norm ? 4e-6 * std::fabs(turned[d] * by) : 0.0;
    head.values.push_back(turned[d] * by);
    head.tolerance.push_back(off * std::fabs(by) + more);
  }
  return head;
}

void judge_rope(const Backends& backends, const RopeCase& c, const std::vector<float>& source,
                const std::vector<float>& got, const Frequencies& f, bool is_q) {
  const int32_t heads = is_q ? c.num_heads : c.num_kv_heads;
  for (size_t t = 0; t < c.slots.size(); t++) {
    if (backends.on_cpu() && c.slots[t] < 0) continue;  // it leaves padding as it is
    for (int32_t h = 0; h < heads; h++) {
      const int64_t at = (static_cast<int64_t>(t) * heads + h) * c.head_size;
      const Head want = turned_head(backends, c, f, t, &source[at], is_q);
      for (int32_t d = 0; d < c.head_size; d++) {
        expect_stored(is_q ? "rope of q" : "rope of k", backends.type(), got[at + d],
                      want.values[d], want.tolerance[d]);
      }
    }
  }
}

// The nearest value of an 8-bit type with this scale is at most half a step away.
double step_of(DType kv, double value, double scale) {
  if (kv == DType::kI8 || scale == 0) return scale * 0.5;
  const double magnitude = std::max(std::fabs(value) / scale, 0x1p-6);
  return scale * std::exp2(std::floor(std::log2(magnitude)) - 3) * 0.5;
}

// A device rounds what it rotated once, on its way into the cache.
void judge_row(const Backends& backends, DType kv_type, const CachedRow& row, const Head& want) {
  const std::vector<double>& values = want.values;
  std::vector<float> got(values.size());
  read_cached(kv_type, row, got.data());
  for (size_t d = 0; d < values.size(); d++) {
    const double tolerance = want.tolerance[d];
    if (is_8bit_cache(kv_type)) {
      const double step = step_of(kv_type, values[d], row.scale);
      expect_near("cache", got[d], values[d], step * 1.001 + tolerance);
    } else {
      expect_stored("cache", backends.type(), got[d], values[d], tolerance);
    }
  }
}

// Every slot of the pool holds what was to be written there; nothing else was touched. The CPU
// leaves k rotated, and the cache has exactly that.
void judge_cache(const Backends& backends, const RopeCase& c, const Frequencies& f, TestPool& pool,
                 const std::vector<float>& k, const std::vector<float>& k_left,
                 const std::vector<float>& v) {
  for (size_t t = 0; t < c.slots.size(); t++) {
    for (int32_t h = 0; h < 2 * c.num_kv_heads && c.slots[t] >= 0; h++) {
      const bool value = h >= c.num_kv_heads;
      const int32_t head = h % c.num_kv_heads;
      const int64_t at = static_cast<int64_t>(t) * c.kv_cols() + int64_t{head} * c.head_size;
      const CachedRow got =
          pool.take_row(static_cast<int32_t>(c.slots[t] / c.block_size),
                        static_cast<int32_t>(c.slots[t] % c.block_size), head, value);
      if (backends.on_cpu()) {
        const CachedRow want =
            cached_row(pool.kv.dtype, (value ? v : k_left).data() + at, c.head_size);
        expect(got.bytes == want.bytes && got.scale == want.scale,
               "rope_and_cache: wrong row of %s", dtype_name(pool.kv.dtype));
      } else {
        const std::vector<double> as_it_is(&v[at], &v[at] + c.head_size);
        const std::vector<double> by(static_cast<size_t>(c.head_size), 1e-5);
        judge_row(backends, pool.kv.dtype, got,
                  value ? Head{as_it_is, by} : turned_head(backends, c, f, t, &k[at], false));
      }
    }
  }
  expect(pool.untouched(), "rope_and_cache: wrote outside its slots (%s)",
         dtype_name(pool.kv.dtype));
}

void rope_case(const Backends& backends, Random& random, const RopeCase& c, const Frequencies& f,
               DType kv_type) {
  const DType type = backends.type();
  const Ops& any = backends.ops();
  const auto q0 = random_values(random, type, c.tokens() * c.q_cols()),
             k0 = random_values(random, type, c.tokens() * c.kv_cols());
  auto v0 = random_values(random, type, c.tokens() * c.kv_cols());
  for (int j = 0; j < 4 && backends.on_cpu(); j++) {  // more than float16 holds
    v0[random.between(0, c.tokens() * c.kv_cols() - 1)] = random.chance(50) ? 65520.0f : -3e30f;
  }
  std::fill_n(v0.begin(), c.head_size, 0.0f);  // a row of zeros has no scale to divide by
  const Values q(backends, type, c.tokens(), c.q_cols()),
      k(backends, type, c.tokens(), c.kv_cols()), v(backends, type, c.tokens(), c.kv_cols(), v0);
  const TestPool empty(backends, kv_type, c.num_blocks, c.block_size, c.num_kv_heads, c.head_size);
  const Memory pool(any, empty.bytes.size()),
      positions = put(any, c.positions), slots = put(any, c.slots), marks = put(any, f.marks),
      freq = put(any, f.inv_freq), freq_long = put(any, f.inv_freq_long),
      q_norm = put(any, c.q_norm), k_norm = put(any, c.k_norm);
  BatchView batch;
  batch.num_tokens = static_cast<int32_t>(c.tokens());
  batch.positions = positions.as<int32_t>();
  batch.groups[0].slots = slots.as<int64_t>();
  if (!f.marks.empty()) batch.long_rope = marks.as<int32_t>();
  const auto or_null = [](const std::vector<float>& values, const Memory& memory) {
    return values.empty() ? nullptr : memory.as<float>();
  };
  const RopeCacheParams p{q.tensor(),
                          k.tensor(),
                          v.tensor(),
                          or_null(f.inv_freq, freq),
                          or_null(f.inv_freq_long, freq_long),
                          c.rotary,
                          c.interleaved,
                          c.factor,
                          c.norm,
                          kNormEps,
                          or_null(c.q_norm, q_norm),
                          or_null(c.k_norm, k_norm),
                          c.temperature};
  std::vector<float> k_left;
  const auto got = run_everywhere(
      backends, q, "rope_and_cache",
      [&] { q.fill(q0), k.fill(k0), pool.write(empty.bytes.data()); },
      [&](const Ops& ops) {
        ops.rope_and_cache(ops.context, p, empty.view(pool.data()), batch);
        const auto left = k.read("rope_and_cache");
        if (k_left.empty()) k_left = left;
        expect(left == k_left, "rope_and_cache: k differs");
        expect(v.read("rope_and_cache") == v0, "rope_and_cache: v was changed");
        TestPool written = empty;
        written.bytes = pool.read<char>();
        judge_cache(backends, c, f, written, k0, left, v0);
      });
  judge_rope(backends, c, q0, got, f, true);
  if (backends.on_cpu()) judge_rope(backends, c, k0, k_left, f, false);
  // Without k and v the same becomes of q, and the cache is left alone.
  RopeCacheParams alone = p;
  alone.k = alone.v = {};
  const auto same = run_everywhere(
      backends, q, "rope of q alone", [&] { q.fill(q0), pool.write(empty.bytes.data()); },
      [&](const Ops& ops) {
        ops.rope_and_cache(ops.context, alone, empty.view(pool.data()), batch);
        expect(pool.read<char>() == empty.bytes, "rope_and_cache: wrote where nothing is to keep");
      });
  expect(same == got, "rope_and_cache: another q without k");
}

}  // namespace

void test_rope_and_cache(const Backends& backends, Random& random, int i) {
  const RopeCase c = random_rope_case(backends, random);
  const std::vector<DType> types = cache_types(backends);
  Frequencies f;
  for (int32_t pair = 0; pair < c.rotary / 2; pair++) {
    f.inv_freq.push_back(static_cast<float>(std::pow(10000.0, -2.0 * pair / c.rotary)));
  }
  rope_case(backends, random, c, f, types[i % 4]);
  if (random.chance(40)) return;
  // At the same positions: angles that are kept from before answer only what they were made for.
  for (const float freq : f.inv_freq) {
    f.inv_freq_long.push_back(freq / static_cast<float>(1 + random.between(0, 39)));
  }
  for (int round = 0; round < 3; round++) {
    f.marks.clear();
    for (size_t t = 0; round < 2 && t < c.slots.size(); t++) {
      f.marks.push_back(static_cast<int32_t>(random.between(0, 1)));
    }
    rope_case(backends, random, c, f, types[(i + round) % 4]);
  }
  f.marks.assign(c.slots.size(), 1);
  for (float& freq : f.inv_freq_long) freq *= 0.75f;
  rope_case(backends, random, c, f, types[i % 4]);
  f.inv_freq_long.clear();  // marks without long frequencies
  rope_case(backends, random, c, f, types[i % 4]);
}

void test_copy_blocks(const Backends& backends, Random& random, int) {
  const int64_t blocks = random.between(2, 20);
  const int64_t floats =
      backends.on_cpu() ? random.pick<int64_t>({3, 64, 1000, 100003}) : random.between(1, 900) * 4;
  std::vector<int32_t> order;
  for (int32_t b = 0; b < blocks; b++) order.push_back(b);
  std::shuffle(order.begin(), order.end(), random.engine());
  // Targets are a suffix of the order, sources (repeatable) come from the rest.
  const int64_t num_copies = random.between(1, blocks - 1);
  std::vector<BlockCopy> copies;
  for (int64_t c = 0; c < num_copies; c++) {
    copies.push_back(
        {order[random.between(0, blocks - num_copies - 1)], order[blocks - num_copies + c]});
  }
  std::vector<float> want = random_values(random, DType::kF32, blocks * floats);
  const std::vector<float> before = want;
  for (const BlockCopy& c : copies) {
    std::copy_n(&before[c.source * floats], floats, &want[c.target * floats]);
  }
  const Values pool(backends, DType::kF32, blocks, floats);
  const Memory list = put(backends.ops(), copies);
  const auto got = run_everywhere(
      backends, pool, "copy_blocks", [&] { pool.fill(before); },
      [&](const Ops& ops) {
        ops.copy_blocks(ops.context, pool.tensor().data, floats * 4, list.as<BlockCopy>(),
                        static_cast<int32_t>(num_copies));
      });
  expect(got == want, "copy_blocks: wrong pool");
}

// Out and in again, to other places.
void test_swap_blocks(const Backends& backends, Random& random, int) {
  const int32_t blocks = static_cast<int32_t>(random.between(2, 20)),
                num_swaps = static_cast<int32_t>(random.between(1, blocks / 2));
  const int64_t floats = backends.cols(random.between(1, 3000), 4);
  std::vector<int32_t> order, there;
  for (int32_t b = 0; b < blocks; b++) order.push_back(b);
  for (int32_t b = 0; b < num_swaps + 2; b++) there.push_back(b);
  std::shuffle(order.begin(), order.end(), random.engine());
  std::shuffle(there.begin(), there.end(), random.engine());
  std::vector<float> want = random_values(random, DType::kF32, blocks * floats);
  const std::vector<float> before = want;
  std::vector<BlockSwap> out, in;
  for (int32_t s = 0; s < num_swaps; s++) {
    out.push_back({order[s], there[s]});
    in.push_back({order[blocks - 1 - s], there[s]});
    std::copy_n(&before[order[s] * floats], floats, &want[order[blocks - 1 - s] * floats]);
  }
  const Values pool(backends, DType::kF32, blocks, floats);
  const size_t host_bytes = static_cast<size_t>((num_swaps + 2) * floats * 4);
  const auto got = run_everywhere(
      backends, pool, "swap_blocks", [&] { pool.fill(before); },
      [&](const Ops& ops) {
        void* host = ops.allocate_host(ops.context, host_bytes);
        std::memset(host, 0xff, host_bytes);
        for (const bool to_host : {true, false}) {
          ops.swap_blocks(ops.context, pool.tensor().data, host, floats * 4,
                          (to_host ? out : in).data(), num_swaps, to_host);
        }
        pool.bits("swap_blocks");  // waits
        std::vector<float> kept(host_bytes / 4, kNaN);
        std::memset(kept.data(), 0xff, host_bytes);
        for (const BlockSwap& s : out) {
          std::copy_n(&before[s.device * floats], floats, &kept[s.host * floats]);
        }
        expect(std::memcmp(host, kept.data(), host_bytes) == 0, "swap_blocks: other host blocks");
        ops.release_host(ops.context, host, host_bytes);
      });
  expect(got == want, "swap_blocks: other bytes came back");
}

}  // namespace octavo::test
