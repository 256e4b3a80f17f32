import { BRANCHES, HIDDEN_ACTS } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { Harmless } from '../harmless.js';
import type { TensorNames } from '../names.js';
import { checkBothSides, classifierLayers, ggufEncoderNames } from './encoders.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  layerNorm,
  layerOf,
  modelOf,
  NO_NORM,
  sizesOf,
} from './shared.js';

/** BERT: sees both sides, norms behind the sums, learned positions, types of tokens. */
export function bert(c: Config): FamilySpec {
  return encoder(c, { head: BERT_HEAD, firstPosition: 0 });
}

/** RoBERTa and XLM-RoBERTa: positions count from the one behind the padding token's id. */
export function roberta(c: Config): FamilySpec {
  const firstPosition = c.f.integer('pad_token_id', 0, 2 ** 24, 1) + 1;
  return encoder(c, { head: ROBERTA_HEAD, firstPosition });
}

interface Variant {
  /** Names of the classification head. */
  readonly head: TensorNames['top'];
  /** Row of the table that the first token has; GGUF files hold those from it on. */
  readonly firstPosition: number;
}

function encoder(c: Config, { head, firstPosition }: Variant): FamilySpec {
  const { f } = c;
  if (!c.gguf) f.defaults({ layer_norm_eps: 1e-12, type_vocab_size: 2 });
  checkBothSides(c);
  const sizes = sizesOf(c);
  const skippedRows = c.gguf ? 0 : firstPosition;
  const numPositions = sizes.maxPositionEmbeddings - skippedRows;
  if (numPositions < 1) f.fail('max_position_embeddings', 'leaves no position');
  const norm = layerNorm(c, 'layer_norm_eps');
  const choices = {
    ...{ branches: BRANCHES.post, causal: false, rope: -1, gated: false },
    attentionBiases: biases(c, ATTENTION, true),
    mlpBiases: biases(c, ['up', 'down'], true),
    hiddenAct: hiddenAct(c, 'gelu'),
  };
  const { head: _, ...model } = modelOf(c, sizes, { norm: NO_NORM });
  const tanh = { act: HIDDEN_ACTS.tanh, bias: true, norm: NO_NORM };
  const classifier = classifierLayers(c, sizes.hiddenSize, tanh);
  return {
    ...model,
    maxPositionEmbeddings: numPositions,
    embedding: { ...model.embedding, numPositions, numTokenTypes: numTypes(c), norm },
    layers: sizes.layers.map((size) => layerOf(size, norm, choices)),
    ...(c.numLabels > 0 ? { pooler: { layers: classifier }, pooling: 'cls' as const } : {}),
    names: c.gguf ? ggufEncoderNames(c.gguf, GGUF_TOP, GGUF_LAYER) : hfNames(c, head, skippedRows),
    harmless: HARMLESS,
  };
}

/** A table of one row may be stored as a vector. */
function numTypes({ gguf, f }: Config): number {
  if (!gguf) return f.integer('type_vocab_size', 0, 2 ** 16);
  const shape = gguf.shapes.get('token_types.weight') ?? [0, 0];
  return shape.length > 1 ? shape[0] : 1;
}

const BERT_HEAD = { 'pooler.dense': 'pooled.0', classifier: 'pooled.1' };
const ROBERTA_HEAD = { 'classifier.dense': 'pooled.0', 'classifier.out_proj': 'pooled.1' };

/** Heads of training beside the layers, and a pooler where nobody reads it. */
const UNUSED = '^embeddings\\.position_ids$|^(cls|lm_head)\\.';

function hfNames(c: Config, head: TensorNames['top'], skippedRows: number): TensorNames {
  const top = c.numLabels > 0 ? head : {};
  const usesPooler = 'pooler.dense' in top;
  return {
    top: {
      'embeddings.word_embeddings': 'embed',
      'embeddings.position_embeddings': { of: ['positions'], skippedRows },
      'embeddings.token_type_embeddings': 'token_types',
      'embeddings.LayerNorm': 'embed_norm',
      ...top,
    },
    layer: {
      ...{ 'attention.self.query': 'q', 'attention.self.key': 'k', 'attention.self.value': 'v' },
      'attention.output.dense': 'o',
      'attention.output.LayerNorm': 'attn_norm',
      'intermediate.dense': 'up',
      'output.dense': 'down',
      'output.LayerNorm': 'mlp_norm',
    },
    layerPattern: /^encoder\.layer\.(\d{1,4})\.(.+)$/,
    spelling,
    ignored: new RegExp(usesPooler ? UNUSED : `${UNUSED}|^pooler\\.`),
  };
}

/** Models with a head have their layers below a name; early files have TensorFlow's for norms. */
function spelling(name: string): string {
  return name
    .replace(/^(bert|roberta)\./, '')
    .replace(/LayerNorm\.gamma$/, 'LayerNorm.weight')
    .replace(/LayerNorm\.beta$/, 'LayerNorm.bias');
}

const GGUF_TOP = { position_embd: 'positions', token_types: 'token_types' };
const GGUF_LAYER = { attn_output_norm: 'attn_norm', layer_output_norm: 'mlp_norm' };

const HARMLESS = new Harmless([
  [
    'any',
    `directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers
    pooler_size_per_head pooler_type output_past tie_word_embeddings adapters`,
  ],
]);
