import type { Config, FamilySpec } from '../config.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  layerOf,
  modelOf,
  rmsNorm,
  ropeOf,
  sizesOf,
} from './shared.js';

/** Arcee: Llama with a squared ReLU and no gate. GGUF files permute rows of q and k, too. */
export function arcee(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults({ rms_norm_eps: 1e-5 });
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const choices = {
    gated: false,
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
    mlpBiases: biases(c, ['up', 'down'], c.flag('mlp_bias')),
    hiddenAct: hiddenAct(c, 'relu2'),
  };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes), interleaved: c.gguf !== undefined }),
    layers: sizes.layers.map((size) => layerOf(size, norm, choices)),
  };
}
