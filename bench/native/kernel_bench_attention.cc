// Attention over paged KV: the grid of batch sizes and contexts, prefill, shared prefixes.
#include <algorithm>
#include <cmath>

#include "bench/native/kernel_bench.h"

namespace octavo::bench {
namespace {

struct Layout {
  int32_t num_heads = 32, num_kv_heads = 8, head_size = 128, block_size = 16;
  DType kv_type = DType::kBF16;
  bool shuffled = true;
  Reach reach{};
};

struct Sequence {
  int32_t context, query;
};

std::string kilo(int64_t n) {
  return n % 1024 == 0 ? std::to_string(n / 1024) + "k" : std::to_string(n);
}
std::string heads_of(const Layout& l) {
  return std::to_string(l.num_heads) + "/" + std::to_string(l.num_kv_heads);
}

// A batch with its pools: as many copies of the KV as it takes to be larger than a cache.
class AttentionBench {
 public:
  // `shared`: leading tokens whose blocks are those of sequence 0.
  AttentionBench(Session& s, const Layout& l, const std::vector<Sequence>& seqs, int32_t shared = 0,
                 bool share = true)
      : s_(s), l_(l) {
    int32_t tokens = 0, longest = 0;
    starts_.push_back(0);
    for (const Sequence& q : seqs) {
      starts_.push_back(tokens += q.query);
      contexts_.push_back(q.context);
      longest = std::max(longest, q.context);
    }
    const int32_t stride = (longest + l.block_size - 1) / l.block_size;
    ModelShape shape = llama_shape(static_cast<int32_t>(seqs.size()), tokens, stride);
    shape.attentions = {{l.num_heads, l.num_kv_heads, l.head_size, l.reach, l.block_size}};
    s.open(shape, share);
    make_tables(seqs, shared, stride);
    make_pool();
    batch_.num_seqs = static_cast<int32_t>(seqs.size());
    batch_.num_tokens = tokens;
    for (const Sequence& q : seqs) {
      for (int32_t i = 0; i < q.query; i++) positions_.push_back(q.context - q.query + i);
    }
    ids_.assign(tokens, 1);
    slots_.assign(tokens, -1);
    batch_.token_ids = ids_.data();
    batch_.query_start = starts_.data();
    batch_.context_len = contexts_.data();
    batch_.groups[0].block_tables = tables_.data();
    batch_.groups[0].table_start = table_starts_.data();
    batch_.positions = positions_.data();
    batch_.groups[0].slots = slots_.data();
  }

  // Bytes of K and V that a call reads when nothing is read twice.
  double kv_bytes() const { return static_cast<double>(own_bytes_); }

  double micros() {
    const int64_t cols = int64_t{l_.num_heads} * l_.head_size, tokens = batch_.num_tokens;
    const Buffer q = s_.random_memory(tokens * cols * 2), out = s_.memory(tokens * cols * 2);
    AttentionParams p;
    p.q = {q.data(), DType::kBF16, tokens, cols};
    p.out = {out.data(), DType::kBF16, tokens, cols};
    p.num_heads = l_.num_heads;
    p.reach = l_.reach;
    p.scale = 1 / std::sqrt(static_cast<float>(l_.head_size));
    const Ops& ops = s_.ops();
    const BatchView view = ops.begin_step(ops.context, batch_);
    const double us = s_.micros(sets_, [&](int i) {
      PagedKV kv = kv_;
      kv.base = static_cast<char*>(kv_.base) + i % sets_ * set_bytes_;
      kv.scales =
          reinterpret_cast<float*>(reinterpret_cast<char*>(kv_.scales) + i % sets_ * set_bytes_);
      ops.paged_attention(ops.context, p, kv, view);
    });
    ops.end_step(ops.context);
    return us;
  }

 private:
  void make_tables(const std::vector<Sequence>& seqs, int32_t shared, int32_t stride) {
    const int32_t shared_blocks = shared / l_.block_size;
    num_blocks_ = 1;
    tables_.assign(seqs.size() * static_cast<size_t>(stride), 0);
    for (size_t i = 0; i <= seqs.size(); i++) {
      table_starts_.push_back(static_cast<int32_t>(i) * stride);
    }
    int64_t tokens = 0;
    for (size_t i = 0; i < seqs.size(); i++) {
      const int32_t blocks = (seqs[i].context + l_.block_size - 1) / l_.block_size;
      for (int32_t b = 0; b < blocks; b++) {
        const bool of_first = i > 0 && b < shared_blocks;
        tables_[i * stride + b] = of_first ? tables_[b] : num_blocks_++;
      }
      tokens += seqs[i].context - (i > 0 ? shared : 0);
    }
    if (l_.shuffled) {
      std::vector<int32_t> order(num_blocks_);
      for (int32_t b = 0; b < num_blocks_; b++) order[b] = b;
      std::shuffle(order.begin() + 1, order.end(), s_.random);
      for (int32_t& b : tables_) b = order[b];
    }
    own_bytes_ = tokens * 2 * l_.num_kv_heads * row_bytes_of_head();
  }
  int64_t row_bytes_of_head() const {
    return l_.head_size * block_bytes(l_.kv_type) + (is_8bit_cache(l_.kv_type) ? 4 : 0);
  }

  void make_pool() {
    const int64_t element = block_bytes(l_.kv_type);
    const int64_t page = int64_t{l_.num_kv_heads} * l_.block_size * l_.head_size;
    const int64_t scales = is_8bit_cache(l_.kv_type) ? 2 * l_.num_kv_heads * l_.block_size : 0;
    const int64_t stride = (2 * page * element + scales * 4 + 255) / 256 * 256;
    set_bytes_ = stride * num_blocks_;
    constexpr int64_t kBeyondCaches = int64_t{512} << 20;
    sets_ =
        static_cast<int>(s_.smoke ? 1 : std::clamp<int64_t>(kBeyondCaches / set_bytes_ + 1, 1, 64));
    pool_ = s_.random_memory(set_bytes_ * sets_);
    kv_.base = pool_.data();
    kv_.dtype = l_.kv_type;
    kv_.block_size = l_.block_size;
    kv_.num_kv_heads = l_.num_kv_heads;
    kv_.head_size = l_.head_size;
    kv_.block_stride = stride / element;
    kv_.v_offset = page;
    kv_.head_stride = int64_t{l_.block_size} * l_.head_size;
    kv_.scales = reinterpret_cast<float*>(static_cast<char*>(pool_.data()) + 2 * page * element);
    kv_.scale_block_stride = stride / 4;
    kv_.scale_v_offset = int64_t{l_.num_kv_heads} * l_.block_size;
  }

  Session& s_;
  const Layout l_;
  std::vector<int32_t> starts_, contexts_, tables_, table_starts_, positions_, ids_;
  std::vector<int64_t> slots_;
  int32_t num_blocks_ = 0;
  int64_t own_bytes_ = 0, set_bytes_ = 0;
  int sets_ = 1;
  Buffer pool_;
  PagedKV kv_;
  BatchView batch_;
};

double decode_row(Session& s, const std::string& name, const Layout& l,
                  const std::vector<Sequence>& seqs) {
  AttentionBench bench(s, l, seqs);
  const double us = bench.micros();
  s.add({"decode", name, us, 1e-3 * bench.kv_bytes() / us});
  return us;
}

std::vector<Sequence> same(Session& s, int32_t batch, int32_t context, int32_t query = 1) {
  if (s.smoke) return std::vector<Sequence>(std::min(batch, 2), {70, std::min(query, 70)});
  return std::vector<Sequence>(batch, {context, query});
}

}  // namespace

void bench_decode(Session& s) {
  const int32_t heads[][2] = {{32, 8}, {32, 32}, {64, 8}};
  for (const auto& [q, kv] : heads) {
    Layout l;
    l.num_heads = q;
    l.num_kv_heads = kv;
    for (int32_t batch : {1, 8, 64, 256}) {
      for (int32_t context : {512, 2048, 8192, 32768}) {
        const int64_t bytes = int64_t{batch} * context * kv * 128 * 4;
        const bool fits = bytes < std::min(int64_t{18} << 30, s.free_bytes() / 10 * 9);
        if (!s.smoke && (!fits || (q != 32 && context == 512))) continue;
        decode_row(s, heads_of(l) + " " + std::to_string(batch) + " x " + kilo(context), l,
                   same(s, batch, context));
        if (s.smoke) break;
      }
    }
  }
  Layout l;
  std::vector<Sequence> ragged;
  for (int i = 0; i < (s.smoke ? 3 : 256); i++) {
    const double u = static_cast<double>(s.random() >> 11) * 0x1p-53;
    ragged.push_back({static_cast<int32_t>(128 * std::pow(s.smoke ? 2.0 : 128.0, u)), 1});
  }
  decode_row(s, "32/8 256 x log-uniform 128..16k", l, ragged);
  for (DType type : {DType::kF8E4M3, DType::kI8}) {
    l.kv_type = type;
    decode_row(s, std::string("32/8 64 x 8k, KV ") + (type == DType::kI8 ? "int8" : "fp8"), l,
               same(s, 64, 8192));
  }
  l = Layout();
  for (int32_t block : {8, 32}) {
    l.block_size = block;
    decode_row(s, "32/8 64 x 8k, block " + std::to_string(block), l, same(s, 64, 8192));
  }
  l = Layout();
  l.shuffled = false;
  decode_row(s, "32/8 64 x 8k, blocks in order", l, same(s, 64, 8192));
  for (int32_t size : {64, 256}) {
    l = Layout();
    l.head_size = size;
    decode_row(s, "32/8 64 x 8k, head size " + std::to_string(size), l, same(s, 64, 8192));
  }
}

void bench_prefill(Session& s) {
  const auto row = [&](const std::string& name, const Layout& l, int32_t context, int32_t query) {
    const std::vector<Sequence> seqs = same(s, 1, context, query);
    AttentionBench bench(s, l, seqs);
    const double us = bench.micros();
    const double seen =
        l.reach.both ? seqs[0].context : seqs[0].context - (seqs[0].query - 1) / 2.0;
    const double pairs = static_cast<double>(seqs[0].query) * seen;
    const double tflops = 4e-6 * l.num_heads * l.head_size * pairs / us;
    s.add({"prefill", name, us, 0, tflops});
  };
  const Layout l;
  row("32/8 2k", l, 2048, 2048);
  row("32/8 8k", l, 8192, 8192);
  row("32/8 8k of 32k", l, 32768, 8192);
  row("32/8 512 of 8k (a chunk)", l, 8192, 512);
  row("32/8 16 of 8k (verification)", l, 8192, 16);
  Layout wide;
  wide.head_size = 64;
  row("32/8 8k, head size 64", wide, 8192, 8192);
  wide.head_size = 256;
  row("32/8 8k, head size 256", wide, 8192, 8192);
  wide = Layout();
  wide.shuffled = false;
  row("32/8 8k, blocks in order", wide, 8192, 8192);
  wide = Layout();
  wide.reach.both = true;
  row("32/8 8k, both ways", wide, 8192, 8192);
}

// The same batch with the prefix read once for all, and read by each.
void bench_cascade(Session& s) {
  struct Case {
    int32_t batch, prefix, own;
  };
  for (const Case& c : {Case{4, 2048, 64}, Case{64, 8192, 256}, Case{256, 32768, 256}}) {
    const int32_t batch = s.smoke ? 3 : c.batch, prefix = s.smoke ? 512 : c.prefix;
    const std::vector<Sequence> seqs(batch, {prefix + (s.smoke ? 16 : c.own), 1});
    const std::string name = "32/8 " + std::to_string(c.batch) + " sharers of " + kilo(c.prefix);
    for (bool share : {true, false}) {
      AttentionBench bench(s, Layout(), seqs, prefix, share);
      const double us = bench.micros();
      s.add(
          {"cascade", name + (share ? "" : ", each for itself"), us, 1e-3 * bench.kv_bytes() / us});
    }
  }
}

}  // namespace octavo::bench
