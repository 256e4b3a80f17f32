// What a product rounds its activations to.
#pragma once

namespace octavo {

struct Rounding {
  bool int8 = true;  // with quantised weights: int8, a scale per 32 values
  bool bf16 = true;  // with BF16 weights: BF16
};

}  // namespace octavo
