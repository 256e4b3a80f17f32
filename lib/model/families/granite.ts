import type { Config, FamilySpec } from '../config.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  type LayerChoices,
  layerOf,
  MLP,
  modelOf,
  rmsNorm,
  ropeOf,
  type Sizes,
  sizesOf,
} from './shared.js';

/**
 * Granite 3, and 4 where no layer has Mamba: Llama whose embedding, scores, branches, logits are
 * scaled. GGUF files say by a key of another meaning that no head turns.
 */
export function granite(c: Config): FamilySpec {
  const turns = c.gguf === undefined || c.f.boolean('rope.scaling.finetuned', true);
  return scaled(c, sizesOf(c), turns);
}

/**
 * What both have in common.
 * @param own of a layer, beside what all have
 */
export function scaled(
  c: Config,
  sizes: Sizes,
  turns: boolean,
  own: (layer: number) => LayerChoices = () => ({}),
): FamilySpec {
  const norm = rmsNorm(c);
  const factor = (hf: string, gguf: string) => c.f.number(c.name(hf, gguf), -1e6, 1e6, 1);
  const divisor = c.f.number(c.name('logits_scaling', 'logit_scale'), 1e-6, 1e6, 1);
  const choices = {
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
    mlpBiases: biases(c, MLP, c.flag('mlp_bias')),
    hiddenAct: hiddenAct(c, 'silu'),
    scale: scaleOf(c, sizes.layers[0].headSize),
    residualScale: factor('residual_multiplier', 'residual_scale'),
    rope: turns ? 0 : -1,
  };
  const interleaved = c.gguf !== undefined;
  const model = modelOf(c, sizes, { norm, rope: ropeOf(c, sizes), interleaved });
  return {
    ...model,
    embedding: { ...model.embedding, scale: factor('embedding_multiplier', 'embedding_scale') },
    layers: sizes.layers.map((size, i) => layerOf(size, norm, { ...choices, ...own(i) })),
    head: { ...model.head, scale: 1 / divisor },
  };
}

/** 1 where config.json does not say; in GGUF files 0 and nothing mean the usual. */
function scaleOf(c: Config, headSize: number): number {
  const name = c.name('attention_multiplier', 'attention.scale');
  if (c.gguf && (c.f.raw(name) ?? 0) === 0) return headSize ** -0.5;
  return c.f.number(name, 1e-9, 1e6, 1);
}
