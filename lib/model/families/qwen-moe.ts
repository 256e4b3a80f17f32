import type { Config, FamilySpec } from '../config.js';
import { GGUF_NAMES, HF_NAMES } from '../names.js';
import { type ExpertChoices, expertsOf, ggufExperts, hfExperts, sharedOutSize } from './experts.js';
import { TRAINING } from './mixtral.js';
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
  windowsOf,
} from './shared.js';

/** Qwen 3 MoE: Qwen 3 with experts in most layers. */
export function qwen3moe(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(HF3_DEFAULTS);
  const sizes = sizesOf(c);
  const on = c.flag('use_sliding_window');
  const windows = windowsOf(c, sizes.layers.length, () => true, on);
  const normalize = c.gguf ? true : c.flag('norm_topk_prob');
  return sparse(c, sizes, windows, { router: { normalize } }, 0, {
    qkNorm: rmsNorm(c),
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
  });
}

/** Qwen 1.5 and 2 MoE: a shared expert beside the others, with a gate of its own. */
export function qwen2moe(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(HF2_DEFAULTS);
  const sizes = sizesOf(c);
  const on = c.flag('use_sliding_window');
  const from = c.f.integer('max_window_layers', 0, 1e6, 28);
  const slides = (i: number) => i % 2 === 0 && i < from;
  const windows = windowsOf(c, sizes.layers.length, slides, on);
  const shared = c.name('shared_expert_intermediate_size', 'expert_shared_feed_forward_length');
  const experts = { sharedGate: true, router: { normalize: c.flag('norm_topk_prob') } };
  const usual = c.gguf && sizes.layers[0].intermediateSize;
  return sparse(c, sizes, windows, experts, c.f.integer(shared, 1, 2 ** 24, usual), {
    attentionBiases: biases(c, ATTENTION, c.flag('qkv_bias') ? ['q', 'k', 'v'] : []),
  });
}

function sparse(
  c: Config,
  sizes: Sizes,
  windows: readonly number[],
  own: ExpertChoices,
  sharedSize: number,
  attention: LayerChoices,
): FamilySpec {
  const norm = rmsNorm(c);
  const act = hiddenAct(c, 'silu');
  const intermediateSize = sharedOutSize(c, sizes);
  const experts = expertsOf(c, { ...own, intermediateSize, hiddenAct: act });
  const choices = { ...attention, mlpBiases: biases(c, MLP, false), hiddenAct: act };
  const step = c.f.integer('decoder_sparse_step', 1, 4096, 1);
  const dense = c.f.layers('mlp_only_layers', sizes.layers.length);
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes) }),
    layers: sizes.layers.map((size, i) => {
      const layer = { ...choices, window: windows[i] };
      if ((i + 1) % step !== 0 || dense.includes(i)) return layerOf(size, norm, layer);
      return layerOf({ ...size, intermediateSize: sharedSize }, norm, { ...layer, experts });
    }),
    names: c.gguf
      ? ggufExperts(GGUF_NAMES, experts.numExperts)
      : hfExperts(HF_NAMES, experts.numExperts),
    harmless: TRAINING,
  };
}

/** Of files that leave them out. */
const HF3_DEFAULTS = {
  ...{ num_key_value_heads: 4, num_experts: 128, num_experts_per_tok: 8, sliding_window: 4096 },
  moe_intermediate_size: 768,
};
const HF2_DEFAULTS = {
  ...{ num_key_value_heads: 16, num_experts: 60, num_experts_per_tok: 4, sliding_window: 4096 },
  ...{ moe_intermediate_size: 1408, shared_expert_intermediate_size: 5632, qkv_bias: true },
};
