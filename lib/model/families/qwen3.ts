import type { Config, FamilySpec } from '../config.js';
import { upperWindows } from './qwen2.js';
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

/** Qwen 3: norms of q and k in each head, heads of 128, no biases as a rule. */
export function qwen3(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults({ head_dim: 128, num_key_value_heads: 32, sliding_window: 4096 });
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const windows = upperWindows(c, sizes.layers.length);
  const choices = {
    qkNorm: norm,
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
    mlpBiases: biases(c, MLP, false),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes) }),
    layers: sizes.layers.map((size, i) => layerOf(size, norm, { ...choices, window: windows[i] })),
  };
}
