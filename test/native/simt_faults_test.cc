// Steps that fail midway, on the emulator: memory runs out at every call of the runtime in turn.
// The error is coded, the next step has the bits it has without the fault, and nothing is left.
// With late streams, kernels of the failed step are still to run when it fails.
#include "kernels/device_memory.h"
#include "kernels/launch.cuh"
#include "kernels/step_graphs.h"
#include "native/kernel_test.h"

namespace octavo::test {
namespace {

constexpr int32_t kVocab = 96, kHidden = 64, kMaxTokens = 48;

struct Taken {
  size_t device, pinned;
  int64_t graphs;
  bool operator==(const Taken& o) const {
    return device == o.device && pinned == o.pinned && graphs == o.graphs;
  }
};
Taken taken() {
  const simt::Device& d = simt::device();
  return {d.used_bytes, d.pinned_bytes, d.graphs};
}

// Embedding, norm, head and sampler: the way of a step through a backend.
class Model {
 public:
  explicit Model(Random& random) : backend_(make_device_backend({})), ops_(backend_->ops()) {
    const char* why = ops_.prepare(
        ops_.context, {kHidden, kVocab, 4, kMaxTokens, {4}, false, {64}, {{2, 1, 32}}});
    expect(why == nullptr, "prepare: %s", why);
    const auto table = random_values(random, ops_.activation, kVocab * kHidden);
    table_ = Buffer(ops_, table.size() * 2, "test");
    const auto halves = to_halves(ops_.activation, table);
    ops_.write(ops_.context, table_.data(), halves.data(), table_.bytes());
    x_ = Buffer(ops_, kMaxTokens * kHidden * 4, "test");
    normed_ = Buffer(ops_, kMaxTokens * kHidden * 2, "test");
    logits_ = Buffer(ops_, kMaxTokens * kVocab * 4, "test");
    const std::vector<float> ones(kHidden, 1.0f);
    weight_ = Buffer(ops_, kHidden * 4, "test");
    ops_.write(ops_.context, weight_.data(), ones.data(), weight_.bytes());
  }

  // Tokens that were drawn after the last two of `ids`, and the logprobs of the three best.
  std::vector<double> step(const std::vector<int32_t>& ids) {
    try {
      launch_step(ids);
      ops_.end_step(ops_.context);
      std::vector<double> out(tokens_.begin(), tokens_.end());
      out.insert(out.end(), tops_.begin(), tops_.end());
      return out;
    } catch (...) {
      ops_.drain(ops_.context);
      throw;
    }
  }

 private:
  void launch_step(const std::vector<int32_t>& ids) {
    const int32_t n = static_cast<int32_t>(ids.size());
    const std::vector<int32_t> starts = {0, n}, contexts = {n}, tables(4, 0),
                               positions(ids.size(), 0);
    const std::vector<int64_t> slots(ids.size(), -1);
    BatchView host;
    host.num_tokens = n;
    host.token_ids = ids.data();
    host.query_start = starts.data();
    host.context_len = contexts.data();
    host.groups[0].block_tables = tables.data();
    host.positions = positions.data();
    host.groups[0].slots = slots.data();
    batch_ = ops_.begin_step(ops_.context, host);
    ops_.run_graph(
        ops_.context, n, [](void* self) { static_cast<Model*>(self)->body(); }, this);
    tokens_.assign(2, -1);
    logprobs_.assign(2, 0);
    ranks_.assign(2, 0);
    top_ids_.assign(6, -1);
    tops_.assign(6, 0);
    // The row begins anew, whatever a step that failed has left in it.
    const TokenUpdate counted{0, true, 0, n, nullptr, ids.data()};
    ops_.count_tokens(ops_.context, &counted, 1);
    const std::vector<uint32_t> odd_ids(kVocab / 32, 0xAAAAAAAAu);
    const MaskUpdate mask{3, odd_ids.data()};
    ops_.set_masks(ops_.context, &mask, 1);
    std::vector<SampleRow> rows(2);
    for (size_t i = 0; i < rows.size(); i++) {
      rows[i].logits_row = n - 2 + static_cast<int64_t>(i);
      rows[i].seed = 9;
      rows[i].position = i;
      rows[i].frequency = 0.3;
      rows[i].counted = 0;
      rows[i].mask_row = 3;
      rows[i].num_top = 3;
      rows[i].token = &tokens_[i];
      rows[i].logprob = &logprobs_[i];
      rows[i].rank = &ranks_[i];
      rows[i].top_ids = &top_ids_[3 * i];
      rows[i].top_logprobs = &tops_[3 * i];
    }
    ops_.sample(ops_.context, {logits_.data(), DType::kF32, n, kVocab}, rows.data(), 2);
  }

  void body() {
    const int64_t n = batch_.num_tokens;
    const Tensor x{x_.data(), DType::kF32, n, kHidden};
    const Tensor normed{normed_.data(), ops_.activation, n, kHidden};
    const Tensor table{table_.data(), ops_.activation, kVocab, kHidden};
    const MatmulPart part{{logits_.data(), DType::kF32, n, kVocab}, table, nullptr};
    ops_.embedding(ops_.context, {x, table, batch_.token_ids});
    NormParams norm;
    norm.out = normed;
    norm.x = x;
    norm.weight = static_cast<float*>(weight_.data());
    norm.eps = 1e-6f;
    ops_.norm(ops_.context, norm);
    ops_.matmul(ops_.context, normed, &part, 1);
  }

  std::unique_ptr<Backend> backend_;
  const Ops& ops_;
  Buffer table_, x_, normed_, logits_, weight_;
  BatchView batch_;
  std::vector<int32_t> tokens_, ranks_, top_ids_;
  std::vector<double> logprobs_, tops_;
};

std::vector<int32_t> random_ids(Random& random, int64_t n) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < n; i++) {
    ids.push_back(static_cast<int32_t>(random.between(0, kVocab - 1)));
  }
  return ids;
}

void failing_steps(Random& random) {
  simt::Device& d = simt::device();
  const Taken before = taken();
  {
    Model model(random);
    const auto large = random_ids(random, 24), small = random_ids(random, 3);
    const auto want_large = model.step(large), want_small = model.step(small);
    int64_t num_calls = d.calls;
    expect(model.step(large) == want_large, "a step: other bits when it is replayed");
    num_calls = d.calls - num_calls;
    const Taken steady = taken();
    for (int64_t k = 0; k < num_calls; k++) {
      d.fail_at_call = d.calls + k;
      std::string code;
      try {
        model.step(large);
      } catch (const Error& e) {
        code = e.code();
      }
      d.fail_at_call = -1;
      const auto call = static_cast<long long>(k);
      expect(code == kErrOutOfMemory, "call %lld fails with '%s'", call, code.c_str());
      expect(model.step(small) == want_small, "other bits after call %lld failed", call);
      expect(model.step(large) == want_large, "other bits, once more, after call %lld", call);
      expect(taken() == steady, "something is left of call %lld", call);
    }
  }
  expect(taken() == before, "a backend has left memory or graphs");
}

void bounded_graphs() {
  simt::Device& d = simt::device();
  const Taken before = taken();
  cudaStream_t stream;
  device::check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream");
  {
    device::StepGraphs graphs;
    std::vector<int> runs(200, 0);
    const auto run = [&](int key) {
      std::pair<cudaStream_t, int*> argument{stream, &runs[key]};
      const auto body = [](void* a) {
        const auto& [to, counter] = *static_cast<std::pair<cudaStream_t, int*>*>(a);
        device::launch(
            +[](int* n) { ++*n; }, 1, 1, 0, to, counter);
      };
      graphs.run(key, stream, body, &argument);
      device::check_cuda(cudaStreamSynchronize(stream), "a stream");
    };
    for (int key = 0; key < 100; key++) run(key);
    const int64_t most = d.graphs - before.graphs;
    expect(most > 0 && most <= 64, "%lld graphs are kept", static_cast<long long>(most));
    for (int key = 0; key < 100; key++) run(key);
    const size_t memory = std::exchange(d.memory_bytes, d.used_bytes);
    for (int key = 50; key < 150; key++) run(key);  // some of them are new, and there is no room
    d.memory_bytes = memory;
    for (int key = 0; key < 150; key++) {
      const int want = (key < 100 ? 2 : 0) + (key >= 50 ? 1 : 0);
      expect(runs[key] == want, "step %d ran %d times, not %d", key, runs[key], want);
    }
  }
  device::check_cuda(cudaStreamDestroy(stream), "a stream");
  expect(taken() == before, "graphs are left");
}

void bounded_arena() {
  const Taken before = taken();
  {
    device::PinnedArena arena;
    arena.take<char>(1000);
    arena.take<char>(size_t{80} << 20);
    arena.reset();
    const size_t kept = simt::device().pinned_bytes - before.pinned;
    expect(kept > 0 && kept <= size_t{32} << 20, "an arena keeps %zu bytes", kept);
    std::memset(arena.take<char>(2000), 1, 2000);
  }
  expect(taken() == before, "page-locked memory is left");
}

}  // namespace

void test_faults(Random& random, const Effort&) {
  bounded_graphs();
  bounded_arena();
  const bool late = simt::config().streams_late;
  for (bool streams_late : {false, true}) {
    simt::config().streams_late = streams_late;
    failing_steps(random);
  }
  simt::config().streams_late = late;
}

}  // namespace octavo::test
