// The table of one instruction set. Included once by each kernels_*.cc, after its choice of
// OCTAVO_SIMD_*.
#pragma once

#include "cpu/kernels.h"
#include "cpu/simd.h"

#include "cpu/kernels_attention.inc.h"
#include "cpu/kernels_norm.inc.h"
#include "cpu/kernels_pointwise.inc.h"
#include "cpu/kernels_probe.inc.h"
#include "cpu/kernels_recurrent.inc.h"
#include "cpu/kernels_sample.inc.h"

namespace octavo {
namespace OCTAVO_ISA {

#define OCTAVO_STRING2(x) #x
#define OCTAVO_STRING(x) OCTAVO_STRING2(x)

// In the order of CpuKernels.
static const CpuKernels kTable = {
    OCTAVO_STRING(OCTAVO_ISA),
    narrow_row,
    add_scaled,
    rms_norm,
    layer_norm,
    {activate_silu, activate_gelu_tanh, activate_gelu, activate_relu2, activate_sigmoid,
     activate_tanh},
    scale_and_cap,
    rotate,
    attend_chunk,
    attention_scratch,
    merge_softmax,
    finish_softmax,
    convolve,
    unit_row,
    recurrent_gates,
    recurrent_chunk,
    recurrent_scratch,
    row_max,
    exp_sum,
    exp_weights,
    block_sum,
    apply_mask,
    fma_probe,
    read_probe,
};

}  // namespace OCTAVO_ISA
}  // namespace octavo
