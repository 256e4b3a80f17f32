// Marks what host and device code share.
#pragma once

#ifdef __CUDACC__
#define OCTAVO_HD __host__ __device__ __forceinline__
#else
#define OCTAVO_HD inline
#endif
