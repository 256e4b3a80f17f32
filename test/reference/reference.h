// Every op in float64, as plainly as it can be said. The judges of all backends.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "base/dtype.h"
#include "base/half.h"
#include "base/quants.h"
#include "ops.h"

namespace octavo::reference {

// Value `k` of a stored row.
inline double stored_value(DType dtype, const void* row, int64_t k) {
  const char* bytes = static_cast<const char*>(row);
  uint16_t half;
  float single;
  switch (dtype) {
    case DType::kF32:
      std::memcpy(&single, bytes + 4 * k, 4);
      return single;
    case DType::kF16:
      std::memcpy(&half, bytes + 2 * k, 2);
      return half_to_float(half);
    case DType::kBF16:
      std::memcpy(&half, bytes + 2 * k, 2);
      return bf16_to_float(half);
    default:
      break;  // blocks: stored_row
  }
  return std::numeric_limits<double>::quiet_NaN();
}

// A whole row. Blocks are judged by ggml's own values (test_quants), so they are taken from there.
inline std::vector<double> stored_row(DType dtype, const void* row, int64_t n) {
  std::vector<double> out(static_cast<size_t>(n));
  if (!is_quantised(dtype)) {
    for (int64_t k = 0; k < n; k++) out[k] = stored_value(dtype, row, k);
    return out;
  }
  std::vector<float> values(static_cast<size_t>(n));
  dequantise_row(dtype, row, n, values.data());
  std::copy(values.begin(), values.end(), out.begin());
  return out;
}

// Σ x·w + bias, and in *magnitude Σ |x·w| + |bias|, which bounds the rounding of any order.
inline double dot(const float* x, const std::vector<double>& weight, double bias,
                  double* magnitude) {
  double sum = bias;
  *magnitude = std::fabs(bias);
  for (size_t k = 0; k < weight.size(); k++) {
    const double product = x[k] * weight[k];
    sum += product;
    *magnitude += std::fabs(product);
  }
  return sum;
}

// x as products with quantised weights see it: per 32 values max|x|/127 times an integer.
inline std::vector<float> int8_row(const float* x, int64_t n) {
  std::vector<float> out(static_cast<size_t>(n));
  for (int64_t b = 0; b < n; b += 32) {
    float top = 0;
    for (int64_t i = 0; i < 32; i++) top = std::max(top, std::fabs(x[b + i]));
    const float inverse = top > 0 ? 127.0f / top : 0.0f;
    for (int64_t i = 0; i < 32; i++) {
      out[b + i] = std::nearbyint(x[b + i] * inverse) * (top / 127.0f);
    }
  }
  return out;
}

// x as products that round it to a type see it: kI8, kBF16 (below 2^−56 it is 0), kF32 = as it is.
inline std::vector<float> left_row(DType type, const float* x, int64_t n) {
  if (type == DType::kI8) return int8_row(x, n);
  std::vector<float> out(x, x + n);
  if (type == DType::kF32) return out;
  for (float& v : out) v = std::fabs(v) < 0x1p-56f ? 0 : bf16_to_float(float_to_bf16(v));
  return out;
}

// Σ |x · min| over the groups of a row, the min being what is added to scale · code: it is added by
// itself, and so are its roundings.
inline double min_magnitude(const float* x, DType dtype, const void* row, int64_t n) {
  const QuantFormat f = quant_format(dtype);
  if (!f.has_min) return 0;
  double sum = 0;
  QuantBlock block;
  for (int64_t k = 0; k < n; k++) {
    const int64_t values = block_values(dtype);
    if (k % values == 0) {
      split_block(dtype, static_cast<const char*>(row) + k / values * block_bytes(dtype), &block);
    }
    const double min = f.is_wide ? block.wide * (f.offset / 16 + std::abs(block.scales[0]))
                                 : half_to_float(block.dmin) * block.mins[k % values / f.group];
    sum += std::fabs(min * x[k]);
  }
  return sum;
}

// x (already summed with its addend) → x / √(mean(x²) + eps) · weight; no weight = ones.
inline std::vector<double> rms_norm(const float* x, const float* weight, double eps, int64_t cols) {
  double squares = 0;
  for (int64_t i = 0; i < cols; i++) squares += static_cast<double>(x[i]) * x[i];
  const double scale = 1 / std::sqrt(squares / static_cast<double>(cols) + eps);
  std::vector<double> out(static_cast<size_t>(cols));
  for (int64_t i = 0; i < cols; i++) out[i] = x[i] * scale * (weight == nullptr ? 1 : weight[i]);
  return out;
}

// The same with the mean taken off first, and a bias; none = zeros.
inline std::vector<double> layer_norm(const float* x, const float* weight, const float* bias,
                                      double eps, int64_t cols) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < cols; i++) sum += x[i];
  const double mean = sum / static_cast<double>(cols);
  for (int64_t i = 0; i < cols; i++) squares += (x[i] - mean) * (x[i] - mean);
  const double scale = 1 / std::sqrt(squares / static_cast<double>(cols) + eps);
  std::vector<double> out(static_cast<size_t>(cols));
  for (int64_t i = 0; i < cols; i++) {
    out[i] = (x[i] - mean) * scale * (weight == nullptr ? 1 : weight[i]);
    if (bias != nullptr) out[i] += bias[i];
  }
  return out;
}

inline double silu_mul(double gate, double up) { return gate / (1 + std::exp(-gate)) * up; }
inline double gelu_mul(double gate, double up) {  // the tanh form
  const double inner = std::sqrt(2 / M_PI) * (gate + 0.044715 * gate * gate * gate);
  return 0.5 * gate * (1 + std::tanh(inner)) * up;
}
inline double activated(HiddenAct act, double x) {
  switch (act) {
    case HiddenAct::kSilu:
      return silu_mul(x, 1);
    case HiddenAct::kGeluTanh:
      return gelu_mul(x, 1);
    case HiddenAct::kGelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case HiddenAct::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case HiddenAct::kTanh:
      return std::tanh(x);
    case HiddenAct::kRelu2:
      break;
  }
  return x > 0 ? x * x : 0;
}

inline double transformed_logit(double x, double scale, double softcap) {
  return softcap > 0 ? softcap * std::tanh(scale * x / softcap) : scale * x;
}

// One head, rotated. The angle is a float32 product on purpose (ops.h).
inline std::vector<double> rope(const float* head, int64_t head_size, int32_t position,
                                const float* inv_freq, int32_t rotary, bool interleaved,
                                double factor) {
  std::vector<double> out(head, head + head_size);
  const int32_t half = rotary / 2;
  for (int32_t i = 0; i < half; i++) {
    const float angle = static_cast<float>(position) * inv_freq[i];
    const double c = std::cos(static_cast<double>(angle)) * factor;
    const double s = std::sin(static_cast<double>(angle)) * factor;
    const int32_t a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + half;
    out[a] = head[a] * c - head[b] * s;
    out[b] = head[b] * c + head[a] * s;
  }
  return out;
}

struct Attended {
  std::vector<double> out;        // [head_size]
  std::vector<double> tolerance;  // what float32 arithmetic may be off by
};

// What becomes of a score before the softmax.
struct ScoreShape {
  double softcap = 0;    // s → softcap · tanh(s / softcap); 0 = none
  double slope = 0;      // then slope · (token − position) is added
  int64_t position = 0;  // of the query
  // One more score, of a token whose value is 0; −∞ = there is none.
  double sink = -std::numeric_limits<double>::infinity();
  double rounding = 0;  // of the weights that meet values, relative
};

// softmax(scale · q·k) · v over tokens [first, last); k and v are rows `stride` floats apart.
//
// A float32 score is off by half an ulp of every partial sum on its way, weights by as much and a
// few ulps of exp and of the sums (u = 2⁻²⁴ each); a weight that is off by δ moves the output by
// δ · weight · (v − out).
inline Attended attention(const float* q, const float* k, const float* v, int64_t stride,
                          int64_t first, int64_t last, int64_t head_size, double scale,
                          const ScoreShape& shape = {}) {
  constexpr double u = 0x1p-24, kFewUlps = 32 * u;
  std::vector<double> scores, errors;
  double largest = shape.sink, sum = 0;
  for (int64_t t = first; t < last; t++) {
    double score = 0, partial_sums = 0;
    for (int64_t d = 0; d < head_size; d++) {
      score += static_cast<double>(q[d]) * k[t * stride + d];
      partial_sums += std::fabs(score);
    }
    score *= scale;
    errors.push_back(u * scale * partial_sums);
    if (shape.softcap >
        0) {  // flatter than the identity: errors do not grow, the tanh adds its own
      score = shape.softcap * std::tanh(score / shape.softcap);
      errors.back() += 8 * u * std::fabs(score);
    }
    if (shape.slope != 0) {
      score += shape.slope * static_cast<double>(t - shape.position);
      errors.back() += u * std::fabs(score);
    }
    scores.push_back(score);
    largest = std::max(largest, scores.back());
  }
  const auto weight = [&](int64_t t) { return std::exp(scores[t - first] - largest); };
  const size_t size = static_cast<size_t>(head_size);
  Attended result{std::vector<double>(size, 0.0), std::vector<double>(size, 1e-30)};
  for (int64_t t = first; t < last; t++) {
    sum += weight(t);
    for (int64_t d = 0; d < head_size; d++) result.out[d] += weight(t) * v[t * stride + d];
  }
  const double sunk = std::isfinite(shape.sink) ? std::exp(shape.sink - largest) : 0;
  sum += sunk;
  for (double& x : result.out) x = sum > 0 ? x / sum : 0;
  for (size_t d = 0; d < size && sunk > 0; d++) {
    const double error = u * (largest - shape.sink) + kFewUlps;
    result.tolerance[d] += sunk / sum * error * std::fabs(result.out[d]);
  }
  for (int64_t t = first; t < last; t++) {
    const double error = errors[t - first] + u * (largest - scores[t - first]) + kFewUlps;
    for (int64_t d = 0; d < head_size; d++) {
      const double reach = std::fabs(v[t * stride + d]) + std::fabs(result.out[d]);
      result.tolerance[d] += weight(t) / sum * error * reach;
      result.tolerance[d] += weight(t) / sum * shape.rounding * std::fabs(v[t * stride + d]);
    }
  }
  return result;
}

}  // namespace octavo::reference
