// Hopper's matrix multiply of a warpgroup (four warps), both sides read from shared memory. It adds
// products of 16 along K as mma.sync does: on an H200 the same bits, whatever the width. Only in
// code for sm_90a; elsewhere nothing calls it.
#pragma once

#include "kernels/mma.cuh"
#ifdef OCTAVO_SIMT
#include "simt/warpgroup.h"
#endif

namespace octavo::device {

constexpr int kWgmmaRows = 64;
constexpr int kWgmmaK = 16;

// Rows of 128 bytes (64 values along K) in SharedRows<8>'s order, from an address that is a
// multiple of 1,024 bytes: the layout that the instruction calls 128-byte swizzle.
#ifndef OCTAVO_SIMT
struct SharedMatrix {
  uint64_t descriptor;
};
OCTAVO_DEVICE SharedMatrix shared_matrix(const void* rows) {
  // Address and the 1,024 bytes from eight rows to the next, both in units of 16.
  return {(shared_address(rows) & 0x3ffffu) >> 4 | uint64_t{1} << 16 | uint64_t{64} << 32 |
          uint64_t{1} << 62};
}
// From value `k` of the rows on, a multiple of 16.
OCTAVO_DEVICE SharedMatrix from_k(SharedMatrix m, int k) {
  return {m.descriptor + static_cast<uint64_t>(k / 8)};
}

// What this thread wrote to shared memory before is seen by its wgmma's after the next barrier.
OCTAVO_DEVICE void wgmma_sees_shared() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
// Before the first of a group: registers are ready.
OCTAVO_DEVICE void wgmma_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
OCTAVO_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kLeft>
OCTAVO_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}

// clang-format off
#define OCTAVO_EIGHT(d, i) "+f"(d[i]), "+f"(d[i+1]), "+f"(d[i+2]), "+f"(d[i+3]), \
                           "+f"(d[i+4]), "+f"(d[i+5]), "+f"(d[i+6]), "+f"(d[i+7])
#define OCTAVO_WGMMA_128(type) asm volatile(                                                  \
    "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {"                         \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,"  \
    "%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,"    \
    "%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63},"           \
    "%64,%65,1,1,1,0,0;"                                                                      \
    : OCTAVO_EIGHT(d, 0), OCTAVO_EIGHT(d, 8), OCTAVO_EIGHT(d, 16), OCTAVO_EIGHT(d, 24),       \
      OCTAVO_EIGHT(d, 32), OCTAVO_EIGHT(d, 40), OCTAVO_EIGHT(d, 48), OCTAVO_EIGHT(d, 56)      \
    : "l"(a.descriptor), "l"(b.descriptor))
#define OCTAVO_WGMMA_256(type) asm volatile(                                                  \
    "wgmma.mma_async.sync.aligned.m64n256k16.f32." type "." type " {"                         \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,"  \
    "%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,"    \
    "%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,%64,%65,"    \
    "%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,"    \
    "%87,%88,%89,%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106," \
    "%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,"   \
    "%124,%125,%126,%127},%128,%129,1,1,1,0,0;"                                               \
    : OCTAVO_EIGHT(d, 0), OCTAVO_EIGHT(d, 8), OCTAVO_EIGHT(d, 16), OCTAVO_EIGHT(d, 24),       \
      OCTAVO_EIGHT(d, 32), OCTAVO_EIGHT(d, 40), OCTAVO_EIGHT(d, 48), OCTAVO_EIGHT(d, 56),     \
      OCTAVO_EIGHT(d, 64), OCTAVO_EIGHT(d, 72), OCTAVO_EIGHT(d, 80), OCTAVO_EIGHT(d, 88),     \
      OCTAVO_EIGHT(d, 96), OCTAVO_EIGHT(d, 104), OCTAVO_EIGHT(d, 112), OCTAVO_EIGHT(d, 120)   \
    : "l"(a.descriptor), "l"(b.descriptor))
// clang-format on

// d[64×N] += a[64×16] · b[N×16]ᵀ, N = 128 or 256: warp w of the group has rows 16w … 16w + 15, a
// lane of each eight columns what it has of an mma's c: d[column / 8 · 4 + i].
template <class T, int kN>
OCTAVO_DEVICE void wgmma(float (&d)[kN / 2], SharedMatrix a, SharedMatrix b) {
  constexpr bool kBf16 = T::kDType == DType::kBF16;
  if constexpr (kN == 128 && kBf16) {
    OCTAVO_WGMMA_128("bf16");
  } else if constexpr (kN == 128) {
    OCTAVO_WGMMA_128("f16");
  } else if constexpr (kBf16) {
    OCTAVO_WGMMA_256("bf16");
  } else {
    OCTAVO_WGMMA_256("f16");
  }
}
#undef OCTAVO_WGMMA_128
#undef OCTAVO_WGMMA_256
#undef OCTAVO_EIGHT

#else

using simt::from_k;
using simt::shared_matrix;
using simt::SharedMatrix;
using simt::wgmma_begin;
using simt::wgmma_commit;
using simt::wgmma_sees_shared;
template <int kLeft>
void wgmma_wait() {
  simt::wgmma_wait(kLeft);
}
template <class T, int kN>
void wgmma(float (&d)[kN / 2], SharedMatrix a, SharedMatrix b) {
  simt::wgmma(d, kN, a, b, [](uint16_t bits) { return widen(T{bits}); });
}

#endif

}  // namespace octavo::device
