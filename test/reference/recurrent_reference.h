// The gated delta rule of one head in float64, in three forms: token by token, in chunks whose u
// are solved for together (as checkpoints' own code does for long prompts), and as ops.h says it.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/recurrent.h"

namespace octavo::reference {

using Rows = std::vector<std::vector<double>>;

// Of one value head, by token: q and k as they meet the state.
struct DeltaHead {
  Rows q, k, v;
  std::vector<double> beta, g;

  size_t num_tokens() const { return q.size(); }
  size_t key_size() const { return q[0].size(); }
  size_t value_size() const { return v[0].size(); }
};
struct DeltaResult {
  Rows out;    // [num_tokens][value_size]
  Rows state;  // [key_size][value_size] behind the last token
};

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += a[i] * b[i];
  return sum;
}
inline void add_scaled(std::vector<double>& to, double scale, const std::vector<double>& x) {
  for (size_t i = 0; i < x.size(); i++) to[i] += scale * x[i];
}
inline Rows zeros(size_t rows, size_t cols) { return Rows(rows, std::vector<double>(cols, 0.0)); }
// Sᵀx
inline std::vector<double> read_state(const Rows& state, const std::vector<double>& x) {
  std::vector<double> out(state[0].size(), 0.0);
  for (size_t d = 0; d < x.size(); d++) add_scaled(out, x[d], state[d]);
  return out;
}

// x / √(Σ x² + 1e-6) · scale
inline std::vector<double> unit(const float* x, int64_t n, double scale) {
  double squares = 1e-6;
  for (int64_t i = 0; i < n; i++) squares += static_cast<double>(x[i]) * x[i];
  std::vector<double> out(x, x + n);
  for (double& value : out) value *= scale / std::sqrt(squares);
  return out;
}
inline double softplus(double x) { return std::fmax(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }
inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

inline DeltaResult delta_by_token(const DeltaHead& h) {
  DeltaResult r{{}, zeros(h.key_size(), h.value_size())};
  for (size_t t = 0; t < h.num_tokens(); t++) {
    for (auto& row : r.state) {
      for (double& s : row) s *= std::exp(h.g[t]);
    }
    const std::vector<double> known = read_state(r.state, h.k[t]);
    std::vector<double> u = h.v[t];
    for (size_t i = 0; i < u.size(); i++) u[i] = h.beta[t] * (u[i] - known[i]);
    for (size_t d = 0; d < h.key_size(); d++) add_scaled(r.state[d], h.k[t][d], u);
    r.out.push_back(read_state(r.state, h.q[t]));
  }
  return r;
}

// A state space: what is added does not look at the state.
inline Rows ssm_by_token(const DeltaHead& h, double skip, Rows* state) {
  Rows out;
  *state = zeros(h.key_size(), h.value_size());
  for (size_t t = 0; t < h.num_tokens(); t++) {
    for (size_t d = 0; d < h.key_size(); d++) {
      for (double& s : (*state)[d]) s *= std::exp(h.g[t]);
      add_scaled((*state)[d], h.beta[t] * h.k[t][d], h.v[t]);
    }
    out.push_back(read_state(*state, h.q[t]));
    add_scaled(out.back(), skip, h.v[t]);
  }
  return out;
}

// Of each chunk: (I + A) u = β (v − e^G S₀ᵀk), A the part below the diagonal of β e^(G_t − G_j)
// k_j·k_t, solved by the inverse of I + A, which is found row by row.
inline DeltaResult delta_by_solving(const DeltaHead& h, size_t chunk = 64) {
  DeltaResult r{{}, zeros(h.key_size(), h.value_size())};
  for (size_t begin = 0; begin < h.num_tokens(); begin += chunk) {
    const size_t n = std::min(chunk, h.num_tokens() - begin);
    std::vector<double> sums;  // G
    for (size_t t = 0; t < n; t++) sums.push_back((t > 0 ? sums[t - 1] : 0) + h.g[begin + t]);
    const auto decay = [&](size_t t, size_t j) { return std::exp(sums[t] - sums[j]); };
    Rows inverse = zeros(n, n);
    for (size_t t = 0; t < n; t++) {
      inverse[t][t] = 1;
      for (size_t j = 0; j < t; j++) {
        const double a = h.beta[begin + t] * decay(t, j) * dot(h.k[begin + j], h.k[begin + t]);
        for (size_t i = 0; i <= j; i++) inverse[t][i] -= a * inverse[j][i];
      }
    }
    Rows u = zeros(n, h.value_size());
    for (size_t t = 0; t < n; t++) {
      for (size_t j = 0; j <= t; j++) {
        const double by = inverse[t][j] * h.beta[begin + j];
        add_scaled(u[t], by, h.v[begin + j]);
        add_scaled(u[t], -by * std::exp(sums[j]), read_state(r.state, h.k[begin + j]));
      }
    }
    for (size_t t = 0; t < n; t++) {
      std::vector<double> out(h.value_size(), 0.0);
      add_scaled(out, std::exp(sums[t]), read_state(r.state, h.q[begin + t]));
      for (size_t j = 0; j <= t; j++) {
        add_scaled(out, decay(t, j) * dot(h.k[begin + j], h.q[begin + t]), u[j]);
      }
      r.out.push_back(out);
    }
    for (size_t d = 0; d < h.key_size(); d++) {
      for (double& s : r.state[d]) s *= std::exp(sums[n - 1]);
      for (size_t j = 0; j < n; j++) {
        add_scaled(r.state[d], decay(n - 1, j) * h.k[begin + j][d], u[j]);
      }
    }
  }
  return r;
}

// A token beside the records of its chunk.
inline DeltaResult delta_by_records(const DeltaHead& h) {
  DeltaResult r{{}, zeros(h.key_size(), h.value_size())};
  std::vector<std::vector<double>> u;  // of the chunk under way
  for (size_t t = 0; t < h.num_tokens(); t++) {
    const size_t border = t - t % kChunk;
    std::vector<double> left(t - border + 1, 1.0);  // of what token j adds
    for (size_t j = t; j > border; j--) left[j - border - 1] = left[j - border] * std::exp(h.g[j]);
    const double of_state = left[0] * std::exp(h.g[border]);
    std::vector<double> known = read_state(r.state, h.k[t]), out = read_state(r.state, h.q[t]);
    for (double& x : known) x *= of_state;
    for (double& x : out) x *= of_state;
    for (size_t j = 0; j < u.size(); j++) {
      add_scaled(known, left[j] * dot(h.k[border + j], h.k[t]), u[j]);
      add_scaled(out, left[j] * dot(h.k[border + j], h.q[t]), u[j]);
    }
    std::vector<double> own = h.v[t];
    for (size_t i = 0; i < own.size(); i++) own[i] = h.beta[t] * (own[i] - known[i]);
    add_scaled(out, dot(h.k[t], h.q[t]), own);
    u.push_back(own);
    r.out.push_back(out);
    if (t + 1 < border + kChunk && t + 1 < h.num_tokens()) continue;
    for (size_t d = 0; d < h.key_size(); d++) {
      for (double& s : r.state[d]) s *= of_state;
      for (size_t j = 0; j < u.size(); j++)
        add_scaled(r.state[d], left[j] * h.k[border + j][d], u[j]);
    }
    u.clear();
  }
  return r;
}

}  // namespace octavo::reference
