// What parts of a model are written with: the instructions so far, and registers that all know.
#pragma once

#include <utility>

#include "model/program.h"

namespace octavo {

inline LinearOperands linear(const Operand& out, const LinearWeights& w) {
  return {out, w.weight, w.bias.data()};
}

inline ExpertOperands expert_part(const Operand& out, const ExpertWeights& w) {
  return {out, w.weight, w.stride, w.bias.data()};
}

class ProgramWriter {
 protected:
  ProgramWriter(const Ops& ops, const ModelSpec& spec, const Weights& weights)
      : spec_(spec),
        weights_(weights),
        residual_{Register::kResidual, spec.hidden_size},
        normed_{Register::kNormed, spec.hidden_size},
        second_{Register::kMlpBranch, spec.hidden_size} {
    for (const RopeSpec& rope : spec.ropes) {
      program_.rope_tables.emplace_back(ops, rope.inverse_frequencies);
      program_.rope_tables.emplace_back(ops, rope.long_inverse_frequencies);
    }
  }

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

  void norm_branch(const NormSpec& spec, const NormWeights& w, Operand branch) {
    if (spec.kind != NormKind::kNone) norm(spec, w, branch, branch);
  }

  const ModelSpec& spec_;
  const Weights& weights_;
  const Operand residual_, normed_;
  const Operand second_;  // a second branch
  Program program_;
};

}  // namespace octavo
