// Hopper's matrix multiply of a warpgroup (four warps): the right side is read from shared memory,
// the left side from there or from registers. It adds products of 16 along K as mma.sync does: on
// an H200 the same bits, whatever the width. Only in code for sm_90a; elsewhere nothing calls it.
#pragma once

#include "kernels/mma.cuh"
#ifdef OCTAVO_SIMT
#include "simt/warpgroup.h"
#endif

namespace octavo::device {

#if defined(OCTAVO_SIMT) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
constexpr bool kWgmmaHere = true;
#else
constexpr bool kWgmmaHere = false;  // kernels for it are empty
#endif
constexpr int kWgmmaRows = 64;  // of a warpgroup: 16 of each warp, as an mma has them
constexpr int kWgmmaK = 16;

// A matrix of 16-bit values in shared memory: panels of 64 columns, each row of a panel 128 bytes
// in SharedRows<8>'s order, from an address that is a multiple of 1,024: the layout that the
// instruction calls 128-byte swizzle. 64 rows to a panel; then come the next 64 rows' panels.
template <int kCols>
struct SharedPanels {
  static_assert(kCols % 64 == 0);
  static constexpr int kRowBytes = kCols * 2;
  static constexpr int kPanelBytes = 64 * 128;
  OCTAVO_DEVICE static int offset(int row, int chunk) {
    return row / 64 * (64 * kRowBytes) + chunk / 8 * kPanelBytes +
           SharedRows<8>::offset(row % 64, chunk % 8);
  }
};

#ifndef OCTAVO_SIMT
struct SharedMatrix {
  uint64_t descriptor;
};
// Rows of a panel that are summed over their columns: 1,024 bytes from eight rows to the next. In
// the descriptor, sizes and addresses are in units of 16 bytes.
OCTAVO_DEVICE SharedMatrix shared_matrix(const void* panel) {
  return {(shared_address(panel) & 0x3ffffu) >> 4 | uint64_t{1} << 16 | uint64_t{64} << 32 |
          uint64_t{1} << 62};
}
// From value `k` of the rows on, a multiple of 16 below 64.
OCTAVO_DEVICE SharedMatrix from_k(SharedMatrix m, int k) {
  return {m.descriptor + static_cast<uint64_t>(k / 8)};
}
// Columns of panels that are summed over their rows, from row `k` on, a multiple of 16.
OCTAVO_DEVICE SharedMatrix shared_columns(const void* panels, int k) {
  return {(shared_address(panels) & 0x3ffffu) >> 4 | uint64_t{64 * 128 / 16} << 16 |
          uint64_t{64} << 32 | uint64_t{1} << 62 | static_cast<uint64_t>(k * 8)};
}

// What this thread wrote to shared memory before is seen by wgmma's after the next barrier.
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
#define OCTAVO_8(d, i) "+f"(d[i]), "+f"(d[i+1]), "+f"(d[i+2]), "+f"(d[i+3]), \
                       "+f"(d[i+4]), "+f"(d[i+5]), "+f"(d[i+6]), "+f"(d[i+7])
#define OCTAVO_32(d, i) OCTAVO_8(d, i), OCTAVO_8(d, i+8), OCTAVO_8(d, i+16), OCTAVO_8(d, i+24)
#define OCTAVO_NAMES_32 \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23," \
    "%24,%25,%26,%27,%28,%29,%30,%31"
#define OCTAVO_NAMES_64 OCTAVO_NAMES_32 \
    ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,"  \
    "%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define OCTAVO_NAMES_128 OCTAVO_NAMES_64 \
    ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,"  \
    "%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,"  \
    "%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,"  \
    "%122,%123,%124,%125,%126,%127"
// Both sides from shared memory.
#define OCTAVO_WGMMA(n, names, a0, b0, type, ...)                                          \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" n "k16.f32." type "." type " {" names  \
                 "},%" a0 ",%" b0 ",1,1,1,0,0;"                                             \
                 : __VA_ARGS__ : "l"(a.descriptor), "l"(b.descriptor))
// The left side from registers, the right side summed over its rows.
#define OCTAVO_WGMMA_P(n, names, a0, a1, a2, a3, b0, type, ...)                             \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" n "k16.f32." type "." type " {" names  \
                 "},{%" a0 ",%" a1 ",%" a2 ",%" a3 "},%" b0 ",1,1,1,1;"                     \
                 : __VA_ARGS__                                                              \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor))

// d[64×N] += a[64×16] · b[N×16]ᵀ, N = 64, 128 or 256: a lane has of each eight columns what it has
// of an mma's c: d[column / 8 · 4 + i].
template <class T, int kN>
OCTAVO_DEVICE void wgmma(float (&d)[kN / 2], SharedMatrix a, SharedMatrix b) {
  constexpr bool kBf16 = T::kDType == DType::kBF16;
  if constexpr (kN == 64 && kBf16) {
    OCTAVO_WGMMA("64", OCTAVO_NAMES_32, "32", "33", "bf16", OCTAVO_32(d, 0));
  } else if constexpr (kN == 64) {
    OCTAVO_WGMMA("64", OCTAVO_NAMES_32, "32", "33", "f16", OCTAVO_32(d, 0));
  } else if constexpr (kN == 128 && kBf16) {
    OCTAVO_WGMMA("128", OCTAVO_NAMES_64, "64", "65", "bf16", OCTAVO_32(d, 0), OCTAVO_32(d, 32));
  } else if constexpr (kN == 128) {
    OCTAVO_WGMMA("128", OCTAVO_NAMES_64, "64", "65", "f16", OCTAVO_32(d, 0), OCTAVO_32(d, 32));
  } else if constexpr (kBf16) {
    OCTAVO_WGMMA("256", OCTAVO_NAMES_128, "128", "129", "bf16", OCTAVO_32(d, 0), OCTAVO_32(d, 32),
                 OCTAVO_32(d, 64), OCTAVO_32(d, 96));
  } else {
    OCTAVO_WGMMA("256", OCTAVO_NAMES_128, "128", "129", "f16", OCTAVO_32(d, 0), OCTAVO_32(d, 32),
                 OCTAVO_32(d, 64), OCTAVO_32(d, 96));
  }
}

// d[64×N] += a[64×16] · b[16×N], N = 64 or 128; `a` as the left side of an mma.
template <class T, int kN>
OCTAVO_DEVICE void wgmma(float (&d)[kN / 2], const uint32_t (&a)[4], SharedMatrix b) {
  constexpr bool kBf16 = T::kDType == DType::kBF16;
  if constexpr (kN == 64 && kBf16) {
    OCTAVO_WGMMA_P("64", OCTAVO_NAMES_32, "32", "33", "34", "35", "36", "bf16", OCTAVO_32(d, 0));
  } else if constexpr (kN == 64) {
    OCTAVO_WGMMA_P("64", OCTAVO_NAMES_32, "32", "33", "34", "35", "36", "f16", OCTAVO_32(d, 0));
  } else if constexpr (kBf16) {
    OCTAVO_WGMMA_P("128", OCTAVO_NAMES_64, "64", "65", "66", "67", "68", "bf16", OCTAVO_32(d, 0),
                   OCTAVO_32(d, 32));
  } else {
    OCTAVO_WGMMA_P("128", OCTAVO_NAMES_64, "64", "65", "66", "67", "68", "f16", OCTAVO_32(d, 0),
                   OCTAVO_32(d, 32));
  }
}
// clang-format on
#undef OCTAVO_WGMMA
#undef OCTAVO_WGMMA_P
#undef OCTAVO_NAMES_32
#undef OCTAVO_NAMES_64
#undef OCTAVO_NAMES_128
#undef OCTAVO_32
#undef OCTAVO_8

#else

using simt::from_k;
using simt::shared_columns;
using simt::shared_matrix;
using simt::SharedMatrix;
using simt::wgmma_begin;
using simt::wgmma_commit;
using simt::wgmma_sees_shared;
template <int kLeft>
void wgmma_wait() {
  simt::wgmma_wait(kLeft);
}
template <class T>
float widen_half(uint16_t bits) {
  return widen(T{bits});
}
template <class T, int kN>
void wgmma(float (&d)[kN / 2], SharedMatrix a, SharedMatrix b) {
  simt::wgmma({d, kN, a, {}, b, widen_half<T>});
}
template <class T, int kN>
void wgmma(float (&d)[kN / 2], const uint32_t (&a)[4], SharedMatrix b) {
  simt::wgmma({d, kN, {}, {{a[0], a[1], a[2], a[3]}}, b, widen_half<T>});
}

#endif

}  // namespace octavo::device
