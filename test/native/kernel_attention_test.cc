// Paged attention of a device beside what the suite of all backends says of it: the same bits with
// and without sharing, from a device of another size, beside layers of other shapes.
#include "native/attention_case.h"
#include "native/kernel_test.h"

namespace octavo::test {
namespace {

Backends device_of(DType type, bool share = true) {
  DeviceOptions options;
  options.dtype = type;
  options.share_prefixes = share;
  return one_backend(make_device_backend(options));
}

// What a device's own are: its size, and whether prefixes are computed once for all.
void same_elsewhere(Random& random, const Attended& a) {
  const Case& c = a.layout->c;
  a.same_on(device_of(c.type, false), "without sharing");
#ifdef OCTAVO_SIMT
  // Fewer and more blocks at once; the shared memory of sm_86 and sm_80: fewer tiles in flight.
  simt::Device& device = simt::device();
  const simt::Device before = device;
  device.multiprocessors = random.pick({1, 5, 40});
  device.shared_bytes = random.pick({size_t{99} << 10, size_t{163} << 10});
  if (c.head_size == 256 && is_8bit_cache(c.kv_type)) device.shared_bytes = size_t{163} << 10;
  a.same_on(device_of(c.type), "on a device of another size");
  device.multiprocessors = before.multiprocessors;
  device.shared_bytes = before.shared_bytes;
#else
  static_cast<void>(random);
#endif
}

void device_case(Random& random, const Case& c) {
  same_elsewhere(random, attention_case(device_of(c.type), random, c));
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
    c.reach = {i == 2 ? 300 : 0, random.chance(50)};
    c.sinks = random.chance(50);
    const int32_t prefix = static_cast<int32_t>(random.pick({256, 512, 700}));
    const int32_t count = c.group == 1 ? 40 : 14;
    for (int32_t s = 0; s < count; s++) {
      const int32_t own = static_cast<int32_t>(random.between(1, 40));
      c.seqs.push_back({prefix + own, 1, s == 0 ? 0 : prefix});
    }
    c.seqs[0].context = prefix + 41;
    device_case(random, c);
  }
}

// The same with a window that most of the prefix has slid out of. Sequence 0 sees furthest back, so
// that it holds what the others share.
void sharers_of_a_window(Random& random) {
  Case c{};
  c.type = c.kv_type = random.pick({DType::kBF16, DType::kF16});
  c.head_size = 64;
  c.group = 4;
  c.num_kv_heads = 1;
  c.block_size = static_cast<int32_t>(random.pick({8, 16, 32, 128}));
  c.reach.window = static_cast<int32_t>(random.between(400, 700));
  constexpr int32_t kPrefix = 1024;
  for (int32_t s = 0; s < 12; s++) {
    const int32_t own = s == 0 ? 1 : static_cast<int32_t>(random.between(2, 60));
    c.seqs.push_back({kPrefix + own, 1, s == 0 ? 0 : kPrefix});
  }
  device_case(random, c);
}

// Whole texts that see both ways, long ones too: split over blocks, with and without a window.
void texts(Random& random) {
  for (int32_t window : {0, static_cast<int32_t>(random.between(2, 400))}) {
    Case c{};
    c.type = c.kv_type = random.pick({DType::kBF16, DType::kF16});
    c.head_size = static_cast<int32_t>(random.pick({32, 64, 96}));
    c.group = static_cast<int32_t>(random.pick({1, 2}));
    c.num_kv_heads = static_cast<int32_t>(random.pick({1, 2}));
    c.block_size = static_cast<int32_t>(random.pick({16, 32, 256}));
    c.reach.window = window;
    c.reach.both = true;
    c.alibi = random.chance(30);
    for (int32_t most : {5, 70, 600}) {
      const int32_t length = static_cast<int32_t>(random.between(1, most));
      c.seqs.push_back({length, length});
    }
    device_case(random, c);
  }
}

// Layers of other shapes and KV groups in one step, recorded and replayed for another batch: each
// has the bits that it has alone, though they share the memory of partial rows. The last has the
// shape of the first, with tables of its own.
void several_shapes(Random& random) {
  std::vector<Case> cases;
  const DType type = random.pick({DType::kBF16, DType::kF16});
  std::vector<Sequence> seqs;
  for (int32_t s = 0; s < 3; s++) {
    const int32_t context = static_cast<int32_t>(random.between(300, 900));
    seqs.push_back({context, static_cast<int32_t>(random.between(1, 3))});
  }
  for (int32_t window : {0, 40, 300}) {
    Case c{};
    c.seqs = seqs;
    c.type = c.kv_type = type;
    c.reach.window = window;
    c.reach.chunked = window == 300;
    c.reach.both = window == 40;
    c.sinks = random.chance(50);
    c.head_size = static_cast<int32_t>(random.pick({64, 128}));
    c.group = static_cast<int32_t>(random.between(1, 6));
    c.num_kv_heads = static_cast<int32_t>(random.between(1, 2));
    c.block_size = static_cast<int32_t>(random.pick({8, 16, 64, 128, 256}));
    c.kv_group = static_cast<int32_t>(cases.size());
    cases.push_back(c);
  }
  cases.push_back(cases[0]);
  cases[3].kv_group = 3;
  std::vector<Data> data;
  std::vector<std::vector<Layout>> layouts(2);  // of a batch: for each case
  const Backends backends = device_of(type), unshared = device_of(type, false);
  const Ops& ops = backends.ops();
  for (const Case& c : cases) data.push_back(random_data(c, random));
  for (int b = 0; b < 2; b++) {
    const std::vector<int> order = b == 0 ? std::vector<int>{0, 1, 2} : std::vector<int>{2, 0, 1};
    for (size_t i = 0; i < cases.size(); i++) {
      layouts[b].emplace_back(backends, cases[i], data[i], random, order, INT32_MAX);
    }
  }
  std::vector<AttentionShape> shapes;
  for (int i = 0; i < 3; i++) shapes.push_back(cases[i].shape());
  shapes[0].groups.push_back(3);
  ModelShape shape = layouts[0][0].model_shape(shapes);
  for (size_t i = 0; i < cases.size(); i++) shape.blocks_per_row[i] = layouts[0][i].longest;
  const char* why = ops.prepare(ops.context, shape);
  expect(why == nullptr, "prepare: %s", why);
  // Recorded addresses stay: the second batch's pools and queries go where the first one's are.
  std::vector<Layer> layers;
  for (size_t i = 0; i < cases.size(); i++) layers.emplace_back(backends, data[i], layouts[0][i]);
  struct Step {
    const Ops& ops;
    const std::vector<Layer>& layers;
    BatchView batch;
    static void body(void* self) {
      const Step& step = *static_cast<Step*>(self);
      for (int i : {0, 1, 2, 3, 1, 0}) step.layers[i].launch(step.ops, step.batch);
    }
  };
  for (int b : {0, 1, 0}) {
    BatchView batch = layouts[b][0].batch();
    for (size_t i = 0; i < layers.size(); i++) {
      layers[i].write(layouts[b][i]);
      batch.groups[i] = layouts[b][i].batch().groups[i];
    }
    Step step{ops, layers, ops.begin_step(ops.context, batch)};
    ops.run_graph(ops.context, 1, Step::body, &step);
    ops.end_step(ops.context);
    for (size_t i = 0; i < layers.size(); i++) {
      const Layout& layout = layouts[b][i];
      const auto got = layers[i].result();
      judge(data[i], layout, got);
      const auto alone = run_once(unshared, unshared.ops(), data[i], layout);
      same_bits(layout, alone, layout, got, "beside other shapes");
    }
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
  device_case(random, c);
}

// Every size that a model has is looked at, not only the first.
void refused_sizes() {
  const auto backend = make_device_backend({});
  const Ops& ops = backend->ops();
  const auto why = [&](const ModelShape& shape) {
    const char* sentence = ops.prepare(ops.context, shape);
    return std::string(sentence == nullptr ? "" : sentence);
  };
  ModelShape shape{256, 64, 1, 16, {2}, false, {256, 64}, {{1, 1, 64, 40}, {1, 1, 64}}};
  expect(why(shape).empty(), "a model of two shapes is refused");
  shape.mlp_sizes[1] = 60;
  expect(why(shape).find("multiples of 8") != std::string::npos, "an odd size is accepted");
  shape.mlp_sizes[1] = 64;
  shape.attentions[1].head_size = 72;
  expect(why(shape).empty(), "a head of 72 is refused");
  shape.kv_8bit = true;
  expect(why(shape).find("8-bit") != std::string::npos, "a head of 72 in eight bits is accepted");
  shape.kv_8bit = false;
  for (const int32_t size : {68, 520}) {
    shape.attentions[1].head_size = size;
    expect(why(shape).find("head sizes") != std::string::npos, "a head of %d is accepted", size);
  }
  shape.attentions[1].head_size = 576;
  shape.attentions[1].latent = 512;
  expect(why(shape).empty(), "rows of 512 + 64 are refused");
  shape.attentions[1].latent = 508;
  expect(why(shape).find("head sizes") != std::string::npos, "rows of 508 + 68 are accepted");
  shape.attentions[1].latent = 0;
  shape.head_matmuls = {{3, 24, 36}};
  expect(why(shape).find("latent") != std::string::npos, "products to 36 are accepted");
  shape.head_matmuls.clear();
  shape.attentions[1].head_size = 64;
  for (const int32_t size : {8, 256}) {
    shape.attentions[1].block_size = size;
    expect(why(shape).empty(), "blocks of %d are refused", size);
  }
  for (const int32_t size : {4, 12, 512}) {
    shape.attentions[1].block_size = size;
    expect(why(shape).find("blockSize") != std::string::npos, "blocks of %d are accepted", size);
  }
  shape.attentions.clear();
  for (int32_t window = 0; window < 8; window++) shape.attentions.push_back({1, 1, 64, {window}});
  expect(why(shape).empty(), "eight shapes are refused");
  shape.attentions.push_back({1, 1, 64, {7, true}});
  expect(why(shape).find("up to 8") != std::string::npos, "nine shapes are accepted");
}

#ifdef OCTAVO_SIMT
// Head size 256 with an 8-bit cache on sm_86: 108 KB of shared memory where a block can have 99.
void refused_for_shared_memory() {
  const size_t before = simt::device().shared_bytes;
  simt::device().shared_bytes = size_t{99} << 10;
  const auto backend = make_device_backend({});
  const Ops& ops = backend->ops();
  ModelShape shape{256, 64, 1, 16, {2}, true, {256}, {{1, 1, 256}}};
  const char* why = ops.prepare(ops.context, shape);
  expect(why != nullptr && std::string(why).find("kvCacheDtype") != std::string::npos,
         "an 8-bit cache that does not fit is accepted");
  shape.kv_8bit = false;
  expect(ops.prepare(ops.context, shape) == nullptr, "a cache that fits is refused");
  simt::device().shared_bytes = before;
}

// Heads of 512 in the shared memory of sm_86: one tile at a time, and then the next.
void tile_by_tile(Random& random) {
  const size_t before = simt::device().shared_bytes;
  simt::device().shared_bytes = size_t{99} << 10;
  Case c{};
  c.type = c.kv_type = DType::kBF16;
  c.head_size = 512;
  c.group = 4;
  c.num_kv_heads = 1;
  c.block_size = 16;
  c.seqs = {{150, 2}};
  attention_case(device_of(c.type), random, c);
  simt::device().shared_bytes = before;
}
#endif

}  // namespace

void test_kernel_attention(Random& random, const Effort& effort) {
#ifdef OCTAVO_SIMT
  refused_for_shared_memory();
  tile_by_tile(random);
#endif
  refused_sizes();
  const Backends bf16 = device_of(DType::kBF16), f16 = device_of(DType::kF16);
  attention_grid({&bf16, &f16}, random, effort,
                 [&](const Attended& a) { same_elsewhere(random, a); });
  sharers(random, effort);
  sharers_of_a_window(random);
  several_shapes(random);
  texts(random);
  if (!effort.small) long_context(random);
}

}  // namespace octavo::test
