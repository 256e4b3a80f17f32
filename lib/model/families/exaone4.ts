import type { Config, FamilySpec } from '../config.js';
import { POST_NORM_GGUF, POST_NORM_HF } from './olmo2.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  layerOf,
  MLP,
  modelOf,
  NO_NORM,
  rmsNorm,
  ropeOf,
  sizesOf,
  windowsOf,
} from './shared.js';

/**
 * EXAONE 4: norms only behind the branches, and of q and k in each head. With a window, three of
 * four layers slide and the others have no positions; without, all turn.
 */
export function exaone4(c: Config): FamilySpec {
  c.f.defaults(c.gguf ? GGUF_DEFAULTS : HF_DEFAULTS);
  const sizes = sizesOf(c);
  const count = sizes.layers.length;
  const norm = rmsNorm(c);
  const hasWindow = c.gguf ? count === LAYERS_OF_32B : c.f.has('sliding_window');
  const windows = windowsOf(c, count, c.gguf ? everyFourth : pattern(c, count), hasWindow);
  const choices = {
    ...{ attnNorm: NO_NORM, postAttnNorm: norm, mlpNorm: NO_NORM, postMlpNorm: norm },
    qkNorm: norm,
    attentionBiases: biases(c, ATTENTION, false),
    mlpBiases: biases(c, MLP, false),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes) }),
    layers: sizes.layers.map((size, i) => {
      const rope = hasWindow && windows[i] === 0 ? -1 : 0;
      return layerOf(size, norm, { ...choices, window: windows[i], rope });
    }),
    names: c.gguf ? POST_NORM_GGUF : POST_NORM_HF,
  };
}

/** The one model with a window: llama.cpp, and so a GGUF file's converter, knows it by this. */
const LAYERS_OF_32B = 64;

const HF_DEFAULTS = { num_key_value_heads: 32, rms_norm_eps: 1e-5, sliding_window: 4096 };
const GGUF_DEFAULTS = { 'attention.sliding_window': 4096 };

function everyFourth(layer: number): boolean {
  return (layer + 1) % 4 !== 0;
}

/** A number n: each n-th layer sees all; or letters, L for a layer that slides, repeated. */
function pattern({ f }: Config, count: number): (layer: number) => boolean {
  const value = f.raw('sliding_window_pattern') ?? 4;
  if (typeof value !== 'string') {
    const every = f.integer('sliding_window_pattern', 1, 4096, 4);
    return (layer) => (layer + 1) % every !== 0;
  }
  if (!/^[LG]{1,4096}$/.test(value)) f.fail('sliding_window_pattern', 'is not of letters L and G');
  return (layer) => layer < count - 1 && value[layer % value.length] === 'L';
}
