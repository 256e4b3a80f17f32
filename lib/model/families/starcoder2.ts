import type { Config, FamilySpec } from '../config.js';
import { Harmless } from '../harmless.js';
import { GGUF_NAMES, HF_NAMES, withLayer } from '../names.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  layerNorm,
  layerOf,
  modelOf,
  ropeOf,
  sizesOf,
  windowsOf,
} from './shared.js';

/** Of files that leave them out. */
const HF_DEFAULTS = { num_key_value_heads: 2, tie_word_embeddings: true, use_bias: true };

/** StarCoder 2: LayerNorm, biases, a GELU without a gate; one window for all layers. */
export function starcoder2(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(HF_DEFAULTS);
  const sizes = sizesOf(c);
  const norm = layerNorm(c, 'norm_epsilon');
  const windows = windowsOf(c, sizes.layers.length, () => true);
  const biased = c.flag('use_bias');
  const choices = {
    gated: false,
    attentionBiases: biases(c, ATTENTION, biased),
    mlpBiases: biases(c, ['up', 'down'], biased),
    hiddenAct: hiddenAct(c, 'gelu_pytorch_tanh'),
  };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes) }),
    layers: sizes.layers.map((size, i) => layerOf(size, norm, { ...choices, window: windows[i] })),
    names: c.gguf ? GGUF_NAMES : HF,
    harmless: HARMLESS,
  };
}

const HF = withLayer(HF_NAMES, { 'mlp.c_fc': 'up', 'mlp.c_proj': 'down' });
const HARMLESS = new Harmless([
  [
    'any',
    `embedding_dropout residual_dropout activation_function layer_norm_epsilon
    attention_softmax_in_fp32 scale_attention_softmax_in_fp32`,
  ],
  [[true], 'scale_attn_weights'],
  [['default'], 'mlp_type'],
  [['layer_norm'], 'norm_type'],
]);
