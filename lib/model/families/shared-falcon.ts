/** Multipliers of Falcon H1, what files call its tensors, and what they leave out. */
import type { Config } from '../config.js';
import { unsupported } from '../files.js';
import { Harmless } from '../harmless.js';
import { GGUF_NAMES, HF_NAMES, type TensorNames, withLayer } from '../names.js';
import { GGUF_MAMBA, hfMamba } from './shared-mamba.js';

export interface Multipliers {
  readonly embedding: number;
  readonly head: number;
  readonly key: number;
  readonly attentionIn: number;
  readonly attentionOut: number;
  readonly ssmIn: number;
  readonly ssmOut: number;
  readonly gate: number;
  readonly down: number;
  /** Of what Mamba's product gives: its gate, x, B, C, dt. */
  readonly ssm: readonly [number, number, number, number, number];
}

/** Of a GGUF file all are 1: they are in its weights. */
export function multipliersOf(c: Config): Multipliers {
  const one = (name: string) => (c.gguf ? 1 : c.f.number(name, 1e-6, 1e6, 1));
  const [gate, down] = listOf(c, 'mlp_multipliers', 2);
  const [ofGate, ofX, ofB, ofC, ofDt] = listOf(c, 'ssm_multipliers', 5);
  const all = {
    ...{ embedding: one('embedding_multiplier'), head: one('lm_head_multiplier') },
    key: one('key_multiplier'),
    ...{ attentionIn: one('attention_in_multiplier'), ssmIn: one('ssm_in_multiplier') },
    ...{ attentionOut: one('attention_out_multiplier'), ssmOut: one('ssm_out_multiplier') },
    ...{ gate, down },
    ssm: [ofGate, ofX, ofB, ofC, ofDt] as const,
  };
  checkBiases(c, all);
  return all;
}

function listOf({ f, gguf }: Config, name: string, length: number): number[] {
  const list: unknown = (gguf ? undefined : f.raw(name)) ?? Array(length).fill(1);
  const fits = (value: unknown) => typeof value === 'number' && value >= 1e-6 && value <= 1e6;
  if (!Array.isArray(list) || list.length !== length || !list.every(fits)) {
    f.fail(name, `is not a list of ${length} numbers from 1e-6 to 1e6`);
  }
  return list as number[];
}

/** What is moved from a product to its input or behind it would miss the product's bias. */
function checkBiases(c: Config, by: Multipliers): void {
  const moved: [string, boolean][] = [
    ['attention_bias', by.attentionIn !== by.ssmIn * by.ssm[0]],
    ['mamba_proj_bias', by.ssm.some((factor) => factor !== 1)],
    ['mlp_bias', by.gate !== 1],
  ];
  for (const [name, isMoved] of moved) {
    if (c.flag(name) && isMoved) {
      throw unsupported(c.f.file, `${name} with multipliers of its products' inputs`);
    }
  }
}

const OF_MAMBA = hfMamba('mamba');
const HF_BASE = withLayer(
  HF_NAMES,
  {
    ...OF_MAMBA.layer,
    pre_ff_layernorm: 'mlp_norm',
    'feed_forward.gate_proj': 'gate',
    'feed_forward.up_proj': 'up',
    'feed_forward.down_proj': 'down',
  },
  OF_MAMBA.bare,
);
export const HF: TensorNames = {
  ...HF_BASE,
  top: { ...HF_BASE.top, 'model.final_layernorm': 'final_norm' },
};
export const GGUF = withLayer(GGUF_NAMES, GGUF_MAMBA.layer, {
  ...GGUF_MAMBA.bare,
  ffn_norm: 'mlp_norm',
});

/** Of files that leave them out. A mamba_d_ssm of null is another thing. */
export const DEFAULTS = {
  ...{ num_key_value_heads: 8, rms_norm_eps: 1e-5, max_position_embeddings: 8192 },
  ...{ mamba_d_ssm: 1024, mamba_n_heads: 128, mamba_n_groups: 1, mamba_d_state: 256 },
  mamba_d_conv: 4,
};
/** Of training, and of how others compute. */
export const HARMLESS = new Harmless([
  ['any', 'mamba_chunk_size num_logits_to_keep calc_logits_for_entire_prompt mamba_expand'],
  ['any', 'time_step_min time_step_max time_step_floor time_step_rank mlp_expansion_factor'],
  [['auto'], 'mamba_d_head'],
  [[true], 'mamba_use_mlp'],
  [[], 'attn_layer_indices layer_types'],
]);
