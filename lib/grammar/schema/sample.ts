import type { Budget } from '../budget.js';
import { hasByte } from '../bytes.js';
import type { Automaton, Regex } from '../ir.js';

/** Longest sample that is looked at. */
const MAX_LENGTH = 2_000;

/**
 * True where a string of the regex is found at once: one of a part of an intersection that is of
 * the others too. False says nothing.
 */
export function hasSample(regex: Regex, budget: Budget): boolean {
  const samples = new Samples(budget);
  const parts = regex.kind === 'and' ? regex.parts : [regex];
  return parts.some((part) => {
    const found = samples.of(part);
    return found !== undefined && found.length <= MAX_LENGTH && matches(regex, found, budget);
  });
}

/** Short strings of regexes, unless they take a search. */
class Samples {
  readonly #budget: Budget;
  readonly #known = new Map<Regex, number[] | undefined>();

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  of(regex: Regex): number[] | undefined {
    if (regex.nullable) return [];
    if (!this.#known.has(regex)) {
      const found = this.#find(regex);
      this.#budget.spend(0.2 + (found?.length ?? 0) / 64);
      this.#known.set(regex, found);
    }
    return this.#known.get(regex);
  }

  #find(regex: Regex): number[] | undefined {
    switch (regex.kind) {
      case 'bytes':
        // The last byte is a letter more often than the first, which may be a control.
        for (const byte of [0x61, 0x30]) if (hasByte(regex.set, byte)) return [byte];
        for (let byte = 0; byte < 256; byte++) if (hasByte(regex.set, byte)) return [byte];
        return undefined;
      case 'concat':
        return joined(regex.parts, (part) => this.of(part));
      case 'alt':
        return this.#first(regex.parts, () => true);
      case 'repeat': {
        if (regex.min > MAX_LENGTH) return undefined;
        return joined(new Array<Regex>(regex.min).fill(regex.of), (part) => this.of(part));
      }
      case 'and':
        return this.#first(regex.parts, (found) => matches(regex, found, this.#budget));
      case 'automaton':
        this.#budget.spend(regex.dfa.numStates / 8);
        return shortest(regex.dfa);
      default:
        return undefined;
    }
  }

  #first(parts: readonly Regex[], fits: (found: number[]) => boolean): number[] | undefined {
    for (const part of parts) {
      const found = this.of(part);
      if (found !== undefined && fits(found)) return found;
    }
    return undefined;
  }
}

function joined(
  parts: readonly Regex[],
  of: (part: Regex) => number[] | undefined,
): number[] | undefined {
  const bytes: number[] = [];
  for (const part of parts) {
    const found = of(part);
    if (found === undefined) return undefined;
    for (const byte of found) bytes.push(byte);
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
export function matches(regex: Regex, bytes: ArrayLike<number>, budget: Budget): boolean {
  return new Match(bytes, budget).ends(regex, 0).has(bytes.length);
}

/** Where strings of regexes that begin at a place of a text may end. */
class Match {
  readonly #bytes: ArrayLike<number>;
  readonly #budget: Budget;
  readonly #known = new Map<Regex, Map<number, ReadonlySet<number>>>();

  constructor(bytes: ArrayLike<number>, budget: Budget) {
    this.#bytes = bytes;
    this.#budget = budget;
  }

  ends(regex: Regex, at: number): ReadonlySet<number> {
    let places = this.#known.get(regex);
    if (places === undefined) this.#known.set(regex, (places = new Map()));
    let found = places.get(at);
    if (found === undefined) {
      found = this.#find(regex, at);
      this.#budget.spend(0.5 + found.size / 8);
      places.set(at, found);
    }
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
      case 'alt': {
        const ends = new Set<number>();
        for (const part of regex.parts) {
          if (this.#mayBegin(part, at)) for (const end of this.ends(part, at)) ends.add(end);
        }
        return ends;
      }
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

  /** False where the next byte shows that no string of the regex is there. */
  #mayBegin(regex: Regex, at: number): boolean {
    const first = regex.kind === 'concat' ? regex.parts[0] : regex;
    if (first.kind !== 'bytes') return true;
    return at < this.#bytes.length && hasByte(first.set, this.#bytes[at]);
  }

  #step(from: ReadonlySet<number>, part: Regex): ReadonlySet<number> {
    if (from.size === 1) for (const at of from) return this.ends(part, at);
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
