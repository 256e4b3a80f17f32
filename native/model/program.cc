#include "model/program.h"

#include <algorithm>
#include <utility>

#include "model/program_mixers.h"
#include "model/program_operands.h"

namespace octavo {

namespace {

class Compiler : private MixerWriter {
 public:
  Compiler(const Ops& ops, const ModelSpec& spec, const Weights& weights)
      : MixerWriter(ops, spec, weights), embedded_{Register::kEmbedded, spec.hidden_size} {}

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
    if (spec_.layer_inputs.any()) norm({}, {}, embedded_, residual_);
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
  // The norm of the residual once all that waits is added to it: the last by this norm itself.
  void norm_residual(const NormSpec& spec, const NormWeights& w) {
    const std::vector<Waiting> waiting = std::exchange(waiting_, {});
    if (waiting.empty()) return norm(spec, w, normed_, residual_);
    for (size_t i = 0; i < waiting.size(); ++i) {
      const bool last = i + 1 == waiting.size();
      NormParams params = last ? norm_params(spec, w) : NormParams{};
      if (!last) params.kind = NormKind::kNone;
      params.add_scale = waiting[i].scale;
      params.sum_scale = waiting[i].sum_scale;
      emit(Norm{normed_, residual_, waiting[i].branch, params});
    }
  }

  void layer(int32_t index) {
    const LayerSpec& l = spec_.layers[static_cast<size_t>(index)];
    const LayerWeights& w = weights_.layers[static_cast<size_t>(index)];
    if (spec_.layer_inputs.any()) layer_input(w, index);
    if (l.branches == Branches::kPost) {
      post_layer(l, w, index);
    } else {
      layer_of_branches(l, w, index);
    }
    if (spec_.layer_inputs.any()) add_layer_input(w);
    if (l.scaled) waiting_.back().sum_scale = w.scale;
  }

  // Of each token, as layer `index` adds it in the end; only here are the ids of all rows known.
  void layer_input(const LayerWeights& w, int32_t index) {
    const LayerInputsSpec& s = spec_.layer_inputs;
    const Operand own{Register::kTokenInput, s.size}, input{Register::kLayerInput, s.size};
    EmbeddingParams params;
    params.table = weights_.layer_inputs;
    params.scale = s.scale;
    params.id_step = static_cast<int64_t>(spec_.layers.size());
    params.id_first = index;
    emit(Embed{own, params});
    program_.trim.at = here();
    emit(Matmul{embedded_, {linear(input, w.input_proj)}});
    norm_branch(s.norm, weights_.layer_inputs_norm, input);
    norm({}, {}, input, own, input);
  }

  void add_layer_input(const LayerWeights& w) {
    const LayerInputsSpec& s = spec_.layer_inputs;
    const Operand gate{Register::kGate, s.size}, input{Register::kLayerInput, s.size};
    const Operand branch{Register::kBranch, spec_.hidden_size};
    norm_residual({}, {});
    emit(Matmul{normed_, {linear(gate, w.input_gate)}});
    emit(Activate{gate, input, s.act});
    emit(Matmul{gate, {linear(branch, w.input_out)}});
    norm_branch(s.post_norm, w.post_input_norm, branch);
    waiting_.push_back({branch, 1});
  }

  void layer_of_branches(const LayerSpec& l, const LayerWeights& w, int32_t index) {
    const bool serial = l.branches == Branches::kSerial;
    const Operand attended{Register::kBranch, spec_.hidden_size};
    const Operand fed{serial ? Register::kBranch : Register::kMlpBranch, spec_.hidden_size};
    if (l.mixes()) {
      norm_residual(l.attn_norm, w.attn_norm);
      mix(l, w, index, attended);
      norm_branch(l.post_attn_norm, w.post_attn_norm, attended);
    }
    if (serial) mixed(l, attended);
    if (!l.feeds()) return;
    if (l.branches != Branches::kShared) norm_residual(l.mlp_norm, w.mlp_norm);
    feed(l, w, fed);
    if (!l.experts.beside) norm_branch(l.post_mlp_norm, w.post_mlp_norm, fed);
    if (!serial) waiting_.push_back({attended, l.residual_scale});
    waiting_.push_back({fed, l.residual_scale * l.mlp_scale});
    if (l.feeds_apart()) waiting_.push_back({second_, l.residual_scale * l.mlp_scale});
  }

  // The branch waits, and what stands beside it.
  void mixed(const LayerSpec& l, Operand branch) {
    if (l.attention.any()) waiting_.push_back({branch, l.residual_scale * l.attention_scale});
    const Operand other = l.attention.any() ? second_ : branch;
    if (l.recurrent.any()) waiting_.push_back({other, l.residual_scale * l.recurrent_scale});
  }

  // Each norm is that of the residual with its branch, and takes the residual's place.
  void post_layer(const LayerSpec& l, const LayerWeights& w, int32_t index) {
    const Operand branch{Register::kBranch, spec_.hidden_size};
    norm_residual({}, {});
    mix(l, w, index, branch);
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
    if (l.experts.beside) return feed_beside(l, w, out);
    if (l.mlp.intermediate_size > 0) mlp(l.mlp, w, out);
    if (l.experts.any()) experts(l, w, out);
  }

  // The sum of an MLP and of experts, each with norms of its own, normed in the same pass.
  void feed_beside(const LayerSpec& l, const LayerWeights& w, Operand out) {
    const BesideSpec& s = *l.experts.beside;
    const Operand fed{Register::kFed, out.cols};
    mlp(l.mlp, w, fed);
    if (s.post_mlp.kind != NormKind::kNone) norm(s.post_mlp, w.post_dense_norm, fed, fed);
    norm(s.router, w.router_norm, normed_, residual_);
    route(l, w);
    norm(s.norm, w.experts_norm, normed_, residual_);
    run_experts(l, w, out, false);
    norm_branch(s.post, w.post_experts_norm, out);
    norm(l.post_mlp_norm, w.post_mlp_norm, out, fed, out);
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

  // Adds to what the layer's MLP has left in `out`, if it has one; what comes out of latent values
  // waits beside that.
  void experts(const LayerSpec& l, const LayerWeights& w, Operand out) {
    route(l, w);
    run_experts(l, w, out, l.mlp.intermediate_size > 0);
  }

  void route(const LayerSpec& l, const LayerWeights& w) {
    const ExpertsSpec& e = l.experts;
    const Operand logits{Register::kRouted, e.router.num_experts};
    Matmul scores{normed_, {linear(logits, w.router)}};
    if (e.shared_gate) scores.parts.push_back({{Register::kSharedGate, 1}, w.shared_gate});
    if (e.latent_size > 0) {
      scores.parts.push_back(linear({Register::kLatent, e.latent_size}, w.latent_in));
    }
    emit(std::move(scores));
    emit(Route{e.router, logits, w.choice_bias.data(), w.expert_scale.data()});
    Router& largest = program_.largest_router;
    largest.num_experts = std::max(largest.num_experts, e.router.num_experts);
    largest.top_k = std::max(largest.top_k, e.router.top_k);
  }

  // shared: the MLP's is one more of them, and lies in `out`.
  void run_experts(const LayerSpec& l, const LayerWeights& w, Operand out, bool shared) {
    const ExpertsSpec& e = l.experts;
    const bool is_latent = e.latent_size > 0;
    const Operand latent{Register::kLatent, e.latent_size}, x = is_latent ? latent : normed_;
    const int64_t each = e.router.top_k, inner = e.intermediate_size;
    const Operand gate{Register::kGate, inner, each}, up{Register::kUp, inner, each};
    const Operand given{Register::kExperts, x.cols, each};
    const Operand shared_gate = e.shared_gate ? Operand{Register::kSharedGate, 1} : Operand{};
    const ExpertOperands by_up = expert_part(up, w.expert_up);
    emit(ExpertGatedMatmul{e.router, x, e.gated ? expert_part(gate, w.expert_gate) : by_up,
                           e.gated ? by_up : ExpertOperands{}, e.glu, e.scales_input});
    emit(ExpertMatmul{e.router, e.gated ? gate : up, expert_part(given, w.expert_down)});
    emit(Combine{e.router, is_latent ? latent : out, given, !e.scales_input, shared && !is_latent,
                 shared_gate});
    if (is_latent) emit(Matmul{latent, {linear(l.feeds_apart() ? second_ : out, w.latent_out)}});
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
    float sum_scale = 1;  // of the residual when it is added
  };

  const Operand embedded_;
  std::vector<Waiting> waiting_;  // branches that are still to be added to the residual
};

}  // namespace

Program compile(const Ops& ops, const ModelSpec& spec, const Weights& weights) {
  return Compiler(ops, spec, weights).compile();
}

}  // namespace octavo
