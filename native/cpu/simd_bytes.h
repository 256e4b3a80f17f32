// Vectors of 64 bytes and of sixteen int32, for dot products of bytes. As simd.h, but chosen more
// finely: what a machine adds bytes with differs within AVX-512, AVX2 and NEON.
//   kSignedDots   dot4 takes signed weights; otherwise unsigned ones (what VNNI wants)
//   kDotRows      rows of activations that a tile of registers covers otherwise
//   kStreamRows   rows, at most, that decoded weights of a panel meet in registers;
//   kStreamPanels, kStreamGroupRows   those of so many panels, so many rows
//   kStreamedRows   rows of a job, at most, for which that pays
//   kFloatRows, kFloatPanels   the same for float activations, and how many panels
//   load_bytes store_bytes splat_bytes and_bytes or_bytes xor_bytes sub_bytes
//   shift_left shift_right   of each byte, by 0 to 7; bits of its neighbour come in: mask them
//   lookup        table[code] + plus, codes 0 to 15
//   splat_i32 dot4   dot4: lane c += Σ w[4c + i] · x[i], i < 4
//   splat_times   all lanes = Factor · a, a power of 2
//   sub_i32
//   bits_f32      the same bits as floats
//   widen_byte    lane c = the signed byte 4c + i
//   widen_e4m3    lane c = the float of eight bits (base/half.h) in byte 4c + i
//   load_nibbles  sixteen bytes: low and high halves as floats
//   store_low_bytes  the lowest byte of each lane's bits
#pragma once

#include "cpu/simd.h"

#if defined(OCTAVO_SIMD_AVX512)
#include "cpu/simd_bytes_avx512.h"
#elif defined(OCTAVO_SIMD_AVX2)
#include "cpu/simd_bytes_avx2.h"
#elif defined(OCTAVO_SIMD_NEON)
#include "cpu/simd_bytes_neon.h"
#else
#include "cpu/simd_bytes_scalar.h"
#endif
