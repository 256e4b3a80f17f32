import { octavoError } from '../errors.js';

/**
 * The tokenizer of a GGUF file: its `tokenizer.ggml.*` keys without that prefix, as they stand in
 * the file, and `tokenizer.chat_template` as `chat_template`. Arrays are plain or typed arrays.
 */
export interface GgufTokenizerMetadata {
  /** "llama" (SentencePiece BPE) or "gpt2" (byte-level BPE). */
  model?: string;
  /** Name of the pre-tokenizer; needed for "gpt2". */
  pre?: string;
  tokens?: readonly string[];
  /** Needed for "llama". */
  scores?: ArrayLike<number>;
  /** See {@link TokenType}. */
  token_type?: ArrayLike<number>;
  /** "left right"; needed for "gpt2". */
  merges?: readonly string[];
  bos_token_id?: number;
  eos_token_id?: number;
  eot_token_id?: number;
  eom_token_id?: number;
  unknown_token_id?: number;
  padding_token_id?: number;
  add_bos_token?: boolean;
  add_eos_token?: boolean;
  add_space_prefix?: boolean;
  chat_template?: string;
  /** Keys that are not read. */
  [key: string]: unknown;
}

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

/** The keys that name one token. */
const ID_KEYS = [
  'bos_token_id',
  'eos_token_id',
  'eot_token_id',
  'eom_token_id',
  'unknown_token_id',
  'padding_token_id',
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
  for (const key of ['add_bos_token', 'add_eos_token', 'add_space_prefix'] as const) {
    const type = typeof metadata[key];
    if (type !== 'undefined' && type !== 'boolean')
      throw badKey(key, `must be a bool, not ${type}.`);
  }
}

/**
 * Checks what can be checked without looking at every token: presence, types, lengths, ids.
 *
 * @throws ERR_MODEL_FORMAT naming the key; ERR_MODEL_UNSUPPORTED for a model other than "llama" and
 *   "gpt2".
 */
export function checkMetadata(metadata: GgufTokenizerMetadata): void {
  const { model } = metadata;
  if (typeof model !== 'string') throw badKey('model', 'is missing or not a string.');
  if (model !== 'llama' && model !== 'gpt2') {
    throw octavoError(
      'ERR_MODEL_UNSUPPORTED',
      `tokenizer.ggml.model says ${JSON.stringify(model)}; this build knows "llama" and "gpt2".`,
      { param: 'tokenizer.ggml.model' },
    );
  }
  checkScalars(metadata);
  const count = checkList(metadata, 'tokens', true);
  if (count === 0) throw badKey('tokens', 'is empty.');
  for (const key of ['scores', 'token_type'] as const) {
    const length = checkList(metadata, key, model === 'llama');
    if (length >= 0 && length !== count) {
      throw badKey(key, `has ${length} entries, but there are ${count} tokens.`);
    }
  }
  checkList(metadata, 'merges', model === 'gpt2');
  for (const key of ID_KEYS) {
    const id = metadata[key];
    if (id === undefined) continue;
    if (Number.isInteger(id) && id >= 0 && id < count) continue;
    throw badKey(key, `is ${String(id)}, which is not the id of one of the ${count} tokens.`);
  }
}
