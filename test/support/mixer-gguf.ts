/**
 * Reference cases of Mamba 2 and Falcon H1 as llama.cpp's converter would write them, but in F32:
 * multipliers are folded into weights, which 16 bits would round once more.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './addon.js';
import { type Stored, type Weights, weightsOf, writeGguf } from './embedding-gguf.js';
import type { Value } from './write-model.js';

/** Names within a layer, of either family; the same outside. */
const NAMES: Readonly<Record<string, string>> = {
  embed_tokens: 'token_embd',
  embeddings: 'token_embd',
  final_layernorm: 'output_norm',
  norm_f: 'output_norm',
  lm_head: 'output',
  norm: 'attn_norm',
  input_layernorm: 'attn_norm',
  pre_ff_layernorm: 'ffn_norm',
  'feed_forward.gate_proj': 'ffn_gate',
  'feed_forward.up_proj': 'ffn_up',
  'feed_forward.down_proj': 'ffn_down',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'mixer.in_proj': 'ssm_in',
  'mixer.out_proj': 'ssm_out',
  'mixer.conv1d': 'ssm_conv1d',
  'mixer.norm': 'ssm_norm',
};
const BARE: Readonly<Record<string, string>> = {
  'mixer.A_log': 'ssm_a',
  'mixer.D': 'ssm_d',
  'mixer.dt_bias': 'ssm_dt.bias',
};

function nameOf(stored: string): string {
  const name = stored.replace(/^(model|backbone)\./, '').replace('mamba.', 'mixer.');
  const [, layer, rest] = /^layers\.(\d+)\.(.+)$/.exec(name) ?? [undefined, undefined, name];
  const at = layer === undefined ? '' : `blk.${layer}.`;
  if (Object.hasOwn(BARE, rest)) return at + BARE[rest];
  const [, base, kind] = /^(.+)\.(weight|bias)$/.exec(rest)!;
  return `${at}${NAMES[base]}${base === 'pre_ff_layernorm' ? '' : `.${kind}`}`;
}

interface Config {
  readonly [key: string]: number & number[];
}

/** @param name a case of fixtures/models: mamba2 or falcon-h1 */
export function mixerGguf(folder: string, name: 'mamba2' | 'falcon-h1'): string {
  const source = join(ROOT, 'test', 'fixtures', 'models', name);
  const config = JSON.parse(readFileSync(join(source, 'config.json'), 'utf8')) as Config;
  const weights: Weights = new Map();
  const isFalcon = name === 'falcon-h1';
  for (const [stored, weight] of weightsOf(join(source, 'model.safetensors'))) {
    const factors = isFalcon ? factorsOf(config, stored) : [];
    weights.set(nameOf(stored), shaped(stored, scaled(weight, factors)));
  }
  return writeGguf(folder, name, name, weights, isFalcon ? falconKeys(config) : mambaKeys(config));
}

/** Without dimensions of one; A instead of its logarithm. */
function shaped(stored: string, { shape, data }: Stored): Stored {
  const isLog = stored.endsWith('A_log');
  const kept = shape.filter((size) => size !== 1);
  return { shape: kept, data: isLog ? data.map((value) => -Math.exp(value)) : data };
}

/** A factor of each row, or one of all. */
function scaled({ shape, data }: Stored, factors: number[]): Stored {
  if (factors.length === 0) return { shape, data };
  const cols = data.length / shape[0];
  return { shape, data: data.map((v, i) => v * factors[Math.floor(i / cols) % factors.length]) };
}

function factorsOf(c: Config, stored: string): number[] {
  const [ofGate, ofX, ofB, ofC, ofDt] = c.ssm_multipliers;
  const groups = c.mamba_n_groups * c.mamba_d_state;
  const rows = (count: number, factor: number): number[] =>
    Array(count).fill(factor * c.ssm_in_multiplier);
  const input = c.attention_in_multiplier;
  const all: [string, number[]][] = [
    ['embed_tokens.weight', [c.embedding_multiplier]],
    ['lm_head.weight', [c.lm_head_multiplier]],
    ['q_proj.weight', [input]],
    ['k_proj.weight', [input * c.key_multiplier]],
    ['v_proj.weight', [input]],
    ['o_proj.weight', [c.attention_out_multiplier]],
    ['gate_proj.weight', [c.mlp_multipliers[0]]],
    ['down_proj.weight', [c.mlp_multipliers[1]]],
    ['out_proj.weight', [c.ssm_out_multiplier]],
    [
      'in_proj.weight',
      [
        ...[rows(c.mamba_d_ssm, ofGate), rows(c.mamba_d_ssm, ofX)],
        ...[rows(groups, ofB), rows(groups, ofC), rows(c.mamba_n_heads, ofDt)],
      ].flat(),
    ],
  ];
  return all.find(([end]) => stored.endsWith(end))?.[1] ?? [];
}

function falconKeys(c: Config): Record<string, Value> {
  return {
    block_count: { u32: c.num_hidden_layers },
    context_length: { u32: c.max_position_embeddings },
    embedding_length: { u32: c.hidden_size },
    feed_forward_length: { u32: c.intermediate_size },
    'attention.head_count': { u32: c.num_attention_heads },
    'attention.head_count_kv': { u32: c.num_key_value_heads },
    'attention.key_length': { u32: c.head_dim },
    'attention.value_length': { u32: c.head_dim },
    'attention.layer_norm_rms_epsilon': { f32: c.rms_norm_eps },
    'rope.freq_base': { f32: 1e11 },
    'ssm.conv_kernel': { u32: c.mamba_d_conv },
    'ssm.inner_size': { u32: c.mamba_d_ssm },
    'ssm.state_size': { u32: c.mamba_d_state },
    'ssm.time_step_rank': { u32: c.mamba_n_heads },
    'ssm.group_count': { u32: c.mamba_n_groups },
  };
}

function mambaKeys(c: Config): Record<string, Value> {
  return {
    block_count: { u32: c.num_hidden_layers },
    context_length: { u32: 2 ** 20 },
    embedding_length: { u32: c.hidden_size },
    feed_forward_length: { u32: 0 },
    'attention.head_count': { u32: 0 },
    'attention.layer_norm_rms_epsilon': { f32: c.layer_norm_epsilon },
    'ssm.conv_kernel': { u32: c.conv_kernel },
    'ssm.inner_size': { u32: c.num_heads * c.head_dim },
    'ssm.state_size': { u32: c.state_size },
    'ssm.time_step_rank': { u32: c.num_heads },
    'ssm.group_count': { u32: c.n_groups },
  };
}
