/**
 * A matcher that is slow and plain to see, over the values of the IR: what the fast one must agree
 * with. Regexes match by which ends they reach from each place, rules by Earley's table.
 */
import { hasByte } from '../../lib/grammar/bytes.js';
import type { Grammar, Sym } from '../../lib/grammar/grammar.js';
import type { Regex } from '../../lib/grammar/ir.js';

/** Of an input: a byte, or a special token as a whole. */
export type Piece = number | { readonly token: number };

const UTF8 = new TextEncoder();

/** Text to bytes; tokens stay. */
export function pieces(...parts: readonly (string | Uint8Array | Piece)[]): Piece[] {
  return parts.flatMap((part): Piece[] => {
    if (typeof part === 'string') return [...UTF8.encode(part)];
    return part instanceof Uint8Array ? [...part] : [part];
  });
}

/** Whether the whole input is a string of the regex. */
export function regexMatches(regex: Regex, input: string | Uint8Array): boolean {
  const bytes = typeof input === 'string' ? UTF8.encode(input) : input;
  return new RegexEnds([...bytes]).from(regex, 0).has(bytes.length);
}

/** Where strings of a regex that begin at a place of the input can end. */
export class RegexEnds {
  readonly #input: readonly Piece[];
  readonly #known = new Map<Regex, Map<number, ReadonlySet<number>>>();

  constructor(input: readonly Piece[]) {
    this.#input = input;
  }

  from(regex: Regex, at: number): ReadonlySet<number> {
    const byPlace = this.#known.get(regex) ?? new Map<number, ReadonlySet<number>>();
    this.#known.set(regex, byPlace);
    let known = byPlace.get(at);
    if (known === undefined) {
      known = this.#ends(regex, at);
      byPlace.set(at, known);
    }
    return known;
  }

  #ends(regex: Regex, at: number): ReadonlySet<number> {
    switch (regex.kind) {
      case 'empty':
        return new Set();
      case 'epsilon':
        return new Set([at]);
      case 'bytes': {
        const byte = this.#input[at];
        return new Set(typeof byte === 'number' && hasByte(regex.set, byte) ? [at + 1] : []);
      }
      case 'concat':
        return regex.parts.reduce<ReadonlySet<number>>(
          (places, part) => this.#step(places, part),
          new Set([at]),
        );
      case 'alt':
        return new Set(regex.parts.flatMap((part) => [...this.from(part, at)]));
      case 'and':
        return regex.parts
          .map((part) => this.from(part, at))
          .reduce((a, b) => new Set(Array.from(a).filter((place) => b.has(place))));
      case 'not': {
        const ends = this.from(regex.of, at);
        return new Set(this.#reachable(at).filter((place) => !ends.has(place)));
      }
      case 'repeat':
        return this.#repeat(regex.of, regex.min, regex.max, at);
      case 'automaton':
        return this.#run(regex, at);
    }
  }

  #step(places: ReadonlySet<number>, part: Regex): ReadonlySet<number> {
    return new Set([...places].flatMap((place) => [...this.from(part, place)]));
  }

  /** Ends of all byte strings from here: up to the next token. */
  #reachable(at: number): number[] {
    const places = [at];
    while (typeof this.#input[places.at(-1)!] === 'number') places.push(places.at(-1)! + 1);
    return places;
  }

  #repeat(of: Regex, min: number, max: number, at: number): ReadonlySet<number> {
    let places: ReadonlySet<number> = new Set([at]);
    const found = new Set<number>();
    // More rounds than bytes only turn on the spot: the empty string of `of` fills them.
    const rounds = Math.min(max, Math.max(of.nullable ? 0 : min, this.#input.length + 1));
    const least = of.nullable ? 0 : min;
    for (let round = 0; ; round++) {
      if (round >= least) for (const place of places) found.add(place);
      if (round >= rounds || places.size === 0) return found;
      places = this.#step(places, of);
    }
  }

  #run(regex: Regex & { kind: 'automaton' }, at: number): ReadonlySet<number> {
    const { start, accepts, classOf, numClasses, next } = regex.dfa;
    const found = new Set<number>();
    let state = start;
    for (let place = at; state >= 0; place++) {
      if (accepts[state]) found.add(place);
      const byte = this.#input[place];
      if (typeof byte !== 'number') break;
      state = next[state * numClasses + classOf[byte]];
    }
    return found;
  }
}

interface Item {
  readonly rule: number;
  readonly alternative: number;
  readonly dot: number;
  readonly origin: number;
}

/** Earley's table of a grammar over one input. */
export class ReferenceMatch {
  readonly #grammar: Grammar;
  readonly #input: readonly Piece[];
  readonly #ends: RegexEnds;
  /** Of each place: the items there, by their text. */
  readonly #table: Map<string, Item>[];

  constructor(grammar: Grammar, input: readonly Piece[]) {
    this.#grammar = grammar;
    this.#input = input;
    this.#ends = new RegexEnds(input);
    this.#table = Array.from({ length: input.length + 1 }, () => new Map());
    this.#predict(grammar.start, 0);
    for (let at = 0; at <= input.length; at++) this.#complete(at);
  }

  /** Whether the whole input is a text of the grammar. */
  get accepted(): boolean {
    return [...this.#table[this.#input.length].values()].some(
      (item) =>
        item.rule === this.#grammar.start && item.origin === 0 && this.#next(item) === undefined,
    );
  }

  #next({ rule, alternative, dot }: Item): Sym | undefined {
    return this.#grammar.rules[rule].alternatives[alternative][dot];
  }

  #add(at: number, item: Item): void {
    const key = `${item.rule},${item.alternative},${item.dot},${item.origin}`;
    if (!this.#table[at].has(key)) this.#table[at].set(key, item);
  }

  #predict(rule: number, at: number): void {
    const { alternatives } = this.#grammar.rules[rule];
    for (let alternative = 0; alternative < alternatives.length; alternative++) {
      this.#add(at, { rule, alternative, dot: 0, origin: at });
    }
  }

  /** Applies all steps at one place until nothing is new. */
  #complete(at: number): void {
    for (let before = -1; before !== this.#table[at].size; ) {
      before = this.#table[at].size;
      for (const item of [...this.#table[at].values()]) this.#advance(item, at);
    }
  }

  #advance(item: Item, at: number): void {
    const symbol = this.#next(item);
    const after = { ...item, dot: item.dot + 1 };
    if (symbol === undefined) {
      for (const waiting of [...this.#table[item.origin].values()]) {
        const wanted = this.#next(waiting);
        if (wanted !== undefined && 'rule' in wanted && wanted.rule === item.rule) {
          this.#add(at, { ...waiting, dot: waiting.dot + 1 });
        }
      }
    } else if ('rule' in symbol) {
      this.#predict(symbol.rule, at);
    } else if ('terminal' in symbol) {
      for (const end of this.#ends.from(symbol.terminal, at)) this.#add(end, after);
    } else {
      const piece = this.#input[at];
      if (typeof piece === 'object' && symbol.token.includes(piece.token)) this.#add(at + 1, after);
    }
  }
}

/** Whether the whole input is a text of the grammar. */
export function accepts(grammar: Grammar, input: string | readonly Piece[]): boolean {
  return new ReferenceMatch(grammar, typeof input === 'string' ? pieces(input) : input).accepted;
}
