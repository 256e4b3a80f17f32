import { BRANCHES, QK_NORM_SPANS } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { Harmless } from '../harmless.js';
import { withLayer } from '../names.js';
import {
  ATTENTION,
  biases,
  headNorms,
  hiddenAct,
  type LayerChoices,
  layerNorm,
  layerOf,
  MLP,
  modelOf,
  NO_NORM,
  ropeOf,
  type Sizes,
  sizesOf,
  windowStep,
  windowsOf,
} from './shared.js';

/** Command R: one LayerNorm for both branches, neighbour pairs, scaled logits. */
export function cohere(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(HF_DEFAULTS);
  const sizes = sizesOf(c);
  const normed = c.gguf ? c.gguf.names.has('blk.0.attn_q_norm.weight') : c.flag('use_qk_norm');
  const qkNorm = layerNorm(c, 'layer_norm_eps', false);
  const own = normed ? { qkNorm, qkNormSpan: QK_NORM_SPANS.ownHead } : {};
  const model = parallel(c, sizes, () => own);
  return { ...model, names: withLayer(model.names, headNorms(sizes)) };
}

/** Command R7B and A: three of four layers slide, and only those turn. */
export function cohere2(c: Config): FamilySpec {
  c.f.defaults(c.gguf ? { 'attention.sliding_window': 4096 } : HF2_DEFAULTS);
  const sizes = sizesOf(c);
  const every = c.gguf ? 4 : windowStep(c, 4);
  const windows = windowsOf(c, sizes.layers.length, (i) => (i + 1) % every !== 0);
  return parallel(c, sizes, (i) => ({ window: windows[i], rope: windows[i] > 0 ? 0 : -1 }));
}

function parallel(c: Config, sizes: Sizes, own: (layer: number) => LayerChoices): FamilySpec {
  const norm = layerNorm(c, 'layer_norm_eps', false);
  const choices = {
    branches: BRANCHES.shared,
    mlpNorm: NO_NORM,
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
    mlpBiases: biases(c, MLP, false),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  const model = modelOf(c, sizes, { norm, rope: ropeOf(c, sizes), interleaved: true });
  return {
    ...model,
    layers: sizes.layers.map((size, i) => layerOf(size, norm, { ...choices, ...own(i) })),
    head: { ...model.head, scale: c.f.number('logit_scale', -1e6, 1e6, c.gguf ? 1 : 0.0625) },
    harmless: HARMLESS,
  };
}

/** Of files that leave them out. */
const HF_DEFAULTS = { rope_theta: 500_000, tie_word_embeddings: true };
const HF2_DEFAULTS = { sliding_window: 4096, tie_word_embeddings: true };

/** Of the code that came before the class in transformers. */
const HARMLESS = new Harmless([
  ['any', 'layer_switch'],
  [['local_attn_first'], 'order_of_interleaved_layers'],
  [['rope_gptj'], 'position_embedding_type'],
  [[1], 'rotary_pct'],
  [[true], 'use_embedding_sharing use_gated_activation use_parallel_block'],
  [[false], 'use_parallel_embedding'],
]);
