import type { Config, FamilySpec } from '../config.js';
import { mixtral } from './mixtral.js';
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

/** Llama 1 to 3 and what is named so. GGUF files permute rows of q and k to neighbour pairs. */
export function llama(c: Config): FamilySpec {
  if (c.gguf && c.f.number('expert_count', 0, 4096, 0) > 0) return mixtral(c);
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const choices = {
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
    mlpBiases: biases(c, MLP, c.flag('mlp_bias')),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes), interleaved: c.gguf !== undefined }),
    layers: sizes.layers.map((size) => layerOf(size, norm, choices)),
  };
}
