import type { Config, FamilySpec } from '../config.js';
import { Harmless } from '../harmless.js';
import { GGUF_NAMES, type Target, type TensorNames } from '../names.js';
import { ATTENTION, biases, hiddenAct, layerNorm, layerOf, modelOf, sizesOf } from './shared.js';

/** GPT-2: learned positions, LayerNorm, biases everywhere; Hugging Face stores [in, out]. */
export function gpt2(c: Config): FamilySpec {
  const { f } = c;
  if (!c.gguf) f.defaults({ scale_attn_weights: true, tie_word_embeddings: true });
  const sizes = sizesOf(c, OWN);
  const norm = layerNorm(c, 'layer_norm_epsilon');
  const scaled = c.gguf || f.boolean('scale_attn_weights', false);
  const byLayer = c.flag('scale_attn_by_inverse_layer_idx');
  const choices = {
    rope: -1,
    gated: false,
    attentionBiases: biases(c, ATTENTION, true),
    mlpBiases: biases(c, ['up', 'down'], true),
    hiddenAct: hiddenAct(c, 'gelu_new', 'activation_function'),
  };
  const model = modelOf(c, sizes, { norm });
  return {
    ...model,
    embedding: { ...model.embedding, numPositions: sizes.maxPositionEmbeddings },
    layers: sizes.layers.map((size, i) => {
      const scale = (scaled ? size.headSize ** -0.5 : 1) / (byLayer ? i + 1 : 1);
      return layerOf(size, norm, { ...choices, scale });
    }),
    names: c.gguf ? GGUF_NAMES : HF,
    harmless: HARMLESS,
  };
}

const OWN = {
  hiddenSize: 'n_embd',
  numLayers: 'n_layer',
  numHeads: 'n_head',
  intermediateSize: 'n_inner',
  maxPositionEmbeddings: 'n_positions',
  intermediatePerHidden: 4,
};

function conv1d(...of: string[]): Target {
  return { of, transposed: true };
}

const HF: TensorNames = {
  top: {
    'transformer.wte': 'embed',
    'transformer.wpe': 'positions',
    'transformer.ln_f': 'final_norm',
    lm_head: 'head',
  },
  layer: {
    ln_1: 'attn_norm',
    ln_2: 'mlp_norm',
    'attn.c_attn': conv1d('q', 'k', 'v'),
    'attn.c_proj': conv1d('o'),
    'mlp.c_fc': conv1d('up'),
    'mlp.c_proj': conv1d('down'),
  },
  layerPattern: /^transformer\.h\.(\d{1,4})\.(.+)$/,
  spelling: (name) => name.replace(/^(?=(wte|wpe|ln_f|h)\.)/, 'transformer.'),
  ignored: /\.attn\.(masked_)?bias$/, // masks
};

const HARMLESS = new Harmless([
  [
    'any',
    `n_ctx reorder_and_upcast_attn summary_activation summary_first_dropout
    summary_proj_to_labels summary_type summary_use_proj`,
  ],
]);
