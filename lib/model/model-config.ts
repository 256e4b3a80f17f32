/**
 * One table of switches for all families, read from config.json or GGUF metadata. A family is a row
 * of defaults; what a row or a file says that is not known here is refused by name, never guessed.
 */
import type { NativeModelConfig } from '../native.js';
import { Fields } from './fields.js';
import { unsupported } from './files.js';
import type { GgufValue } from './gguf.js';
import { attentionFactor, inverseFrequencies, type Rope } from './rope.js';
import { ggufRope, hfRope } from './rope-config.js';

/** The native switches and what the JS side needs beside them. */
export interface ModelConfig extends NativeModelConfig {
  /** Family, as config.json's model_type or GGUF's general.architecture names it. */
  readonly architecture: string;
  /** The longest context the model was made for, in tokens. */
  readonly maxPositionEmbeddings: number;
  /** Which projections have a bias. */
  readonly biases: ReadonlySet<string>;
  readonly bosTokenId: number | undefined;
  readonly eosTokenIds: readonly number[];
  /** The type most weight bytes are stored in; set when the checkpoint is opened. */
  readonly dtype: string;
}

interface Family {
  readonly qkNorm?: boolean;
  /** Biases of q, k, v where the config has no attention_bias. */
  readonly qkvBias?: boolean;
  /** attention_bias and mlp_bias are read. */
  readonly attentionBiasKey?: boolean;
  readonly mlpBiasKey?: boolean;
  /** sliding_window: for every layer; by use_sliding_window and layer; or the family has none. */
  readonly window?: 'always' | 'by-layer';
  /** The window where config.json does not name one. */
  readonly defaultWindow?: number;
  readonly defaultHeadSize?: number;
  /** GGUF: rows of q and k are permuted, so pairs are neighbours. */
  readonly ggufInterleaved?: boolean;
}

const FAMILIES: Readonly<Record<string, Family>> = {
  llama: { attentionBiasKey: true, mlpBiasKey: true, ggufInterleaved: true },
  mistral: { window: 'always', defaultWindow: 4096 },
  qwen2: { qkvBias: true, window: 'by-layer' },
  qwen3: { qkNorm: true, attentionBiasKey: true, window: 'by-layer', defaultHeadSize: 128 },
};
const FAMILY_NAMES = Object.keys(FAMILIES).join(', ');

/** Keys of config.json that change nothing in the forward pass. */
const HARMLESS = new Set(
  `architectures model_type transformers_version torch_dtype dtype initializer_range use_cache
  attention_dropout attention_probs_dropout_prob hidden_dropout resid_pdrop embd_pdrop dropout
  pad_token_id bos_token_id eos_token_id unk_token_id sep_token_id decoder_start_token_id
  _name_or_path _attn_implementation _attn_implementation_autoset auto_map torchscript
  gradient_checkpointing output_attentions output_hidden_states return_dict use_return_dict
  pruned_heads is_decoder is_encoder_decoder id2label label2id problem_type task_specific_params
  tokenizer_class prefix chunk_size_feed_forward max_window_layers num_labels
  max_length min_length do_sample temperature top_k top_p repetition_penalty length_penalty
  unsloth_version unsloth_fixed model_max_length finetuning_task keys_to_ignore_at_inference
  transformers.js_config cross_attention_hidden_size add_cross_attention
  bad_words_ids num_beams num_return_sequences is_llama_config`.split(/\s+/),
);

const MAX_DIM = 2 ** 24;

/** hidden_act → the native switch: gelu_pytorch_tanh and gelu_new are the same tanh form. */
const ACTIVATIONS: Readonly<Record<string, number>> = {
  silu: 0,
  swish: 0,
  gelu_pytorch_tanh: 1,
  gelu_new: 1,
};

interface Sizes {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headSize: number;
  readonly intermediateSize: number;
  readonly normEps: number;
  readonly maxPositionEmbeddings: number;
}

function assemble(
  architecture: string,
  family: Family,
  sizes: Sizes,
  rope: Rope,
  rest: {
    activation?: number;
    windows: Int32Array;
    biases: Set<string>;
    tiedHead: boolean;
    ropeInterleaved: boolean;
    bosTokenId: number | undefined;
    eosTokenIds: number[];
  },
): ModelConfig {
  return {
    architecture,
    ...sizes,
    attentionScale: 1 / Math.sqrt(sizes.headSize),
    qkNorm: family.qkNorm ?? false,
    rotarySize: rope.size,
    ropeAttentionFactor: attentionFactor(rope),
    inverseFrequencies: inverseFrequencies(rope),
    dtype: '',
    ...rest,
    activation: rest.activation ?? 0,
  };
}

/** Reads a parsed config.json. @throws ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED */
export function hfConfig(json: Record<string, unknown>, file: string): ModelConfig {
  const f = new Fields(file, json);
  const architecture = f.string('model_type');
  const family = Object.hasOwn(FAMILIES, architecture) ? FAMILIES[architecture] : undefined;
  if (!family) {
    throw unsupported(file, `model_type "${architecture}" (known: ${FAMILY_NAMES})`);
  }
  if (f.has('quantization_config')) throw unsupported(file, 'quantization_config');
  const act = f.string('hidden_act', 'silu');
  const activation = Object.hasOwn(ACTIVATIONS, act) ? ACTIVATIONS[act] : undefined;
  if (activation === undefined) throw unsupported(file, `hidden_act "${act}"`);
  if (f.boolean('rope_interleaved', false)) throw unsupported(file, 'rope_interleaved');
  if (f.number('pretraining_tp', 0, 1e6, 1) > 1) throw unsupported(file, 'pretraining_tp above 1');
  const numHeads = f.integer('num_attention_heads', 1, 4096);
  const hiddenSize = f.integer('hidden_size', 1, MAX_DIM);
  const headDefault = family.defaultHeadSize ?? hiddenSize / numHeads;
  const sizes: Sizes = {
    vocabSize: f.integer('vocab_size', 1, MAX_DIM),
    hiddenSize,
    numLayers: f.integer('num_hidden_layers', 1, 4096),
    numHeads,
    numKvHeads: f.integer('num_key_value_heads', 1, 4096, numHeads),
    headSize: f.integer('head_dim', 1, 4096, headDefault),
    intermediateSize: f.integer('intermediate_size', 1, MAX_DIM),
    normEps: f.number('rms_norm_eps', 0, 1, 1e-6),
    maxPositionEmbeddings: f.integer('max_position_embeddings', 1, 2 ** 30),
  };
  checkSizes(f, sizes, 'num_key_value_heads', 'head_dim');
  const rope = hfRope(f, sizes.headSize, sizes.maxPositionEmbeddings);
  const config = assemble(architecture, family, sizes, rope, {
    activation,
    windows: hfWindows(f, family, sizes.numLayers),
    biases: hfBiases(f, family),
    tiedHead: f.boolean('tie_word_embeddings', false),
    ropeInterleaved: false,
    bosTokenId: f.ids('bos_token_id')[0],
    eosTokenIds: f.ids('eos_token_id'),
  });
  const unknown = f.unread(HARMLESS);
  if (unknown.length > 0) throw unsupported(file, `the setting "${unknown[0]}" of ${architecture}`);
  return config;
}

function checkSizes(f: Fields, s: Sizes, kvHeads: string, head: string): void {
  if (s.numHeads % s.numKvHeads !== 0) {
    f.fail(kvHeads, `(${s.numKvHeads}) does not divide the ${s.numHeads} query heads`);
  }
  if (s.headSize % 2 !== 0) f.fail(head, `is ${s.headSize}, which is odd`);
}

function hfBiases(f: Fields, family: Family): Set<string> {
  const biases = new Set<string>();
  const attention = family.attentionBiasKey ? f.boolean('attention_bias', false) : false;
  if (attention || family.qkvBias) for (const name of ['q', 'k', 'v']) biases.add(name);
  if (attention) biases.add('o');
  if (family.mlpBiasKey && f.boolean('mlp_bias', false)) {
    for (const name of ['gate', 'up', 'down']) biases.add(name);
  }
  return biases;
}

/** Per layer: tokens a query sees, itself included; 0 = all. */
function hfWindows(f: Fields, family: Family, numLayers: number): Int32Array {
  const windows = new Int32Array(numLayers);
  const types = f.raw('layer_types');
  if (!family.window) {
    if (types !== undefined) checkLayerTypes(f, types, numLayers, ['full_attention']);
    return windows;
  }
  const absent = f.raw('sliding_window') === undefined;
  const size = absent
    ? (family.defaultWindow ?? 0)
    : f.has('sliding_window')
      ? f.integer('sliding_window', 1, 2 ** 30)
      : 0;
  const on = family.window === 'always' || f.boolean('use_sliding_window', false);
  const from = f.integer('max_window_layers', 0, 1e6, 28);
  if (types !== undefined && types !== null) {
    const list = checkLayerTypes(f, types, numLayers, ['full_attention', 'sliding_attention']);
    list.forEach((type, i) => {
      if (type !== 'sliding_attention') return;
      if (size === 0)
        f.fail('layer_types', 'has sliding_attention, but there is no sliding_window');
      windows[i] = size;
    });
    return windows;
  }
  if (on) windows.fill(size, family.window === 'always' ? 0 : Math.min(from, numLayers));
  return windows;
}

function checkLayerTypes(f: Fields, types: unknown, n: number, known: string[]): string[] {
  if (!Array.isArray(types) || types.length !== n) {
    f.fail('layer_types', `must be a list with one word for each of the ${n} layers`);
  }
  for (const type of types) {
    if (!known.includes(type)) throw unsupported(f.file, `layer type ${JSON.stringify(type)}`);
  }
  return types;
}

/** Keys of the architecture's own namespace that change nothing here. */
const GGUF_HARMLESS = new Set(['vocab_size', 'rope.scaling.finetuned', 'tensor_data_layout']);

/**
 * Reads GGUF metadata. `ropeFactors` are the values of rope_freqs.weight where there is one.
 * @throws ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED
 */
export function ggufConfig(
  metadata: ReadonlyMap<string, GgufValue>,
  file: string,
  tensors: { vocabSize: number; hasHead: boolean; biases: Set<string>; ropeFactors?: Float32Array },
): ModelConfig {
  const general = new Fields(file, Object.fromEntries(metadata));
  const architecture = general.string('general.architecture');
  const family = Object.hasOwn(FAMILIES, architecture) ? FAMILIES[architecture] : undefined;
  if (!family) throw unsupported(file, `architecture "${architecture}" (known: ${FAMILY_NAMES})`);
  const own: Record<string, GgufValue> = {};
  for (const [key, value] of metadata) {
    if (key.startsWith(`${architecture}.`)) own[key.slice(architecture.length + 1)] = value;
  }
  const f = new Fields(file, own, `${architecture}.`);
  const numHeads = f.integer('attention.head_count', 1, 4096);
  const hiddenSize = f.integer('embedding_length', 1, MAX_DIM);
  const headSize = f.integer('attention.key_length', 1, 4096, hiddenSize / numHeads);
  if (f.integer('attention.value_length', 1, 4096, headSize) !== headSize) {
    throw unsupported(file, 'a value head size that differs from the key head size');
  }
  const sizes: Sizes = {
    vocabSize: tensors.vocabSize,
    hiddenSize,
    numLayers: f.integer('block_count', 1, 4096),
    numHeads,
    numKvHeads: f.integer('attention.head_count_kv', 1, 4096, numHeads),
    headSize,
    intermediateSize: f.integer('feed_forward_length', 1, MAX_DIM),
    normEps: f.number('attention.layer_norm_rms_epsilon', 0, 1),
    maxPositionEmbeddings: f.integer('context_length', 1, 2 ** 30),
  };
  checkSizes(f, sizes, 'attention.head_count_kv', 'attention.key_length');
  const rope = ggufRope(f, sizes.headSize, sizes.maxPositionEmbeddings, tensors.ropeFactors);
  const window = f.integer('attention.sliding_window', 0, 2 ** 30, 0);
  if (window > 0 && !family.window) throw unsupported(file, `a sliding window in ${architecture}`);
  const token = (name: string) => general.ids(`tokenizer.ggml.${name}`);
  const config = assemble(architecture, family, sizes, rope, {
    windows: new Int32Array(sizes.numLayers).fill(window),
    biases: tensors.biases,
    tiedHead: !tensors.hasHead,
    ropeInterleaved: family.ggufInterleaved ?? false,
    bosTokenId: token('bos_token_id')[0],
    eosTokenIds: [...new Set([...token('eos_token_id'), ...token('eot_token_id')])],
  });
  const unknown = f.unread(GGUF_HARMLESS);
  if (unknown.length > 0) throw unsupported(file, `the key ${architecture}.${unknown[0]}`);
  return config;
}
