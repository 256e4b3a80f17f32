// The PTX that kernels/mma.cuh wraps, on the host: matrix multiply, matrix loads and asynchronous
// copies, with the fragment layouts of the PTX ISA ("Matrix Fragments for mma.m16n8k16"). Products
// agree with the hardware to rounding, not in bits: a tensor core adds in its own order.
#pragma once

#include "simt/cuda.h"

namespace simt {

// c[16×8] += a[16×16] · b[16×8], all read from the lanes' registers; `widen` turns a half word
// into a float. With g = lane / 4, t = lane % 4 the lane holds of A (g, 2t), (g+8, 2t), (g, 2t+8),
// (g+8, 2t+8) and their right neighbours, of B (2t, g) and (2t+8, g) and the ones below, of C
// (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1).
struct MmaLane {
  float* c;
  const uint32_t* a;
  uint32_t b[2];
};

template <class Widen>
void mma_of_warp(Meeting& m, Engine& e, Widen widen) {
  ++e.counted.mma;
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; lane++) {
    const MmaLane& l = *static_cast<const MmaLane*>(m.pointer[lane]);
    const int g = lane / 4, t = lane % 4 * 2;
    for (int half = 0; half < 2; half++) {
      const auto value = [&](uint32_t word) {
        return widen(static_cast<uint16_t>(half ? word >> 16 : word));
      };
      a[g][t + half] = value(l.a[0]);
      a[g + 8][t + half] = value(l.a[1]);
      a[g][t + 8 + half] = value(l.a[2]);
      a[g + 8][t + 8 + half] = value(l.a[3]);
      b[t + half][g] = value(l.b[0]);
      b[t + 8 + half][g] = value(l.b[1]);
    }
  }
  float d[16][8] = {};
  for (int row = 0; row < 16; row++) {
    for (int k = 0; k < 16; k++) {
      for (int col = 0; col < 8; col++) d[row][col] += a[row][k] * b[k][col];
    }
  }
  for (int lane = 0; lane < 32; lane++) {
    float* c = static_cast<const MmaLane*>(m.pointer[lane])->c;
    for (int i = 0; i < 4; i++) c[i] += d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
  }
}

inline void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                         Engine::Finish finish, const char* file, int line) {
  Uninstrumented scope;
  MmaLane lane{c, a, {b0, b1}};
  Engine& e = Engine::current();
  e.leave(e.meet("mma.sync", ~0u, 0, 0, &lane, finish, file, line));
}

// Four 8×8 matrices of 16-bit values; lane i names the 16-byte row i % 8 of matrix i / 8.
inline void ldmatrix_x4(uint32_t (&out)[4], const void* row, bool transposed, const char* file,
                        int line) {
  Engine& e = Engine::current();
  if ((reinterpret_cast<uintptr_t>(row) & 15) != 0) {
    e.fail("ldmatrix: the address of a row is not 16-byte aligned");
  }
  uint64_t words[2];
  std::memcpy(words, row, 16);  // the lane's own row: an access that sanitizers see
  Uninstrumented scope;
  const auto count = [](Meeting& m, Engine& engine) {
    ++engine.counted.ldmatrix;
    for (int matrix = 0; matrix < 4; matrix++) {
      int hits[8] = {}, worst = 0;
      for (int i = 0; i < 8; i++) {
        const auto address = reinterpret_cast<uintptr_t>(m.pointer[matrix * 8 + i]);
        worst = std::max(worst, ++hits[address / 16 % 8]);
      }
      engine.counted.bank_conflicts += static_cast<uint64_t>(worst - 1);
    }
  };
  Meeting& m =
      e.meet("ldmatrix", ~0u, words[0], words[1], const_cast<void*>(row), count, file, line);
  const int lane = e.me().lane;
  const auto at = [&](int matrix, int r, int col) {
    uint16_t value;
    std::memcpy(&value, reinterpret_cast<const char*>(m.in[matrix * 8 + r]) + 2 * col, 2);
    return static_cast<uint32_t>(value);
  };
  const int g = lane / 4, t = lane % 4 * 2;
  for (int i = 0; i < 4; i++) {
    out[i] = transposed ? at(i, t, g) | at(i, t + 1, g) << 16 : at(i, g, t) | at(i, g, t + 1) << 16;
  }
  e.leave(m);
}

template <int kBytes>
void async_copy(void* target, const void* source, bool copies) {
  Engine& e = Engine::current();
  const auto address = reinterpret_cast<uintptr_t>(target) | reinterpret_cast<uintptr_t>(source);
  if (address % kBytes != 0) e.fail("cp.async: an address is not aligned to what is copied");
  {
    Uninstrumented scope;
    ++e.counted.async_copies;
  }
  if (config().async_copy_late) {
    std::memset(target, 0xFF, kBytes);  // NaN until it is waited for
    Uninstrumented scope;
    e.me().open_copies.push_back({target, source, copies, kBytes});
  } else if (copies) {
    std::memcpy(target, source, kBytes);
  } else {
    std::memset(target, 0, kBytes);
  }
}

inline void async_commit() {
  Uninstrumented scope;
  Fiber& f = Engine::current().me();
  f.copy_groups.push_back(std::move(f.open_copies));
  f.open_copies.clear();
}

}  // namespace simt
