/** Layers of the gated delta rule: their sizes, and where their tensors lie. */
import { type NativeRecurrent, RECURRENT_KINDS } from '../../native.js';
import type { Config } from '../config.js';
import { GGUF_NAMES, HF_NAMES, type Layout, type TensorNames, withLayer } from '../names.js';
import { layerTypes, rmsNorm, type Sizes } from './shared.js';

/** A list, or each n-th attends. */
export function recurrentLayers(c: Config, count: number): boolean[] {
  const { f, gguf } = c;
  const every = f.integer('full_attention_interval', 1, 4096, 4);
  const types = gguf ? undefined : layerTypes(f, count, ['full_attention', 'linear_attention']);
  const listed =
    gguf && f.has('attention.recurrent_layers')
      ? f.perLayer('attention.recurrent_layers', count, 0, 1).map((n) => n === 1)
      : types?.map((type) => type === 'linear_attention');
  return listed ?? Array.from({ length: count }, (_, i) => (i + 1) % every !== 0);
}

/** GGUF files name what Mamba has in their place. */
export function deltaOf(c: Config, tiled: boolean): NativeRecurrent {
  const { f } = c;
  const size = (hf: string, gguf: string) => f.integer(c.name(hf, gguf), 1, 2 ** 16);
  const numKeyHeads = size('linear_num_key_heads', 'ssm.group_count');
  const headsName = c.name('linear_num_value_heads', 'ssm.time_step_rank');
  const numValueHeads = f.integer(headsName, 1, 2 ** 16);
  if (numValueHeads % numKeyHeads !== 0) {
    f.fail(headsName, `(${numValueHeads}) is no multiple of the ${numKeyHeads} heads of keys`);
  }
  const inner = c.gguf ? f.integer('ssm.inner_size', 1, 2 ** 24) : 0;
  const valueSize = c.gguf ? inner / numValueHeads : f.integer('linear_value_head_dim', 1, 2 ** 16);
  if (!Number.isInteger(valueSize)) {
    f.fail('ssm.inner_size', `(${inner}) is not shared out by ${numValueHeads} heads`);
  }
  return {
    kind: RECURRENT_KINDS.delta,
    ...{ numKeyHeads, numValueHeads, valueSize, tiled },
    keySize: size('linear_key_head_dim', 'ssm.state_size'),
    convWidth: size('linear_conv_kernel_dim', 'ssm.conv_kernel'),
    convBias: false,
    norm: rmsNorm(c),
  };
}

/** @param fused a head of keys has beside it what its heads of values need */
export function deltaNames(
  c: Config,
  { layers: [{ headSize }] }: Sizes,
  { numKeyHeads, numValueHeads, keySize, valueSize }: NativeRecurrent,
  fused: boolean,
): TensorNames {
  const each = numValueHeads / numKeyHeads;
  const values = each * valueSize;
  const query: Layout = { of: ['q', 'attn_gate'], runs: [headSize, headSize] };
  const states: Layout = { of: ['mix_beta', 'mix_decay'], runs: [each, each] };
  if (c.gguf) {
    return withLayer(
      GGUF_NAMES,
      {
        ...GGUF_LAYER,
        attn_q: query,
        ...(fused ? { ssm_ba: states } : {}),
      },
      GGUF_BARE,
    );
  }
  const apart: Layout = {
    of: ['mix_q', 'mix_k', 'mix_v', 'mix_gate'],
    runs: [keySize, keySize, values, values],
  };
  return withLayer(
    HF_NAMES,
    {
      ...HF_LAYER,
      'self_attn.q_proj': query,
      ...(fused ? { 'linear_attn.in_proj_qkvz': apart, 'linear_attn.in_proj_ba': states } : {}),
    },
    {
      'linear_attn.A_log': { of: ['decay'], negExp: true },
      'linear_attn.dt_bias': 'dt_bias',
    },
  );
}

const HF_LAYER: TensorNames['layer'] = {
  'linear_attn.in_proj_qkv': ['mix_q', 'mix_k', 'mix_v'],
  'linear_attn.in_proj_z': 'mix_gate',
  'linear_attn.in_proj_b': 'mix_beta',
  'linear_attn.in_proj_a': 'mix_decay',
  'linear_attn.conv1d': ['conv_q', 'conv_k', 'conv_v'],
  'linear_attn.norm': 'mix_norm',
  'linear_attn.out_proj': 'mix_out',
};
const GGUF_LAYER: TensorNames['layer'] = {
  post_attention_norm: 'mlp_norm',
  attn_qkv: ['mix_q', 'mix_k', 'mix_v'],
  attn_gate: 'mix_gate',
  ssm_beta: 'mix_beta',
  ssm_alpha: 'mix_decay',
  ssm_conv1d: ['conv_q', 'conv_k', 'conv_v'],
  ssm_norm: 'mix_norm',
  ssm_out: 'mix_out',
};
const GGUF_BARE = { ssm_a: 'decay', 'ssm_dt.bias': 'dt_bias' };
