import { ByteRun } from './byte-runs.js';
import type { Tokenizer } from './tokenizer.js';

const REPLACEMENT = '\ufffd';

/**
 * A token that decodes to itself under every decoder. Standing first in the window it takes what
 * decoders do to the beginning of a text (dropping the dummy space) upon itself.
 */
const ANCHOR = 'a';

/** Tokens in the window before it is cut back to the last few. */
const WINDOW = 12;

/**
 * Tokens kept when the window is cut while its last character is incomplete: a UTF-8 sequence
 * without its end is at most three bytes, so at most three tokens.
 */
const UNSETTLED = 4;

/** How many of the prompt's last tokens are looked at. */
const PROMPT_TOKENS = 8;

export interface DetokenizerOptions {
  /** Whether special tokens are left out of the text. Default true. */
  skipSpecialTokens?: boolean;
  /**
   * The ids before the first one pushed: the whole prompt, or at least its last 16. With it the
   * text continues the prompt (a SentencePiece tokenizer's leading space stays); without it the
   * text stands at a beginning. Default: none.
   */
  promptTail?: ArrayLike<number>;
}

/**
 * Ids to text, one at a time, synchronously (about 2 µs an id). The text returned never has to be
 * taken back: an unfinished UTF-8 sequence is held until it is complete or shown to be broken, and
 * what `push` and `flush` return is together what `Tokenizer.decode` makes of all the ids.
 *
 * How: the last few tokens (the window) are decoded together; `#emitted` is how many of its UTF-16
 * units were returned already, and the rest is new. When the window grows long it is cut back to
 * its last token, which stays as context for the next one: constant cost per token. Ids that have
 * no token (rows that pad a model's vocabulary) have no text.
 */
export class Detokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #skip: boolean;
  #window: string[] = [];
  #emitted = 0;
  #run = new ByteRun();

  constructor(tokenizer: Tokenizer, options: DetokenizerOptions = {}) {
    this.#tokenizer = tokenizer;
    this.#skip = options.skipSpecialTokens ?? true;
    const tail = this.#promptTokens(options.promptTail ?? []);
    if (tail.length === 0) return;
    this.#window = [ANCHOR, ...tail];
    this.#emitted = this.#certain(this.#tokenizer.decodeTokens(this.#window));
  }

  /** The prompt's last tokens that have text; bytes of an unfinished character wait in the run. */
  #promptTokens(ids: ArrayLike<number>): string[] {
    const last: number[] = [];
    for (let i = ids.length - 1; i >= 0 && last.length < PROMPT_TOKENS; i--) {
      if (this.#hasText(ids[i])) last.push(ids[i]);
    }
    const tokens: string[] = [];
    for (const id of last.reverse()) this.#append(id, tokens);
    return tokens;
  }

  #hasText(id: number): boolean {
    return !(this.#skip && this.#tokenizer.isSpecial(id));
  }

  #append(id: number, tokens: string[]): void {
    const byte = this.#tokenizer.byteOf(id);
    if (byte !== undefined) {
      this.#run.push(byte, tokens);
      return;
    }
    const token = this.#tokenizer.idToToken(id);
    if (token === null) return;
    this.#run.end(tokens);
    tokens.push(token);
  }

  /** How much of a text is certain: all but a last U+FFFD, which may be half a character. */
  #certain(text: string): number {
    return text.endsWith(REPLACEMENT) ? text.length - 1 : text.length;
  }

  /** Takes the next id; returns the text that is certain now, often of this id, sometimes ''. */
  push(id: number): string {
    if (!this.#hasText(id)) return '';
    const before = this.#window.length;
    this.#append(id, this.#window);
    return this.#window.length === before ? '' : this.#read();
  }

  #read(): string {
    const text = this.#tokenizer.decodeTokens(this.#window);
    const certain = this.#certain(text);
    const delta = text.slice(this.#emitted, certain);
    this.#emitted = Math.max(this.#emitted, certain);
    if (this.#window.length >= WINDOW) this.#cut(certain === text.length);
    return delta;
  }

  /** Cuts the window back to the fewest tokens that still decide what the next one looks like. */
  #cut(settled: boolean): void {
    const kept = this.#window.slice(settled ? -1 : -UNSETTLED);
    const bytes = kept[0].length === 6 && kept[0].startsWith('<0x');
    this.#window = settled && bytes ? [ANCHOR] : [ANCHOR, ...kept];
    const text = this.#tokenizer.decodeTokens(this.#window);
    // Settled, a last U+FFFD is only the end of a character whose beginning was cut off.
    this.#emitted = settled ? text.length : this.#certain(text);
  }

  /** Ends the text: returns what was held back, U+FFFD for every broken sequence. Call it last. */
  flush(): string {
    this.#run.end(this.#window);
    const text = this.#tokenizer.decodeTokens(this.#window);
    const delta = text.slice(this.#emitted);
    this.#emitted = text.length;
    return delta;
  }

  /**
   * Something comes that no character goes on behind. Returns what was held back, as `flush()`
   * does; the text goes on with the next id.
   */
  settle(): string {
    const rest = this.flush();
    if (rest !== '') {
      // Nothing that follows may complete what was given out as broken.
      this.#window = [ANCHOR];
      this.#emitted = this.#tokenizer.decodeTokens(this.#window).length;
    }
    return rest;
  }

  /** A copy that goes on independently, for a sequence that forks. */
  clone(): Detokenizer {
    const copy = new Detokenizer(this.#tokenizer, { skipSpecialTokens: this.#skip });
    copy.#window = [...this.#window];
    copy.#emitted = this.#emitted;
    copy.#run = this.#run.clone();
    return copy;
  }
}
