import { shown } from '../../arguments.js';
import type { NativeNorm } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { unsupported } from '../files.js';
import { Harmless } from '../harmless.js';
import type { TensorNames } from '../names.js';
import { ropeTable } from '../rope.js';
import {
  checkBothSides,
  classifierLayers,
  ggufEncoderNames,
  ropesByWindow,
  slidingLayers,
} from './encoders.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  layerNorm,
  layerOf,
  MLP,
  modelOf,
  NO_NORM,
  sizesOf,
} from './shared.js';

/**
 * ModernBERT: sees both sides, two of three layers only a few tokens of either, by a rope of their
 * own; the first layer reads the normalised embedding as it is.
 */
export function modernbert(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(HF_DEFAULTS);
  checkBothSides(c);
  const sizes = sizesOf(c);
  const normBias = c.gguf ? c.gguf.names.has('output_norm.bias') : c.f.boolean('norm_bias', false);
  const norm = layerNorm(c, 'norm_eps', normBias);
  const slides = slidingLayers(c, 'global_attn_every_n_layers', sizes.layers.length);
  const local = c.f.integer(c.name('local_attention', 'attention.sliding_window'), 2, 2 ** 30);
  const { full, sliding } = ropesByWindow(c, sizes);
  const { head: _, ...model } = modelOf(c, sizes, { norm, rope: full });
  const choices = {
    causal: false,
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
    mlpBiases: biases(c, MLP, c.flag('mlp_bias')),
    hiddenAct: hiddenAct(c, 'gelu', 'hidden_activation'),
  };
  return {
    ...model,
    embedding: { ...model.embedding, norm },
    ropes: [...model.ropes, ropeTable(sliding, false)],
    layers: sizes.layers.map((size, i) =>
      layerOf(size, norm, {
        ...choices,
        ...(i === 0 ? { attnNorm: NO_NORM } : {}),
        // Half of `local` to either side, and the token itself.
        ...(slides[i] ? { window: Math.floor(local / 2) + 1, rope: 1 } : {}),
      }),
    ),
    ...classifierOf(c, sizes.hiddenSize, norm),
    names: c.gguf ? ggufEncoderNames(c.gguf, GGUF_TOP, GGUF_LAYER) : hfNames(c),
    harmless: HARMLESS,
  };
}

const HF_DEFAULTS = {
  ...{ norm_eps: 1e-5, norm_bias: false },
  local_attention: 128,
  global_attn_every_n_layers: 3,
  max_position_embeddings: 8192,
};

/** Dense, activation and norm, then the labels; llama.cpp takes the mean for them. */
function classifierOf(
  c: Config,
  hiddenSize: number,
  norm: NativeNorm,
): Pick<FamilySpec, 'pooler' | 'pooling'> {
  if (c.numLabels === 0) return {};
  const pooling = c.gguf ? 'mean' : c.f.string('classifier_pooling', 'cls');
  if (pooling !== 'mean' && pooling !== 'cls') {
    throw unsupported(c.f.file, `classifier_pooling ${shown(pooling)}`);
  }
  const act = hiddenAct(c, 'gelu', 'classifier_activation');
  const dense = { act, bias: c.flag('classifier_bias'), norm };
  return { pooler: { layers: classifierLayers(c, hiddenSize, dense) }, pooling };
}

/** The head of masked words, which its decoder shares with the embedding. */
const UNUSED = /^(head|decoder)\./;

function hfNames({ numLabels }: Config): TensorNames {
  const head = { 'head.dense': 'pooled.0', 'head.norm': 'pooled.0.norm', classifier: 'pooled.1' };
  return {
    top: {
      ...{ 'embeddings.tok_embeddings': 'embed', 'embeddings.norm': 'embed_norm' },
      final_norm: 'final_norm',
      ...(numLabels > 0 ? head : {}),
    },
    layer: {
      ...{ attn_norm: 'attn_norm', 'attn.Wqkv': ['q', 'k', 'v'], 'attn.Wo': 'o' },
      ...{ mlp_norm: 'mlp_norm', 'mlp.Wi': ['gate', 'up'], 'mlp.Wo': 'down' },
    },
    layerPattern: /^layers\.(\d{1,4})\.(.+)$/,
    spelling: (name) => name.replace(/^model\./, ''),
    ...(numLabels > 0 ? {} : { ignored: UNUSED }),
  };
}

const GGUF_TOP = { output_norm: 'final_norm' };
const GGUF_LAYER = { ffn_up: ['gate', 'up'] };

const HARMLESS = new Harmless([
  [
    'any',
    `classifier_pooling classifier_activation classifier_bias decoder_bias embedding_dropout
    mlp_dropout deterministic_flash_attn initializer_cutoff_factor layer_norm_eps reference_compile
    repad_logits_with_grad sparse_prediction sparse_pred_ignore_index tie_word_embeddings`,
  ],
]);
