import { shown } from '../arguments.js';
import { octavoError } from '../errors.js';

/**
 * The tokenizer of a GGUF file: its `tokenizer.ggml.*` keys without that prefix, as they stand in
 * the file, and `tokenizer.chat_template` as `chat_template`. Arrays are plain or typed arrays.
 */
export interface GgufTokenizerMetadata {
  /** One of {@link TOKENIZER_MODELS}. */
  model?: string;
  /** Name of the pre-tokenizer; needed for "gpt2". */
  pre?: string;
  tokens?: readonly string[];
  /**
   * Of "llama": which union of neighbours comes first; absent: all alike. Of "t5", which needs
   * them: logarithms of probabilities.
   */
  scores?: ArrayLike<number>;
  /** See {@link TokenType}. Absent: all normal but those that have a key. */
  token_type?: ArrayLike<number>;
  /** No key of the file: ids that are control tokens whatever `token_type` says. */
  control_token_ids?: readonly number[];
  /** "left right"; needed for "gpt2" and "gemma4". */
  merges?: readonly string[];
  bos_token_id?: number;
  eos_token_id?: number;
  eot_token_id?: number;
  eom_token_id?: number;
  unknown_token_id?: number;
  padding_token_id?: number;
  /** Of "bert": what stands in front where there is no BOS, and what stands behind. */
  cls_token_id?: number;
  seperator_token_id?: number;
  add_bos_token?: boolean;
  add_eos_token?: boolean;
  add_space_prefix?: boolean;
  /** Of "t5": single spaces between words and none around a text. */
  remove_extra_whitespaces?: boolean;
  /** Of "t5": bytes; see charsmap.ts. */
  precompiled_charsmap?: ArrayLike<number>;
  /** Of "bert". Absent: true, and as the former. */
  'normalizer.lowercase'?: boolean;
  'normalizer.strip_accents'?: boolean;
  chat_template?: string;
  /** Keys that are not read. */
  [key: string]: unknown;
}

/**
 * Values of `tokenizer.ggml.model`: SentencePiece's BPE, byte-level BPE, Gemma 4's (BPE over
 * characters, by listed merges), WordPiece, SentencePiece's unigram.
 */
export const TOKENIZER_MODELS = ['llama', 'gpt2', 'gemma4', 'bert', 't5'] as const;
export type TokenizerModel = (typeof TOKENIZER_MODELS)[number];

/** Values of `tokenizer.ggml.token_type`. */
export const TokenType = {
  UNDEFINED: 0,
  NORMAL: 1,
  UNKNOWN: 2,
  CONTROL: 3,
  USER_DEFINED: 4,
  UNUSED: 5,
  BYTE: 6,
} as const;

/** Longest token in UTF-16 units; the longest known has some hundred. */
export const MAX_TOKEN_LENGTH = 1 << 16;

/** The keys that name one token. */
const ID_KEYS = [
  'bos_token_id',
  'eos_token_id',
  'eot_token_id',
  'eom_token_id',
  'unknown_token_id',
  'padding_token_id',
  'cls_token_id',
  'seperator_token_id',
] as const;

/** The keys that say yes or no. */
const FLAGS = [
  'add_bos_token',
  'add_eos_token',
  'add_space_prefix',
  'remove_extra_whitespaces',
  'normalizer.lowercase',
  'normalizer.strip_accents',
] as const;

/** Makes (does not throw) the error of a key; `says` completes "tokenizer.ggml.KEY …". */
export function badKey(key: string, says: string): Error {
  const name = key === 'chat_template' ? `tokenizer.${key}` : `tokenizer.ggml.${key}`;
  return octavoError('ERR_MODEL_FORMAT', `${name} ${says}`, { param: name });
}

function isList(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
}

function checkList(metadata: GgufTokenizerMetadata, key: string, needed: boolean): number {
  const value = metadata[key];
  if (value === undefined && !needed) return -1;
  if (value === undefined) throw badKey(key, 'is missing.');
  if (!isList(value)) throw badKey(key, `must be an array, not ${typeof value}.`);
  return value.length;
}

function checkScalars(metadata: GgufTokenizerMetadata): void {
  for (const key of ['pre', 'chat_template'] as const) {
    const type = typeof metadata[key];
    if (type !== 'undefined' && type !== 'string')
      throw badKey(key, `must be a string, not ${type}.`);
  }
  for (const key of FLAGS) {
    const type = typeof metadata[key];
    if (type !== 'undefined' && type !== 'boolean')
      throw badKey(key, `must be a bool, not ${type}.`);
  }
}

/**
 * Checks what can be checked without looking at every token: presence, types, lengths, ids.
 *
 * @returns the model
 * @throws ERR_MODEL_FORMAT naming the key; ERR_MODEL_UNSUPPORTED for a model that is none of
 *   {@link TOKENIZER_MODELS}.
 */
export function checkMetadata(metadata: GgufTokenizerMetadata): TokenizerModel {
  const { model } = metadata;
  if (typeof model !== 'string') throw badKey('model', 'is missing or not a string.');
  const known = TOKENIZER_MODELS.find((name) => name === model);
  if (known === undefined) {
    throw octavoError(
      'ERR_MODEL_UNSUPPORTED',
      `tokenizer.ggml.model says ${shown(model)}; this build knows ` +
        `${TOKENIZER_MODELS.join(', ')}. Use the model's folder, with its tokenizer.json.`,
      { param: 'tokenizer.ggml.model' },
    );
  }
  checkScalars(metadata);
  checkLists(metadata, known);
  return known;
}

function checkLists(metadata: GgufTokenizerMetadata, model: TokenizerModel): void {
  const count = checkList(metadata, 'tokens', true);
  if (count === 0) throw badKey('tokens', 'is empty.');
  for (const key of ['scores', 'token_type'] as const) {
    const length = checkList(metadata, key, key === 'scores' && model === 't5');
    if (length >= 0 && length !== count) {
      throw badKey(key, `has ${length} entries, but there are ${count} tokens.`);
    }
  }
  checkList(metadata, 'merges', model === 'gpt2' || model === 'gemma4');
  checkList(metadata, 'precompiled_charsmap', false);
  for (const key of ID_KEYS) {
    const id = metadata[key];
    if (id === undefined) continue;
    if (Number.isInteger(id) && id >= 0 && id < count) continue;
    throw badKey(key, `is ${shown(id)}, which is not the id of one of the ${count} tokens.`);
  }
}
