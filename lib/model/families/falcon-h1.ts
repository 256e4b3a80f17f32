import type { NativeLayer, NativeNorm, NativeRecurrent } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  layerOf,
  MLP,
  modelOf,
  NO_NORM,
  rmsNorm,
  ropeOf,
  sizesOf,
} from './shared.js';
import { DEFAULTS, GGUF, HARMLESS, HF, type Multipliers, multipliersOf } from './shared-falcon.js';
import { MAMBA, mambaOf } from './shared-mamba.js';

/**
 * Falcon H1: attention and Mamba 2 side by side in each layer, of one norm; nearly every product
 * has a multiplier. GGUF files have them in their weights.
 */
export function falconH1(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(DEFAULTS);
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const by = multipliersOf(c);
  const model = modelOf(c, sizes, { norm, rope: ropeOf(c, sizes) });
  const beside = besideAttention(c, norm, by, sizes.hiddenSize);
  const choices = {
    // The MLP's input is scaled as its gate is: the other half comes back behind it.
    mlpNorm: scaledBy(norm, by.gate),
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
    mlpBiases: biases(c, MLP, c.flag('mlp_bias')),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  return {
    ...model,
    embedding: { ...model.embedding, scale: by.embedding },
    layers: sizes.layers.map((size) => {
      const scale = (by.key * beside.ratio ** 2) / Math.sqrt(size.headSize);
      return {
        ...layerOf(size, norm, { ...choices, attnNorm: beside.norm, scale }),
        recurrent: beside.recurrent,
        ...beside.scales,
        ...(by.gate === by.down ? {} : { mlpScale: by.down / by.gate }),
      };
    }),
    head: { ...model.head, scale: by.head },
    names: c.gguf ? GGUF : HF,
    harmless: HARMLESS,
  };
}

/**
 * The mixers read one norm, which is scaled as Mamba's gate is. What differs from that is scaled
 * where it is linear still: x, B and C by their convolutions, dt by itself, q · k by the scale of
 * scores, v by that of the branch.
 */
function besideAttention(
  c: Config,
  norm: NativeNorm,
  by: Multipliers,
  hiddenSize: number,
): {
  readonly norm: NativeNorm;
  readonly ratio: number;
  readonly recurrent: NativeRecurrent;
  readonly scales: Pick<NativeLayer, 'attentionScale' | 'recurrentScale'>;
} {
  const [ofGate, v, k, q, dt] = by.ssm;
  const input = by.ssmIn * ofGate;
  const ratio = by.attentionIn / input;
  const isAlike = by.ssm.every((factor) => factor === ofGate);
  const [attentionScale, recurrentScale] = [by.attentionOut * ratio, by.ssmOut];
  return {
    norm: scaledBy(norm, input),
    ratio,
    recurrent: {
      ...mamba(c, norm, hiddenSize),
      ...(isAlike
        ? {}
        : {
            convScales: { q: q / ofGate, k: k / ofGate, v: v / ofGate },
            dtScale: dt / ofGate,
          }),
    },
    scales: attentionScale === 1 && recurrentScale === 1 ? {} : { attentionScale, recurrentScale },
  };
}

function mamba(c: Config, norm: NativeNorm, hiddenSize: number): NativeRecurrent {
  const { f, gguf } = c;
  const expand = gguf ? 1 : f.integer('mamba_expand', 1, 64, 2);
  const inner = gguf ? undefined : f.integer('mamba_d_ssm', 1, 2 ** 24, expand * hiddenSize);
  const isNormed = gguf
    ? gguf.names.has('blk.0.ssm_norm.weight')
    : f.boolean('mamba_rms_norm', false);
  const first = gguf === undefined && f.boolean('mamba_norm_before_gate', true);
  const layer = mambaOf(c, NAMES, isNormed ? norm : NO_NORM, inner);
  return { ...layer, normFirst: isNormed && first };
}

function scaledBy(norm: NativeNorm, scale: number): NativeNorm {
  return scale === 1 ? norm : { ...norm, scale };
}

const NAMES = { ...MAMBA, outBias: 'projectors_bias' };
