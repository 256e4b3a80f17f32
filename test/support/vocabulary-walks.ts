/** Texts drawn token by token under the masks of native grammars, over whole vocabularies. */
import {
  type KnownVocabulary,
  LLAMA3,
  QWEN3,
  tokenizerOf,
} from '../../bench/support/vocabularies.js';
import type { Grammar } from '../../lib/grammar/grammar.js';
import { encodeProgram } from '../../lib/grammar/program.js';
import type { NativeGrammar, NativeMatcher, NativeVocabulary } from '../../lib/native.js';
import { type TokenBytes, tokenBytes } from '../../lib/text/token-bytes.js';
import type { Tokenizer } from '../../lib/text/tokenizer.js';
import { testAddon } from './addon.js';
import { ALL } from './all.js';
import type { Random } from './random.js';

export interface Walked {
  readonly ids: readonly number[];
  /** False: it was given up where it was too long. */
  readonly complete: boolean;
}

const LIMITS = { maxStates: 250_000, maxBytes: 256 << 20, maxMs: 20_000 };
/** From this many tokens on a text is brought to its end. */
const LONG = 60;
/** Texts that did not end by then are given up. */
const LONGEST = 250;
/** Of each mask so many bits that are 0 are tried out. */
const TRIES = 4;

export class Walks {
  readonly tokenizer: Tokenizer;
  readonly #tokens: TokenBytes;
  readonly #native: NativeVocabulary;
  readonly #ends: readonly number[];
  readonly #mask: Int32Array;
  /** Tokens that close something, and whether they are short. */
  readonly #closing: ReadonlySet<number>;

  private constructor(
    tokenizer: Tokenizer,
    tokens: TokenBytes,
    vocabulary: NativeVocabulary,
    ends: readonly number[],
  ) {
    this.tokenizer = tokenizer;
    this.#tokens = tokens;
    this.#native = vocabulary;
    this.#ends = ends;
    this.#mask = new Int32Array(Math.ceil(vocabulary.numTokens / 32));
    const closing = new Set(ends);
    for (let id = 0; id < vocabulary.numTokens; id++) {
      if (/^["}\])<\n]/.test(this.spelling(id))) closing.add(id);
    }
    this.#closing = closing;
  }

  static async of(tokenizer: Tokenizer, size: number, ends: readonly number[]): Promise<Walks> {
    const tokens = await tokenBytes(tokenizer, size);
    const { bytes, offsets } = tokens;
    const { Vocabulary } = testAddon();
    const built = await Vocabulary.build(bytes, offsets, Int32Array.from(ends));
    return new Walks(tokenizer, tokens, built, ends);
  }

  close(): void {
    this.#native.close();
  }

  compile(grammar: Grammar): Promise<NativeGrammar> {
    return testAddon().Grammar.compile(this.#native, encodeProgram(grammar), LIMITS);
  }

  bytesOf(id: number): Uint8Array {
    const { bytes, offsets } = this.#tokens;
    return bytes.subarray(offsets[id], offsets[id + 1]);
  }

  /**
   * Logits that are random and equally distributed draw each allowed token equally often, whatever
   * the temperature; some of the time, and at the end, one that closes what is open is taken.
   */
  async walk(grammar: NativeGrammar, draws: Random): Promise<Walked> {
    const matcher = grammar.start();
    const ids: number[] = [];
    while (ids.length < LONGEST) {
      const allowed = await this.#allowed(matcher, draws);
      const ending = this.#ends.find((id) => this.#has(id));
      const isLong = ids.length > LONG;
      if (ending !== undefined && (isLong || allowed.length === 1 || draws.integer(4) === 0)) {
        if (!matcher.complete()) throw new Error('an end is allowed where nothing is complete');
        return { ids, complete: true };
      }
      const usable = allowed.filter((id) => !this.#ends.includes(id));
      const id = this.#draw(usable, isLong || draws.integer(3) === 0, draws);
      if (!matcher.advance(id)) throw new Error(`${id} is allowed by the mask and not taken`);
      ids.push(id);
    }
    return { ids, complete: false };
  }

  /** The masks before each token and behind the last, as bytes. */
  async masksAlong(grammar: NativeGrammar, ids: readonly number[]): Promise<Buffer[]> {
    const matcher = grammar.start();
    const masks: Buffer[] = [];
    for (const id of [...ids, undefined]) {
      const mask = new Int32Array(this.#mask.length);
      await fill(matcher, mask);
      masks.push(Buffer.from(mask.buffer));
      if (id !== undefined && !matcher.advance(id)) throw new Error(`${id} is not taken`);
    }
    return masks;
  }

  #draw(allowed: readonly number[], closes: boolean, draws: Random): number {
    const closing = closes ? allowed.filter((id) => this.#closing.has(id)) : [];
    const from = closing.length > 0 ? closing : allowed;
    return from[draws.integer(from.length)];
  }

  async #allowed(matcher: NativeMatcher, draws: Random): Promise<number[]> {
    await fill(matcher, this.#mask);
    if (matcher.failure !== '') throw new Error(matcher.failure);
    const allowed: number[] = [];
    const { numTokens } = this.#native;
    for (let id = 0; id < numTokens; id++) if (this.#has(id)) allowed.push(id);
    if (allowed.length === 0) throw new Error('nothing is allowed');
    const complete = this.#ends.some((id) => this.#has(id));
    while (matcher.complete() === null) await matcher.settle();
    if (complete !== matcher.complete()) throw new Error('the end is not told alike');
    for (let i = 0; i < TRIES; i++) {
      const id = draws.integer(numTokens);
      if (this.#ends.includes(id)) continue;
      if ((await this.#takes(matcher, id)) !== this.#has(id)) {
        throw new Error(`${id} ${JSON.stringify(this.spelling(id))}: the mask says otherwise`);
      }
    }
    return allowed;
  }

  /** A token may be taken on trust; then nothing can follow it. */
  async #takes(matcher: NativeMatcher, id: number): Promise<boolean> {
    const fork = matcher.fork();
    try {
      if (!fork.advance(id)) return false;
      const mask = new Int32Array(this.#mask.length);
      await fill(fork, mask);
      return mask.some((word) => word !== 0);
    } finally {
      fork.close();
    }
  }

  #has(id: number): boolean {
    return ((this.#mask[id >> 5] >>> (id & 31)) & 1) === 1;
  }

  spelling(id: number): string {
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(this.bytesOf(id));
  }
}

/** The mask of a place; what would hold the thread for long is found out on another one first. */
async function fill(matcher: NativeMatcher, mask: Int32Array): Promise<void> {
  mask.fill(-1);
  while (!matcher.fillMask(mask, 0)) await matcher.settle();
}

/** Of known models; none, with a line that says why, where they are not to be had. */
export const KNOWN = ALL ? [LLAMA3, QWEN3].filter(isThere) : [];

function isThere(vocabulary: KnownVocabulary): boolean {
  try {
    tokenizerOf(vocabulary);
    return true;
  } catch (error) {
    console.log(`skipped, ${vocabulary.name}: ${(error as Error).message}`);
    return false;
  }
}

export function walksOf(vocabulary: KnownVocabulary): Promise<Walks> {
  const tokenizer = tokenizerOf(vocabulary);
  return Walks.of(tokenizer, vocabulary.vocabSize, [tokenizer.tokenToId(vocabulary.eosToken)!]);
}
