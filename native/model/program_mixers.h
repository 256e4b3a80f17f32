// What mixes the tokens of a sequence: attention of any form, layers that keep a state.
#pragma once

#include "model/program_writer.h"

namespace octavo {

class MixerWriter : public ProgramWriter {
 protected:
  using ProgramWriter::ProgramWriter;

  // What mixes tokens, into the branch; where there are two, the second's waits beside it.
  void mix(const LayerSpec& l, const LayerWeights& w, int32_t layer, Operand out) {
    if (l.attention.any()) attention(l.attention, w, layer, out);
    if (!l.recurrent.any()) return;
    recurrent(l.recurrent, w.recurrent, layer, l.attention.any() ? second_ : out);
  }

 private:
  void recurrent(const RecurrentSpec& r, const RecurrentWeights& w, int32_t layer, Operand out) {
    const RecurrentShape& s = r.shape;
    const Operand q{Register::kQ, s.key_width()}, k{Register::kK, s.key_width()};
    const Operand v{Register::kV, s.value_width()}, gate{Register::kGate, s.value_width()};
    const Operand dt{Register::kDt, s.num_value_heads};
    Matmul in{normed_, {linear(q, w.q), linear(k, w.k), linear(v, w.v)}};
    ShortConvParams conv;
    conv.weight = w.conv.data();
    conv.bias = w.conv_bias.data();
    const ShortConv convolve{q, k, v, conv, layer};
    if (!s.has_heads()) {
      emit(std::move(in));
      emit(convolve);
      program_.trim.at = here();
      return emit(Matmul{v, {linear(out, w.out)}});
    }
    in.parts.push_back(linear(gate, w.gate));
    in.parts.push_back(linear(dt, w.dt));
    Operand beta;
    if (s.kind == RecurrentKind::kDelta) {
      beta = {Register::kBeta, s.num_value_heads};
      in.parts.push_back(linear(beta, w.beta));
    }
    emit(std::move(in));
    if (r.dt_scale != 1) emit(TransformLogits{dt, r.dt_scale, 0});
    emit(convolve);
    linear_attention(r, w, {{Register::kAttended, s.value_width()}, q, k, v, beta, dt, {}, layer});
    program_.trim.at = here();
    gated_norm(r, w.norm, gate, {Register::kAttended, s.value_width()});
    emit(Matmul{gate, {linear(out, w.out)}});
  }

  void linear_attention(const RecurrentSpec& r, const RecurrentWeights& w, LinearAttend i) {
    i.params.decay = w.decay.data();
    i.params.dt_bias = w.dt_bias.data();
    i.params.skip = w.skip.data();
    i.params.dt_min = r.dt_min;
    i.params.dt_max = r.dt_max;
    emit(i);
  }

  void gated_norm(const RecurrentSpec& r, const NormWeights& w, Operand gate, Operand attended) {
    const int64_t parts = attended.cols / r.norm_size;
    const Operand normed{r.norm_first ? attended.reg : gate.reg, r.norm_size, parts};
    const auto norm_parts = [&] {
      if (r.norm.kind == NormKind::kNone) return;
      norm(r.norm, w, normed, normed, {}, 1, r.norm_own ? parts : 1);
    };
    if (r.norm_first) norm_parts();
    emit(Activate{gate, attended, HiddenAct::kSilu});
    if (!r.norm_first) norm_parts();
  }

  void head_matmul(Operand to, Operand from, const ExpertWeights& w, int32_t num_heads) {
    HeadMatmulParams params;
    params.weight = w.weight;
    params.stride = w.stride;
    params.num_heads = num_heads;
    emit(HeadMatmul{to, from, params});
  }

  // spec.h's LatentSpec says what comes out.
  void latent_attention(const AttentionSpec& a, const LayerWeights& w, int32_t layer, Operand out) {
    const LatentSpec& l = a.latent;
    const int64_t heads = a.num_heads;
    const Operand latent{Register::kV, l.rank}, k{Register::kK, a.rope_size()};
    const Operand q_own{Register::kQ, heads * (l.nope_size + a.rope_size())};
    const Operand query{Register::kHeads, a.q_size()};
    const Operand attended{Register::kAttended, heads * l.rank};
    const Operand given{Register::kHeads, heads * l.value_size};
    Matmul in{normed_, {linear(latent, w.latent.kv), linear(k, w.latent.k_rope)}};
    if (l.query_rank == 0) {
      in.parts.push_back(linear(q_own, w.q));
      emit(std::move(in));
    } else {
      const Operand low{Register::kGate, l.query_rank};
      in.parts.push_back(linear(low, w.latent.q_a));
      emit(std::move(in));
      norm(l.norm, w.latent.q_norm, low, low);
      emit(Matmul{low, {linear(q_own, w.q)}});
    }
    norm(l.norm, w.latent.kv_norm, latent, latent);
    head_matmul(query, q_own, w.latent.k_b, a.num_heads);
    emit(RopeAndCache{query, k, latent, rope(a, w), layer});
    attend(a, w, {attended, query, {}, layer});
    head_matmul(given, attended, w.latent.v_b, a.num_heads);
    emit(Matmul{given, {linear(out, w.o)}});
  }

  void attend(const AttentionSpec& a, const LayerWeights& w, Attend i) {
    i.params.num_heads = a.num_heads;
    i.params.scale = a.scale;
    i.params.reach = a.reach;
    i.params.softcap = a.softcap;
    i.params.sinks = w.sinks.data();
    emit(i);
    program_.trim.at = here();  // of the last layer, in the end
  }

  void attention(const AttentionSpec& a, const LayerWeights& w, int32_t layer, Operand out) {
    if (a.latent.any()) return latent_attention(a, w, layer, out);
    const Operand q{Register::kQ, a.q_size()}, k{Register::kK, a.kv_size()};
    const Operand v{Register::kV, a.kv_size()}, attended{Register::kAttended, a.q_size()};
    Matmul in{normed_, {linear(q, w.q)}};
    if (a.owns_kv()) in.parts.push_back(linear(k, w.k));
    if (a.owns_kv() && !a.v_from_k) in.parts.push_back(linear(v, w.v));
    emit(std::move(in));
    if (a.owns_kv()) value(a, w, k, v);
    if (a.qk_norm.kind != NormKind::kNone && !a.qk_norm_after_rope) {
      norm_qk(a, w.q_norm, q, a.num_heads);
      if (a.owns_kv()) norm_qk(a, w.k_norm, k, a.num_kv_heads);
    }
    const int32_t kv = kv_layer(spec_, layer);
    if (a.owns_kv()) {
      emit(RopeAndCache{q, k, v, rope(a, w), kv});
    } else {
      emit(RopeAndCache{q, {}, {}, rope(a, w), kv});
    }
    attend(a, w, {attended, q, {}, kv});
    if (!a.gated) return emit(Matmul{attended, {linear(out, w.o)}});
    const Operand gate{Register::kGate, a.q_size()};
    emit(Matmul{normed_, {linear(gate, w.attn_gate)}});
    emit(Activate{gate, attended, HiddenAct::kSigmoid});
    emit(Matmul{gate, {linear(out, w.o)}});
  }

  // Normed by heads, from its own product or from k's as that is.
  void value(const AttentionSpec& a, const LayerWeights& w, const Operand& k, const Operand& v) {
    if (a.v_norm.kind == NormKind::kNone && !a.v_from_k) return;
    const Operand from{a.v_from_k ? k.reg : v.reg, a.head_size, a.num_kv_heads};
    norm(a.v_norm, w.v_norm, {v.reg, a.head_size, a.num_kv_heads}, from);
  }

  // Of all heads of q or k, or of each.
  void norm_qk(const AttentionSpec& a, const NormWeights& w, const Operand& x, int32_t heads) {
    if (a.qk_norm_span == QkNormSpan::kProjection) return norm(a.qk_norm, w, x, x);
    const Operand split{x.reg, a.head_size, heads};
    norm(a.qk_norm, w, split, split, {}, 1, a.qk_norm_span == QkNormSpan::kOwnHead ? heads : 1);
  }

  RopeCacheParams rope(const AttentionSpec& a, const LayerWeights& w) const {
    RopeCacheParams rope;
    if (a.rope >= 0) {
      const RopeSpec& r = spec_.ropes[static_cast<size_t>(a.rope)];
      rope.inv_freq = program_.rope_tables[2 * static_cast<size_t>(a.rope)].data();
      rope.inv_freq_long = program_.rope_tables[2 * static_cast<size_t>(a.rope) + 1].data();
      rope.rotary_size = 2 * static_cast<int32_t>(r.inverse_frequencies.size());
      rope.interleaved = r.interleaved;
      rope.attention_factor = r.attention_factor;
    }
    if (a.qk_norm_after_rope) {
      rope.norm = true;
      rope.norm_eps = a.qk_norm.eps;
      rope.q_norm = w.q_norm.weight.data();
      rope.k_norm = w.k_norm.weight.data();
    }
    rope.temperature = a.temperature;
    return rope;
  }
};

}  // namespace octavo
