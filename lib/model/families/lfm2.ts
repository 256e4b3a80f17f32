import { type NativeRecurrent, RECURRENT_KINDS } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { Harmless } from '../harmless.js';
import type { TensorNames } from '../names.js';
import {
  ATTENTION,
  biases,
  type LayerChoices,
  layerOf,
  layerTypes,
  MLP,
  modelOf,
  NO_NORM,
  rmsNorm,
  ropeOf,
  type Sizes,
  SOME_ATTEND,
  sizesOf,
} from './shared.js';
import { GGUF, HF } from './shared-lfm2.js';

/** LFM 2: most layers are a convolution of three tokens between two gates; the others attend. */
export function lfm2(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(HF_DEFAULTS);
  const sizes = sizesOf(c, SOME_ATTEND);
  const layers = c.gguf ? sizes.layers : adjusted(c, sizes);
  return mixed(c, { ...sizes, layers }, c.gguf ? GGUF : HF, () => ({}));
}

/**
 * What both have in common.
 * @param own of a layer, beside what all have
 */
export function mixed(
  c: Config,
  sizes: Sizes,
  names: TensorNames,
  own: (layer: number) => LayerChoices,
): FamilySpec {
  const norm = rmsNorm(c, false, 'norm_eps');
  const choices = {
    qkNorm: norm,
    attentionBiases: biases(c, ATTENTION, false),
    mlpBiases: biases(c, MLP, false),
  };
  const recurrent = convolution(c, sizes.hiddenSize);
  const isRecurrent = recurrentLayers(c, sizes);
  // Layers without heads of their own say so by 0 of them.
  const heads = Math.max(...sizes.layers.map(({ numKvHeads }) => numKvHeads));
  const layers = sizes.layers.map((size) => ({ ...size, numKvHeads: size.numKvHeads || heads }));
  return {
    ...modelOf(c, { ...sizes, layers }, { norm, rope: ropeOf(c, sizes) }),
    layers: layers.map((size, i) =>
      layerOf(size, norm, { ...choices, ...own(i), ...(isRecurrent[i] ? { recurrent } : {}) }),
    ),
    names,
    harmless: HARMLESS,
  };
}

function convolution(c: Config, hiddenSize: number): NativeRecurrent {
  const bias = c.gguf
    ? c.gguf.names.has('blk.0.shortconv.conv.bias')
    : c.f.boolean('conv_bias', false);
  const heads = { numKeyHeads: 1, numValueHeads: 1, keySize: hiddenSize, valueSize: hiddenSize };
  return {
    kind: RECURRENT_KINDS.conv,
    ...{ ...heads, tiled: false, convBias: bias, inBias: bias, outBias: bias },
    convWidth: c.f.integer(c.name('conv_L_cache', 'shortconv.l_cache'), 2, 16),
    norm: NO_NORM,
  };
}

function recurrentLayers(c: Config, { layers }: Sizes): boolean[] {
  if (c.gguf) return layers.map(({ numKvHeads }) => numKvHeads === 0);
  const types = layerTypes(c.f, layers.length, ['conv', 'full_attention']);
  const listed = c.f.has('full_attn_idxs');
  const attending = listed ? c.f.layers('full_attn_idxs', layers.length) : [];
  return layers.map((_, i) => (types ? types[i] === 'conv' : listed && !attending.includes(i)));
}

/** What config.json says of the FFN's size is changed by three other settings. */
function adjusted({ f }: Config, { layers }: Sizes): Sizes['layers'] {
  const isAdjusted = f.boolean('block_auto_adjust_ff_dim', true);
  const given = f.raw('block_ffn_dim_multiplier') ?? undefined;
  const factor = given === undefined ? 1 : f.number('block_ffn_dim_multiplier', 1e-3, 1e3);
  const multiple = f.integer('block_multiple_of', 1, 2 ** 20, 256);
  if (!isAdjusted) return layers;
  return layers.map((layer) => {
    const part = Math.floor(factor * Math.floor((2 * layer.intermediateSize) / 3));
    return { ...layer, intermediateSize: multiple * Math.ceil(part / multiple) };
  });
}

/** Of files that leave them out. */
export const HF_DEFAULTS = {
  ...{ num_attention_heads: 32, num_key_value_heads: 8, norm_eps: 1e-5, conv_L_cache: 3 },
  ...{ tie_word_embeddings: true, max_position_embeddings: 128_000, rope_theta: 1_000_000 },
};
const HARMLESS = new Harmless([
  ['any', 'conv_dim conv_dim_out conv_use_xavier_init block_use_swiglu block_use_xavier_init'],
  ['any', 'block_dim block_ff_dim block_mlp_init_scale block_out_init_scale block_norm_eps'],
  ['any', 'num_heads use_pos_enc theta output_router_logits'],
]);
