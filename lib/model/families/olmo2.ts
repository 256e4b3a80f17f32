import { QK_NORM_SPANS } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { GGUF_NAMES, HF_NAMES, withLayer } from '../names.js';
import { ropeTable } from '../rope.js';
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
  slidingRope,
  windowsOf,
} from './shared.js';

/**
 * OLMo 2: norms only behind the branches, those of q and k over the whole projection. GGUF files of
 * OLMo 3 are called so, too: they have windows.
 */
export function olmo2(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults({ rms_norm_eps: 1e-5 });
  return olmo(c, c.gguf !== undefined);
}

/** OLMo 3: three of four layers slide, and only the others turn by the scaled rope. */
export function olmo3(c: Config): FamilySpec {
  c.f.defaults({ rms_norm_eps: 1e-5, rope_theta: 500_000, sliding_window: 4096 });
  return olmo(c, true);
}

function olmo(c: Config, maySlide: boolean): FamilySpec {
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const count = sizes.layers.length;
  const windows = maySlide ? windowsOf(c, count, (i) => (i + 1) % 4 !== 0) : Array(count).fill(0);
  const slides = windows.some((window) => window > 0);
  const rope = ropeOf(c, sizes, slides ? { layerType: 'full_attention' } : {});
  const model = modelOf(c, sizes, { norm, rope });
  const sliding = slides ? [ropeTable(slidingRope(c, sizes, rope, rope.theta), false)] : [];
  const choices = {
    ...{ attnNorm: NO_NORM, postAttnNorm: norm, mlpNorm: NO_NORM, postMlpNorm: norm },
    qkNorm: norm,
    qkNormSpan: QK_NORM_SPANS.projection,
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
    mlpBiases: biases(c, MLP, false),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  return {
    ...model,
    ropes: [...model.ropes, ...sliding],
    layers: sizes.layers.map((size, i) =>
      layerOf(size, norm, { ...choices, window: windows[i], rope: windows[i] > 0 ? 1 : 0 }),
    ),
    names: c.gguf ? POST_NORM_GGUF : POST_NORM_HF,
  };
}

/** Of layers that have norms behind their branches only. */
export const POST_NORM_HF = withLayer(HF_NAMES, {
  post_attention_layernorm: 'post_attn_norm',
  post_feedforward_layernorm: 'post_mlp_norm',
});
export const POST_NORM_GGUF = withLayer(GGUF_NAMES, {
  post_attention_norm: 'post_attn_norm',
  post_ffw_norm: 'post_mlp_norm',
});
