/** Mamba 2 as layers of several families have it. */
import { type NativeNorm, type NativeRecurrent, RECURRENT_KINDS } from '../../native.js';
import type { Config } from '../config.js';
import { HF_NAMES, type Layout, type TensorNames } from '../names.js';
import { rmsNorm } from './shared.js';

/** What a family's files call its sizes; GGUF files of all families do alike. */
export interface MambaNames {
  readonly heads: string;
  readonly headSize: string;
  readonly state: string;
  readonly groups: string;
  readonly width: string;
  readonly convBias: string;
  /** Of what goes in, and of what comes out where that has a name of its own. */
  readonly bias: string;
  readonly outBias?: string;
}

/** As Granite calls them. */
export const MAMBA: MambaNames = {
  heads: 'mamba_n_heads',
  headSize: 'mamba_d_head',
  state: 'mamba_d_state',
  groups: 'mamba_n_groups',
  width: 'mamba_d_conv',
  convBias: 'mamba_conv_bias',
  bias: 'mamba_proj_bias',
};

/** As Nemotron calls them. */
export const MIXER: MambaNames = {
  heads: 'mamba_num_heads',
  headSize: 'mamba_head_dim',
  state: 'ssm_state_size',
  groups: 'n_groups',
  width: 'conv_kernel',
  convBias: 'use_conv_bias',
  bias: 'use_bias',
};

/** Some GGUF files call its epsilon that of the other kind of norm. */
export function mixerNorm(c: Config): NativeNorm {
  const name = 'attention.layer_norm_epsilon';
  if (c.gguf && c.f.has(name)) {
    c.f.defaults({ 'attention.layer_norm_rms_epsilon': c.f.raw(name) });
  }
  if (!c.gguf) c.f.defaults({ layer_norm_epsilon: 1e-5 });
  return rmsNorm(c, false, 'layer_norm_epsilon');
}

/**
 * @param norm of what the gate lets pass, in as many parts as there are groups
 * @param inner values of all heads, where heads are not said to be of a size
 */
export function mambaOf(
  c: Config,
  names: MambaNames,
  norm: NativeNorm,
  inner?: number,
): NativeRecurrent {
  const { f } = c;
  const size = (hf: string, gguf: string, usual?: number) =>
    f.integer(c.name(hf, gguf), 1, 2 ** 20, usual);
  const numValueHeads = size(names.heads, 'ssm.time_step_rank');
  const whole = c.gguf ? f.integer('ssm.inner_size', 1, 2 ** 24) : inner;
  const perHead = whole === undefined ? undefined : whole / numValueHeads;
  // Files may call it "auto".
  const isNamed = typeof f.raw(names.headSize) === 'number';
  const valueSize = isNamed ? f.integer(names.headSize, 1, 2 ** 20) : Number(perHead);
  const numKeyHeads = size(names.groups, 'ssm.group_count');
  const headsName = c.name(names.heads, 'ssm.time_step_rank');
  if (
    !Number.isInteger(valueSize) ||
    (whole !== undefined && whole !== valueSize * numValueHeads)
  ) {
    f.fail(headsName, `(${numValueHeads}) does not share out the ${whole} values`);
  }
  if (numValueHeads % numKeyHeads !== 0) {
    f.fail(headsName, `(${numValueHeads}) is no multiple of the ${numKeyHeads} groups`);
  }
  const [dtMin, dtMax] = stepLimit(c);
  const biasOf = (name: string) => c.gguf === undefined && f.boolean(name, false);
  return {
    kind: RECURRENT_KINDS.ssm,
    ...{ numKeyHeads, numValueHeads, valueSize, tiled: false },
    keySize: size(names.state, 'ssm.state_size'),
    convWidth: size(names.width, 'ssm.conv_kernel'),
    convBias: c.gguf !== undefined || f.boolean(names.convBias, true),
    norm,
    normSize: (numValueHeads * valueSize) / numKeyHeads,
    ...{ normOwn: true, normFirst: false, skip: true, dtMin },
    ...(dtMax === Number.POSITIVE_INFINITY ? {} : { dtMax }),
    ...{ inBias: biasOf(names.bias), outBias: biasOf(names.outBias ?? names.bias) },
  };
}

/** [least, most]; JSON has no infinity, so there are several spellings of it. */
function stepLimit({ f, gguf }: Config): [number, number] {
  const value = gguf ? undefined : f.raw('time_step_limit');
  if (value === undefined || value === null) return [0, Number.POSITIVE_INFINITY];
  const [low, high] = Array.isArray(value) && value.length === 2 ? value.map(limitOf) : [];
  if (low === undefined || high === undefined || !(low >= 0 && high >= low)) {
    return f.fail('time_step_limit', 'is no list of two numbers, the lower one first');
  }
  return [low, high];
}

function limitOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  if (typeof value === 'object' && value !== null && '__float__' in value) {
    return Number(value.__float__);
  }
  return value === 'Infinity' || value === null ? Number.POSITIVE_INFINITY : undefined;
}

/** What in_proj holds: the gate, then what goes through the convolution, then the steps. */
const CONV: readonly string[] = ['conv_v', 'conv_k', 'conv_q'];
const IN: readonly string[] = ['mix_gate', 'mix_v', 'mix_k', 'mix_q', 'mix_decay'];

/**
 * The convolution's channels are stored as x | B | C, which are v, k and q here.
 * @param at what the layer is called: "mamba"
 */
export function hfMamba(
  at: string,
): Pick<TensorNames, 'layer'> & { readonly bare: TensorNames['layer'] } {
  const negative: Layout = { of: ['decay'], negExp: true };
  return {
    layer: {
      [`${at}.in_proj`]: IN,
      [`${at}.conv1d`]: CONV,
      [`${at}.norm`]: 'mix_norm',
      [`${at}.out_proj`]: 'mix_out',
    },
    bare: { [`${at}.A_log`]: negative, [`${at}.D`]: 'skip', [`${at}.dt_bias`]: 'dt_bias' },
  };
}

/** As all GGUF files have it. */
export const GGUF_MAMBA: ReturnType<typeof hfMamba> = {
  layer: {
    ssm_in: IN,
    ssm_conv1d: CONV,
    ssm_norm: { of: ['mix_norm'], flat: true },
    ssm_out: 'mix_out',
  },
  bare: { ssm_a: 'decay', ssm_d: 'skip', 'ssm_dt.bias': 'dt_bias' },
};

/** Names of a model of nothing but mixers, as if it were one of attention. */
export function backbone(name: string): string {
  return name
    .replace(/^backbone\./, 'model.')
    .replace(/^(?=(embeddings?|layers|norm_f)\.)/, 'model.')
    .replace(/^model\.embedding\./, 'model.embeddings.');
}

/** Of such a model, with a norm in front of each. */
export const BACKBONE: TensorNames = {
  top: { 'model.embeddings': 'embed', 'model.norm_f': 'final_norm', lm_head: 'head' },
  layer: { norm: 'attn_norm', ...hfMamba('mixer').layer },
  bare: hfMamba('mixer').bare,
  layerPattern: HF_NAMES.layerPattern,
  spelling: backbone,
};
