// Paged attention on the device against float64: a pool full of NaN but for the slots in use,
// permuted and aliased block tables, windows whose blocks are gone, 8-bit caches. And in bits: the
// same rows alone, in another order, from a device of another size, with and without sharing.
#include <algorithm>

#include "native/kernel_test.h"
#include "reference/reference.h"

namespace octavo::test {
namespace {

struct Sequence {
  int32_t context, query;
  int32_t shared = 0;  // leading blocks that are those of sequence 0
};

struct Case {
  DType type, kv_type;
  int32_t head_size, group, num_kv_heads, block_size;
  int32_t window = 0;
  float softcap = 0;
  bool alibi = false;
  std::vector<Sequence> seqs;
  int32_t num_heads() const { return group * num_kv_heads; }
  int64_t q_cols() const { return int64_t{num_heads()} * head_size; }
};

// K and V of a sequence as the cache holds them, and the queries; rounded, in floats.
struct Data {
  std::vector<std::vector<float>> k, v;  // [seq][context][kv_heads][head]
  std::vector<float> q;                  // [tokens][heads][head]
  std::vector<float> slopes;
};

float f8_value(int byte) {
  const int exponent = byte >> 3 & 15, mantissa = byte & 7;
  const float magnitude =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return byte & 128 ? -magnitude : magnitude;
}

// A pool in host memory: values and scales where KvCache would put them.
struct Pool {
  Pool(const Case& c, int64_t blocks) : c(c) {
    element = block_bytes(c.kv_type);
    page = int64_t{c.num_kv_heads} * c.block_size * c.head_size;
    value_bytes = 2 * page * element;
    const int64_t scales = is_8bit_cache(c.kv_type) ? 2 * c.num_kv_heads * c.block_size * 4 : 0;
    stride = (value_bytes + scales + 255) / 256 * 256;
    bytes.assign(static_cast<size_t>(blocks * stride), 0xFF);  // NaN in every type
  }
  PagedKV view(void* base) const {
    PagedKV kv;
    kv.base = base;
    kv.dtype = c.kv_type;
    kv.block_size = c.block_size;
    kv.num_kv_heads = c.num_kv_heads;
    kv.head_size = c.head_size;
    kv.block_stride = stride / element;
    kv.v_offset = page;
    kv.head_stride = int64_t{c.block_size} * c.head_size;
    kv.scales = reinterpret_cast<float*>(static_cast<char*>(base) + value_bytes);
    kv.scale_block_stride = stride / 4;
    kv.scale_v_offset = int64_t{c.num_kv_heads} * c.block_size;
    return kv;
  }
  // Stores a row; what it then means goes back into `row`.
  void store(int32_t block, int32_t head, int32_t offset, bool value, float* row) {
    const PagedKV kv = view(bytes.data());
    const int64_t at = kv.page(block, head, offset) + (value ? kv.v_offset : 0);
    uint8_t* out = bytes.data() + at * element;
    if (!is_8bit_cache(c.kv_type)) {
      for (int d = 0; d < c.head_size; d++) {
        const uint16_t bits = to_half_bits(c.kv_type, row[d]);
        std::memcpy(out + 2 * d, &bits, 2);
      }
      return;
    }
    // int8 as it would be rounded; e4m3 any finite byte, so that all of them are read.
    const bool i8 = c.kv_type == DType::kI8;
    const float scale = 0.02f + 0.01f * std::fabs(row[0]);
    kv.scales[kv.scale(block, head, offset) + (value ? kv.scale_v_offset : 0)] = scale;
    for (int d = 0; d < c.head_size; d++) {
      const int byte = static_cast<int>(std::lround(row[d] / scale));
      const int any = (byte * 37) & 0x9F;  // magnitudes up to 15/8
      out[d] =
          static_cast<uint8_t>(i8 ? std::max(-127, std::min(127, byte)) : any | (any & 1) << 5);
      row[d] = scale * (i8 ? static_cast<float>(static_cast<int8_t>(out[d])) : f8_value(out[d]));
    }
  }

  const Case c;
  int64_t element, page, value_bytes, stride;
  std::vector<uint8_t> bytes;
};

Data random_data(const Case& c, Random& random) {
  Data data;
  int64_t tokens = 0;
  for (const Sequence& s : c.seqs) {
    const int64_t values = int64_t{s.context} * c.num_kv_heads * c.head_size;
    data.k.push_back(random_values(random, c.type, values));
    data.v.push_back(random_values(random, c.type, values));
    const int64_t same = int64_t{s.shared} * c.block_size * c.num_kv_heads * c.head_size;
    std::copy_n(data.k[0].begin(), same, data.k.back().begin());
    std::copy_n(data.v[0].begin(), same, data.v.back().begin());
    tokens += s.query;
  }
  data.q = random_values(random, c.type, tokens * c.q_cols(), 2);
  for (int h = 0; h < c.num_heads(); h++) data.slopes.push_back(std::exp2(-0.7f * (h + 1)));
  return data;
}

// Which sequences, in which order, with how many of their last queries; blocks placed at random.
struct Layout {
  Layout(const Case& c, Data& data, Random& random, std::vector<int> which, int32_t most)
      : seqs(std::move(which)), pool(c, count_blocks(c, seqs)) {
    std::vector<int32_t> ids;
    for (int64_t b = 1; b < count_blocks(c, seqs); b++) ids.push_back(static_cast<int32_t>(b));
    std::shuffle(ids.begin(), ids.end(), random.engine());
    for (int s : seqs) {
      stride = std::max<int64_t>(stride, c.seqs[s].context / c.block_size + 1);
    }
    starts.push_back(0);
    for (int s : seqs) {
      const int32_t query = std::min(most, c.seqs[s].query);
      place(c, data, s, query, ids);
      int64_t first = 0;
      for (int before = 0; before < s; before++) first += c.seqs[before].query;
      first += c.seqs[s].query - query;
      for (int32_t i = 0; i < query; i++) {
        rows.push_back(first + i);
        positions.push_back(c.seqs[s].context - query + i);
        slots.push_back(-1);
      }
      starts.push_back(static_cast<int32_t>(rows.size()));
      contexts.push_back(c.seqs[s].context);
    }
    tokens.assign(rows.size(), 0);
  }

  static int64_t count_blocks(const Case& c, const std::vector<int>& seqs) {
    int64_t blocks = 1;
    for (int s : seqs) blocks += c.seqs[s].context / c.block_size + 1;
    return blocks;
  }

  void place(const Case& c, Data& data, int s, int32_t query, std::vector<int32_t>& ids) {
    const Sequence& seq = c.seqs[s];
    const int32_t unseen = c.window > 0 ? std::max(0, seq.context - query + 1 - c.window) : 0;
    const size_t row = tables.size();
    tables.resize(row + static_cast<size_t>(stride), INT32_MAX / 2);  // never read
    for (int32_t b = 0; b * c.block_size < seq.context; b++) {
      int32_t& id = tables[row + b];
      if ((b + 1) * c.block_size <= unseen) {
        id = 0;  // slid out of the window: the null block
        continue;
      }
      if (s != seqs[0] && seqs[0] == 0 && b < seq.shared && tables[b] > 0) {
        id = tables[b];
      } else {
        id = ids.back();
        ids.pop_back();
      }
      for (int32_t t = b * c.block_size; t < std::min(seq.context, (b + 1) * c.block_size); t++) {
        for (int32_t h = 0; h < c.num_kv_heads && t >= unseen; h++) {
          const int64_t at = (int64_t{t} * c.num_kv_heads + h) * c.head_size;
          pool.store(id, h, t % c.block_size, false, &data.k[s][at]);
          pool.store(id, h, t % c.block_size, true, &data.v[s][at]);
        }
      }
    }
  }

  BatchView batch() const {
    BatchView b;
    b.num_seqs = static_cast<int32_t>(seqs.size());
    b.num_tokens = static_cast<int32_t>(rows.size());
    b.token_ids = tokens.data();
    b.query_start = starts.data();
    b.context_len = contexts.data();
    b.block_tables = tables.data();
    b.table_stride = stride;
    b.positions = positions.data();
    b.slots = slots.data();
    return b;
  }

  std::vector<int> seqs;
  Pool pool;
  int64_t stride = 1;
  std::vector<int64_t> rows;  // of the case's queries
  std::vector<int32_t> starts, contexts, tables, positions, tokens;
  std::vector<int64_t> slots;
};

std::vector<uint16_t> run(const Case& c, const Data& data, const Layout& layout, bool share) {
  DeviceOptions options;
  options.activation = c.type;
  options.share_prefixes = share;
  const auto backend = make_device_backend(options);
  const Ops& ops = backend->ops();
  const int32_t tokens = static_cast<int32_t>(layout.rows.size());
  const ModelShape shape{64,
                         c.num_heads(),
                         c.num_kv_heads,
                         c.head_size,
                         64,
                         64,
                         c.block_size,
                         static_cast<int32_t>(layout.seqs.size()),
                         tokens,
                         static_cast<int32_t>(layout.stride),
                         is_8bit_cache(c.kv_type)};
  const char* why = ops.prepare(ops.context, shape);
  expect(why == nullptr, "prepare: %s", why);
  std::vector<float> q;
  for (int64_t row : layout.rows) {
    q.insert(q.end(), data.q.begin() + row * c.q_cols(), data.q.begin() + (row + 1) * c.q_cols());
  }
  const DeviceBytes pool = to_device(ops, layout.pool.bytes);
  const DeviceBytes queries = to_device(ops, to_halves(c.type, q));
  const DeviceBytes out = to_device(ops, std::vector<uint16_t>(q.size(), kHalfNaN));
  const DeviceBytes slopes = to_device(ops, data.slopes);
  AttentionParams p;
  p.out = {out.data(), c.type, tokens, c.q_cols()};
  p.q = {queries.data(), c.type, tokens, c.q_cols()};
  p.num_heads = c.num_heads();
  p.scale = static_cast<float>(1 / std::sqrt(c.head_size));
  p.window = c.window;
  p.softcap = c.softcap;
  p.alibi = c.alibi ? slopes.as<float>() : nullptr;
  const BatchView batch = ops.begin_step(ops.context, layout.batch());
  ops.paged_attention(ops.context, p, layout.pool.view(pool.data()), batch);
  ops.end_step(ops.context);
  return out.read<uint16_t>();
}

// One head of one query in float64.
void reference_row(const Case& c, const Data& data, int seq, int32_t position, int32_t head,
                   const float* q, double* out) {
  const int64_t stride = int64_t{c.num_kv_heads} * c.head_size;
  const int64_t at = int64_t{head / c.group} * c.head_size;
  const int32_t end = position + 1, begin = c.window > 0 ? std::max(0, end - c.window) : 0;
  std::vector<double> s;
  double largest = -INFINITY, sum = 0;
  for (int32_t t = begin; t < end; t++) {
    double x = 0;
    for (int d = 0; d < c.head_size; d++) x += double{q[d]} * data.k[seq][t * stride + at + d];
    x /= std::sqrt(c.head_size);
    if (c.softcap > 0) x = c.softcap * std::tanh(x / c.softcap);
    if (c.alibi) x += double{data.slopes[head]} * (t - position);
    s.push_back(x);
    largest = std::max(largest, x);
  }
  std::fill_n(out, c.head_size, 0.0);
  for (int32_t t = begin; t < end; t++) {
    const double p = std::exp(s[t - begin] - largest);
    sum += p;
    for (int d = 0; d < c.head_size; d++) out[d] += p * data.v[seq][t * stride + at + d];
  }
  for (int d = 0; d < c.head_size; d++) out[d] /= sum;
}

void judge(const Case& c, const Data& data, const Layout& layout,
           const std::vector<uint16_t>& got) {
  std::vector<double> want(layout.rows.size() * c.q_cols());
  for (size_t i = 0; i < layout.seqs.size(); i++) {
    for (int32_t r = layout.starts[i]; r < layout.starts[i + 1]; r++) {
      for (int32_t h = 0; h < c.num_heads(); h++) {
        reference_row(c, data, layout.seqs[i], layout.positions[r], h,
                      &data.q[layout.rows[r] * c.q_cols() + int64_t{h} * c.head_size],
                      &want[r * c.q_cols() + int64_t{h} * c.head_size]);
      }
    }
  }
  const double error = relative_error(to_floats(c.type, got), want);
  expect(error <= tolerance_of(c.type),
         "attention: error %.2e (%s, cache %s, head %d, group %d, block %d, window %d, softcap %g, "
         "alibi %d, context %d, query %d)",
         error, dtype_name(c.type), dtype_name(c.kv_type), c.head_size, c.group, c.block_size,
         c.window, c.softcap, c.alibi, c.seqs[0].context, c.seqs[0].query);
}

void same_bits(const Case& c, const Layout& a, const std::vector<uint16_t>& first, const Layout& b,
               const std::vector<uint16_t>& second, const char* what) {
  for (size_t i = 0; i < b.rows.size(); i++) {
    const auto at = std::find(a.rows.begin(), a.rows.end(), b.rows[i]) - a.rows.begin();
    const bool same = std::memcmp(&first[at * c.q_cols()], &second[i * c.q_cols()],
                                  c.q_cols() * sizeof(uint16_t)) == 0;
    expect(same, "attention: other bits %s (head %d, group %d, context %d, position %d)", what,
           c.head_size, c.group, b.contexts[0], b.positions[i]);
  }
}

void attention_case(Random& random, const Case& c) {
  Data data = random_data(c, random);
  std::vector<int> all, back;
  for (size_t s = 0; s < c.seqs.size(); s++) all.push_back(static_cast<int>(s));
  const Layout layout(c, data, random, all, INT32_MAX);
  const auto got = run(c, data, layout, true);
  judge(c, data, layout, got);
  same_bits(c, layout, got, layout, run(c, data, layout, false), "without sharing");
  const int one = static_cast<int>(random.between(0, static_cast<int64_t>(all.size()) - 1));
  // An 8-bit store rounds what the data holds: done once, it changes nothing any more.
  const bool again = !is_8bit_cache(c.kv_type);
  if (again) {
    const Layout alone(c, data, random, {one}, 1);
    same_bits(c, layout, got, alone, run(c, data, alone, true), "as a decode alone");
    std::reverse(all.begin(), all.end());
    const Layout turned(c, data, random, all, static_cast<int32_t>(random.between(1, 9)));
    same_bits(c, layout, got, turned, run(c, data, turned, true), "in another order");
  }
#ifdef OCTAVO_SIMT
  // Fewer and more blocks at once; the shared memory of sm_86 and sm_80: fewer tiles in flight.
  simt::Device& device = simt::device();
  const simt::Device before = device;
  device.multiprocessors = random.pick({1, 5, 40});
  device.shared_bytes = random.pick({size_t{99} << 10, size_t{163} << 10});
  if (c.head_size == 256 && is_8bit_cache(c.kv_type)) device.shared_bytes = size_t{163} << 10;
  same_bits(c, layout, got, layout, run(c, data, layout, true), "on a device of another size");
  device.multiprocessors = before.multiprocessors;
  device.shared_bytes = before.shared_bytes;
#endif
}

void grid(Random& random, const Effort& effort) {
  const std::vector<int> groups = {1, 2, 4, 5, 7, 8, 16, 32, 71},
                         heads = {32, 64, 80, 96, 112, 128, 256}, blocks = {8, 16, 32},
                         windows = {0, 1, 40, 300},
                         contexts = {1,  7,   8,   9,   15,  16,  17,  63,  64,
                                     65, 127, 128, 129, 255, 256, 257, 511, 1000},
                         queries = {1, 1, 2, 5, 17, 40};
  const std::vector<DType> caches = {DType::kBF16, DType::kF16, DType::kF8E4M3, DType::kI8};
  const auto size = [](const auto& list) { return static_cast<int>(list.size()); };
  const auto rows = pairwise(random,
                             {size(groups), size(heads), size(blocks), size(windows),
                              size(contexts), size(queries), size(caches), 3},
                             effort.cases);
  for (const auto& r : rows) {
    Case c{};
    c.kv_type = caches[r[6]];
    c.type = is_8bit_cache(c.kv_type) ? random.pick({DType::kBF16, DType::kF16}) : c.kv_type;
    c.group = groups[r[0]];
    c.head_size = heads[r[1]];
    c.num_kv_heads = c.group > 8 ? 1 : static_cast<int32_t>(random.between(1, 2));
    c.block_size = blocks[r[2]];
    c.window = windows[r[3]];
    c.softcap = r[7] == 1 ? 20.0f : 0.0f;
    c.alibi = r[7] == 2;
    const int32_t context = effort.small ? std::min(contexts[r[4]], 300) : contexts[r[4]];
    const int32_t query = c.group > 8 ? std::min(queries[r[5]], 5) : queries[r[5]];
    c.seqs.push_back({context, std::min(context, query)});
    const int64_t more = effort.small ? 1 : random.between(0, 3);
    for (int64_t i = 0; i < more; i++) {
      const int32_t own = static_cast<int32_t>(random.between(1, context));
      const int32_t shared = random.chance(50) ? own / c.block_size : 0;
      c.seqs.push_back({own, static_cast<int32_t>(random.between(1, std::min(own, 3))), shared});
    }
    attention_case(random, c);
  }
}

// Many sequences behind one prefix: the plan computes it once for all.
void sharers(Random& random, const Effort& effort) {
  for (int i = 0; i < (effort.small ? 1 : 3); i++) {
    Case c{};
    c.type = c.kv_type = random.pick({DType::kBF16, DType::kF16});
    c.head_size = 64;
    c.group = static_cast<int32_t>(random.pick({1, 3, 4}));
    c.num_kv_heads = 1;
    c.block_size = 16;
    c.window = i == 2 ? 300 : 0;
    const int32_t prefix = static_cast<int32_t>(random.pick({256, 512, 700}));
    const int32_t count = c.group == 1 ? 40 : 14;
    for (int32_t s = 0; s < count; s++) {
      const int32_t own = static_cast<int32_t>(random.between(1, 40));
      c.seqs.push_back({prefix + own, 1, s == 0 ? 0 : prefix / 16});
    }
    c.seqs[0].context = prefix + 41;
    attention_case(random, c);
  }
}

void long_context(Random& random) {
  Case c{};
  c.type = c.kv_type = DType::kBF16;
  c.head_size = 64;
  c.group = 4;
  c.num_kv_heads = 1;
  c.block_size = 16;
  c.seqs = {{4097, 3}, {1, 1}, {300, 1}};
  attention_case(random, c);
}

#ifdef OCTAVO_SIMT
// Head size 256 with an 8-bit cache on sm_86: 108 KB of shared memory where a block can have 99.
void refused_for_shared_memory() {
  const size_t before = simt::device().shared_bytes;
  simt::device().shared_bytes = size_t{99} << 10;
  const auto backend = make_device_backend({});
  const Ops& ops = backend->ops();
  ModelShape shape{256, 1, 1, 256, 256, 64, 16, 1, 16, 2, true};
  const char* why = ops.prepare(ops.context, shape);
  expect(why != nullptr && std::string(why).find("kvCacheDtype") != std::string::npos,
         "an 8-bit cache that does not fit is accepted");
  shape.kv_8bit = false;
  expect(ops.prepare(ops.context, shape) == nullptr, "a cache that fits is refused");
  simt::device().shared_bytes = before;
}
#endif

}  // namespace

void test_kernel_attention(Random& random, const Effort& effort) {
#ifdef OCTAVO_SIMT
  refused_for_shared_memory();
#endif
  grid(random, effort);
  sharers(random, effort);
  if (!effort.small) long_context(random);
}

}  // namespace octavo::test
