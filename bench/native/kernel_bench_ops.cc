// Everything of a forward pass but attention: matrix products, the small ops, moving blocks,
// sampling.
#include <algorithm>
#include <cstring>

#include "bench/native/kernel_bench.h"
#include "kernels/check_cuda.h"

namespace octavo::bench {
namespace {

Tensor plain(const Buffer& b, int64_t rows, int64_t cols) {
  return {b.data(), DType::kBF16, rows, cols};
}
Tensor floats(const Buffer& b, int64_t rows, int64_t cols) {
  return {b.data(), DType::kF32, rows, cols};
}

// Weights in rotation, so that each call reads them from memory.
void matmul_row(Session& s, DType type, int64_t m, int64_t n, int64_t k) {
  const Ops& ops = s.ops();
  const std::string name = "M " + std::to_string(m) + ", " + std::to_string(n) + " x " +
                           std::to_string(k) +
                           (is_quantised(type) ? std::string(" ") + dtype_name(type) : "");
  if (s.smoke) m = std::min<int64_t>(m, 20), n = 64, k = 256;
  const int64_t bytes = static_cast<int64_t>(ops.weight_bytes(ops.context, {nullptr, type, n, k}));
  const int64_t each = (bytes + 255) / 256 * 256;
  const int sets =
      s.smoke ? 1 : static_cast<int>(std::clamp<int64_t>((int64_t{512} << 20) / each + 1, 1, 32));
  const Buffer weights = s.random_memory(each * sets);
  const Buffer x = s.random_memory(m * k * 2), out = s.memory(m * n * 2);
  const double us = s.micros(sets, [&](int i) {
    const MatmulPart part{plain(out, m, n),
                          {static_cast<char*>(weights.data()) + i % sets * each, type, n, k},
                          nullptr};
    ops.matmul(ops.context, plain(x, m, k), &part, 1);
  });
  const double moved = static_cast<double>(bytes) + 2.0 * (m * k + m * n);
  s.add({"matmul", name, us, 1e-3 * moved / us, 2e-6 * m * n * k / us});
}

void rope_row(Session& s, int64_t n) {
  const Ops& ops = s.ops();
  const AttentionShape& shape = s.context().shape.attentions[0];
  const int64_t heads = shape.num_heads, kv_heads = shape.num_kv_heads, size = shape.head_size;
  const int64_t page = kv_heads * 16 * size, blocks = n / 16 + 2;
  const Buffer q = s.random_memory(n * heads * size * 2), pool = s.memory(blocks * page * 4);
  const Buffer k = s.random_memory(n * kv_heads * size * 2);
  const Buffer v = s.random_memory(n * kv_heads * size * 2);
  PagedKV kv;
  kv.base = pool.data();
  kv.dtype = DType::kBF16;
  kv.block_size = 16;
  kv.num_kv_heads = static_cast<int32_t>(kv_heads);
  kv.head_size = static_cast<int32_t>(size);
  kv.block_stride = 2 * page;
  kv.v_offset = page;
  kv.head_stride = 16 * size;
  std::vector<int64_t> slots;
  std::vector<int32_t> positions;
  for (int64_t i = 0; i < n; i++) slots.push_back(16 + i), positions.push_back(int32_t(i));
  const Buffer slots_there = s.upload(slots), positions_there = s.upload(positions);
  const Buffer inv_freq = s.upload(std::vector<float>(static_cast<size_t>(size / 2), 0.01f));
  RopeCacheParams p;
  p.q = plain(q, n, heads * size);
  p.k = plain(k, n, kv_heads * size);
  p.v = plain(v, n, kv_heads * size);
  p.inv_freq = static_cast<const float*>(inv_freq.data());
  p.rotary_size = static_cast<int32_t>(size);
  BatchView batch;
  batch.num_tokens = static_cast<int32_t>(n);
  batch.positions = static_cast<const int32_t*>(positions_there.data());
  batch.groups[0].slots = static_cast<const int64_t*>(slots_there.data());
  const double us = s.micros(8, [&](int) { ops.rope_and_cache(ops.context, p, kv, batch); });
  s.add({"ops", "rope_and_cache, " + std::to_string(n) + " rows", us,
         4e-3 * n * size * (heads + 2 * kv_heads) / us});
}

}  // namespace

void bench_matmul(Session& s) {
  s.open(llama_shape(256, 8192, 1));
  const int64_t shapes[][2] = {{6144, 4096}, {4096, 4096}, {28672, 4096}, {4096, 14336}};
  for (int64_t m : {1, 8, 16, 64, 256, 1024, 4096}) {
    for (const auto& [n, k] : shapes) matmul_row(s, DType::kBF16, m, n, k);
  }
  matmul_row(s, DType::kBF16, 8192, 8192, 8192);
  for (int64_t m : {1, 64}) matmul_row(s, DType::kBF16, m, 128256, 4096);
  for (DType type : {DType::kQ8_0, DType::kQ4_0}) {
    for (int64_t m : {1, 8, 64}) matmul_row(s, type, m, 28672, 4096);
  }
}

void bench_small_ops(Session& s) {
  s.open(llama_shape(256, 4096, 64));
  const Ops& ops = s.ops();
  for (int64_t n : s.smoke ? std::vector<int64_t>{3} : std::vector<int64_t>{1, 256, 4096}) {
    const int64_t hidden = s.smoke ? 256 : 4096, wide = s.smoke ? 512 : 14336, table_rows = 4096;
    const std::string rows = ", " + std::to_string(n) + " rows";
    const auto add = [&](const std::string& name, double bytes, double us) {
      s.add({"ops", name + rows, us, 1e-3 * bytes / us});
    };
    const Buffer x = s.memory(n * hidden * 4), y = s.random_memory(n * hidden * 2);
    const Buffer h = s.memory(n * hidden * 2), weight = s.memory(hidden * 4);
    const Buffer table = s.random_memory(table_rows * hidden * 2);
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < n; i++) ids.push_back(static_cast<int32_t>(s.random() % table_rows));
    const Buffer ids_there = s.upload(ids);
    const auto* ids_at = static_cast<const int32_t*>(ids_there.data());
    const std::vector<float> ones(static_cast<size_t>(hidden), 1.0f);
    ops.write(ops.context, weight.data(), ones.data(), ones.size() * 4);
    add("embedding", 6.0 * n * hidden, s.micros(8, [&](int) {
      ops.embedding(ops.context, {floats(x, n, hidden), plain(table, table_rows, hidden), ids_at});
    }));
    for (NormKind kind : {NormKind::kNone, NormKind::kRms, NormKind::kLayer}) {
      const char* const name = kind == NormKind::kNone  ? "sum"
                               : kind == NormKind::kRms ? "rms_norm with add"
                                                        : "layer_norm with add";
      add(name, 12.0 * n * hidden, s.micros(8, [&](int) {
        ops.norm(ops.context, {plain(h, n, hidden), floats(x, n, hidden), plain(y, n, hidden), kind,
                               static_cast<const float*>(weight.data()), nullptr, 1e-5f});
      }));
    }
    std::vector<int32_t> some;
    for (int64_t i = 0; i < n; i++) some.push_back(static_cast<int32_t>(s.random() % n));
    const Buffer some_there = s.upload(some);
    add("gather_rows", 4.0 * n * hidden, s.micros(8, [&](int) {
      ops.gather_rows(ops.context, plain(h, n, hidden), plain(y, n, hidden),
                      static_cast<const int32_t*>(some_there.data()));
    }));
    const Buffer starts = s.upload(std::vector<int32_t>{0, static_cast<int32_t>(n)});
    const Buffer poolings = s.upload(std::vector<int32_t>{0});
    BatchView text;
    text.num_seqs = 1;
    text.query_start = static_cast<const int32_t*>(starts.data());
    text.poolings = static_cast<const int32_t*>(poolings.data());
    add("pool_rows, mean", 2.0 * n * hidden, s.micros(8, [&](int) {
      ops.pool_rows(ops.context, {plain(h, 1, hidden), plain(y, n, hidden)}, text);
    }));
    const Buffer gate = s.random_memory(n * wide * 2), up = s.random_memory(n * wide * 2);
    const Buffer gated = s.memory(n * wide * 2);
    add("activate, gated", 6.0 * n * wide, s.micros(8, [&](int) {
      ops.activate(ops.context, plain(gated, n, wide), plain(gate, n, wide), plain(up, n, wide),
                   HiddenAct::kSilu);
    }));
    add("activate", 4.0 * n * wide, s.micros(8, [&](int) {
      ops.activate(ops.context, plain(gated, n, wide), plain(gate, n, wide), {}, HiddenAct::kGelu);
    }));
    rope_row(s, n);
  }
}

// Blocks of Llama-3-8B: 2 MiB with all layers. Swaps beside one copy of page-locked memory.
void bench_copy_and_swap(Session& s) {
  s.open(llama_shape(1, 16, 1));
  const Ops& ops = s.ops();
  const int64_t block = s.smoke ? 4096 : 2 << 20;
  const int32_t blocks = s.smoke ? 8 : 512;
  const Buffer pool = s.random_memory(block * blocks);
  for (int32_t n : {1, 4, 32, blocks / 2}) {
    if (n > blocks / 2) continue;
    std::vector<BlockCopy> copies;
    for (int32_t i = 0; i < n; i++) copies.push_back({2 * i, 2 * i + 1});
    const Buffer list = s.upload(copies);
    const double us = s.micros(8, [&](int) {
      ops.copy_blocks(ops.context, pool.data(), block, static_cast<const BlockCopy*>(list.data()),
                      n);
    });
    s.add({"copy", "copy_blocks, " + std::to_string(n) + " of 2 MiB", us, 2e-3 * block * n / us});
  }
  const int32_t n = blocks / 4;
  const size_t bytes = static_cast<size_t>(block * n);
  char* host = static_cast<char*>(ops.allocate_host(ops.context, bytes));
  std::memset(host, 1, bytes);
  std::vector<BlockSwap> swaps;
  for (int32_t i = 0; i < n; i++) swaps.push_back({4 * i, n - 1 - i});
  const auto wait = [&] {
    device::check_cuda(cudaStreamSynchronize(s.context().stream), "waiting");
  };
  for (bool out : {true, false}) {
    const std::string way = out ? " to the host" : " to the device";
    const double one = s.host_micros([&] {
      device::check_cuda(cudaMemcpyAsync(out ? host : static_cast<char*>(pool.data()),
                                         out ? static_cast<char*>(pool.data()) : host, bytes,
                                         out ? cudaMemcpyDeviceToHost : cudaMemcpyHostToDevice,
                                         s.context().stream),
                         "copying");
      wait();
    });
    s.add({"swap", "one copy of 256 MiB" + way, one, 1e-3 * static_cast<double>(bytes) / one});
    const double us = s.host_micros([&] {
      ops.swap_blocks(ops.context, pool.data(), host, block, swaps.data(), n, out);
      wait();
    });
    s.add({"swap", "swap_blocks, 128 of 2 MiB" + way, us, 1e-3 * static_cast<double>(bytes) / us});
  }
  ops.release_host(ops.context, host, bytes);
}

// New masks for n rows that allow a third of the tokens, their way to the device included.
void measure_masks(Session& s, int32_t n) {
  const Ops& ops = s.ops();
  const size_t words = static_cast<size_t>(s.context().shape.vocab_size + 31) / 32;
  const std::vector<uint32_t> bits(words, 0x49249249u);
  std::vector<MaskUpdate> updates;
  for (int32_t i = 0; i < n; i++) updates.push_back({i, bits.data()});
  BatchView batch;
  const double us = s.host_micros([&] {
    ops.begin_step(ops.context, batch);
    ops.set_masks(ops.context, updates.data(), n);
    ops.end_step(ops.context);
  });
  s.add({"sample", std::to_string(n) + " x 128256, set_masks", us,
         4e-3 * n * static_cast<double>(words) / us});
}

// A whole step of the sampler, its way to the host and back included.
void bench_sample(Session& s) {
  ModelShape shape = llama_shape(256, 256, 1);
  if (s.smoke) shape.vocab_size = 1000;
  s.open(shape);
  const Ops& ops = s.ops();
  const int64_t vocab = shape.vocab_size;
  for (int32_t n : s.smoke ? std::vector<int32_t>{2} : std::vector<int32_t>{1, 64, 256}) {
    std::vector<float> values(static_cast<size_t>(n * vocab));
    std::normal_distribution<float> normal(0, 3);
    for (float& v : values) v = normal(s.random);
    const Buffer logits = s.upload(values);
    const double transform_us = s.micros(
        2, [&](int) { ops.transform_logits(ops.context, floats(logits, n, vocab), 1.0f, 30.0f); });
    s.add({"sample", std::to_string(n) + " x 128256, transform_logits", transform_us,
           8e-3 * n * vocab / transform_us});
    ops.write(ops.context, logits.data(), values.data(), values.size() * 4);
    std::vector<int32_t> tokens(n);
    std::vector<double> logprobs(n);
    std::vector<SampleRow> rows(n);
    for (int32_t i = 0; i < n; i++) {
      rows[i].logits_row = i;
      rows[i].seed = s.random();
      rows[i].token = &tokens[i];
      rows[i].logprob = &logprobs[i];
    }
    const auto measure = [&](const std::string& name) {
      BatchView batch;
      const double us = s.host_micros([&] {
        ops.begin_step(ops.context, batch);
        ops.sample(ops.context, floats(logits, n, vocab), rows.data(), n);
        ops.end_step(ops.context);
      });
      s.add({"sample", std::to_string(n) + " x 128256, " + name, us, 4e-3 * n * vocab / us});
    };
    for (SampleRow& r : rows) r.temperature = 0;
    measure("greedy");
    for (SampleRow& r : rows) r.temperature = 0.8;
    measure("temperature");
    for (SampleRow& r : rows) r.top_k = 40, r.top_p = 0.95;
    measure("top-k 40, top-p");
    std::vector<int32_t> ids(20 * static_cast<size_t>(n)), ranks(n);
    std::vector<double> top_logprobs(ids.size());
    for (int32_t i = 0; i < n; i++) {
      rows[i].num_top = 20, rows[i].rank = &ranks[i];
      rows[i].top_ids = &ids[20 * i], rows[i].top_logprobs = &top_logprobs[20 * i];
    }
    measure("and 20 logprobs");
    std::vector<int32_t> history(8192);
    for (int32_t& id : history)
      id = static_cast<int32_t>(s.random() % static_cast<uint64_t>(vocab));
    for (int32_t i = 0; i < n; i++) {
      const TokenUpdate whole{i, true, 4096, 4096, history.data(), history.data() + 4096};
      BatchView batch;
      ops.begin_step(ops.context, batch);
      ops.count_tokens(ops.context, &whole, 1);
      ops.end_step(ops.context);
      rows[i].counted = i, rows[i].repetition = 1.1, rows[i].num_top = -1;
    }
    measure("penalties");
    measure_masks(s, n);
    for (int32_t i = 0; i < n; i++)
      rows[i].counted = -1, rows[i].repetition = 1, rows[i].mask_row = i;
    measure("masks");
  }
}

}  // namespace octavo::bench
