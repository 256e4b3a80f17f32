import type { Config, FamilySpec } from '../config.js';
import { unsupported } from '../files.js';
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
  windowsOf,
} from './shared.js';

/**
 * Muse Glimmer: a normalised embedding, four norms, q and k normalised without a weight, a gate of
 * what attention gives, scaled and capped logits. Layers that see all have no positions.
 */
export function museGlimmer(c: Config): FamilySpec {
  const { f } = c;
  if (!c.gguf) f.defaults(HF_DEFAULTS);
  const sizes = sizesOf(c);
  const count = sizes.layers.length;
  const [{ headSize }] = sizes.layers;
  const windows = windowsOf(c, count, (i) => (count - 1 - i) % 4 !== 0);
  const rope = ropeOf(c, sizes);
  const turns = turningLayers(c, windows, rope.theta);
  const plain = rmsNorm(c);
  const norm = rmsNorm(c, true);
  const post = { ...norm, eps: c.gguf ? 1e-8 : f.number('post_norm_eps', 0, 1, 1e-8) };
  const choices = {
    ...{ postAttnNorm: post, postMlpNorm: post, attentionGated: true },
    // GGUF files have the factor of scores in the weights of q's norm.
    qkNorm: { ...plain, weight: c.gguf !== undefined },
    scale: headSize ** -0.5 * (c.gguf ? 1 : f.number('qk_scale_factor', 0, 1e6)),
    hiddenAct: hiddenAct(c, 'silu', 'hidden_activation'),
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
    mlpBiases: biases(c, MLP, false),
  };
  const interleaved = c.gguf !== undefined;
  const model = modelOf(c, sizes, { norm: plain, rope, interleaved });
  return {
    ...model,
    embedding: { ...model.embedding, norm: { ...plain, weight: false } },
    layers: sizes.layers.map((size, i) =>
      layerOf(size, norm, { ...choices, window: windows[i], rope: turns[i] ? 0 : -1 }),
    ),
    head: {
      ...model.head,
      scale: f.number(c.name('output_multiplier', 'logit_scale'), 0, 1e6, 1),
      softcap: f.number('final_logit_softcapping', 0, 1e6, 0),
    },
    names: c.gguf ? GGUF : HF,
  };
}

/** A theta for each layer, which is that of all or 0 where there is none. */
function turningLayers(c: Config, windows: readonly number[], theta: number): boolean[] {
  const { f } = c;
  const count = windows.length;
  if (c.gguf) return windows.map((window) => window > 0);
  if (!f.has('layer_rope_theta')) return windows.map((_, i) => (count - 1 - i) % 4 !== 0);
  return f.perLayer('layer_rope_theta', count, 0, 1e12).map((own) => {
    if (own !== 0 && own !== theta) throw unsupported(f.file, `layer_rope_theta of ${own}`);
    return own !== 0;
  });
}

const HF = withLayer(HF_NAMES, {
  post_attention_layernorm: 'post_attn_norm',
  pre_feedforward_layernorm: 'mlp_norm',
  post_feedforward_layernorm: 'post_mlp_norm',
  'self_attn.gate_proj': 'attn_gate',
});
const GGUF = withLayer(GGUF_NAMES, {
  post_attention_norm: 'post_attn_norm',
  post_ffw_norm: 'post_mlp_norm',
  attn_gate: 'attn_gate',
});

/** Of files that leave them out. */
const HF_DEFAULTS = {
  ...{ num_key_value_heads: 2, head_dim: 128, rms_norm_eps: 1e-5, sliding_window: 2048 },
  ...{ qk_scale_factor: 3.87, output_multiplier: 26 ** -0.5, final_logit_softcapping: 20 },
};
