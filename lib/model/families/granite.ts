import type { Config, FamilySpec } from '../config.js';
import { unsupported } from '../files.js';
import { Harmless } from '../harmless.js';
import { HF_NAMES, withLayer } from '../names.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  layerOf,
  layerTypes,
  MLP,
  modelOf,
  rmsNorm,
  ropeOf,
  type Sizes,
  sizesOf,
} from './shared.js';

/**
 * Granite 3, and 4 without Mamba: Llama whose embedding, scores, branches, logits are scaled. GGUF
 * files say by a key of another meaning that no head turns.
 */
export function granite(c: Config): FamilySpec {
  const turns = c.gguf === undefined || c.f.boolean('rope.scaling.finetuned', true);
  return scaled(c, sizesOf(c), turns);
}

/** Granite 4 as folders spell it: layers may have Mamba and experts; ours have neither. */
export function graniteHybrid(c: Config): FamilySpec {
  const { f } = c;
  f.defaults({ num_local_experts: 8, shared_intermediate_size: 1024 });
  const sizes = sizesOf(c, { intermediateSize: 'shared_intermediate_size' });
  const types = layerTypes(f, sizes.layers.length, ['attention', 'full_attention']);
  if (types === undefined)
    throw unsupported(f.file, 'granitemoehybrid without layer_types (Mamba)');
  const experts = f.integer('num_local_experts', 0, 4096);
  if (experts > 0) throw unsupported(f.file, `granitemoehybrid with ${experts} experts`);
  const turns = f.raw('position_embedding_type') === 'rope';
  return { ...scaled(c, sizes, turns), names: HYBRID, harmless: HARMLESS };
}

const HYBRID = withLayer(HF_NAMES, {
  'shared_mlp.input_linear': ['gate', 'up'],
  'shared_mlp.output_linear': 'down',
});

/** Of the layers that ours do not have, and of training. */
const HARMLESS = new Harmless([
  [
    'any',
    `mamba_chunk_size mamba_conv_bias mamba_d_conv mamba_d_head mamba_d_state mamba_expand
    mamba_n_groups mamba_n_heads mamba_proj_bias time_step_limit intermediate_size
    num_experts_per_tok output_router_logits router_aux_loss_coef init_method`,
  ],
  [['rmsnorm'], 'normalization_function'],
]);

function scaled(c: Config, sizes: Sizes, turns: boolean): FamilySpec {
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
    layers: sizes.layers.map((size) => layerOf(size, norm, choices)),
    head: { ...model.head, scale: 1 / divisor },
  };
}

/** 1 where config.json does not say; in GGUF files 0 and nothing mean the usual. */
function scaleOf(c: Config, headSize: number): number {
  const name = c.name('attention_multiplier', 'attention.scale');
  if (c.gguf && (c.f.raw(name) ?? 0) === 0) return headSize ** -0.5;
  return c.f.number(name, 1e-9, 1e6, 1);
}
