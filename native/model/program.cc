#include "model/program.h"

#include <algorithm>
#include <utility>

namespace octavo {

namespace {

// What an instruction reads and what it fills. A register that it changes counts as read: it was
// needed before.
template <class Read, class Write>
struct Operands {
  Read read;
  Write write;

  void operator()(const Embed& i) const { write(i.out); }
  void operator()(const Norm& i) const {
    write(i.out);
    read(i.x);
    if (i.add.reg != Register::kNone) read(i.add);
  }
  void operator()(const Matmul& i) const {
    for (const LinearOperands& part : i.parts) write(part.out);
    read(i.x);
  }
  void operator()(const GatedMatmul& i) const {
    write(i.gate.out);
    write(i.up.out);
    read(i.x);
  }
  void operator()(const Activate& i) const {
    read(i.x);
    if (i.up.reg != Register::kNone) read(i.up);
  }
  void operator()(const RopeAndCache& i) const {
    read(i.q);
    read(i.k);
    read(i.v);
  }
  void operator()(const Attend& i) const {
    write(i.out);
    read(i.q);
  }
  void operator()(const Route& i) const { read(i.logits); }
  void operator()(const ExpertGatedMatmul& i) const {
    write(i.gate.out);
    write(i.up.out);
    read(i.x);
  }
  void operator()(const ExpertMatmul& i) const {
    write(i.part.out);
    read(i.x);
  }
  void operator()(const Combine& i) const {
    write(i.out);
    read(i.y);
    if (i.shared) read(i.out);
    if (i.shared_gate.reg != Register::kNone) read(i.shared_gate);
  }
  void operator()(const TransformLogits& i) const { read(i.logits); }
};
template <class Read, class Write>
void for_each_operand(const Instruction& instruction, Read read, Write write) {
  std::visit(Operands<Read, Write>{read, write}, instruction);
}

// Registers that instructions from `at` on read before they write them, as they were written last.
std::vector<Operand> live_at(const std::vector<Instruction>& instructions, size_t at) {
  std::array<bool, kNumRegisters> live = {};
  const auto set = [&live](const Operand& o, bool to) { live[static_cast<size_t>(o.reg)] = to; };
  for (size_t i = instructions.size(); i-- > at;) {
    for_each_operand(
        instructions[i], [](const Operand&) {}, [&](const Operand& o) { set(o, false); });
    for_each_operand(
        instructions[i], [&](const Operand& o) { set(o, true); }, [](const Operand&) {});
  }
  std::array<int64_t, kNumRegisters> widths = {};
  for (size_t i = 0; i < at; ++i) {
    for_each_operand(
        instructions[i], [](const Operand&) {},
        [&](const Operand& o) { widths[static_cast<size_t>(o.reg)] = o.width(); });
  }
  std::vector<Operand> out;
  for (size_t r = 0; r < kNumRegisters; ++r) {
    if (live[r]) out.push_back({static_cast<Register>(r), widths[r]});
  }
  return out;
}

LinearOperands linear(const Operand& out, const LinearWeights& w) {
  return {out, w.weight, w.bias.data()};
}

ExpertOperands expert_part(const Operand& out, const ExpertWeights& w) {
  return {out, w.weight, w.stride, w.bias.data()};
}

class Compiler {
 public:
  Compiler(const Ops& ops, const ModelSpec& spec, const Weights& weights)
      : spec_(spec),
        weights_(weights),
        residual_{Register::kResidual, spec.hidden_size},
        normed_{Register::kNormed, spec.hidden_size} {
    for (const RopeSpec& rope : spec.ropes) {
      program_.rope_tables.emplace_back(ops, rope.inverse_frequencies);
      program_.rope_tables.emplace_back(ops, rope.long_inverse_frequencies);
    }
  }

  Program compile() {
    EmbeddingParams params;
    params.table = weights_.embed;
    params.scale = spec_.embedding_scale;
    params.position_table = weights_.positions;
    params.type_table = weights_.token_types;
    emit(Embed{residual_, params});
    const NormSpec& norm_of_sum = spec_.embedding_norm;
    if (norm_of_sum.kind != NormKind::kNone) {
      norm(norm_of_sum, weights_.embed_norm, residual_, residual_);
    }
    for (size_t i = 0; i < spec_.layers.size(); ++i) layer(static_cast<int32_t>(i));
    head();
    pooler();
    for (Cut* cut : {&program_.trim, &program_.head}) {
      cut->live = live_at(program_.instructions, cut->at);
    }
    const auto widen = [this](const Operand& o) {
      int64_t& width = program_.widths[static_cast<size_t>(o.reg)];
      width = std::max(width, o.width());
    };
    for (const auto* list : {&program_.instructions, &program_.pooler}) {
      for (const Instruction& instruction : *list) for_each_operand(instruction, widen, widen);
    }
    widen(program_.pooled);
    return std::move(program_);
  }

 private:
  template <class I>
  void emit(I instruction) {
    program_.instructions.emplace_back(std::move(instruction));
  }
  size_t here() const { return program_.instructions.size(); }

  static NormParams norm_params(const NormSpec& spec, const NormWeights& w) {
    NormParams params;
    params.kind = spec.kind;
    params.weight = w.weight.data();
    params.bias = w.bias.data();
    params.eps = spec.eps;
    return params;
  }

  void norm(const NormSpec& spec, const NormWeights& w, Operand out, Operand x, Operand add = {},
            float add_scale = 1, int64_t weight_rows = 1) {
    NormParams params = norm_params(spec, w);
    params.add_scale = add_scale;
    params.weight_rows = weight_rows;
    emit(Norm{out, x, add, params});
  }

  // The norm of the residual once all that waits is added to it: the last by this norm itself.
  void norm_residual(const NormSpec& spec, const NormWeights& w) {
    const std::vector<Waiting> waiting = std::exchange(waiting_, {});
    if (waiting.empty()) return norm(spec, w, normed_, residual_);
    for (size_t i = 0; i + 1 < waiting.size(); ++i) {
      norm({}, {}, normed_, residual_, waiting[i].branch, waiting[i].scale);
    }
    norm(spec, w, normed_, residual_, waiting.back().branch, waiting.back().scale);
  }

  void norm_branch(const NormSpec& spec, const NormWeights& w, Operand branch) {
    if (spec.kind != NormKind::kNone) norm(spec, w, branch, branch);
  }

  void layer(int32_t index) {
    const LayerSpec& l = spec_.layers[static_cast<size_t>(index)];
    const LayerWeights& w = weights_.layers[static_cast<size_t>(index)];
    if (l.branches == Branches::kPost) return post_layer(l, w, index);
    const bool serial = l.branches == Branches::kSerial;
    const Operand attended{Register::kBranch, spec_.hidden_size};
    const Operand fed{serial ? Register::kBranch : Register::kMlpBranch, spec_.hidden_size};
    norm_residual(l.attn_norm, w.attn_norm);
    attention(l.attention, w, index, attended);
    norm_branch(l.post_attn_norm, w.post_attn_norm, attended);
    if (serial) waiting_.push_back({attended, l.residual_scale});
    if (l.branches != Branches::kShared) norm_residual(l.mlp_norm, w.mlp_norm);
    feed(l, w, fed);
    norm_branch(l.post_mlp_norm, w.post_mlp_norm, fed);
    if (!serial) waiting_.push_back({attended, l.residual_scale});
    waiting_.push_back({fed, l.residual_scale});
  }

  // Each norm is that of the residual with its branch, and takes the residual's place.
  void post_layer(const LayerSpec& l, const LayerWeights& w, int32_t index) {
    const Operand branch{Register::kBranch, spec_.hidden_size};
    norm_residual({}, {});
    attention(l.attention, w, index, branch);
    norm_sum(l.attn_norm, w.attn_norm, branch, l.residual_scale);
    norm_residual({}, {});
    feed(l, w, branch);
    norm_sum(l.mlp_norm, w.mlp_norm, branch, l.residual_scale);
  }
  void norm_sum(const NormSpec& spec, const NormWeights& w, Operand branch, float scale) {
    if (spec.kind == NormKind::kNone) return waiting_.push_back({branch, scale});
    norm(spec, w, residual_, residual_, branch, scale);
  }

  void feed(const LayerSpec& l, const LayerWeights& w, Operand out) {
    if (l.mlp.intermediate_size > 0) mlp(l.mlp, w, out);
    if (l.experts.any()) experts(l, w, out);
  }

  void attention(const AttentionSpec& a, const LayerWeights& w, int32_t layer, Operand out) {
    const Operand q{Register::kQ, a.q_size()}, k{Register::kK, a.kv_size()};
    const Operand v{Register::kV, a.kv_size()}, attended{Register::kAttended, a.q_size()};
    emit(Matmul{normed_, {linear(q, w.q), linear(k, w.k), linear(v, w.v)}});
    if (a.qk_norm.kind != NormKind::kNone && !a.qk_norm_after_rope) {
      norm_qk(a, w.q_norm, q, a.num_heads);
      norm_qk(a, w.k_norm, k, a.num_kv_heads);
    }
    emit(RopeAndCache{q, k, v, rope(a, w), layer});
    AttentionParams params;
    params.num_heads = a.num_heads;
    params.scale = a.scale;
    params.reach = a.reach;
    params.softcap = a.softcap;
    params.sinks = w.sinks.data();
    emit(Attend{attended, q, params, layer});
    program_.trim.at = here();  // of the last layer, in the end
    if (!a.gated) return emit(Matmul{attended, {linear(out, w.o)}});
    const Operand gate{Register::kGate, a.q_size()};
    emit(Matmul{normed_, {linear(gate, w.attn_gate)}});
    emit(Activate{gate, attended, HiddenAct::kSigmoid});
    emit(Matmul{gate, {linear(out, w.o)}});
  }

  // Of all heads of q or k, or of each.
  void norm_qk(const AttentionSpec& a, const NormWeights& w, const Operand& x, int32_t heads) {
    if (a.qk_norm_span == QkNormSpan::kProjection) return norm(a.qk_norm, w, x, x);
    const Operand split{x.reg, a.head_size, heads};
    norm(a.qk_norm, w, split, split, {}, 1, a.qk_norm_span == QkNormSpan::kOwnHead ? heads : 1);
  }

  RopeCacheParams rope(const AttentionSpec& a, const LayerWeights& w) const {
    RopeCacheParams rope;
    if (a.rope >= 0) {
      const RopeSpec& r = spec_.ropes[static_cast<size_t>(a.rope)];
      rope.inv_freq = program_.rope_tables[2 * static_cast<size_t>(a.rope)].data();
      rope.inv_freq_long = program_.rope_tables[2 * static_cast<size_t>(a.rope) + 1].data();
      rope.rotary_size = 2 * static_cast<int32_t>(r.inverse_frequencies.size());
      rope.interleaved = r.interleaved;
      rope.attention_factor = r.attention_factor;
    }
    if (a.qk_norm_after_rope) {
      rope.norm = true;
      rope.norm_eps = a.qk_norm.eps;
      rope.q_norm = w.q_norm.weight.data();
      rope.k_norm = w.k_norm.weight.data();
    }
    rope.temperature = a.temperature;
    return rope;
  }

  void mlp(const MlpSpec& m, const LayerWeights& w, Operand out) {
    const Operand gate{Register::kGate, m.intermediate_size}, up{Register::kUp, gate.cols};
    if (m.gated) {
      emit(GatedMatmul{normed_, linear(gate, w.gate), linear(up, w.up), m.hidden_act});
    } else {
      emit(Matmul{normed_, {linear(up, w.up)}});
      emit(Activate{up, {}, m.hidden_act});
    }
    emit(Matmul{m.gated ? gate : up, {linear(out, w.down)}});
  }

  // Adds to what the layer's MLP has left in `out`, if it has one.
  void experts(const LayerSpec& l, const LayerWeights& w, Operand out) {
    const ExpertsSpec& e = l.experts;
    const int64_t each = e.router.top_k;
    const Operand gate{Register::kGate, e.intermediate_size, each},
        up{Register::kUp, gate.cols, each};
    const Operand given{Register::kExperts, out.cols, each};
    const Operand logits{Register::kRouted, e.router.num_experts};
    const bool shared = l.mlp.intermediate_size > 0;
    const Operand shared_gate = e.shared_gate ? Operand{Register::kSharedGate, 1} : Operand{};
    Matmul scores{normed_, {linear(logits, w.router)}};
    if (e.shared_gate) scores.parts.push_back({shared_gate, w.shared_gate});
    emit(std::move(scores));
    emit(Route{e.router, logits, w.choice_bias.data()});
    emit(ExpertGatedMatmul{e.router, normed_, expert_part(gate, w.expert_gate),
                           expert_part(up, w.expert_up), e.glu, e.scales_input});
    emit(ExpertMatmul{e.router, gate, expert_part(given, w.expert_down)});
    emit(Combine{e.router, out, given, !e.scales_input, shared, shared_gate});
    Router& largest = program_.largest_router;
    largest.num_experts = std::max(largest.num_experts, e.router.num_experts);
    largest.top_k = std::max(largest.top_k, e.router.top_k);
  }

  void head() {
    const Operand logits{Register::kLogits, spec_.vocab_size};
    program_.head.at = here();
    norm_residual(spec_.final_norm, weights_.final_norm);
    program_.hidden.at = here();
    if (!spec_.has_head) return;
    emit(Matmul{normed_, {{logits, weights_.head}}});
    if (spec_.logit_scale != 1 || spec_.logit_softcap > 0) {
      emit(TransformLogits{logits, spec_.logit_scale, spec_.logit_softcap});
    }
  }

  // The last product gives floats, unless an activation is behind it: that has no such form.
  void pooler() {
    const size_t n = spec_.pooler.size();
    Operand x{n == 0 ? Register::kPooledFloat : Register::kPooled, spec_.hidden_size};
    program_.pooled = x;
    for (size_t i = 0; i < n; ++i) {
      const DenseSpec& dense = spec_.pooler[i];
      const DenseWeights& w = weights_.pooler[i];
      Register to = x.reg == Register::kPooled ? Register::kPooledNext : Register::kPooled;
      if (i + 1 == n && !dense.act) to = Register::kPooledFloat;
      const Operand out{to, dense.out_size};
      auto& list = program_.pooler;
      list.emplace_back(Matmul{x, {linear(out, w.linear)}});
      if (dense.act) list.emplace_back(Activate{out, {}, *dense.act});
      if (dense.norm.kind != NormKind::kNone) {
        list.emplace_back(Norm{out, out, {}, norm_params(dense.norm, w.norm)});
      }
      x = out;
    }
    program_.vector = x;
  }

  struct Waiting {
    Operand branch;
    float scale;
  };

  const ModelSpec& spec_;
  const Weights& weights_;
  const Operand residual_, normed_;
  std::vector<Waiting> waiting_;  // branches that are still to be added to the residual
  Program program_;
};

}  // namespace

Program compile(const Ops& ops, const ModelSpec& spec, const Weights& weights) {
  return Compiler(ops, spec, weights).compile();
}

}  // namespace octavo
