import type { Budget } from './budget.js';
import { grammarError } from './problem.js';
import { MAX_BRACKETS_DEEP, MAX_SOURCE_LENGTH } from './rules.js';

/** A place in a grammar text that moves on; knows its line for messages. */
export class Scanner {
  readonly text: string;
  readonly #budget: Budget;
  at = 0;
  #deep = 0;
  /** The line of a place up to which lines were counted. */
  #line = 1;
  #counted = 0;

  constructor(text: string, budget: Budget) {
    this.#budget = budget;
    if (text.length > MAX_SOURCE_LENGTH) {
      throw grammarError(
        `a grammar of ${text.length} characters is too long: ${MAX_SOURCE_LENGTH} is the most`,
      );
    }
    this.text = text;
  }

  get line(): number {
    if (this.at < this.#counted) [this.#counted, this.#line] = [0, 1];
    const end = Math.min(this.at, this.text.length);
    for (; this.#counted < end; this.#counted++) {
      if (this.text.charCodeAt(this.#counted) === 10) this.#line++;
    }
    return this.#line;
  }

  get done(): boolean {
    return this.at >= this.text.length;
  }

  wrong(what: string): Error {
    return grammarError(`the grammar's line ${this.line} ${what}`);
  }

  /** What the sticky pattern matches here, or null; does not move. */
  look(pattern: RegExp): RegExpExecArray | null {
    this.#budget.spend();
    pattern.lastIndex = this.at;
    return pattern.exec(this.text);
  }

  /** What the sticky pattern matches here, and moves behind it. */
  take(pattern: RegExp): RegExpExecArray | null {
    const match = this.look(pattern);
    if (match !== null) this.at += match[0].length;
    return match;
  }

  takeText(text: string): boolean {
    if (!this.text.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  /** One code point. */
  char(): number {
    const codePoint = this.text.codePointAt(this.at) ?? -1;
    this.at += codePoint > 0xffff ? 2 : 1;
    return codePoint;
  }

  /** Reads what is between brackets by `inner`; what ends it must follow. */
  bracketed<T>(close: string, inner: () => T): T {
    if (++this.#deep > MAX_BRACKETS_DEEP) {
      throw this.wrong(
        `nests brackets deeper than ${MAX_BRACKETS_DEEP}: name inner parts as rules`,
      );
    }
    const found = inner();
    if (!this.takeText(close)) throw this.wrong(`misses a ${close}`);
    this.#deep--;
    return found;
  }
}

/** Ids of special tokens by their text, for grammars that name some. */
export type TokenLookup = (text: string) => number | undefined;

const IDS = /<\[([0-9]{1,9}(?:-[0-9]{1,9})?(?:,[0-9]{1,9}(?:-[0-9]{1,9})?)*)\]>/y;
const NAMED = /<[^<>\s]{1,100}>/y;
const MAX_IDS = 100_000;

/** `<[12]>`, `<[12,14-20]>` or `<|name|>` where it stands here: ids, each one whole token. */
export function takeTokens(
  scanner: Scanner,
  lookup: TokenLookup | undefined,
): number[] | undefined {
  const byId = scanner.look(IDS);
  if (byId !== null) {
    const ids: number[] = [];
    for (const range of byId[1].split(',')) {
      const [first, last = first] = range.split('-').map(Number);
      if (last < first || ids.length + last - first >= MAX_IDS) {
        throw scanner.wrong(`has ${byId[0]}: up to ${MAX_IDS} ids, the smaller end first`);
      }
      for (let id = first; id <= last; id++) ids.push(id);
    }
    scanner.at += byId[0].length;
    return ids;
  }
  const named = scanner.look(NAMED);
  if (named === null) return undefined;
  const id = lookup?.(named[0]);
  if (id === undefined) {
    throw scanner.wrong(
      `names the token ${named[0]}, which this model has not: write "${named[0]}" for the text`,
    );
  }
  scanner.at += named[0].length;
  return [id];
}
