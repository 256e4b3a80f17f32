// Memory of the emulated device: all bits set, so NaN in every float type, until it is written.
#pragma once

#include <cstddef>

namespace simt {

// Aligned to 256 bytes as cudaMalloc's; nullptr where there is none.
void* allocate_poisoned(size_t bytes);
void free_poisoned(void* data);

}  // namespace simt
