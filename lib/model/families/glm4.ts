import type { Config, FamilySpec } from '../config.js';
import { GGUF_NAMES, HF_NAMES, withLayer } from '../names.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  layerOf,
  MLP,
  modelOf,
  rmsNorm,
  ropeOf,
  sizesOf,
} from './shared.js';

/** GLM 4: norms before and behind each branch, half of each head turns, by neighbour pairs. */
export function glm4(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(HF_DEFAULTS);
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const choices = {
    ...{ postAttnNorm: norm, postMlpNorm: norm },
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias') ? ['q', 'k', 'v'] : []),
    mlpBiases: biases(c, MLP, false),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  const rope = ropeOf(c, sizes, { partial: true });
  return {
    ...modelOf(c, sizes, { norm, rope, interleaved: true }),
    layers: sizes.layers.map((size) => layerOf(size, norm, choices)),
    names: c.gguf ? GGUF : HF,
  };
}

const HF_DEFAULTS = {
  num_key_value_heads: 2,
  head_dim: 128,
  rms_norm_eps: 1.5625e-7,
  partial_rotary_factor: 0.5,
  attention_bias: true,
};

const HF = withLayer(HF_NAMES, {
  post_self_attn_layernorm: 'post_attn_norm',
  post_mlp_layernorm: 'post_mlp_norm',
  'mlp.gate_up_proj': ['gate', 'up'],
});
const GGUF = withLayer(GGUF_NAMES, {
  post_attention_norm: 'post_attn_norm',
  post_ffw_norm: 'post_mlp_norm',
  ffn_up: ['gate', 'up'],
});
