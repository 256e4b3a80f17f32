// Cases of recurrent layers: some texts and what a layer makes of them, judged in float64.
#pragma once

#include "native/backend_under_test.h"
#include "reference/recurrent_reference.h"

namespace octavo::test {

// A layer, and the inputs of some sequences. All but the first may share their first tokens with
// it.
struct RecurrentCase {
  RecurrentShape shape;
  DType type = DType::kF32;  // of q, k, v and what comes out
  bool has_bias = false;
  std::vector<float> weight, bias, decay, dt_bias, skip;  // weight [width][channels]
  float dt_min = 0, dt_max = std::numeric_limits<float>::infinity();

  bool is(RecurrentKind kind) const { return shape.kind == kind; }
  struct Text {
    int32_t shared = 0, length = 0;
    std::vector<float> q, k, v, beta, dt;  // [length][…]
  };
  std::vector<Text> texts;
};

inline std::vector<float> random_floats(Random& random, int64_t n, float scale,
                                        DType type = DType::kF32) {
  return random_values(random, type, n, scale);
}

inline RecurrentCase::Text random_recurrent_text(Random& random, const RecurrentCase& c,
                                                 const RecurrentCase::Text* first) {
  const RecurrentShape& s = c.shape;
  RecurrentCase::Text t;
  t.length = static_cast<int32_t>(random.pick<int64_t>(
      {1, random.between(2, 40), random.between(2, 40), kChunk, random.between(60, 140)}));
  if (first != nullptr && random.chance(60)) {
    t.shared = static_cast<int32_t>(random.between(0, std::min(first->length, t.length)));
  }
  const auto fill = [&](int64_t width, float scale, std::vector<float> RecurrentCase::Text::*of,
                        DType type = DType::kF32) {
    std::vector<float>& to = t.*of;
    to = random_floats(random, t.length * width, scale, type);
    if (t.shared > 0) std::copy_n((first->*of).begin(), t.shared * width, to.begin());
  };
  for (const auto of : {&RecurrentCase::Text::q, &RecurrentCase::Text::k})
    fill(s.key_width(), 1, of, c.type);
  fill(s.value_width(), 1, &RecurrentCase::Text::v, c.type);
  for (const auto of : {&RecurrentCase::Text::beta, &RecurrentCase::Text::dt})
    fill(s.num_value_heads, 2, of);
  return t;
}

inline RecurrentCase random_recurrent_case(Random& random, int i, DType type) {
  RecurrentCase c;
  c.type = type;
  RecurrentShape& s = c.shape;
  s.num_key_heads = random.pick({1, 2, 3});
  s.num_value_heads = s.num_key_heads * random.pick({1, 2, 3});
  s.tiled = random.chance(50);
  s.key_size = random.pick({1, 7, 16, 24, 33, 64});
  s.value_size = random.pick({1, 5, 16, 31, 48, 100, 128});
  s.conv_width = random.pick({1, 2, 3, 4, 4, 7, kChunk});
  if (i % 6 == 0) s = {2, 4, 128, 128, 4, random.chance(50)};
  if (i % 3 == 1) s.kind = RecurrentKind::kSsm;
  if (i % 6 == 2) {
    s.kind = RecurrentKind::kConv;
    s.num_value_heads = s.num_key_heads;
    s.value_size = s.key_size = static_cast<int32_t>(random.between(1, 300));
  }
  c.has_bias = random.chance(50);
  c.weight = random_floats(random, s.conv_width * s.channels(), 0.7f);
  c.bias = random_floats(random, s.channels(), 0.3f);
  c.dt_bias = random_floats(random, s.num_value_heads, 1);
  // From heads that forget nothing to those that forget all at once.
  for (int32_t h = 0; h < s.num_value_heads; h++) {
    c.decay.push_back(-random.pick({0.0f, 1e-3f, 0.1f, 1.0f, 16.0f, 1e30f}));
  }
  if (c.is(RecurrentKind::kSsm) && random.chance(70)) {
    c.skip = random_floats(random, s.num_value_heads, 1);
    if (random.chance(50)) c.dt_min = 0.1f;
    if (random.chance(50)) c.dt_max = 0.7f;
  }
  const int64_t texts = random.between(1, 4);
  while (static_cast<int64_t>(c.texts.size()) < texts) {
    c.texts.push_back(random_recurrent_text(random, c, c.texts.empty() ? nullptr : &c.texts[0]));
  }
  return c;
}

// By text: what the ops give for its tokens.
struct RecurrentOutputs {
  std::vector<float> q, k, v, out;
};

inline void judge_convolution(const RecurrentCase& c, const RecurrentCase::Text& text,
                              const RecurrentOutputs& got) {
  const RecurrentShape& s = c.shape;
  const bool gated = c.is(RecurrentKind::kConv);  // then x is k ⊙ v
  int64_t channel = 0;
  const auto judge = [&](const std::vector<float>& x, const std::vector<float>& y, int64_t width) {
    for (int64_t i = 0; i < static_cast<int64_t>(x.size()); i++) {
      const int64_t t = i / width, at = channel + i % width;
      double sum = c.has_bias ? c.bias[at] : 0, magnitude = std::fabs(sum);
      for (int32_t j = 0; j < s.conv_width; j++) {
        const int64_t from = (t - s.conv_width + 1 + j) * width + i % width;
        if (from < 0) continue;
        double product = static_cast<double>(c.weight[j * s.channels() + at]) * x[from];
        if (gated) product *= text.k[from];
        sum += product;
        magnitude += std::fabs(product);
      }
      const double by = gated ? text.q[i] : reference::sigmoid(sum);
      const double want = by * sum, unit = 1.1 * (s.conv_width + 1) * 0x1p-24;
      const double off = unit * magnitude * (gated ? std::fabs(by) : 1);
      expect_stored("short_conv", c.type, y[i], want, off + 1e-6 * std::fabs(want) + 1e-30);
    }
    channel += width;
  };
  if (gated) {
    expect(got.q == text.q && got.k == text.k, "short_conv: a factor is changed");
  } else {
    judge(text.q, got.q, s.key_width());
    judge(text.k, got.k, s.key_width());
  }
  judge(text.v, got.v, s.value_width());
}

inline reference::DeltaHead head_of(const RecurrentCase& c, const RecurrentCase::Text& text,
                                    const RecurrentOutputs& conv, int32_t head, int32_t tokens) {
  const RecurrentShape& s = c.shape;
  const int32_t key_head =
      s.tiled ? head % s.num_key_heads : head * s.num_key_heads / s.num_value_heads;
  reference::DeltaHead h;
  for (int64_t t = 0; t < tokens; t++) {
    const int64_t at = t * s.key_width() + int64_t{key_head} * s.key_size;
    if (c.is(RecurrentKind::kDelta)) {
      h.q.push_back(reference::unit(&conv.q[at], s.key_size, 1 / std::sqrt(s.key_size)));
      h.k.push_back(reference::unit(&conv.k[at], s.key_size, 1));
    } else {
      h.q.emplace_back(&conv.q[at], &conv.q[at] + s.key_size);
      h.k.emplace_back(&conv.k[at], &conv.k[at] + s.key_size);
    }
    const float* v = &conv.v[t * s.value_width() + int64_t{head} * s.value_size];
    h.v.emplace_back(v, v + s.value_size);
    const int64_t gate = t * s.num_value_heads + head;
    double step = reference::softplus(static_cast<double>(text.dt[gate]) + c.dt_bias[head]);
    step = std::fmin(c.dt_max, std::fmax(c.dt_min, step));
    h.beta.push_back(c.is(RecurrentKind::kDelta) ? reference::sigmoid(text.beta[gate]) : step);
    h.g.push_back(c.decay[head] * step);
  }
  return h;
}

// What a head's outputs and last state are compared with, and how far off they may be.
struct RecurrentJudge {
  reference::DeltaResult want, tolerance;
};

// Errors of the delta rule's float32 are those of values up to the largest v, and shrink as states
// do. Of a state space they grow with what is summed.
inline RecurrentJudge recurrent_judge(const RecurrentCase& c, const reference::DeltaHead& h,
                                      int32_t head) {
  RecurrentJudge j;
  if (c.is(RecurrentKind::kDelta)) {
    j.want = j.tolerance = reference::delta_by_token(h);
    double largest = 1e-30;
    for (size_t t = 0; t < h.num_tokens(); t++) {
      for (const double v : h.v[t]) largest = std::fmax(largest, std::fabs(v));
      j.tolerance.out[t].assign(h.value_size(), 1e-6 * largest);
    }
    for (auto& row : j.tolerance.state) row.assign(h.value_size(), 1e-6 * largest);
    return j;
  }
  const double skip = c.skip.empty() ? 0 : c.skip[head];
  j.want.out = reference::ssm_by_token(h, skip, &j.want.state);
  reference::DeltaHead sizes = h;
  for (reference::Rows* rows : {&sizes.q, &sizes.k, &sizes.v}) {
    for (auto& row : *rows) {
      for (double& x : row) x = std::fabs(x);
    }
  }
  j.tolerance.out = reference::ssm_by_token(sizes, std::fabs(skip), &j.tolerance.state);
  for (reference::Rows* rows : {&j.tolerance.out, &j.tolerance.state}) {
    for (auto& row : *rows) {
      for (double& x : row) x = 2e-6 * x + 1e-30;
    }
  }
  return j;
}

inline void judge_heads(const RecurrentCase& c, const RecurrentCase::Text& text,
                        const RecurrentOutputs& got, const std::vector<float>& state) {
  const RecurrentShape& s = c.shape;
  for (int32_t head = 0; head < s.num_value_heads; head++) {
    const RecurrentJudge whole = recurrent_judge(c, head_of(c, text, got, head, text.length), head);
    for (int64_t t = 0; t < text.length; t++) {
      for (int64_t i = 0; i < s.value_size; i++) {
        const float value = got.out[t * s.value_width() + head * s.value_size + i];
        expect_stored("linear_attention", c.type, value, whole.want.out[t][i],
                      whole.tolerance.out[t][i]);
      }
    }
    if (border_of(text.length) == 0) continue;
    const RecurrentJudge kept =
        recurrent_judge(c, head_of(c, text, got, head, border_of(text.length)), head);
    for (int64_t i = 0; i < int64_t{s.key_size} * s.value_size; i++) {
      const int64_t d = i / s.value_size, col = i % s.value_size;
      expect_near("state", state[int64_t{head} * s.key_size * s.value_size + i],
                  kept.want.state[d][col], kept.tolerance.state[d][col]);
    }
  }
}

}  // namespace octavo::test
