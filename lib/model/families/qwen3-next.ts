import type { NativeRecurrent } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { Harmless } from '../harmless.js';
import type { TensorNames } from '../names.js';
import { expertSize, expertsOf, ggufExperts, hfExperts } from './experts.js';
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
import { deltaNames, deltaOf, recurrentLayers } from './shared-delta.js';

/**
 * Qwen 3.5 and later: of four layers one attends, with a gate of what it gives and a rope of a
 * quarter of its heads; the others keep a state by the gated delta rule.
 */
export function qwen3_5(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults({ ...HF_DEFAULTS, ...DENSE });
  const sizes = sizesOf(c);
  const recurrent = deltaOf(c, c.gguf !== undefined);
  return mixed(c, sizes, recurrent, deltaNames(c, sizes, recurrent, false), () => ({}));
}

/** Its larger models: experts, and a shared one with a gate. */
export function qwen3_5moe(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults({ ...HF_DEFAULTS, ...SPARSE });
  return sparse(c, c.gguf !== undefined, false, true);
}

/** Qwen 3 Next: the first of these, whose files keep what a head of keys needs together. */
export function qwen3next(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults({ ...HF_DEFAULTS, ...NEXT });
  return sparse(c, false, true, c.gguf ? true : c.f.boolean('norm_topk_prob', true));
}

function sparse(c: Config, tiled: boolean, fused: boolean, normalize: boolean): FamilySpec {
  const sizes = sizesOf(c);
  const recurrent = deltaOf(c, tiled);
  const experts = expertsOf(c, {
    intermediateSize: expertSize(c),
    sharedGate: true,
    router: { normalize },
  });
  const name = c.name('shared_expert_intermediate_size', 'expert_shared_feed_forward_length');
  const shared = c.f.integer(name, 1, 2 ** 24);
  const step = c.f.integer('decoder_sparse_step', 1, 4096, 1);
  const dense = c.f.layers('mlp_only_layers', sizes.layers.length);
  const isDense = (i: number) => (i + 1) % step !== 0 || dense.includes(i);
  const layers = sizes.layers.map((size, i) =>
    isDense(i) ? size : { ...size, intermediateSize: shared },
  );
  const plain = deltaNames(c, sizes, recurrent, fused);
  const names = (c.gguf ? ggufExperts : hfExperts)(plain, experts.numExperts);
  return mixed(c, { ...sizes, layers }, recurrent, names, (i) => (isDense(i) ? {} : { experts }));
}

/** @param own of a layer, beside what all have */
function mixed(
  c: Config,
  sizes: Sizes,
  recurrent: NativeRecurrent,
  names: TensorNames,
  own: (layer: number) => LayerChoices,
): FamilySpec {
  const norm = rmsNorm(c, true);
  const isRecurrent = recurrentLayers(c, sizes.layers.length);
  const attention = {
    attentionGated: true,
    qkNorm: norm,
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
  };
  const mlp = { mlpBiases: biases(c, MLP, false), hiddenAct: hiddenAct(c, 'silu') };
  const rope = ropeOf(c, sizes, { partial: true });
  return {
    ...modelOf(c, sizes, { norm, rope }),
    layers: sizes.layers.map((size, i) =>
      layerOf(size, norm, { ...mlp, ...own(i), ...(isRecurrent[i] ? { recurrent } : attention) }),
    ),
    names,
    harmless: HARMLESS,
  };
}

/** Of files that leave them out. */
const HF_DEFAULTS = {
  ...{ head_dim: 256, linear_conv_kernel_dim: 4, linear_key_head_dim: 128 },
  ...{ linear_value_head_dim: 128, linear_num_key_heads: 16, linear_num_value_heads: 32 },
  ...{ max_position_embeddings: 32_768, partial_rotary_factor: 0.25 },
};
const DENSE = { num_attention_heads: 16, num_key_value_heads: 4 };
const EXPERTS = {
  intermediate_size: 5632,
  shared_expert_intermediate_size: 512,
  moe_intermediate_size: 512,
};
const SPARSE = {
  ...{ ...EXPERTS, num_experts: 256, num_experts_per_tok: 8 },
  ...{ num_attention_heads: 16, num_key_value_heads: 2 },
};
const NEXT = { ...SPARSE, num_experts: 512, num_experts_per_tok: 10 };

const HARMLESS = new Harmless([
  [
    'any',
    `mamba_ssm_dtype mtp_num_hidden_layers mtp_use_dedicated_embeddings router_aux_loss_coef
    output_router_logits rope.dimension_sections`,
  ],
  [[true], 'attn_output_gate'],
  [['swish', 'silu', 'sigmoid'], 'output_gate_type'],
]);
