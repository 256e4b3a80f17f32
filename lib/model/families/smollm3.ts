import type { Config, FamilySpec } from '../config.js';
import { Harmless } from '../harmless.js';
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

/** Of files that leave them out. */
const HF_DEFAULTS = { num_key_value_heads: 4, tie_word_embeddings: true, rope_theta: 2_000_000 };

/** SmolLM 3: Llama without positions on some layers. GGUF files permute q and k, too. */
export function smollm3(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(HF_DEFAULTS);
  const sizes = sizesOf(c);
  const count = sizes.layers.length;
  const norm = rmsNorm(c);
  const turns = turningLayers(c, count);
  const windows = c.gguf ? [] : windowsOf(c, count, stillLayersSlide(c, turns));
  const choices = {
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
    mlpBiases: biases(c, MLP, c.flag('mlp_bias')),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes), interleaved: c.gguf !== undefined }),
    layers: sizes.layers.map((size, i) =>
      layerOf(size, norm, { ...choices, window: windows[i], rope: turns[i] ? 0 : -1 }),
    ),
    harmless: HARMLESS,
  };
}

function stillLayersSlide(c: Config, turns: readonly boolean[]): (layer: number) => boolean {
  const on = c.flag('use_sliding_window');
  return (layer) => on && !turns[layer];
}

/**
 * Named "no rope" but 1 where there is one; without a list or with an empty one all but each n-th.
 * GGUF files do not say.
 */
export function turningLayers({ f }: Config, count: number): boolean[] {
  const every = f.integer('no_rope_layer_interval', 1, 4096, 4);
  const listed = f.raw('no_rope_layers') ?? [];
  if (!Array.isArray(listed) || listed.length > 0) {
    if (typeof listed === 'number') f.fail('no_rope_layers', 'must be a list');
    return f.perLayer('no_rope_layers', count, 0, 1).map((turns) => turns === 1);
  }
  return Array.from({ length: count }, (_, i) => (i + 1) % every !== 0);
}

const HARMLESS = new Harmless([['any', 'pretraining_tp']]);
