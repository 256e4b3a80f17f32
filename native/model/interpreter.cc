#include "model/interpreter.h"

#include <iterator>

#include "base/check.h"

namespace octavo {

namespace {
DType type_of(const Ops& ops, Register reg) {
  switch (reg) {
    case Register::kResidual:
    case Register::kRouted:
    case Register::kSharedGate:
    case Register::kBeta:
    case Register::kDt:
    case Register::kLogits:
    case Register::kPooledFloat:
    case Register::kTokenInput:
    case Register::kFed:
      return DType::kF32;
    default:
      return ops.activation;
  }
}

struct RowLimits {
  int64_t tokens, texts;

  int64_t of(Register reg) const {
    switch (reg) {
      case Register::kLogits:
        return kHeadRows;
      case Register::kPooled:
      case Register::kPooledNext:
      case Register::kPooledFloat:
        return texts;
      default:
        return tokens;
    }
  }
};
}  // namespace

// One run over some of the instructions.
struct Interpreter::Run {
  const Ops& ops;
  const KvCache& cache;
  const RecurrentMemory& states;
  const BatchView& batch;
  const Memory& memory;
  void* routing;
  int64_t num_rows;

  Tensor at(const Operand& o) const {
    if (o.reg == Register::kNone) return {};
    return {memory[static_cast<size_t>(o.reg)], type_of(ops, o.reg), num_rows * o.per_row, o.cols};
  }
  MatmulPart part(const LinearOperands& l) const { return {at(l.out), l.weight, l.bias}; }

  ExpertPart part(const ExpertOperands& e) const { return {at(e.out), e.weight, e.stride, e.bias}; }
  Routing routing_of(const Router& router) const { return {routing, router, num_rows}; }

  void operator()(const Embed& i) const {
    EmbeddingParams p = i.params;
    p.out = at(i.out);
    p.ids = batch.token_ids;
    if (!p.position_table.empty()) p.positions = batch.positions;
    if (!p.type_table.empty()) p.types = batch.token_types;
    ops.embedding(ops.context, p);
  }
  void operator()(const Norm& i) const {
    NormParams p = i.params;
    p.out = at(i.out);
    p.x = at(i.x);
    p.add = at(i.add);
    ops.norm(ops.context, p);
  }
  void operator()(const Matmul& i) const {
    MatmulPart parts[6];
    const size_t n = i.parts.size();
    OCTAVO_CHECK(n <= std::size(parts));
    for (size_t k = 0; k < n; ++k) parts[k] = part(i.parts[k]);
    ops.matmul(ops.context, at(i.x), parts, static_cast<int32_t>(n));
  }
  void operator()(const GatedMatmul& i) const {
    const MatmulPart parts[] = {part(i.gate), part(i.up)};
    const Tensor x = at(i.x);
    if (ops.gated_matmul != nullptr &&
        ops.gated_matmul(ops.context, x, parts[0], parts[1], i.hidden_act)) {
      return;
    }
    ops.matmul(ops.context, x, parts, 2);
    ops.activate(ops.context, parts[0].out, parts[0].out, parts[1].out, i.hidden_act);
  }
  void operator()(const Activate& i) const {
    ops.activate(ops.context, at(i.x), at(i.x), at(i.up), i.hidden_act);
  }
  void operator()(const RopeAndCache& i) const {
    RopeCacheParams p = i.params;
    p.q = at(i.q);
    p.k = at(i.k);
    p.v = at(i.v);
    ops.rope_and_cache(ops.context, p, cache.layer(i.layer), batch);
  }
  void operator()(const Attend& i) const {
    AttentionParams p = i.params;
    p.out = at(i.out);
    p.q = at(i.q);
    ops.paged_attention(ops.context, p, cache.layer(i.layer), batch);
  }
  void operator()(const HeadMatmul& i) const {
    HeadMatmulParams p = i.params;
    p.out = at(i.out);
    p.x = at(i.x);
    ops.head_matmul(ops.context, p);
  }
  void operator()(const ShortConv& i) const {
    ShortConvParams p = i.params;
    p.q = at(i.q);
    p.k = at(i.k);
    p.v = at(i.v);
    ops.short_conv(ops.context, p, states.layer(i.layer), batch);
  }
  void operator()(const LinearAttend& i) const {
    LinearAttentionParams p = i.params;
    p.out = at(i.out);
    p.q = at(i.q);
    p.k = at(i.k);
    p.v = at(i.v);
    p.beta = at(i.beta);
    p.dt = at(i.dt);
    ops.linear_attention(ops.context, p, states.layer(i.layer), batch);
  }
  void operator()(const Route& i) const {
    ops.route(ops.context,
              {routing_of(i.router), at(i.logits), i.router, i.choice_bias, i.expert_scale});
  }
  void operator()(const ExpertGatedMatmul& i) const {
    ops.expert_gated_matmul(ops.context, at(i.x), routing_of(i.router), part(i.gate), part(i.up),
                            i.glu, i.scales_input);
  }
  void operator()(const ExpertMatmul& i) const {
    ops.expert_matmul(ops.context, at(i.x), routing_of(i.router), part(i.part));
  }
  void operator()(const Combine& i) const {
    const Tensor out = at(i.out);
    ops.combine(ops.context, {out, at(i.y), routing_of(i.router), i.weighted,
                              i.shared ? out : Tensor{}, at(i.shared_gate)});
  }
  void operator()(const TransformLogits& i) const {
    ops.transform_logits(ops.context, at(i.logits), i.scale, i.softcap);
  }
};

Interpreter::Interpreter(const Ops& ops, const Program& program, const KvCache& cache,
                         const RecurrentMemory& states, int64_t max_rows, int64_t max_texts)
    : ops_(ops), program_(program), cache_(cache), states_(states) {
  const auto take = [&](Register reg, int64_t num_rows, int64_t width) {
    const int64_t row = row_bytes(type_of(ops, reg), width);
    buffers_.emplace_back(ops, static_cast<size_t>(num_rows * row), "activations");
    return buffers_.back().data();
  };
  for (size_t r = 0; r < kNumRegisters; ++r) {
    const Register reg = static_cast<Register>(r);
    whole_[r] = take(reg, RowLimits{max_rows, max_texts}.of(reg), program.widths[r]);
  }
  const Router& router = program.largest_router;
  if (router.num_experts > 0) {
    const int64_t words = Routing::words(router.num_experts, max_rows * router.top_k);
    routing_ = Buffer(ops, static_cast<size_t>(words) * sizeof(int32_t), "activations");
  }
  slice_ = whole_;
  for (const Cut* cut : {&program.trim, &program.head}) {
    for (const Operand& o : cut->live) {
      const size_t r = static_cast<size_t>(o.reg);
      if (slice_[r] == whole_[r]) slice_[r] = take(o.reg, kHeadRows, program.widths[r]);
    }
  }
}

void Interpreter::run_until(const Cut& cut, const BatchView& batch) {
  const Run run{ops_, cache_, states_, batch, whole_, routing_.data(), batch.num_tokens};
  for (size_t i = 0; i < cut.at; ++i) std::visit(run, program_.instructions[i]);
}

Tensor Interpreter::run_from(const Cut& cut, const BatchView& batch, const int32_t* rows,
                             int64_t n) {
  const Run all{ops_, cache_, states_, batch, whole_, routing_.data(), batch.num_tokens};
  const Run run{ops_, cache_, states_, batch, slice_, routing_.data(), n};
  for (const Operand& o : cut.live) ops_.gather_rows(ops_.context, run.at(o), all.at(o), rows);
  for (size_t i = cut.at; i < program_.instructions.size(); ++i) {
    std::visit(run, program_.instructions[i]);
  }
  return run.at({Register::kLogits, program_.widths[static_cast<size_t>(Register::kLogits)]});
}

Tensor Interpreter::pool(const BatchView& batch) {
  const Run all{ops_, cache_, states_, batch, whole_, routing_.data(), batch.num_tokens};
  const Run run{ops_, cache_, states_, batch, whole_, routing_.data(), batch.num_seqs};
  const Operand hidden{Register::kNormed, program_.pooled.cols};
  ops_.pool_rows(ops_.context, {run.at(program_.pooled), all.at(hidden)}, batch);
  for (const Instruction& instruction : program_.pooler) std::visit(run, instruction);
  return run.at(program_.vector);
}

}  // namespace octavo
