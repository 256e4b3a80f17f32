import { byteSet } from '../bytes.js';
import type { Regex, RegexBuilder } from '../ir.js';
import type { JsonSyntax } from '../json.js';
import { comparison, decimalOf, multiples } from './decimal.js';

/**
 * A set of numbers. `plain`: all texts without exponent of exactly these numbers, so that
 * complement and intersection of sets are those of the languages.
 * `exponents`: whether numbers written with an exponent belong: all, none, or it depends.
 * `whole`: all of it are integers by type; they are written without a point.
 * `close`: doubles that are rounded may be of it or not: they are written with few digits.
 * `texts`: what is written, where these are a few texts.
 */
export interface NumberSet {
  readonly plain: Regex;
  readonly exponents: 'all' | 'none' | 'some';
  readonly whole: boolean;
  readonly close: boolean;
  readonly texts?: Regex;
}

/** Most states of one automaton of a divisor. */
const MAX_STATES = 5_000;

/** Digits that every double keeps. */
const SURE_DIGITS = 15;

const OTHER = { all: 'none', none: 'all', some: 'some' } as const;

export class Numbers {
  readonly all: NumberSet;
  readonly none: NumberSet;
  readonly integers: NumberSet;
  readonly #builder: RegexBuilder;
  readonly #syntax: JsonSyntax;
  readonly #plain: Regex;
  readonly #fewDigits: Regex;
  readonly #made = new Map<string, Regex>();

  constructor(syntax: JsonSyntax) {
    const builder = syntax.builder;
    this.#builder = builder;
    this.#syntax = syntax;
    const digit = builder.bytes(byteSet([0x30, 0x39]));
    const lead = builder.bytes(byteSet([0x31, 0x39]));
    const natural = builder.alt(
      builder.text('0'),
      builder.concat(lead, builder.repeat(digit, 0, Infinity)),
    );
    const point = builder.text('.');
    const minus = builder.optional(builder.text('-'));
    const zeros = builder.repeat(builder.text('0'), 1, Infinity);
    const some = builder.repeat(digit, 1, Infinity);
    const part = (digits: Regex) => builder.optional(builder.concat(point, digits));
    this.#plain = builder.concat(minus, natural, part(some));
    this.all = { plain: this.#plain, exponents: 'all', whole: false, close: false };
    this.none = { plain: builder.empty(), exponents: 'none', whole: true, close: false };
    const noughts = builder.repeat(builder.texts(['0', '0.', '.0']), 0, Infinity);
    const dotted = builder.concat(builder.optional(point), digit);
    const sure = builder.repeat(dotted, 0, SURE_DIGITS);
    this.#fewDigits = builder.concat(minus, noughts, sure, noughts);
    const integers = builder.concat(minus, natural, part(zeros));
    this.integers = { plain: integers, exponents: 'some', whole: true, close: false };
  }

  /** Exactly these. */
  constants(values: readonly number[]): NumberSet {
    const plain = this.#builder.altOf(values.map((value) => this.#plainOf(value)));
    const texts = this.#builder.texts(values.map((value) => JSON.stringify(value)));
    return { plain, exponents: 'some', whole: false, close: false, texts };
  }

  /** All texts of a number, without exponent. */
  #plainOf(value: number): Regex {
    const { negative, whole, fraction } = decimalOf(value);
    const builder = this.#builder;
    const zeros = builder.repeat(builder.text('0'), 0, Infinity);
    const point = builder.text('.');
    const zero = whole === '0' && fraction === '';
    const sign = zero ? builder.optional(builder.text('-')) : builder.text(negative ? '-' : '');
    const tail =
      fraction === ''
        ? builder.optional(builder.concat(point, builder.text('0'), zeros))
        : builder.concat(point, builder.text(fraction), zeros);
    return builder.concat(sign, builder.text(whole), tail);
  }

  /** Numbers that are at least (or more than) a bound, or at most (less than) it. */
  bound(value: number, side: 'min' | 'max', exclusive: boolean): NumberSet {
    const accepts = (order: number) =>
      order === 0 ? !exclusive : side === 'min' ? order > 0 : order < 0;
    const key = `${side} ${exclusive} ${value}`;
    const plain = this.#once(key, () => comparison(decimalOf(value), accepts, this.#builder));
    // No number that is written is so small that it would become zero.
    return { plain, exponents: 'some', whole: false, close: value !== 0 };
  }

  /** Undefined where the divisor has too many digits for an automaton. */
  multipleOf(divisor: number): NumberSet | undefined {
    const { whole, fraction } = decimalOf(divisor);
    const modulus = Number(whole + fraction);
    if (modulus * (fraction.length + 2) > MAX_STATES) return undefined;
    const key = `multiple ${divisor}`;
    const make = () => multiples(modulus, fraction.length, this.#builder);
    return { plain: this.#once(key, make), exponents: 'some', whole: false, close: true };
  }

  both(a: NumberSet, b: NumberSet): NumberSet {
    if (a === this.all || a === b) return b;
    if (b === this.all) return a;
    const exponents =
      a.exponents === 'none' || b.exponents === 'none'
        ? 'none'
        : a.exponents === 'all' && b.exponents === 'all'
          ? 'all'
          : 'some';
    const texts =
      a.texts === undefined && b.texts === undefined
        ? undefined
        : this.#builder.and(a.texts ?? a.plain, b.texts ?? b.plain);
    const plain = this.#meet(a.plain, b.plain);
    return { plain, exponents, whole: a.whole || b.whole, close: a.close || b.close, texts };
  }

  either(a: NumberSet, b: NumberSet): NumberSet {
    if (a === this.none || a === b) return b;
    if (b === this.none) return a;
    if (a === this.all || b === this.all) return this.all;
    const exponents =
      a.exponents === 'all' || b.exponents === 'all'
        ? 'all'
        : a.exponents === 'none' && b.exponents === 'none'
          ? 'none'
          : 'some';
    const plain = this.#builder.alt(a.plain, b.plain);
    const texts = a.texts && b.texts && this.#builder.alt(a.texts, b.texts);
    return { plain, exponents, whole: a.whole && b.whole, close: a.close || b.close, texts };
  }

  not(a: NumberSet): NumberSet {
    if (a === this.all) return this.none;
    if (a === this.none) return this.all;
    const plain = this.#builder.and(this.#plain, this.#builder.not(a.plain));
    return { plain, exponents: OTHER[a.exponents], whole: false, close: true };
  }

  /** What is generated of a set: few digits, integers without a point. */
  written(set: NumberSet): Regex {
    if (set === this.none) return this.#builder.empty();
    if (set === this.all) return this.#syntax.number;
    if (set.texts !== undefined) return set.texts;
    const shape = set.whole ? this.#syntax.integer : this.#syntax.number;
    if (set.plain === this.integers.plain) return shape;
    const parts = set.plain.kind === 'and' ? set.plain.parts : [set.plain];
    const known = new Set<Regex>([this.#plain]);
    if (set.whole) known.add(this.integers.plain);
    const cut = parts.filter((part) => !known.has(part));
    return this.#builder.and(shape, ...(set.close ? [this.#fewDigits] : []), ...cut);
  }

  #meet(a: Regex, b: Regex): Regex {
    if (a === this.#plain) return b;
    if (b === this.#plain) return a;
    return this.#builder.and(a, b);
  }

  #once(key: string, make: () => Regex): Regex {
    let regex = this.#made.get(key);
    if (regex === undefined) {
      regex = make();
      this.#made.set(key, regex);
    }
    return regex;
  }
}
