// The CUDA runtime, or its host emulation: the same sources are built as `cuda` and as `simt`.
#pragma once

#ifdef OCTAVO_SIMT
#include "simt/cuda.h"
#else
#include <cuda_runtime.h>
#endif

#define OCTAVO_DEVICE __device__ __forceinline__
