// What a program compiles to, as lines to compare with.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "model/program.h"
#include "native/model_test.h"

namespace octavo::test {

inline std::string number(float f) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", static_cast<double>(f));
  return text;
}

inline std::string name(const Operand& o) {
  constexpr const char* kNames[] = {
      "residual",     "normed",     "q",           "k",           "v",      "attended",
      "branch",       "mlp_branch", "gate",        "up",          "routed", "shared_gate",
      "beta",         "dt",         "experts",     "logits",      "pooled", "pooled_next",
      "pooled_float", "embedded",   "token_input", "layer_input", "fed",    "latent",
      "heads"};
  const std::string name = kNames[static_cast<size_t>(o.reg)];
  return o.per_row == 1 ? name : name + "/" + std::to_string(o.per_row);
}

inline std::string act(HiddenAct a) {
  constexpr const char* kNames[] = {"silu", "gelu_tanh", "gelu", "relu2", "sigmoid", "tanh"};
  return kNames[static_cast<size_t>(a)];
}

// An instruction as a line.
struct Line {
  std::string operator()(const Embed& i) const {
    const std::string scale = i.params.scale == 1 ? "" : number(i.params.scale) + " ";
    return name(i.out) + " = " + scale + "embed" +
           (i.params.position_table.empty() ? "" : " + positions") +
           (i.params.type_table.empty() ? "" : " + types") +
           (i.params.id_step == 1 ? ""
                                  : " " + std::to_string(i.params.id_first) + " of " +
                                        std::to_string(i.params.id_step));
  }
  std::string operator()(const Norm& i) const {
    constexpr const char* kKinds[] = {"none", "rms", "layer"};
    const NormParams& p = i.params;
    const bool adds = i.add.reg != Register::kNone;
    const std::string scale = p.add_scale == 1 ? "" : number(p.add_scale) + " ";
    return name(i.out) + " = " + kKinds[static_cast<size_t>(p.kind)] +
           (p.weight == nullptr ? "" : " w") +
           (p.weight_rows == 1 ? "" : std::to_string(p.weight_rows)) +
           (p.bias == nullptr ? "" : " b") + " " + name(i.x) +
           (adds ? " += " + scale + name(i.add) : "") +
           (p.sum_scale == 1 ? "" : ", times " + number(p.sum_scale));
  }
  std::string operator()(const Matmul& i) const {
    std::string out;
    for (const LinearOperands& l : i.parts) out += name(l.out) + (l.bias ? "+b " : " ");
    return out + "= matmul " + name(i.x);
  }
  std::string operator()(const GatedMatmul& i) const {
    return name(i.gate.out) + (i.gate.bias ? "+b" : "") + " = " + act(i.hidden_act) + " gated " +
           name(i.up.out) + (i.up.bias ? "+b" : "") + " of " + name(i.x);
  }
  std::string operator()(const Activate& i) const {
    const bool times = i.up.reg != Register::kNone;
    return act(i.hidden_act) + " " + name(i.x) + (times ? " times " + name(i.up) : "");
  }
  std::string operator()(const RopeAndCache& i) const {
    const RopeCacheParams& p = i.params;
    const auto weight = [](const float* w) { return w == nullptr ? "" : " w"; };
    std::string behind =
        p.norm ? std::string(", then q") + weight(p.q_norm) + " k" + weight(p.k_norm) + " rms" : "";
    if (p.temperature.beta != 0) behind += ", temperature " + number(p.temperature.beta);
    return (i.k.reg == Register::kNone ? "read " : "cache ") + std::to_string(i.layer) +
           ", rotary " + std::to_string(p.rotary_size) +
           (p.inv_freq_long == nullptr ? "" : " or long") + (p.interleaved ? " interleaved" : "") +
           behind;
  }
  std::string operator()(const Attend& i) const {
    const AttentionParams& p = i.params;
    return name(i.out) + " = attend " + std::to_string(i.layer) + ", " +
           std::to_string(p.num_heads) + " heads, window " + std::to_string(p.reach.window) +
           (p.reach.chunked ? " chunked" : "") + (p.reach.both ? " both" : "") + ", cap " +
           number(p.softcap) + (p.sinks == nullptr ? "" : ", sinks");
  }
  std::string operator()(const HeadMatmul& i) const {
    return name(i.out) + " = each of " + std::to_string(i.params.num_heads) + " heads of " +
           name(i.x);
  }
  std::string operator()(const ShortConv& i) const {
    return "conv" + std::string(i.params.bias == nullptr ? "" : "+b") + " " +
           std::to_string(i.layer) + " " + name(i.q) + " " + name(i.k) + " " + name(i.v);
  }
  std::string operator()(const LinearAttend& i) const {
    return name(i.out) + " = linear_attention " + std::to_string(i.layer) + " " + name(i.dt) +
           (i.beta.reg == Register::kNone ? "" : " " + name(i.beta)) +
           (i.params.skip == nullptr ? "" : " + skip");
  }
  std::string operator()(const Route& i) const {
    return "route " + std::to_string(i.router.top_k) + " of " + name(i.logits) +
           (i.choice_bias == nullptr ? "" : " + bias") +
           (i.expert_scale == nullptr ? "" : ", scaled");
  }
  std::string operator()(const ExpertGatedMatmul& i) const {
    if (i.up.out.reg == Register::kNone) {
      return name(i.gate.out) + (i.gate.bias ? "+b" : "") + " = " + act(i.glu.hidden_act) +
             " of experts " + (i.scales_input ? "weighted " : "") + name(i.x);
    }
    return name(i.gate.out) + (i.gate.bias ? "+b" : "") + " = " + act(i.glu.hidden_act) +
           " experts " + name(i.up.out) + (i.up.bias ? "+b" : "") + " of " +
           (i.scales_input ? "weighted " : "") + name(i.x);
  }
  std::string operator()(const ExpertMatmul& i) const {
    return name(i.part.out) + (i.part.bias ? "+b" : "") + " = experts " + name(i.x);
  }
  std::string operator()(const Combine& i) const {
    const bool gated = i.shared_gate.reg != Register::kNone;
    return name(i.out) + " = " + (i.weighted ? "weighted " : "") + name(i.y) +
           (i.shared ? " + shared" : "") + (gated ? " gated" : "");
  }
  std::string operator()(const TransformLogits& i) const {
    return number(i.scale) + " " + name(i.logits) + ", cap " + number(i.softcap);
  }
};

inline std::vector<std::string> lines_of(const Program& program) {
  std::vector<std::string> out;
  for (size_t i = 0; i < program.instructions.size(); i++) {
    for (const auto& [what, cut] :
         {std::pair{"trim", &program.trim}, std::pair{"head", &program.head}}) {
      if (cut->at != i) continue;
      std::string line = what;
      for (const Operand& o : cut->live) {
        line += " " + name(o) + ":" + std::to_string(o.width());
      }
      out.push_back(line);
    }
    out.push_back(std::visit(Line{}, program.instructions[i]));
  }
  for (const Instruction& i : program.pooler) out.push_back(std::visit(Line{}, i));
  return out;
}

inline void expect_program(const char* what, const Ops& ops, Random& random, const ModelSpec& spec,
                           const std::vector<std::string>& want) {
  Checkpoint checkpoint(random);
  checkpoint.add_all(spec);
  checkpoint.close();
  const Weights weights(ops, spec, checkpoint.files, checkpoint.tensors, DType::kF32);
  const std::vector<std::string> got = lines_of(compile(ops, spec, weights));
  for (size_t i = 0; i < std::max(got.size(), want.size()); i++) {
    const std::string a = i < got.size() ? got[i] : "", b = i < want.size() ? want[i] : "";
    expect(a == b, "%s, line %zu: \"%s\", not \"%s\"", what, i, a.c_str(), b.c_str());
  }
}

}  // namespace octavo::test
