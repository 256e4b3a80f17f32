import type { Config, FamilySpec } from '../config.js';
import { Harmless } from '../harmless.js';
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

/** Seed-OSS: Llama with biases of q, k and v, and one of o by a switch of its own. */
export function seedOss(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults({ num_key_value_heads: 8, head_dim: 128, attention_bias: true });
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const inputs = c.flag('attention_bias') ? ['q', 'k', 'v'] : [];
  const output = c.flag('attention_out_bias') ? ['o'] : [];
  const choices = {
    attentionBiases: biases(c, ATTENTION, [...inputs, ...output]),
    mlpBiases: biases(c, MLP, c.flag('mlp_bias')),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes) }),
    layers: sizes.layers.map((size) => layerOf(size, norm, choices)),
    names: c.gguf ? GGUF : HF_NAMES,
    harmless: HARMLESS,
  };
}

const GGUF = withLayer(GGUF_NAMES, { post_attention_norm: 'mlp_norm' });
const HARMLESS = new Harmless([['any', 'residual_dropout']]);
