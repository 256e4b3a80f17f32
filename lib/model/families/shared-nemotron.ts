/** What layers of Nemotron H are, what files call their tensors, and what they leave out. */
import { shown } from '../../arguments.js';
import type { Config } from '../config.js';
import { unsupported } from '../files.js';
import { Harmless } from '../harmless.js';
import { GGUF_NAMES, type TensorNames, withLayer } from '../names.js';
import { ggufExperts, hfExperts, ofAll } from './experts.js';
import type { Sizes } from './shared.js';
import { BACKBONE, backbone, GGUF_MAMBA } from './shared-mamba.js';

/** What one layer is, and nothing beside it. */
export type Kind = 'mamba' | 'attention' | 'mlp' | 'moe';

const WORDS: Readonly<Record<string, Kind>> = {
  ...{ mamba: 'mamba', linear_attention: 'mamba', M: 'mamba' },
  ...{ attention: 'attention', full_attention: 'attention', '*': 'attention' },
  ...{ mlp: 'mlp', '-': 'mlp', moe: 'moe', E: 'moe' },
};

/** What config.json says of its layers: a list of words, or a letter for each. */
export function hfKinds({ f }: Config): Kind[] | undefined {
  const pattern = f.has('hybrid_override_pattern')
    ? f.string('hybrid_override_pattern')
    : undefined;
  const listed: unknown = f.raw('layers_block_type') ?? (pattern && [...pattern]) ?? undefined;
  if (listed === undefined) return undefined;
  if (!Array.isArray(listed)) return f.fail('layers_block_type', 'is not a list of words');
  return listed.map((word: unknown) => {
    if (typeof word === 'string' && Object.hasOwn(WORDS, word)) return WORDS[word];
    throw unsupported(f.file, `layer type ${shown(word)}`);
  });
}

export function ggufKinds({ gguf }: Config, { layers }: Sizes): Kind[] {
  return layers.map(({ numKvHeads, intermediateSize }, i) => {
    if (intermediateSize === 0) return numKvHeads > 0 ? 'attention' : 'mamba';
    return gguf?.names.has(`blk.${i}.ffn_gate_inp.weight`) ? 'moe' : 'mlp';
  });
}

export function namesOf(c: Config, kinds: readonly Kind[]): TensorNames {
  const isFeeding = (i: string) => ['mlp', 'moe'].includes(kinds[Number(i)]);
  const numExperts = kinds.includes('moe')
    ? c.f.integer(c.name('n_routed_experts', 'expert_count'), 1, 4096)
    : 0;
  if (c.gguf) {
    return {
      ...ggufExperts(GGUF, numExperts),
      spelling: (name) =>
        name.replace(/^blk\.(\d+)\.attn_norm(?=\.)/, (all, i) =>
          isFeeding(i) ? `blk.${i}.ffn_norm` : all,
        ),
    };
  }
  const experts = withLayer(
    hfExperts(HF, numExperts, 'mixer'),
    {
      'mixer.up_proj': 'up',
      'mixer.down_proj': 'down',
      'mixer.fc1_latent_proj': 'latent_in',
      'mixer.fc2_latent_proj': 'latent_out',
    },
    { 'mixer.experts.up_proj': { of: ofAll(numExperts, 'up'), slices: numExperts || 1 } },
  );
  return {
    ...experts,
    spelling: (name) =>
      backbone(name).replace(/^model\.layers\.(\d+)\.norm(?=\.)/, (all, i) =>
        isFeeding(i) ? `model.layers.${i}.mlp_norm` : all,
      ),
  };
}

const HF = withLayer(BACKBONE, {
  mlp_norm: 'mlp_norm',
  'mixer.q_proj': 'q',
  'mixer.k_proj': 'k',
  'mixer.v_proj': 'v',
  'mixer.o_proj': 'o',
});
const GGUF = withLayer(
  GGUF_NAMES,
  { ...GGUF_MAMBA.layer, ffn_latent_down: 'latent_in', ffn_latent_up: 'latent_out' },
  GGUF_MAMBA.bare,
);

/**
 * What files leave out. Those of today say no number of layers beside their list; the first ones
 * had a name of their own for the size of heads.
 */
export function defaultsOf(c: Config): Record<string, unknown> {
  const kinds = hfKinds(c);
  const early = c.f.raw('attention_head_dim') ?? undefined;
  return {
    ...DEFAULTS,
    ...(kinds ? { num_hidden_layers: kinds.length } : {}),
    ...(early === undefined ? {} : { head_dim: early }),
  };
}
const DEFAULTS = {
  ...{ num_attention_heads: 32, num_key_value_heads: 8, head_dim: 128, intermediate_size: 21_504 },
  ...{ max_position_embeddings: 4096, mamba_num_heads: 128, mamba_head_dim: 64, n_groups: 8 },
  ...{ ssm_state_size: 128, conv_kernel: 4, n_routed_experts: 8, num_experts_per_tok: 2 },
  ...{ moe_intermediate_size: 7688, moe_shared_expert_intermediate_size: 7688 },
};
/** Of training, of parts that are passed over, and of how others compute. */
export const HARMLESS = new Harmless([
  ['any', 'chunk_size expand num_logits_to_keep rescale_prenorm_residual residual_in_fp32'],
  ['any', 'time_step_min time_step_max time_step_floor time_step_rank use_mamba_kernels'],
  ['any', 'mamba_ssm_cache_dtype moe_shared_expert_overlap n_shared_experts expert_shared_count'],
  ['any', 'layers_block_type hybrid_override_pattern mtp_layers_block_type'],
  ['any', 'mtp_hybrid_override_pattern norm_eps rms_norm_eps'],
  // Where layers are of other kinds than these are of.
  ['any', 'n_routed_experts num_experts_per_tok moe_intermediate_size n_group topk_group'],
  ['any', 'moe_shared_expert_intermediate_size routed_scaling_factor norm_topk_prob'],
  ['any', 'mamba_num_heads mamba_head_dim n_groups ssm_state_size conv_kernel use_conv_bias'],
  ['any', 'time_step_limit use_bias moe_latent_size'],
  // No head turns.
  ['any', 'rope_theta rope_scaling rope_parameters partial_rotary_factor'],
  ['any', 'rope.dimension_count rope.freq_base'],
  [[false], 'mamba_proj_bias'],
]);
