// Saves the registers that a callee must keep, stores the stack pointer in *save, continues on the
// stack `load`. About 2 ns. A new stack starts as initial_stack() lays it out.
#pragma once

namespace simt {

#if defined(__x86_64__)
constexpr int kSavedWords = 6;  // below the return address
__attribute__((naked, noinline)) inline void switch_stack(void** /*save*/, void* /*load*/) {
  asm("pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
      "movq %rsp, (%rdi)\n\tmovq %rsi, %rsp\n\t"
      "popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\tret");
}
// The stack pointer of a fresh fiber that begins in `entry`; `top` is 16-byte aligned.
inline void* initial_stack(char* top, void (*entry)()) {
  void** at = reinterpret_cast<void**>(top);
  *--at = nullptr;  // keeps the alignment that the ABI asks for at a function's first line
  *--at = reinterpret_cast<void*>(entry);
  for (int i = 0; i < kSavedWords; i++) *--at = nullptr;
  return at;
}
#elif defined(__aarch64__)
// x19–x30 and d8–d15: 20 words. GCC has no naked functions here, so it is plain assembly.
extern "C" void octavo_simt_switch_stack(void** save, void* load);
asm(R"(
  .text
  .balign 16
  .weak octavo_simt_switch_stack
  .type octavo_simt_switch_stack, %function
octavo_simt_switch_stack:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)");
inline void switch_stack(void** save, void* load) { octavo_simt_switch_stack(save, load); }
inline void* initial_stack(char* top, void (*entry)()) {
  void** at = reinterpret_cast<void**>(top) - 20;
  for (int i = 0; i < 20; i++) at[i] = nullptr;
  at[11] = reinterpret_cast<void*>(entry);  // x30, where ret goes
  return at;
}
#else
#error "simt has a stack switch for x86-64 and aarch64 only"
#endif

}  // namespace simt
