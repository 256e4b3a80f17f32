// Loops over rows: narrowing, adding, activation, rotation. See kernels.inc.h.
#pragma once

#include "cpu/kernels.h"
#include "cpu/kernels_bf16.inc.h"
#include "cpu/simd.h"

namespace octavo {
namespace OCTAVO_ISA {

template <class Store>
OCTAVO_INLINE void narrow_plain(Store put, const float* row, int64_t n, void* out) {
  uint16_t* to = static_cast<uint16_t*>(out);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) put(to + i, load(row + i));
  if (i == n) return;
  uint16_t tail[16];
  put(tail, load_n(row + i, n - i));
  __builtin_memcpy(to + i, tail, static_cast<size_t>(n - i) * 2);
}

// Rounds to the nearest; NaN and ∞ make the scale NaN.
static float narrow_i8(const float* row, int64_t n, int8_t* out) {
  float top = 0, nan = 0;
  for (int64_t i = 0; i < n; i++) {
    const float magnitude = row[i] < 0 ? -row[i] : row[i];
    if (magnitude > top) top = magnitude;
    nan += row[i] * 0.0f;
  }
  const float inverse = top > 0 && nan == 0 ? 127.0f / top : 0.0f;
  for (int64_t i = 0; i < n; i++) {
    const float shifted =
        row[i] * inverse + 12582912.0f;  // 1.5·2²³: the integer is in its low bits
    int32_t bits;
    __builtin_memcpy(&bits, &shifted, 4);
    out[i] = static_cast<int8_t>(bits);
  }
  return top / 127.0f + nan;
}

static float narrow_row(DType dtype, const float* row, int64_t n, void* out) {
  if (dtype == DType::kI8) return narrow_i8(row, n, static_cast<int8_t*>(out));
  if (dtype == DType::kF16) {
    // What float16 cannot hold becomes its largest: as ∞ it would drown all other tokens.
    const F32x16 most = splat(65504.0f), least = splat(-65504.0f);
    const auto store_near = [&](void* p, const F32x16& x) {
      store_f16(p, min(most, max(least, x)));
    };
    narrow_plain(store_near, row, n, out);
  } else {
    narrow_plain([](void* p, const F32x16& x) { store_bf16(p, bf16_or_zero(x)); }, row, n, out);
  }
  return 1.0f;
}

// x [n] += scale · y [n], rounded once.
static void add_scaled(float* x, const float* y, float scale, int64_t n) {
  const F32x16 by = splat(scale);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(x + i, fma(load(y + i), by, load(x + i)));
  if (i < n) store_n(x + i, fma(load_n(y + i, n - i), by, load_n(x + i, n - i)), n - i);
}

// out [n] = fn(x [n])
template <class Fn>
OCTAVO_INLINE void each_value(Fn fn, float* out, const float* x, int64_t n) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(out + i, fn(load(x + i)));
  if (i < n) store_n(out + i, fn(load_n(x + i, n - i)), n - i);
}

template <class Act>
OCTAVO_INLINE void activate(Act act, float* out, const float* gate, const float* up, int64_t n) {
  if (up == nullptr) return each_value(act, out, gate, n);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) store(out + i, mul(act(load(gate + i)), load(up + i)));
  if (i == n) return;
  store_n(out + i, mul(act(load_n(gate + i, n - i)), load_n(up + i, n - i)), n - i);
}

static void activate_silu(float* out, const float* gate, const float* up, int64_t n) {
  activate([](const F32x16& g) OCTAVO_INLINE_LAMBDA { return silu(g); }, out, gate, up, n);
}

// Gaussian error linear unit in its tanh form (Hendrycks & Gimpel 2016).
static void activate_gelu_tanh(float* out, const float* gate, const float* up, int64_t n) {
  const auto act = [](const F32x16& x) OCTAVO_INLINE_LAMBDA {
    const F32x16 cubic = fma(mul(mul(x, x), x), splat(0.044715f), x);
    const F32x16 t = tanh(mul(cubic, splat(0.7978845608f)));  // √(2/π)
    return mul(mul(splat(0.5f), x), add(splat(1.0f), t));
  };
  activate(act, out, gate, up, n);
}

static void activate_gelu(float* out, const float* gate, const float* up, int64_t n) {
  activate([](const F32x16& g) OCTAVO_INLINE_LAMBDA { return gelu(g); }, out, gate, up, n);
}

static void activate_relu2(float* out, const float* gate, const float* up, int64_t n) {
  const auto act = [](const F32x16& x) OCTAVO_INLINE_LAMBDA {
    const F32x16 positive = max(zero(), x);  // NaN stays: the second operand
    return mul(positive, positive);
  };
  activate(act, out, gate, up, n);
}

static void activate_sigmoid(float* out, const float* gate, const float* up, int64_t n) {
  activate([](const F32x16& g) OCTAVO_INLINE_LAMBDA { return sigmoid(g); }, out, gate, up, n);
}

static void activate_tanh(float* out, const float* gate, const float* up, int64_t n) {
  activate([](const F32x16& g) OCTAVO_INLINE_LAMBDA { return tanh(g); }, out, gate, up, n);
}

static void scale_and_cap(float* x, float scale, float softcap, int64_t n) {
  const F32x16 by = splat(scale), cap = splat(softcap);
  const auto scaled = [&](const F32x16& v) OCTAVO_INLINE_LAMBDA { return mul(v, by); };
  const auto capped = [&](const F32x16& v)
                          OCTAVO_INLINE_LAMBDA { return mul(cap, tanh(div(mul(v, by), cap))); };
  if (softcap == 0) return each_value(scaled, x, x, n);
  each_value(capped, x, x, n);
}

// (a, b) → (a·cos − b·sin, b·cos + a·sin), each product rounded before the sum, as PyTorch does.
static void rotate_halves(float* x, const float* cos, const float* sin, int32_t half) {
  const auto turn = [](F32x16& a, F32x16& b, F32x16 c, F32x16 s) {
    const F32x16 turned = sub(mul(a, c), mul(b, s));
    b = add(mul(b, c), mul(a, s));
    a = turned;
  };
  int32_t i = 0;
  for (; i + 16 <= half; i += 16) {
    F32x16 a = load(x + i), b = load(x + half + i);
    turn(a, b, load(cos + i), load(sin + i));
    store(x + i, a);
    store(x + half + i, b);
  }
  if (i == half) return;
  const int32_t n = half - i;
  F32x16 a = load_n(x + i, n), b = load_n(x + half + i, n);
  turn(a, b, load_n(cos + i, n), load_n(sin + i, n));
  store_n(x + i, a, n);
  store_n(x + half + i, b, n);
}

static void rotate_pairs(float* x, const float* cos, const float* sin, int32_t half) {
  for (int32_t i = 0; i < half; i++) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * cos[i] - b * sin[i];
    x[2 * i + 1] = b * cos[i] + a * sin[i];
  }
}

static void rotate(float* heads, int64_t num_heads, int64_t stride, const float* cos,
                   const float* sin, int32_t half, bool interleaved) {
  for (int64_t h = 0; h < num_heads; h++) {
    if (interleaved) {
      rotate_pairs(heads + h * stride, cos, sin, half);
    } else {
      rotate_halves(heads + h * stride, cos, sin, half);
    }
  }
}

}  // namespace OCTAVO_ISA
}  // namespace octavo
