// Which registers instructions read and fill.
#pragma once

#include <array>
#include <variant>
#include <vector>

#include "model/program.h"

namespace octavo {

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
    if (i.k.reg != Register::kNone) read(i.k);
    if (i.v.reg != Register::kNone) read(i.v);
  }
  void operator()(const Attend& i) const {
    write(i.out);
    read(i.q);
  }
  void operator()(const HeadMatmul& i) const {
    write(i.out);
    read(i.x);
  }
  void operator()(const ShortConv& i) const {
    for (const Operand* o : {&i.q, &i.k, &i.v}) read(*o);
  }
  void operator()(const LinearAttend& i) const {
    write(i.out);
    for (const Operand* o : {&i.q, &i.k, &i.v, &i.dt}) read(*o);
    if (i.beta.reg != Register::kNone) read(i.beta);
  }
  void operator()(const Route& i) const { read(i.logits); }
  void operator()(const ExpertGatedMatmul& i) const {
    write(i.gate.out);
    if (i.up.out.reg != Register::kNone) write(i.up.out);
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
inline std::vector<Operand> live_at(const std::vector<Instruction>& instructions, size_t at) {
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

}  // namespace octavo
