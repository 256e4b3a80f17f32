#include "model/executor.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "model/forward.h"
#include "model/pooled_forward.h"
#include "model/weights.h"

namespace octavo {

namespace {

bool same(const AttentionShape& a, const AttentionShape& b) {
  return a.num_heads == b.num_heads && a.num_kv_heads == b.num_kv_heads &&
         a.head_size == b.head_size && a.reach == b.reach && a.block_size == b.block_size &&
         a.latent == b.latent;
}

// Notes that group `g` has layers of this shape.
void add(std::vector<AttentionShape>& known, const AttentionSpec& a, int32_t block_size,
         int32_t g) {
  AttentionShape shape{a.num_heads, a.num_kv_heads, a.head_size, a.reach, block_size,
                       {g},         a.latent.rank};
  const auto found = std::find_if(known.begin(), known.end(),
                                  [&](const AttentionShape& s) { return same(s, shape); });
  if (found == known.end()) return known.push_back(std::move(shape));
  if (found->groups.back() != g) found->groups.push_back(g);
}

ModelShape shape_of(const LoadRequest& r) {
  const EngineLimits& l = r.limits;
  ModelShape shape;
  shape.hidden_size = r.spec.hidden_size;
  shape.vocab_size = r.spec.vocab_size;
  shape.max_num_seqs = l.max_num_seqs;
  shape.max_num_batched_tokens = l.max_num_batched_tokens;
  shape.kv_8bit = !r.kv_as_activation && is_8bit_cache(r.kv_dtype);
  if (l.pools()) {
    shape.vocab_size = 0;  // nothing is drawn
    shape.blocks_per_row = {(l.max_text_len() + l.block_size - 1) / l.block_size};
    for (const LayerSpec& layer : r.spec.layers) {
      if (!layer.attention.any()) continue;
      add(shape.attentions, layer.attention, l.block_size, 0);
    }
  }
  for (size_t g = 0; g < l.groups.size(); ++g) {
    shape.blocks_per_row.push_back(l.groups[g].blocks_per_row);
    const std::vector<int32_t>& kept = l.groups[g].layers;
    for (int32_t layer = 0; layer < static_cast<int32_t>(r.spec.layers.size()); ++layer) {
      const AttentionSpec& a = r.spec.layers[static_cast<size_t>(layer)].attention;
      if (!a.any()) continue;
      if (std::find(kept.begin(), kept.end(), kv_layer(r.spec, layer)) == kept.end()) continue;
      add(shape.attentions, a, l.groups[g].block_size, static_cast<int32_t>(g));
    }
  }
  for (const LayerSpec& layer : r.spec.layers) {
    auto& sizes = shape.mlp_sizes;
    for (const int32_t size : {layer.mlp.intermediate_size, layer.experts.intermediate_size,
                               layer.experts.latent_size}) {
      const bool known = std::find(sizes.begin(), sizes.end(), size) != sizes.end();
      if (size > 0 && !known) sizes.push_back(size);
    }
    if (layer.experts.any()) shape.routers.push_back(layer.experts.router);
    if (layer.recurrent.any()) {
      shape.recurrents.push_back({layer.recurrent.shape, layer.recurrent.norm_size});
    }
    const AttentionSpec& a = layer.attention;
    const LatentSpec& l = a.latent;
    if (!l.any()) continue;
    shape.head_matmuls.push_back({a.num_heads, l.nope_size, l.rank});
    shape.head_matmuls.push_back({a.num_heads, l.rank, l.value_size});
  }
  if (r.spec.layer_inputs.any()) shape.mlp_sizes.push_back(r.spec.layer_inputs.size);
  for (size_t i = 0; i < r.spec.pooler.size(); ++i) {
    const DenseSpec& dense = r.spec.pooler[i];
    const bool goes_on = i + 1 < r.spec.pooler.size();
    if (goes_on || dense.act || dense.norm.kind != NormKind::kNone) {
      shape.mlp_sizes.push_back(dense.out_size);
    }
  }
  return shape;
}

class Stopwatch {
 public:
  double milliseconds() const {
    return std::chrono::duration<double, std::milli>(Clock::now() - start_).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start_ = Clock::now();
};

}  // namespace

// Everything a loaded model holds; destroyed as one, in reverse order of construction.
struct Executor::Engine {
  explicit Engine(const LoadRequest& r)
      : backend(prepared(r)), weights(backend->ops(), r.spec, r.files, r.tensors, r.quantise) {
    const bool on_device = r.backend.device >= 0;
    if (r.limits.pools()) {
      pooled.emplace(backend->ops(), r.spec, r.limits, weights);
      if (on_device) pooled->profile();
      return;
    }
    forward.emplace(backend->ops(), r.spec, r.limits, weights, kv_dtype(r));
    if (on_device) forward->profile();
    forward->allocate_states();
    forward->allocate_cache(num_blocks(r));
  }

  static std::unique_ptr<Backend> prepared(const LoadRequest& r) {
    std::unique_ptr<Backend> backend = make_backend(r.backend);
    const char* why = backend->ops().prepare(backend->ops().context, shape_of(r));
    if (why != nullptr) throw Error(kErrModelUnsupported, why);
    return backend;
  }

  DType kv_dtype(const LoadRequest& r) const {
    const bool on_cpu = r.backend.device < 0;
    if (r.kv_as_activation) return backend->ops().activation;
    const bool is_8bit = is_8bit_cache(r.kv_dtype);
    if (is_8bit && has_latent(r.spec)) {
      throw Error(kErrInvalidOption,
                  "rows of latent attention have no 8-bit cache; use another kvCacheDtype");
    }
    if (r.kv_dtype != DType::kI8 && is_8bit == on_cpu) {
      throw Error(kErrInvalidOption, "this device has no kernels for that kvCacheDtype; use auto");
    }
    return r.kv_dtype;
  }

  // As asked, or what the device's memory holds now that everything else has been taken.
  int32_t num_blocks(const LoadRequest& r) const {
    if (r.limits.num_blocks > 0) return r.limits.num_blocks;
    int64_t free = 0, total = 0;
    const Ops& ops = backend->ops();
    ops.memory(ops.context, &free, &total);
    const double allowed = static_cast<double>(total) * r.memory_utilization;
    const double left = allowed - static_cast<double>(total - free);
    const int64_t blocks = left <= 0 ? 0 : static_cast<int64_t>(left) / forward->block_bytes();
    if (blocks < 2) {
      const auto mib = [](double bytes) {
        return std::to_string(static_cast<int64_t>(bytes) >> 20);
      };
      throw Error(kErrOutOfMemory,
                  "no memory is left for the KV cache: of " + mib(static_cast<double>(total)) +
                      " MiB on the device " + mib(static_cast<double>(total - free)) +
                      " MiB are taken after loading (other processes included), and " +
                      "gpuMemoryUtilization allows " + mib(allowed) +
                      " MiB; raise it, free memory, or take a smaller model");
    }
    return static_cast<int32_t>(std::min<int64_t>(blocks, r.max_num_blocks));
  }

  std::unique_ptr<Backend> backend;
  Weights weights;
  std::optional<Forward> forward;  // either this
  std::optional<PooledForward> pooled;
};

Executor::Executor() {
  try {
    thread_ = std::thread([this] { loop(); });
  } catch (const std::system_error& e) {
    throw Error(kErrOutOfMemory, std::string("no thread could be started for the engine (") +
                                     e.what() +
                                     "); raise the limit of processes (ulimit -u, pids.max)");
  }
}

Executor::~Executor() { stop(); }

void Executor::submit(std::function<void()> task) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  wake_.notify_one();
}

void Executor::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Executor::loop() {
  for (;;) {
    std::function<void()> task;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) break;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
  engine_.reset();
}

LoadedInfo Executor::load(const LoadRequest& request) {
  if (engine_ != nullptr) throw Error(kErrInternal, "this executor has a model already");
  engine_ = std::make_unique<Engine>(request);
  LoadedInfo info;
  info.backend = engine_->backend->ops().name;
  info.isa = engine_->backend->ops().isa;
  if (engine_->forward) {
    info.num_blocks = engine_->forward->num_blocks();
    info.block_bytes = engine_->forward->block_bytes();
    info.state_bytes = engine_->forward->states().state_bytes();
    info.record_bytes = engine_->forward->states().record_bytes();
  }
  info.weight_bytes = engine_->weights.bytes();
  info.weight_kinds = engine_->weights.kinds();
  info.num_threads = engine_->backend->num_threads();
  return info;
}

void Executor::step(StepInput& input, StepOutput& output) {
  const Stopwatch watch;
  // Matchers go with the step, not with the next one.
  struct Masks {
    StepInput& input;
    ~Masks() { input.mask_tasks.clear(); }
  } masks{input};
  if (engine_ == nullptr) throw Error(kErrClosed, "the executor has no model loaded");
  const size_t n = input.rows.size();
  output.tokens.assign(n, -1);
  output.logprobs.assign(n, 0.0);
  output.ranks.assign(n, 0);
  size_t tops = 0;
  for (const SampleRow& r : input.rows) tops += r.num_top > 0 ? static_cast<size_t>(r.num_top) : 0;
  output.top_ids.assign(tops, -1);
  output.top_logprobs.assign(tops, 0.0);
  output.logits.clear();
  size_t at = 0;
  for (size_t i = 0; i < n; ++i) {
    SampleRow& r = input.rows[i];
    r.token = &output.tokens[i];
    r.logprob = &output.logprobs[i];
    r.rank = &output.ranks[i];
    if (r.num_top <= 0) continue;
    r.top_ids = &output.top_ids[at];
    r.top_logprobs = &output.top_logprobs[at];
    at += static_cast<size_t>(r.num_top);
  }
  engine_->forward->run(input, output);
  output.compute_ms = watch.milliseconds();
}

void Executor::embed(const PooledInput& input, PooledOutput& output) {
  const Stopwatch watch;
  if (engine_ == nullptr) throw Error(kErrClosed, "the executor has no model loaded");
  engine_->pooled->run(input, output);
  output.compute_ms = watch.milliseconds();
}

void Executor::unload() { engine_.reset(); }

}  // namespace octavo
