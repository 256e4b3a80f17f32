import { hasByte } from '../bytes.js';
import type { Automaton, Regex } from '../ir.js';

/** Longest sample that is looked at. */
const MAX_LENGTH = 2_000;

/**
 * True where a string of the regex is found at once: one of a part of an intersection that is of
 * the others too. False says nothing.
 */
export function hasSample(regex: Regex): boolean {
  const parts = regex.kind === 'and' ? regex.parts : [regex];
  return parts.some((part) => {
    const found = sample(part);
    return found !== undefined && found.length <= MAX_LENGTH && matches(regex, found);
  });
}

/** A short string of the regex, unless that takes a search. */
function sample(regex: Regex): number[] | undefined {
  if (regex.nullable) return [];
  switch (regex.kind) {
    case 'bytes':
      // The last byte is a letter more often than the first, which may be a control.
      for (const byte of [0x61, 0x30]) if (hasByte(regex.set, byte)) return [byte];
      for (let byte = 0; byte < 256; byte++) if (hasByte(regex.set, byte)) return [byte];
      return undefined;
    case 'concat':
      return joined(regex.parts.map(sample));
    case 'alt':
      return regex.parts.map(sample).find((found) => found !== undefined);
    case 'repeat':
      return regex.min > MAX_LENGTH
        ? undefined
        : joined(new Array(regex.min).fill(sample(regex.of)) as (number[] | undefined)[]);
    case 'and':
      return regex.parts.map(sample).find((found) => found && matches(regex, found));
    case 'automaton':
      return shortest(regex.dfa);
    default:
      return undefined;
  }
}

function joined(parts: readonly (number[] | undefined)[]): number[] | undefined {
  const bytes: number[] = [];
  for (const part of parts) {
    if (part === undefined) return undefined;
    for (const byte of part) bytes.push(byte);
    if (bytes.length > MAX_LENGTH) return undefined;
  }
  return bytes;
}

function shortest({ start, accepts, classOf, numClasses, next }: Automaton): number[] | undefined {
  const from = new Map<number, { state: number; byte: number }>();
  const queue = [start];
  for (const state of queue) {
    if (accepts[state]) {
      const bytes: number[] = [];
      for (let at = state; at !== start; at = from.get(at)!.state) bytes.push(from.get(at)!.byte);
      return bytes.reverse();
    }
    for (let cls = 0; cls < numClasses; cls++) {
      const to = next[state * numClasses + cls];
      if (to < 0 || to === start || from.has(to)) continue;
      from.set(to, { state, byte: classOf.indexOf(cls) });
      queue.push(to);
    }
  }
  return undefined;
}

/** Whether the bytes, as a whole, are a string of the regex. */
export function matches(regex: Regex, bytes: ArrayLike<number>): boolean {
  return new Match(bytes).ends(regex, 0).has(bytes.length);
}

/** Where strings of regexes that begin at a place of a text may end. */
class Match {
  readonly #bytes: ArrayLike<number>;
  readonly #known = new Map<Regex, Map<number, ReadonlySet<number>>>();

  constructor(bytes: ArrayLike<number>) {
    this.#bytes = bytes;
  }

  ends(regex: Regex, at: number): ReadonlySet<number> {
    let places = this.#known.get(regex);
    if (places === undefined) this.#known.set(regex, (places = new Map()));
    let found = places.get(at);
    if (found === undefined) places.set(at, (found = this.#find(regex, at)));
    return found;
  }

  #find(regex: Regex, at: number): ReadonlySet<number> {
    switch (regex.kind) {
      case 'empty':
        return new Set();
      case 'epsilon':
        return new Set([at]);
      case 'bytes': {
        const fits = at < this.#bytes.length && hasByte(regex.set, this.#bytes[at]);
        return new Set(fits ? [at + 1] : []);
      }
      case 'concat':
        return regex.parts.reduce<ReadonlySet<number>>(
          (from, part) => this.#step(from, part),
          new Set([at]),
        );
      case 'alt':
        return new Set(regex.parts.flatMap((part) => [...this.ends(part, at)]));
      case 'and': {
        const [first, ...rest] = regex.parts.map((part) => this.ends(part, at));
        return new Set([...first].filter((end) => rest.every((ends) => ends.has(end))));
      }
      case 'not': {
        const ends = this.ends(regex.of, at);
        const all = Array.from({ length: this.#bytes.length - at + 1 }, (_, i) => at + i);
        return new Set(all.filter((end) => !ends.has(end)));
      }
      case 'repeat':
        return this.#repeat(regex.of, regex.nullable ? 0 : regex.min, regex.max, at);
      case 'automaton':
        return this.#run(regex.dfa, at);
    }
  }

  #step(from: ReadonlySet<number>, part: Regex): ReadonlySet<number> {
    return new Set([...from].flatMap((at) => [...this.ends(part, at)]));
  }

  #repeat(of: Regex, min: number, max: number, at: number): ReadonlySet<number> {
    let places: ReadonlySet<number> = new Set([at]);
    const found = new Set<number>();
    // More rounds than bytes bring nothing new.
    for (let round = 0; places.size > 0; round++) {
      if (round >= min) for (const place of places) found.add(place);
      if (round >= max || round > this.#bytes.length + 1) break;
      places = this.#step(places, of);
    }
    return found;
  }

  #run({ start, accepts, classOf, numClasses, next }: Automaton, at: number): ReadonlySet<number> {
    const found = new Set<number>();
    let state = start;
    for (let place = at; state >= 0; place++) {
      if (accepts[state]) found.add(place);
      if (place >= this.#bytes.length) break;
      state = next[state * numClasses + classOf[this.#bytes[place]]];
    }
    return found;
  }
}
