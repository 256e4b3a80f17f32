// All PTX of the house but the conversions in types.cuh: tensor-core multiply, matrix loads,
// asynchronous copies, 2^x. Fragment layouts are the PTX ISA's; simt/tensor_core.h spells them out.
#pragma once

#include "kernels/types.cuh"
#ifdef OCTAVO_SIMT
#include "simt/tensor_core.h"
#endif

namespace octavo::device {

#ifndef OCTAVO_SIMT

OCTAVO_DEVICE uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// c[16×8] += a[16×16] · b[16×8], accumulated in float.
template <class T>
OCTAVO_DEVICE void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
template <>
OCTAVO_DEVICE void mma<Bf16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},"
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
OCTAVO_DEVICE void mma<F16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},"
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8×8 matrices of 16-bit values; lane i gives the address of row i % 8 of matrix i / 8.
OCTAVO_DEVICE void ldmatrix(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
OCTAVO_DEVICE void ldmatrix_transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// 16 bytes from global to shared memory; zeros where not `copies`. Done once waited for.
OCTAVO_DEVICE void async_copy16(void* target, const void* source, bool copies) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0],[%1],16,%2;" ::"r"(shared_address(target)),
               "l"(source), "r"(copies ? 16 : 0)
               : "memory");
}
// The same for 4 bytes.
OCTAVO_DEVICE void async_copy4(void* target, const void* source, bool copies) {
  asm volatile("cp.async.ca.shared.global [%0],[%1],4,%2;" ::"r"(shared_address(target)),
               "l"(source), "r"(copies ? 4 : 0)
               : "memory");
}
OCTAVO_DEVICE void async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `kLeft` of this thread's committed groups are under way.
template <int kLeft>
OCTAVO_DEVICE void async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

// 2^x to two units in the last place, subnormal results as zero; exp2f takes four instructions.
OCTAVO_DEVICE float exp2_approx(float x) {
  float out;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}

#else

inline float exp2_approx(float x) {
  const float out = exp2f(x);
  return out < 0x1p-126f ? 0.0f : out;
}
template <class T>
void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, SIMT_AT) {
  const simt::Engine::Finish multiply = [](simt::Meeting& m, simt::Engine& e) {
    simt::mma_of_warp(m, e, [](uint16_t bits) { return widen(T{bits}); });
  };
  simt::mma_m16n8k16(c, a, b0, b1, multiply, file, line);
}
inline void ldmatrix(uint32_t (&r)[4], const void* row, SIMT_AT) {
  simt::ldmatrix_x4(r, row, false, file, line);
}
inline void ldmatrix_transposed(uint32_t (&r)[4], const void* row, SIMT_AT) {
  simt::ldmatrix_x4(r, row, true, file, line);
}
using simt::async_commit;
inline void async_copy16(void* target, const void* source, bool copies) {
  simt::async_copy<16>(target, source, copies);
}
inline void async_copy4(void* target, const void* source, bool copies) {
  simt::async_copy<4>(target, source, copies);
}
template <int kLeft>
void async_wait() {
  simt::Engine::current().wait_async(kLeft);
}

#endif

// Rows of 16-byte chunks in shared memory, so that the eight rows of a matrix load hit eight
// different bank groups: chunks are permuted by the row where a row has a multiple of eight of
// them, else a row is padded to an odd number.
template <int kChunks>
struct SharedRows {
  static constexpr bool kSwizzled = kChunks % 8 == 0;
  static constexpr int kPitch = kSwizzled ? kChunks : kChunks | 1;
  static constexpr int kRowBytes = kPitch * 16;
  OCTAVO_DEVICE static int offset(int row, int chunk) {
    return (row * kPitch + (kSwizzled ? chunk ^ (row & 7) : chunk)) * 16;
  }
  // From the offset of chunk c to that of chunk c + step, where no bit is set in both.
  OCTAVO_DEVICE static int step(int offset, int step) {
    return kSwizzled ? offset ^ step * 16 : offset + step * 16;
  }
};

}  // namespace octavo::device
