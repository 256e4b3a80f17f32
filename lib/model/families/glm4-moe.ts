import { ROUTER_SCORES } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { GGUF_NAMES, HF_NAMES, withLayer } from '../names.js';
import { expertsOf, ggufExperts, hfExperts, sharedOutSize } from './experts.js';
import { TRAINING } from './mixtral.js';
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
} from './shared.js';

/** GLM 4.5 to 4.7: dense layers, then experts that a bias helps to choose, and a shared one. */
export function glm4moe(c: Config): FamilySpec {
  const { f } = c;
  if (!c.gguf) f.defaults(HF_DEFAULTS);
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const act = hiddenAct(c, 'silu');
  const intermediateSize = sharedOutSize(c, sizes);
  const numShared = f.integer(c.name('n_shared_experts', 'expert_shared_count'), 0, 4096);
  const experts = expertsOf(c, {
    ...{ intermediateSize, hiddenAct: act },
    router: {
      ...{ score: ROUTER_SCORES.sigmoid, choiceBias: true, groupBest: 2 },
      normalize: f.boolean('norm_topk_prob', true),
      scale: f.number('routed_scaling_factor', 1e-6, 1e6, 1),
      ...(c.gguf ? {} : { numGroups: f.integer('n_group', 1, 4096, 1) }),
      ...(c.gguf ? {} : { topGroups: f.integer('topk_group', 1, 4096, 1) }),
    },
  });
  const hasNorms = c.gguf ? c.gguf.names.has('blk.0.attn_q_norm.weight') : c.flag('use_qk_norm');
  const choices = {
    ...(hasNorms ? { qkNorm: norm } : {}),
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias') ? ['q', 'k', 'v'] : []),
    mlpBiases: biases(c, MLP, false),
    hiddenAct: act,
  };
  const first = f.integer(c.name('first_k_dense_replace', 'leading_dense_block_count'), 0, 4096, 0);
  const shared = { intermediateSize: numShared * intermediateSize };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes, { partial: true }) }),
    layers: sizes.layers.map((size, i) =>
      i < first
        ? layerOf(size, norm, choices)
        : layerOf({ ...size, ...shared }, norm, { ...choices, experts }),
    ),
    names: c.gguf ? ggufExperts(GGUF, experts.numExperts) : hfExperts(HF_NAMES, experts.numExperts),
    harmless: TRAINING,
  };
}

/** Of files that leave them out. */
const HF_DEFAULTS = {
  ...{ num_key_value_heads: 8, n_routed_experts: 128, num_experts_per_tok: 8, n_shared_experts: 1 },
  ...{ moe_intermediate_size: 1408, first_k_dense_replace: 1, rms_norm_eps: 1e-5 },
  partial_rotary_factor: 0.5,
};

const GGUF = withLayer(GGUF_NAMES, { post_attention_norm: 'mlp_norm' });
