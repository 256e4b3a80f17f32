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

/** Qwen 2 and 2.5: biases of q, k, v; windows from some layer on, if they are turned on at all. */
export function qwen2(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults({ num_key_value_heads: 32, sliding_window: 4096 });
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const windows = upperWindows(c, sizes.layers.length);
  const choices = {
    attentionBiases: biases(c, ATTENTION, ['q', 'k', 'v']),
    mlpBiases: biases(c, MLP, false),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes) }),
    layers: sizes.layers.map((size, i) => layerOf(size, norm, { ...choices, window: windows[i] })),
  };
}

/** None but where use_sliding_window is on; then from max_window_layers on, if there is no list. */
export function upperWindows(c: Config, count: number): number[] {
  if (c.gguf) return windowsOf(c, count, () => true);
  const on = c.flag('use_sliding_window');
  const from = c.f.integer('max_window_layers', 0, 1e6, 28);
  return windowsOf(c, count, (layer) => layer >= from, on);
}
