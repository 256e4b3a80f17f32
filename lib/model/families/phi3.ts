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
  windowsOf,
} from './shared.js';

/** Phi 3 and 4: q, k, v in one tensor, gate and up in another; a part of each head may turn. */
export function phi3(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults({ rms_norm_eps: 1e-5, original_max_position_embeddings: 4096 });
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const windows = windowsOf(c, sizes.layers.length, () => true);
  const choices = {
    attentionBiases: biases(c, ATTENTION, false),
    mlpBiases: biases(c, MLP, false),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes, { partial: true }) }),
    layers: sizes.layers.map((size, i) => layerOf(size, norm, { ...choices, window: windows[i] })),
    names: c.gguf ? GGUF : HF,
    harmless: HARMLESS,
  };
}

const HF = withLayer(HF_NAMES, {
  'self_attn.qkv_proj': ['q', 'k', 'v'],
  'mlp.gate_up_proj': ['gate', 'up'],
});
const GGUF = withLayer(GGUF_NAMES, { ffn_up: ['gate', 'up'] });
const HARMLESS = new Harmless([
  [[1], 'interpolate_factor full_attn_mod'],
  [[false], 'lm_head_bias'],
]);
