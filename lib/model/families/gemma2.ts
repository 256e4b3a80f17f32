import type { Config, FamilySpec } from '../config.js';
import { gemmaLayer, gemmaModel } from './gemma.js';
import { layerOf, rmsNorm, ropeOf, sizesOf, windowsOf } from './shared.js';

/** Of files that leave them out. */
const HF_DEFAULTS = {
  num_key_value_heads: 4,
  head_dim: 256,
  query_pre_attn_scalar: 256,
  sliding_window: 4096,
  attn_logit_softcapping: 50,
  final_logit_softcapping: 30,
  tie_word_embeddings: true,
};
const GGUF_DEFAULTS = {
  attn_logit_softcapping: 50,
  final_logit_softcapping: 30,
  'attention.sliding_window': 4096,
};

/** Gemma 2: norms around both branches, capped scores and logits, every second layer slides. */
export function gemma2(c: Config): FamilySpec {
  c.f.defaults(c.gguf ? GGUF_DEFAULTS : HF_DEFAULTS);
  const sizes = sizesOf(c);
  const norm = rmsNorm(c, true);
  const windows = windowsOf(c, sizes.layers.length, (i) => i % 2 === 0);
  const choices = gemmaLayer(c, sizes, 46);
  return {
    ...gemmaModel(c, sizes, { norm, rope: ropeOf(c, sizes) }),
    layers: sizes.layers.map((size, i) => layerOf(size, norm, { ...choices, window: windows[i] })),
  };
}
