/**
 * Control tokens as single characters: what they spell can then be told from text that spells the
 * same. The characters are lone low surrogates, which no decoded text contains.
 */

const FIRST = 0xdc00;
/** Below the slots of format.ts. */
const MAX_MARKS = 0x300;
/** Longest spelling of a control token that is looked for, in UTF-16 units. */
const LONGEST = 48;

/** What is asked of a tokenizer here. */
export interface TokenSource {
  tokenToId(token: string): number | undefined;
  isSpecial(id: number): boolean;
}

/** What a grammar asks of marks. */
export type MarkIds = Pick<Marks, 'idOf'>;

const MARK = /[\udc00-\udfff]/u;
const ALL_MARKS = /[\udc00-\udfff]/gu;

export class Marks {
  readonly #tokens: TokenSource;
  readonly #byId = new Map<number, string>();
  readonly #ids: number[] = [];
  readonly #spellings: string[] = [];

  constructor(tokens: TokenSource) {
    this.#tokens = tokens;
  }

  /** A marker's text, each control token in it one character. */
  mark(text: string): string {
    let marked = '';
    for (let at = 0; at < text.length; ) {
      const length = this.#specialAt(text, at);
      marked += length === 0 ? text[at] : this.#markOf(text.slice(at, at + length));
      at += Math.max(length, 1);
    }
    return marked;
  }

  /** The mark of a token that some marker has; undefined for every other. */
  ofId(id: number): string | undefined {
    return this.#byId.get(id);
  }

  idOf(mark: string): number {
    return this.#ids[mark.charCodeAt(0) - FIRST];
  }

  /** Of a mark; '' of a slot. */
  spell(mark: string): string {
    return this.#spellings[mark.charCodeAt(0) - FIRST] ?? '';
  }

  #specialAt(text: string, at: number): number {
    if (/[\p{L}\p{N}\s"{}:,]/u.test(text[at])) return 0;
    for (let length = Math.min(LONGEST, text.length - at); length > 1; length--) {
      const id = this.#tokens.tokenToId(text.slice(at, at + length));
      if (id !== undefined && this.#tokens.isSpecial(id)) return length;
    }
    return 0;
  }

  #markOf(spelling: string): string {
    const id = this.#tokens.tokenToId(spelling) as number;
    const known = this.#byId.get(id);
    if (known !== undefined || this.#ids.length >= MAX_MARKS) return known ?? spelling;
    const mark = String.fromCharCode(FIRST + this.#ids.length);
    this.#ids.push(id);
    this.#spellings.push(spelling);
    this.#byId.set(id, mark);
    return mark;
  }
}

export function isMark(char: string): boolean {
  return MARK.test(char);
}

/** A text without the control tokens in it, as decoded texts are by default. */
export function withoutMarks(text: string): string {
  return text.replace(ALL_MARKS, '');
}
