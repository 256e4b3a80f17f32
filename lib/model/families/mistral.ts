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
  windowsOf,
} from './shared.js';

/** Llama with one window for all layers; 4,096 tokens where config.json does not say. */
export function mistral(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults({ num_key_value_heads: 8, sliding_window: 4096 });
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const windows = windowsOf(c, sizes.layers.length, () => true);
  const choices = {
    attentionBiases: biases(c, ATTENTION, false),
    mlpBiases: biases(c, MLP, false),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes) }),
    layers: sizes.layers.map((size, i) => layerOf(size, norm, { ...choices, window: windows[i] })),
  };
}
