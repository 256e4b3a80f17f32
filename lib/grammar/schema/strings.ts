import { ALL_CHARS, type CharSet } from '../bytes.js';
import type { Regex, RegexBuilder } from '../ir.js';
import { isText, type JsonSyntax } from '../json.js';
import { regexToTerminal } from '../regex.js';

/**
 * A set of strings as what may stand within the quotes.
 * `exact`: all spellings that the syntax encodes of exactly these strings: the complement and the
 * intersection of sets are those of the languages. `written`: what is generated of it.
 * `free`: `written` has every spelling there is.
 */
export interface StringSet {
  readonly exact: Regex;
  readonly written: Regex;
  readonly free: boolean;
}

export class Strings {
  readonly all: StringSet;
  readonly none: StringSet;
  /** One character, as the syntax encodes it. */
  readonly #char: Regex;
  readonly #builder: RegexBuilder;
  readonly #syntax: JsonSyntax;
  readonly #patterns = new Map<string, Regex>();

  constructor(syntax: JsonSyntax) {
    this.#builder = syntax.builder;
    this.#syntax = syntax;
    this.#char = syntax.encode(ALL_CHARS);
    const exact = this.#builder.repeat(this.#char, 0, Infinity);
    this.all = { exact, written: syntax.chars, free: true };
    this.none = { exact: this.#builder.empty(), written: this.#builder.empty(), free: true };
  }

  /** Every text, in the spellings of `exact`. */
  get universe(): Regex {
    return this.all.exact;
  }

  texts(texts: readonly string[]): StringSet {
    // A lone surrogate cannot be written as UTF-8, nor escaped so that parsers agree.
    const real = texts.filter((text) => isText(text));
    const exact = this.#builder.altOf(real.map((text) => this.spellings(text)));
    return { exact, written: this.#syntax.texts(real), free: false };
  }

  /** All spellings of one text. */
  spellings(text: string): Regex {
    return this.#syntax.spellings(text);
  }

  length(min: number, max: number): StringSet {
    if (min > max) return this.none;
    const exact = this.#builder.repeat(this.#char, min, max);
    return { exact, written: this.#builder.repeat(this.#syntax.char, min, max), free: true };
  }

  /** Texts in which the pattern is found. @throws ERR_GRAMMAR for what is not regular */
  pattern(source: string): StringSet {
    return this.#regular(source, true);
  }

  /** Texts that match the regex as a whole. */
  whole(source: string): StringSet {
    return this.#regular(source, false);
  }

  both(a: StringSet, b: StringSet): StringSet {
    if (a === this.all || a === b) return b;
    if (b === this.all) return a;
    return {
      exact: this.#meet(a.exact, b.exact),
      written: this.#builder.and(a.written, b.written),
      free: a.free && b.free,
    };
  }

  either(a: StringSet, b: StringSet): StringSet {
    if (a === this.all || b === this.all) return this.all;
    if (a === this.none || a === b) return b;
    if (b === this.none) return a;
    return {
      exact: this.#builder.alt(a.exact, b.exact),
      written: this.#builder.alt(a.written, b.written),
      free: a.free && b.free,
    };
  }

  not(a: StringSet): StringSet {
    if (a === this.all) return this.none;
    if (a === this.none) return this.all;
    const exact = this.outside(a.exact);
    if (!a.free) return { exact, written: exact, free: false };
    const written = this.#builder.and(this.all.written, this.#builder.not(a.written));
    return { exact, written, free: true };
  }

  /** The texts that are not of a language in the spellings of `exact`. */
  outside(exact: Regex): Regex {
    if (exact.kind === 'empty') return this.universe;
    if (exact === this.universe) return this.#builder.empty();
    return this.#builder.and(this.universe, this.#builder.not(exact));
  }

  /** Of two languages within the universe. */
  #meet(a: Regex, b: Regex): Regex {
    if (a === this.universe) return b;
    return b === this.universe ? a : this.#builder.and(a, b);
  }

  #regular(source: string, search: boolean): StringSet {
    const key = `${search}${source}`;
    let exact = this.#patterns.get(key);
    if (exact === undefined) {
      const encode = (set: CharSet) => this.#syntax.encode(set);
      exact = regexToTerminal(source, this.#builder, { encode, search });
      this.#patterns.set(key, exact);
    }
    return { exact, written: exact, free: false };
  }
}
