/** The tokens of a GGUF file, checked, and the parts of a tokenizer.json that list them. */
import { shown } from '../arguments.js';
import {
  badKey,
  type GgufTokenizerMetadata,
  MAX_TOKEN_LENGTH,
  TokenType,
} from './gguf-metadata.js';
import { Pacer } from './pacer.js';

/** How SentencePiece writes a space. */
export const SPACE = '\u2581';

/** The tokens, each checked, with what the pieces of the json need. */
export interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: ArrayLike<number>;
  readonly pacer: Pacer;
}

/** Where it is asked what is a token. No two are the same. */
export interface IndexedVocabulary extends Vocabulary {
  readonly idOf: ReadonlyMap<string, number>;
}

/**
 * Types by id. Where the file has none: all normal, but the tokens that it names are control
 * tokens (or the unknown one), and SentencePiece's spellings of bytes are bytes.
 */
function typesOf(metadata: GgufTokenizerMetadata, tokens: readonly unknown[]): ArrayLike<number> {
  const { token_type, control_token_ids = [] } = metadata;
  const changed = control_token_ids.filter((id) => token_type?.[id] !== TokenType.CONTROL);
  if (token_type !== undefined && changed.length === 0) return token_type;
  const types = Uint8Array.from(token_type ?? { length: tokens.length }, (t) => known(t ?? 1));
  for (const id of changed) types[id] = TokenType.CONTROL;
  if (token_type !== undefined) return types;
  if (metadata.model !== 'gpt2') {
    tokens.forEach((token, id) => {
      if (typeof token === 'string' && BYTE_TOKEN.test(token)) types[id] = TokenType.BYTE;
    });
    if (metadata.unknown_token_id !== undefined) {
      types[metadata.unknown_token_id] = TokenType.UNKNOWN;
    }
  }
  for (const key of CONTROL_KEYS) {
    const id = metadata[key];
    if (id !== undefined) types[id] = TokenType.CONTROL;
  }
  return types;
}

const CONTROL_KEYS = [
  ...(['bos_token_id', 'eos_token_id', 'eot_token_id', 'eom_token_id'] as const),
  ...(['padding_token_id', 'cls_token_id', 'seperator_token_id'] as const),
];

const BYTE_TOKEN = /^<0x[0-9A-F]{2}>$/;

/** A type that fits into a byte; 255 is refused with the others that are none. */
function known(type: number): number {
  return Number.isInteger(type) && type >= 0 && type < 255 ? type : 255;
}

/** A token as a tokenizer.json spells it. */
function spelling(token: string, id: number, type: number, model: string | undefined): string {
  if (token === '') return `[EMPTY_${id}]`;
  if (model === 'llama' && type === TokenType.USER_DEFINED) return token.replaceAll(SPACE, ' ');
  if (model !== 'bert' || type === TokenType.CONTROL || type === TokenType.UNKNOWN) return token;
  // Converters took the ## off those inside words and put a mark before the others.
  return token.startsWith(SPACE) ? token.slice(1) || `[EMPTY_${id}]` : `##${token}`;
}

/**
 * The tokens as a tokenizer.json spells them.
 *
 * @throws ERR_MODEL_FORMAT naming the key
 */
export async function readVocabulary(metadata: GgufTokenizerMetadata): Promise<Vocabulary> {
  const given = metadata.tokens ?? [];
  const types = typesOf(metadata, given);
  const tokens: string[] = [];
  const pacer = new Pacer();
  for (let id = 0; id < given.length; id++) {
    const token: unknown = given[id];
    if (typeof token !== 'string') throw badKey('tokens', `holds no string at ${id}.`);
    if (token.length > MAX_TOKEN_LENGTH) {
      throw badKey('tokens', `holds one of ${token.length} characters at ${id}.`);
    }
    const type = types[id];
    if (!(Number.isInteger(type) && type >= 0 && type <= 6)) {
      throw badKey('token_type', `is ${shown(type)} at ${id}; it must be 0 to 6.`);
    }
    tokens.push(spelling(token, id, type, metadata.model));
    if (pacer.due()) await pacer.turn();
  }
  return { tokens, types, pacer };
}

/**
 * With the ids, which cost as much as all the rest: for those who need them, and for the error
 * where a library has made fewer tokens than there are.
 *
 * @throws ERR_MODEL_FORMAT for a token that is there twice
 */
export async function indexed(vocabulary: Vocabulary): Promise<IndexedVocabulary> {
  const { tokens, pacer } = vocabulary;
  const idOf = new Map<string, number>();
  for (let id = 0; id < tokens.length; id++) {
    if (idOf.set(tokens[id], id).size === id) {
      const twice = `${tokens.indexOf(tokens[id])}, ${id}`;
      throw badKey('tokens', `holds ${shown(tokens[id])} twice: ${twice}.`);
    }
    if (pacer.due()) await pacer.turn();
  }
  return { ...vocabulary, idOf };
}

/** Pieces of JSON text joined in chunks, so that no single join is long. */
export class JsonList {
  #done = '';
  #chunk: string[] = [];

  add(piece: string): void {
    if (this.#chunk.push(piece) >= 4096) this.#close();
  }

  #close(): void {
    if (this.#chunk.length === 0) return;
    this.#done += (this.#done === '' ? '' : ',') + this.#chunk.join(',');
    this.#chunk = [];
  }

  get text(): string {
    this.#close();
    return this.#done;
  }
}

/** Whether JSON spells a text otherwise than it is; looking costs less than stringifying. */
const ESCAPED = /["\\]|[^ -\ud7ff\ue000-\uffff]/;

/** The vocabulary of a BPE or WordPiece model. */
export async function vocabJson({ tokens, pacer }: Vocabulary): Promise<string> {
  const list = new JsonList();
  for (let id = 0; id < tokens.length; id++) {
    const token = tokens[id];
    list.add(ESCAPED.test(token) ? `${JSON.stringify(token)}:${id}` : `"${token}":${id}`);
    if (pacer.due()) await pacer.turn();
  }
  return `{${list.text}}`;
}

/** The vocabulary of a unigram model: pairs of a token and its score. */
export async function scoredVocabJson(
  { scores = [] }: GgufTokenizerMetadata,
  { tokens, types, pacer }: Vocabulary,
): Promise<string> {
  let least = Number.POSITIVE_INFINITY;
  for (let id = 0; id < tokens.length; id++) {
    if (!Number.isFinite(scores[id])) throw badKey('scores', `holds no finite number at ${id}.`);
    if (types[id] <= TokenType.NORMAL) least = Math.min(least, scores[id]);
    if (pacer.due()) await pacer.turn();
  }
  // The library derives the unknown token's score from the least of all; SentencePiece looks at the
  // normal ones only, and converters gave the others whatever came to mind.
  const other = Number.isFinite(least) ? least : 0;
  const list = new JsonList();
  for (let id = 0; id < tokens.length; id++) {
    const score = types[id] <= TokenType.NORMAL ? scores[id] : other;
    list.add(`[${JSON.stringify(tokens[id])},${score}]`);
    if (pacer.due()) await pacer.turn();
  }
  return `[${list.text}]`;
}

/** Control, unknown and user-defined tokens: found in a text before anything else is. */
export async function addedJson({ tokens, types, pacer }: Vocabulary): Promise<string> {
  const list = new JsonList();
  for (let id = 0; id < tokens.length; id++) {
    if (pacer.due()) await pacer.turn();
    const special = types[id] === TokenType.CONTROL || types[id] === TokenType.UNKNOWN;
    if (!special && types[id] !== TokenType.USER_DEFINED) continue;
    list.add(
      `{"id":${id},"content":${JSON.stringify(tokens[id])},"single_word":false,"lstrip":false,` +
        `"rstrip":false,"normalized":false,"special":${special}}`,
    );
  }
  return `[${list.text}]`;
}

/** Whether there are tokens for bytes, checked: each is spelled as one. */
export function hasBytes({ tokens, types, idOf }: IndexedVocabulary): boolean {
  let found = false;
  for (let id = 0; id < tokens.length; id++) {
    if (types[id] !== TokenType.BYTE) continue;
    found = true;
    if (BYTE_TOKEN.test(tokens[id])) continue;
    throw badKey('token_type', `calls ${shown(tokens[id])} (${id}) a byte, which it is not.`);
  }
  return found || idOf.has('<0x00>');
}

/** The id of the unknown token, by its key or its type; undefined where there is none. */
export function unknownId(
  { unknown_token_id: named }: GgufTokenizerMetadata,
  { types }: Vocabulary,
): number | undefined {
  const typed = Array.prototype.indexOf.call(types, TokenType.UNKNOWN);
  return named ?? (typed < 0 ? undefined : typed);
}
