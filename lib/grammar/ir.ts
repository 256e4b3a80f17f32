import { assert } from '../errors.js';
import { Budget } from './budget.js';
import { type ByteSet, type CharSet, utf8Regex } from './bytes.js';
import { grammarError } from './problem.js';

/**
 * A regular language over bytes, made by a {@link RegexBuilder} and never changed. Equal nodes of
 * one builder are the same object, so `===` compares. `id` counts up, children before parents.
 */
export type Regex = RegexCommon &
  (
    | { readonly kind: 'empty' }
    | { readonly kind: 'epsilon' }
    | { readonly kind: 'bytes'; readonly set: ByteSet }
    | { readonly kind: 'concat' | 'alt' | 'and'; readonly parts: readonly Regex[] }
    | { readonly kind: 'not'; readonly of: Regex }
    | {
        readonly kind: 'repeat';
        readonly of: Regex;
        readonly min: number;
        /** Infinity: without end. */
        readonly max: number;
      }
    | { readonly kind: 'automaton'; readonly dfa: Automaton }
  );

interface RegexCommon {
  readonly id: number;
  /** True where the empty string belongs to the language. */
  readonly nullable: boolean;
  /** Longest way down to a leaf, 1 for a leaf. */
  readonly depth: number;
}

/** A complete deterministic automaton over classes of bytes. */
export interface Automaton {
  readonly numStates: number;
  readonly start: number;
  /** Of each state: whether a string may end there. */
  readonly accepts: readonly boolean[];
  /** [256]: the class of each byte, below `numClasses`. */
  readonly classOf: Uint8Array;
  readonly numClasses: number;
  /** [numStates · numClasses]: the state after, at `state * numClasses + class`; -1: none. */
  readonly next: Int32Array;
}

/** Bounds that a hostile grammar meets before it costs anything. */
export const MAX_NODES = 500_000;
export const MAX_DEPTH = 1_000;
export const MAX_POOL_WORDS = 16_777_216;
/** Counts above this are endless as far as any text goes. */
export const MAX_COUNT = 0x7fff_ffff;

/** Lists up to this are taken apart inside another; longer ones stay, so that none doubles. */
const FLATTENED = 1_024;

const ANY_BYTE = new Uint32Array(8).fill(0xffff_ffff);
const UTF8 = new TextEncoder();

/**
 * Makes regexes; one builder per grammar. Simplifies what is plain to see (concatenation with the
 * empty language, alternatives of byte sets, …), nothing that takes a search.
 * Every method throws ERR_GRAMMAR where nodes, depth or sizes pass the bounds above, or the budget
 * does not suffice.
 */
export class RegexBuilder {
  readonly budget: Budget;
  readonly #nodes = new Map<string, Regex>();
  readonly #singles: Regex[] = [];
  #empty: Regex | undefined;
  #bare: Regex | undefined;
  #all: Regex | undefined;
  readonly #tables = new Map<Int32Array, number>();
  /** Whose nodes it begins with, and how many these are. */
  readonly #base: RegexBuilder | undefined;
  readonly #numShared: number;
  #shared: ReadonlySet<Regex> | undefined;
  #words = 0;
  #automata = 0;

  /**
   * @param budget of all the work that is done for the same text
   * @param base with whose nodes it begins; that one makes no more
   */
  constructor(budget = new Budget(), base?: RegexBuilder) {
    this.budget = budget;
    this.#base = base;
    this.#numShared = base?.numNodes ?? 0;
  }

  /** Another that begins as this one did, with the same budget. */
  sibling(): RegexBuilder {
    return new RegexBuilder(this.budget, this.#base);
  }

  isOn(base: RegexBuilder): boolean {
    return this.#base === base;
  }

  /** Whether it began with this node. */
  shares(regex: Regex): boolean {
    const base = this.#base;
    return base === undefined ? false : base.#members().has(regex);
  }

  #members(): ReadonlySet<Regex> {
    this.#shared ??= new Set(this.#nodes.values());
    return this.#shared;
  }

  /** How many different nodes there are. */
  get numNodes(): number {
    return this.#numShared + this.#nodes.size + this.#automata;
  }

  /** No string at all. */
  empty(): Regex {
    this.#empty ??= this.#intern('0', (id) => ({ id, kind: 'empty', nullable: false, depth: 1 }));
    return this.#empty;
  }

  /** The empty string alone. */
  epsilon(): Regex {
    this.#bare ??= this.#intern('1', (id) => ({ id, kind: 'epsilon', nullable: true, depth: 1 }));
    return this.#bare;
  }

  /** One byte of the set; an empty set is {@link empty}. */
  bytes(set: ByteSet): Regex {
    if (set.every((word) => word === 0)) return this.empty();
    let key = '2:';
    for (const word of set) key += String.fromCharCode(word & 0xffff, word >>> 16);
    return this.#intern(key, (id) => {
      this.#use(8);
      return { id, kind: 'bytes', set: set.slice(), nullable: false, depth: 1 };
    });
  }

  /** Any one byte. */
  anyByte(): Regex {
    return this.bytes(ANY_BYTE);
  }

  /** Every byte string, the empty one too. */
  anyBytes(): Regex {
    this.#all ??= this.repeat(this.anyByte(), 0, Infinity);
    return this.#all;
  }

  /** Exactly these bytes. */
  byteString(bytes: Uint8Array): Regex {
    const parts: Regex[] = [];
    for (const byte of bytes) parts.push(this.#single(byte));
    return this.concatOf(parts);
  }

  /** Exactly this text, as UTF-8. @throws ERR_GRAMMAR where it has half a surrogate pair */
  text(text: string): Regex {
    const parts: Regex[] = [];
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 0x80) return this.byteString(encodeText(text));
      parts.push(this.#single(code));
    }
    return this.concatOf(parts);
  }

  /** Any one of these texts. Common beginnings are written once, so long lists stay cheap. */
  texts(texts: readonly string[]): Regex {
    const strings = [...new Set(texts)].map(encodeText).sort(compareBytes);
    return this.#branch(strings, 0, strings.length, 0);
  }

  /** One character of the set, as its UTF-8. Surrogates are left out. */
  chars(set: CharSet): Regex {
    return utf8Regex(set, this);
  }

  /** One after another; no part: {@link epsilon}. */
  concat(...parts: readonly Regex[]): Regex {
    return this.concatOf(parts);
  }

  /** As {@link concat}, for lists of any length. */
  concatOf(parts: readonly Regex[]): Regex {
    const flat: Regex[] = [];
    for (const part of parts) {
      if (part.kind === 'empty') return part;
      if (part.kind === 'concat' && part.parts.length <= FLATTENED) flat.push(...part.parts);
      else if (part.kind !== 'epsilon') flat.push(part);
    }
    if (flat.length === 0) return this.epsilon();
    if (flat.length === 1) return flat[0];
    return this.#list('concat', flat);
  }

  /** A string of any of the parts; no part: {@link empty}. */
  alt(...parts: readonly Regex[]): Regex {
    return this.altOf(parts);
  }

  /** As {@link alt}, for lists of any length. */
  altOf(parts: readonly Regex[]): Regex {
    if (parts.length === 1) return parts[0];
    const flat = new Set<Regex>();
    const sets: ByteSet[] = [];
    const add = (part: Regex) => {
      if (part.kind === 'alt' && part.parts.length <= FLATTENED) part.parts.forEach(add);
      else if (part.kind === 'bytes') sets.push(part.set);
      else if (part.kind !== 'empty') flat.add(part);
    };
    parts.forEach(add);
    if (sets.length > 0) flat.add(this.bytes(union(sets)));
    // An alternative that takes the empty string anyway makes the bare one needless.
    const bare = this.epsilon();
    if (flat.has(bare) && [...flat].some((part) => part !== bare && part.nullable)) {
      flat.delete(bare);
    }
    const everything = this.anyBytes();
    if (flat.has(everything)) return everything;
    const sorted = [...flat].sort((a, b) => a.id - b.id);
    if (sorted.length === 0) return this.empty();
    if (sorted.length === 1) return sorted[0];
    return this.#list('alt', sorted);
  }

  /** A string of all the parts at once; no part: {@link anyBytes}. */
  and(...parts: readonly Regex[]): Regex {
    const everything = this.anyBytes();
    const flat = new Set<Regex>();
    const add = (part: Regex) => {
      if (part.kind === 'and') part.parts.forEach(add);
      else if (part !== everything) flat.add(part);
    };
    parts.forEach(add);
    const sorted = [...flat].sort((a, b) => a.id - b.id);
    if (sorted.some((part) => part.kind === 'empty')) return this.empty();
    if (sorted.some((part) => part.kind === 'epsilon')) {
      return sorted.every((part) => part.nullable) ? this.epsilon() : this.empty();
    }
    if (sorted.length === 0) return everything;
    if (sorted.length === 1) return sorted[0];
    return this.#list('and', sorted);
  }

  /** Every byte string that is not of `of`, also ones that are no UTF-8: meet it with a text's. */
  not(of: Regex): Regex {
    if (of.kind === 'not') return of.of;
    if (of.kind === 'empty') return this.anyBytes();
    if (of === this.anyBytes()) return this.empty();
    return this.#intern(`6:${of.id}`, (id) => ({
      id,
      kind: 'not',
      of,
      nullable: !of.nullable,
      depth: deeper(of.depth),
    }));
  }

  /** `min` to `max` strings of `of`, one after another. `max` above {@link MAX_COUNT}: endless. */
  repeat(of: Regex, min: number, max: number): Regex {
    if (max > MAX_COUNT) max = Infinity;
    checkCounts(min, max);
    if (max === 0 || of.kind === 'epsilon') return this.epsilon();
    if (of.kind === 'empty') return min === 0 ? this.epsilon() : of;
    if (min === 1 && max === 1) return of;
    if (of.nullable) min = 0; // fewer strings are then some of them empty
    if (min === 0 && max === 1) return this.alt(of, this.epsilon());
    // (x+)* is x*, and (x*)* too.
    if (of.kind === 'repeat' && of.min <= 1 && of.max === Infinity && max === Infinity) of = of.of;
    const [inner, least] = [of, min];
    return this.#intern(`7:${inner.id},${least},${max}`, (id) => ({
      id,
      kind: 'repeat',
      of: inner,
      min: least,
      max,
      nullable: least === 0 || inner.nullable,
      depth: deeper(inner.depth),
    }));
  }

  optional(of: Regex): Regex {
    if (of.kind === 'repeat' && of.min === 1) return this.repeat(of.of, 0, of.max);
    return this.alt(of, this.epsilon());
  }

  /** The language of an automaton. Its tables must not change any more. */
  automaton(dfa: Automaton): Regex {
    checkAutomaton(dfa);
    this.#use(67 + Math.ceil(dfa.numStates / 32) + dfa.next.length);
    if (this.numNodes >= MAX_NODES) throw tooMany('parts', MAX_NODES);
    this.#automata++;
    const id = this.numNodes - 1;
    return { id, kind: 'automaton', dfa, nullable: dfa.accepts[dfa.start], depth: 1 };
  }

  /** What is left of an automaton that has come to this state; its tables are shared. */
  automatonAt(of: Regex & { readonly kind: 'automaton' }, state: number): Regex {
    if (state < 0) return this.empty();
    if (state === of.dfa.start) return of;
    return this.#intern(`8:${this.#tableOf(of.dfa)},${state}`, (id) => {
      const dfa = { ...of.dfa, start: state };
      return { id, kind: 'automaton', dfa, nullable: dfa.accepts[state], depth: 1 };
    });
  }

  /** `of` without the empty string. */
  nonEmpty(of: Regex): Regex {
    if (!of.nullable) return of;
    switch (of.kind) {
      case 'epsilon':
        return this.empty();
      case 'alt':
        return this.alt(...of.parts.map((part) => this.nonEmpty(part)));
      case 'repeat':
        return this.repeat(this.nonEmpty(of.of), 1, of.max);
      default:
        return this.and(of, this.repeat(this.anyByte(), 1, Infinity));
    }
  }

  #tableOf(dfa: Automaton): number {
    const known = this.#tables.get(dfa.next) ?? this.#tables.size;
    this.#tables.set(dfa.next, known);
    return known;
  }

  #single(byte: number): Regex {
    const known = this.#singles[byte];
    if (known !== undefined) return known;
    const set = new Uint32Array(8);
    set[byte >> 5] = 1 << (byte & 31);
    return (this.#singles[byte] = this.bytes(set));
  }

  /** Strings [from, to), sorted, that agree in their first `at` bytes. */
  #branch(strings: readonly Uint8Array[], from: number, to: number, at: number): Regex {
    if (from === to) return this.empty();
    let common = at;
    const [first, last] = [strings[from], strings[to - 1]];
    while (common < first.length && common < last.length && first[common] === last[common])
      common++;
    const head = this.byteString(first.subarray(at, common));
    const parts: Regex[] = [];
    if (first.length === common) {
      parts.push(this.epsilon());
      from++;
    }
    for (let next = from; from < to; from = next) {
      while (next < to && strings[next][common] === strings[from][common]) next++;
      const rest = this.#branch(strings, from, next, common + 1);
      parts.push(this.concat(this.#single(strings[from][common]), rest));
    }
    return this.concat(head, this.altOf(parts));
  }

  #list(kind: 'concat' | 'alt' | 'and', parts: readonly Regex[]): Regex {
    this.budget.spend(parts.length / 16);
    let key: string = kind;
    for (const part of parts) key += `,${part.id}`;
    return this.#intern(key, (id) => {
      this.#use(parts.length);
      const nullable =
        kind === 'alt' ? parts.some((part) => part.nullable) : parts.every((part) => part.nullable);
      const depth = deeper(parts.reduce((most, part) => Math.max(most, part.depth), 0));
      return { id, kind, parts, nullable, depth };
    });
  }

  #intern(key: string, make: (id: number) => Regex): Regex {
    this.budget.spend();
    const base = this.#base;
    const known = this.#nodes.get(key) ?? (base === undefined ? undefined : base.#nodes.get(key));
    if (known !== undefined) return known;
    if (this.numNodes >= MAX_NODES) throw tooMany('parts', MAX_NODES);
    const made = make(this.numNodes);
    this.#nodes.set(key, made);
    return made;
  }

  #use(words: number): void {
    this.#words += words;
    if (this.#words > MAX_POOL_WORDS) throw tooMany('words of memory', MAX_POOL_WORDS);
  }
}

function union(sets: readonly ByteSet[]): ByteSet {
  const all = new Uint32Array(8);
  for (const set of sets) for (let i = 0; i < 8; i++) all[i] |= set[i];
  return all;
}

function encodeText(text: string): Uint8Array {
  if (!/\p{Surrogate}/u.test(text)) return UTF8.encode(text);
  throw grammarError('a text of the grammar has half a surrogate pair, which UTF-8 cannot write');
}

function tooMany(what: string, most: number): Error {
  return grammarError(
    `the grammar comes to more than ${most} ${what}: make it smaller or split it`,
  );
}

function deeper(depth: number): number {
  if (depth < MAX_DEPTH) return depth + 1;
  throw grammarError(`the grammar is nested deeper than ${MAX_DEPTH}: flatten it`);
}

/** Of a repetition. */
export function checkCounts(min: number, max: number): void {
  const right = Number.isInteger(min) && (Number.isInteger(max) || max === Infinity);
  if (right && min >= 0 && min <= max && min <= MAX_COUNT) return;
  throw grammarError(
    `a repetition of ${min} to ${max} times is impossible: give whole numbers, the smaller first`,
  );
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}

function checkAutomaton(dfa: Automaton): void {
  const { numStates, numClasses, start, accepts, classOf, next } = dfa;
  const right =
    numStates > 0 &&
    numClasses > 0 &&
    numClasses <= 256 &&
    start >= 0 &&
    start < numStates &&
    accepts.length === numStates &&
    classOf.length === 256 &&
    classOf.every((value) => value < numClasses) &&
    next.length === numStates * numClasses &&
    next.every((state) => state >= -1 && state < numStates);
  assert(right, 'an automaton of wrong shape');
}
