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
    case DType::kQ8_0: {
      const char* block = bytes + k / 32 * 34;
      std::memcpy(&half, block, 2);
      return static_cast<double>(half_to_float(half)) * static_cast<signed char>(block[2 + k % 32]);
    }
    case DType::kQ4_0: {
      const char* block = bytes + k / 32 * 18;
      std::memcpy(&half, block, 2);
      const int byte = static_cast<unsigned char>(block[2 + k % 16]);
      const int value = (k % 32 < 16 ? byte % 16 : byte / 16) - 8;
      return static_cast<double>(half_to_float(half)) * value;
    }
    default:
      break;  // types of KV caches
  }
  return std::numeric_limits<double>::quiet_NaN();
}

// Σ x·w + bias, and in *magnitude Σ |x·w| + |bias|, which bounds the rounding of any order.
inline double dot(const float* x, DType dtype, const void* weight_row, int64_t depth, double bias,
                  double* magnitude) {
  double sum = bias;
  *magnitude = std::fabs(bias);
  for (int64_t k = 0; k < depth; k++) {
    const double product = x[k] * stored_value(dtype, weight_row, k);
    sum += product;
    *magnitude += std::fabs(product);
  }
  return sum;
}

// x (already summed with its addend) → x / √(mean(x²) + eps) · weight
inline std::vector<double> rms_norm(const float* x, const float* weight, double eps, int64_t cols) {
  double squares = 0;
  for (int64_t i = 0; i < cols; i++) squares += static_cast<double>(x[i]) * x[i];
  const double scale = 1 / std::sqrt(squares / static_cast<double>(cols) + eps);
  std::vector<double> out(static_cast<size_t>(cols));
  for (int64_t i = 0; i < cols; i++) out[i] = x[i] * scale * weight[i];
  return out;
}

inline double silu_mul(double gate, double up) { return gate / (1 + std::exp(-gate)) * up; }
inline double gelu_mul(double gate, double up) {  // the tanh form
  const double inner = std::sqrt(2 / M_PI) * (gate + 0.044715 * gate * gate * gate);
  return 0.5 * gate * (1 + std::tanh(inner)) * up;
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

// softmax(scale · q·k) · v over tokens [first, last); k and v are rows `stride` floats apart.
//
// A float32 score is off by half an ulp of every partial sum on its way, weights by as much and a
// few ulps of exp and of the sums (u = 2⁻²⁴ each); a weight that is off by δ moves the output by
// δ · weight · (v − out).
inline Attended attention(const float* q, const float* k, const float* v, int64_t stride,
                          int64_t first, int64_t last, int64_t head_size, double scale) {
  constexpr double u = 0x1p-24, kFewUlps = 32 * u;
  std::vector<double> scores, errors;
  double largest = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int64_t t = first; t < last; t++) {
    double score = 0, partial_sums = 0;
    for (int64_t d = 0; d < head_size; d++) {
      score += static_cast<double>(q[d]) * k[t * stride + d];
      partial_sums += std::fabs(score);
    }
    scores.push_back(score * scale);
    errors.push_back(u * scale * partial_sums);
    largest = std::max(largest, scores.back());
  }
  const auto weight = [&](int64_t t) { return std::exp(scores[t - first] - largest); };
  const size_t size = static_cast<size_t>(head_size);
  Attended result{std::vector<double>(size, 0.0), std::vector<double>(size, 1e-30)};
  for (int64_t t = first; t < last; t++) {
    sum += weight(t);
    for (int64_t d = 0; d < head_size; d++) result.out[d] += weight(t) * v[t * stride + d];
  }
  for (double& x : result.out) x = sum > 0 ? x / sum : 0;
  for (int64_t t = first; t < last; t++) {
    const double error = errors[t - first] + u * (largest - scores[t - first]) + kFewUlps;
    for (int64_t d = 0; d < head_size; d++) {
      const double reach = std::fabs(v[t * stride + d]) + std::fabs(result.out[d]);
      result.tolerance[d] += weight(t) / sum * error * reach;
    }
  }
  return result;
}

}  // namespace octavo::reference
