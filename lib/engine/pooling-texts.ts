/** From what callers of a pooling model write to ids. */
import { readArgument, shown } from '../arguments.js';
import { octavoError } from '../errors.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { Encoded, TokenizedText, WholeText } from '../text/whole-texts.js';
import { checkPrompt, checkText, USUAL_LENGTH } from './prompts.js';

/**
 * A text, whose special tokens are parsed unless `parseSpecialTokens` is false, or ids, which are
 * taken as they are: without special tokens around them, and without a prompt in front.
 */
export type PoolingPrompt =
  | string
  | { readonly prompt: string; readonly parseSpecialTokens?: boolean }
  | { readonly promptTokenIds: ArrayLike<number> };

/** A text whose form is right. */
export type CheckedText =
  | { readonly ids: Int32Array }
  | {
      readonly whole: WholeText;
      /** Behind the text, and never cut. */
      readonly tail?: readonly number[];
      readonly addSpecialTokens?: boolean;
    };

/** A text that can be computed. */
export interface EncodedText {
  readonly tokenIds: Int32Array;
  readonly tokenTypes?: readonly number[];
  readonly isTruncated: boolean;
}

export interface TextLimits {
  readonly vocabSize: number;
  /** Most tokens of a text, special ones included. */
  readonly maxSeqLength: number;
  /** Whether the model tells apart the texts of a pair. */
  readonly hasTokenTypes: boolean;
}

/** What stands in front of a text. */
export interface Front {
  readonly text: string;
  /** By the call, not by the model's files alone. */
  readonly isAsked: boolean;
}

const NOTHING: Front = { text: '', isAsked: false };

/** As long as a text that spells no control token, and spells none. */
export function outside(text: string): string {
  return '\0'.repeat(text.length);
}

/** Ids that are taken where they are cut anyway. */
const MAX_IDS = 2 ** 20;

/** How long a text may be. */
export interface LengthWish {
  readonly maxTokens: number;
  readonly truncate: boolean;
}

/** @param truncate as callers say it */
export function lengthWish(truncate: boolean | number, { maxSeqLength }: TextLimits): LengthWish {
  const isNumber = typeof truncate === 'number';
  const maxTokens = isNumber ? Math.min(truncate, maxSeqLength) : maxSeqLength;
  return { maxTokens, truncate: truncate !== false };
}

/** Characters of a text, so that long ones wait for each other. */
export function sizeOf(text: CheckedText): number {
  return 'ids' in text ? 0 : text.whole.text.length + (text.whole.pair?.length ?? 0);
}

export class TextEncoder {
  readonly tokenizer: Tokenizer;
  readonly limits: TextLimits;
  /** Special tokens that the tokenizer puts behind a text. */
  #closing: Promise<readonly number[]> | undefined;

  constructor(tokenizer: Tokenizer, limits: TextLimits) {
    this.tokenizer = tokenizer;
    this.limits = limits;
  }

  /** @throws ERR_INVALID_PROMPT, ERR_PROMPT_TOO_LONG */
  check(prompt: unknown, { truncate, maxTokens }: LengthWish, front: Front = NOTHING): CheckedText {
    const { vocabSize } = this.limits;
    const longest = truncate ? MAX_IDS : maxTokens;
    if (typeof prompt !== 'string') checkIdsLength(prompt, longest);
    const checked = checkPrompt(prompt, { vocabSize, maxModelLen: longest + 1 });
    if (checked.kind === 'chat') throw notAText();
    if (checked.kind === 'text') {
      const text = front.text + checked.text;
      if (checked.parse) return { whole: { text } };
      return { whole: { text, marked: front.text + outside(checked.text) } };
    }
    if (!front.isAsked) return { ids: checked.ids };
    const sentence = 'ids are taken as they are; leave out the option that puts a prompt in front';
    throw octavoError('ERR_INVALID_PROMPT', sentence, { param: 'promptTokenIds' });
  }

  /**
   * @throws ERR_PROMPT_TOO_LONG; ERR_INVALID_PROMPT where there is no token, or one that the model
   * has not; ERR_TOKENIZER
   */
  async encode(text: CheckedText, wish: LengthWish, known?: Encoded): Promise<EncodedText> {
    if ('ids' in text) return this.#cutIds(text.ids, wish);
    const { tail = [], addSpecialTokens } = text;
    const maxTokens = wish.maxTokens - tail.length;
    const options = { maxTokens, truncate: wish.truncate, addSpecialTokens };
    const { ids, types, isTruncated } = await (known === undefined
      ? this.#tokenize(text.whole, options)
      : this.tokenizer.encodeWhole(text.whole, options, known));
    if (ids.length + tail.length === 0) {
      throw octavoError(
        'ERR_INVALID_PROMPT',
        'the text is empty: it has no token; write at least a character',
        { param: 'prompt' },
      );
    }
    const tokenIds = this.#known([...ids, ...tail]);
    if (types === undefined || !this.limits.hasTokenTypes) return { tokenIds, isTruncated };
    return { tokenIds, tokenTypes: types, isTruncated };
  }

  /**
   * What `encode` may know of texts beforehand: the short ones among them are tokenized together.
   * By their places.
   */
  async prepare(
    texts: readonly CheckedText[],
    { maxTokens }: LengthWish,
  ): Promise<ReadonlyMap<number, Encoded>> {
    const short: string[] = [];
    const places: number[] = [];
    texts.forEach((text, i) => {
      if (!isPlain(text) || text.whole.text.length > USUAL_LENGTH * maxTokens) return;
      short.push(text.whole.text);
      places.push(i);
    });
    const encoded = short.length > 1 ? await this.tokenizer.prepare(short) : null;
    return new Map(encoded?.map((each, i) => [places[i], each]));
  }

  /** A text of which only the beginning is wanted is not tokenized to its end, if that is far. */
  async #tokenize(
    whole: WholeText,
    options: LengthWish & { readonly addSpecialTokens?: boolean },
  ): Promise<TokenizedText> {
    const { text, marked, pair } = whole;
    const { maxTokens, truncate } = options;
    if (!truncate) await checkText(`${text}${pair ?? ''}`, this.tokenizer, maxTokens);
    const most = 2 * USUAL_LENGTH * maxTokens;
    if (truncate && Math.max(text.length, pair?.length ?? 0) > most) {
      const begin = {
        text: text.slice(0, most),
        pair: pair?.slice(0, most),
        marked: marked?.slice(0, most) ?? marked,
      };
      const cut = await this.tokenizer.encodeWhole(begin, options);
      if (cut.isTruncated) return cut;
    }
    return this.tokenizer.encodeWhole(whole, options);
  }

  /** The tokenizer may have more tokens than the model. */
  #known(ids: readonly number[]): Int32Array {
    const { vocabSize } = this.limits;
    const known = Int32Array.from(ids);
    for (const id of known) {
      if (id < vocabSize) continue;
      throw octavoError(
        'ERR_INVALID_PROMPT',
        `the text has the token ${shown(this.tokenizer.idToToken(id))}, of id ${id}, which this ` +
          `model has not (0 to ${vocabSize - 1})`,
        { param: 'prompt' },
      );
    }
    return known;
  }

  async #cutIds(ids: Int32Array, { maxTokens }: LengthWish): Promise<EncodedText> {
    if (ids.length <= maxTokens) return { tokenIds: ids, isTruncated: false };
    this.#closing ??= this.#findClosing();
    const closing = await this.#closing.catch((error) => {
      this.#closing = undefined; // the next call asks again
      throw error;
    });
    const tokenIds = ids.slice(0, maxTokens);
    const at = ids.length - closing.length;
    const isClosed = closing.length < maxTokens && closing.every((id, i) => id === ids[at + i]);
    if (isClosed) tokenIds.set(closing, maxTokens - closing.length);
    return { tokenIds, isTruncated: true };
  }

  async #findClosing(): Promise<readonly number[]> {
    const options = { maxTokens: MAX_IDS, truncate: true };
    const { ids: all } = await this.tokenizer.encodeWhole({ text: 'a' }, options);
    const plain = { ...options, addSpecialTokens: false };
    const { ids: own } = await this.tokenizer.encodeWhole({ text: 'a' }, plain);
    if (own.length === 0) return [];
    const begin = all.findIndex((_, i) => own.every((id, j) => all[i + j] === id));
    return begin < 0 ? [] : all.slice(begin + own.length);
  }
}

/** One text, of which all is parsed. */
function isPlain(text: CheckedText): text is { readonly whole: WholeText } {
  if ('ids' in text || text.tail !== undefined || text.addSpecialTokens === false) return false;
  const { pair, marked } = text.whole;
  return pair === undefined && marked === undefined;
}

/** Refused before any is copied. */
function checkIdsLength(prompt: unknown, most: number): void {
  const length = readArgument(() => {
    const ids = (prompt as { promptTokenIds?: ArrayLike<number> } | null | undefined)
      ?.promptTokenIds;
    return typeof ids === 'object' && ids !== null ? ids.length : 0;
  }, notAText);
  if (!(length > most)) return;
  throw octavoError(
    'ERR_PROMPT_TOO_LONG',
    `the prompt has ${length} tokens, and at most ${most} are taken; shorten it`,
    { param: 'prompt' },
  );
}

function notAText(cause?: unknown): Error {
  const sentence =
    'a text must be a string, {prompt: string} or {promptTokenIds: number[]}; of a conversation, ' +
    'give the text that applyChatTemplate() makes';
  return octavoError('ERR_INVALID_PROMPT', sentence, { param: 'prompt', cause });
}
