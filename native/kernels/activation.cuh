// Activations of an MLP, value by value.
#pragma once

#include "kernels/runtime.h"
#include "ops.h"

namespace octavo::device {

// Gaussian error linear units (Hendrycks & Gimpel 2016). Both leave the tail as it is instead of
// taking it off 1, and go to 0 where x goes to −∞.
OCTAVO_DEVICE float gelu_tanh(float x) {        // ½ (1 + tanh u) = 1 / (1 + e⁻²ᵘ)
  constexpr float kRoot = 0.7978845608028654f;  // √(2/π)
  const float to = x < -20.0f ? -20.0f : x;
  return to / (1.0f + expf(-2.0f * kRoot * (to + 0.044715f * to * to * to)));
}
OCTAVO_DEVICE float gelu(float x) {
  const float size = fminf(fabsf(x), 20.0f);
  const float tail = 0.5f * size * erfcf(size * 0.7071067811865476f);
  return x < 0.0f ? -tail : x - tail;
}

OCTAVO_DEVICE float activation(float x, HiddenAct hidden_act) {
  switch (hidden_act) {
    case HiddenAct::kSilu: {
      const float to = x < -80.0f ? -80.0f : x;
      return to / (1.0f + expf(-to));
    }
    case HiddenAct::kGeluTanh:
      return gelu_tanh(x);
    case HiddenAct::kGelu:
      return gelu(x);
    case HiddenAct::kSigmoid:
      return 1.0f / (1.0f + expf(-x));
    case HiddenAct::kTanh:
      return tanhf(x);
    case HiddenAct::kRelu2:
      break;
  }
  return x < 0.0f ? 0.0f : x * x;
}

}  // namespace octavo::device
