import { type ByteSet, hasByte } from './bytes.js';
import { type Regex, RegexBuilder } from './ir.js';
import { childrenOf } from './program.js';

/** A partition of the bytes: those of one class are taken alike. */
interface Classes {
  readonly count: number;
  /** [256] */
  readonly of: Uint8Array;
}

const ONE_CLASS: Classes = { count: 1, of: new Uint8Array(256) };

/** Brzozowski derivatives: what may follow a byte. */
class Derivatives {
  readonly #builder: RegexBuilder;
  readonly #classes = new Map<Regex, Classes>();
  readonly #derived = new Map<Regex, Regex[]>();

  constructor(builder: RegexBuilder) {
    this.#builder = builder;
  }

  /** What each class of bytes leaves of `regex`. */
  all(regex: Regex): Regex[] {
    let known = this.#derived.get(regex);
    if (known === undefined) {
      const { count, of } = this.classes(regex);
      known = Array.from({ length: count }, (_, cls) => this.after(regex, of.indexOf(cls)));
      this.#derived.set(regex, known);
    }
    return known;
  }

  classes(regex: Regex): Classes {
    let known = this.#classes.get(regex);
    if (known === undefined) {
      this.#builder.budget.spend(4);
      known = this.#partition(regex);
      this.#classes.set(regex, known);
    }
    return known;
  }

  #partition(regex: Regex): Classes {
    switch (regex.kind) {
      case 'bytes':
        return renumber(2, (byte) => Number(hasByte(regex.set, byte)));
      case 'automaton':
        return { count: regex.dfa.numClasses, of: regex.dfa.classOf };
      case 'concat': {
        // Parts behind the first that cannot be empty have no say in the next byte.
        const last = regex.parts.findIndex((part) => !part.nullable);
        const parts = last < 0 ? regex.parts : regex.parts.slice(0, last + 1);
        return parts.map((part) => this.classes(part)).reduce(cross, ONE_CLASS);
      }
      default:
        return childrenOf(regex)
          .map((part) => this.classes(part))
          .reduce(cross, ONE_CLASS);
    }
  }

  after(regex: Regex, byte: number): Regex {
    const builder = this.#builder;
    switch (regex.kind) {
      case 'empty':
      case 'epsilon':
        return builder.empty();
      case 'bytes':
        return hasByte(regex.set, byte) ? builder.epsilon() : builder.empty();
      case 'automaton': {
        const { next, start, numClasses, classOf } = regex.dfa;
        return builder.automatonAt(regex, next[start * numClasses + classOf[byte]]);
      }
      case 'concat': {
        const ways: Regex[] = [];
        for (const [i, part] of regex.parts.entries()) {
          ways.push(builder.concatOf([this.#step(part, byte), ...regex.parts.slice(i + 1)]));
          if (!part.nullable) break;
        }
        return builder.altOf(ways);
      }
      case 'alt':
        return builder.altOf(regex.parts.map((part) => this.#step(part, byte)));
      case 'and':
        return builder.and(...regex.parts.map((part) => this.#step(part, byte)));
      case 'not':
        return builder.not(this.#step(regex.of, byte));
      case 'repeat': {
        const { of, min, max } = regex;
        const rest = builder.repeat(of, Math.max(min - 1, 0), max - 1);
        return builder.concat(this.#step(of, byte), rest);
      }
    }
  }

  #step(regex: Regex, byte: number): Regex {
    return this.all(regex)[this.classes(regex).of[byte]];
  }
}

/** Gives the values of `classOf`, all below `count`, numbers from 0, in the order they come in. */
function renumber(count: number, classOf: (byte: number) => number): Classes {
  const numbers = new Int32Array(count).fill(-1);
  const of = new Uint8Array(256);
  let used = 0;
  for (let byte = 0; byte < 256; byte++) {
    const value = classOf(byte);
    if (numbers[value] < 0) numbers[value] = used++;
    of[byte] = numbers[value];
  }
  return { count: used, of };
}

function cross(a: Classes, b: Classes): Classes {
  if (a.count === 1 || a === b) return b;
  if (b.count === 1) return a;
  return renumber(a.count * b.count, (byte) => a.of[byte] * b.count + b.of[byte]);
}

/**
 * Whether no string at all is of the regex; undefined where that is not found out within
 * `maxStates` different remainders.
 */
export function isEmpty(
  regex: Regex,
  maxStates = 10_000,
  builder = new RegexBuilder(),
): boolean | undefined {
  if (regex.nullable) return false;
  if (!isSearched(regex)) return regex.kind === 'empty';
  // Remainders are many: they go into a builder of their own and count for nothing in the grammar.
  const own = builder.sibling();
  const derivatives = new Derivatives(own);
  const states = new Set([copyRegex(regex, own, new Map())]);
  for (const state of states) {
    if (states.size > maxStates) return undefined;
    for (const next of derivatives.all(state)) {
      if (next.nullable) return false;
      if (next.kind !== 'empty') states.add(next);
    }
  }
  return true;
}

/** Whether every string of `part` is of `whole`; undefined as with {@link isEmpty}. */
export function isSubset(
  part: Regex,
  whole: Regex,
  builder: RegexBuilder,
  maxStates?: number,
): boolean | undefined {
  return part === whole || isEmpty(builder.and(part, builder.not(whole)), maxStates, builder);
}

/** Whether no string is of both; undefined as with {@link isEmpty}. */
export function areDisjoint(
  a: Regex,
  b: Regex,
  builder: RegexBuilder,
  maxStates?: number,
): boolean | undefined {
  return isEmpty(builder.and(a, b), maxStates, builder);
}

const searched = new WeakMap<Regex, boolean>();

/** Whether the regex has parts that may be empty by what they mean, not by how they are written. */
function isSearched(regex: Regex): boolean {
  let found = searched.get(regex);
  if (found === undefined) {
    const itself = regex.kind === 'and' || regex.kind === 'not' || regex.kind === 'automaton';
    found = itself || childrenOf(regex).some(isSearched);
    searched.set(regex, found);
  }
  return found;
}

/** The same language in another builder. */
export function copyRegex(regex: Regex, into: RegexBuilder, known: Map<Regex, Regex>): Regex {
  if (into.shares(regex)) return regex;
  let copied = known.get(regex);
  if (copied === undefined) {
    copied = copyNode(regex, into, (part) => copyRegex(part, into, known));
    known.set(regex, copied);
  }
  return copied;
}

function copyNode(regex: Regex, into: RegexBuilder, copy: (part: Regex) => Regex): Regex {
  switch (regex.kind) {
    case 'empty':
      return into.empty();
    case 'epsilon':
      return into.epsilon();
    case 'bytes':
      return into.bytes(regex.set as ByteSet);
    case 'concat':
      return into.concatOf(regex.parts.map(copy));
    case 'alt':
      return into.altOf(regex.parts.map(copy));
    case 'and':
      return into.and(...regex.parts.map(copy));
    case 'not':
      return into.not(copy(regex.of));
    case 'repeat':
      return into.repeat(copy(regex.of), regex.min, regex.max);
    case 'automaton':
      return into.automaton(regex.dfa);
  }
}
