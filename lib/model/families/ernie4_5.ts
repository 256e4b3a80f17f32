import type { Config, FamilySpec } from '../config.js';
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

/** ERNIE 4.5: Llama whose heads turn by neighbour pairs in both kinds of files. */
export function ernie4_5(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(HF_DEFAULTS);
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const biased = c.flag('use_bias');
  const choices = {
    attentionBiases: biases(c, ATTENTION, biased),
    mlpBiases: biases(c, MLP, biased),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes), interleaved: true }),
    layers: sizes.layers.map((size) => layerOf(size, norm, choices)),
  };
}

/** Of files that leave them out. */
const HF_DEFAULTS = {
  num_key_value_heads: 2,
  head_dim: 128,
  rms_norm_eps: 1e-5,
  rope_theta: 500_000,
  tie_word_embeddings: true,
};
