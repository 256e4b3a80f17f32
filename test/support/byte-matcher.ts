/**
 * A matcher over bytes that is quick enough for whole suites of schemas: Earley's rows byte by byte
 * over Brzozowski derivatives, both remembered. It stands in for the native one and is itself held
 * against the reference matcher.
 */
import { hasByte } from '../../lib/grammar/bytes.js';
import type { Grammar } from '../../lib/grammar/grammar.js';
import { type Regex, RegexBuilder } from '../../lib/grammar/ir.js';

const UTF8 = new TextEncoder();

/** A place in an alternative. */
interface Dotted {
  readonly id: number;
  readonly rule: number;
  readonly next: { readonly terminal: Regex } | { readonly rule: number } | undefined;
  readonly after: Dotted | undefined;
}

interface Item {
  readonly at: Dotted;
  readonly origin: Row;
}

class Row {
  readonly items: Item[] = [];
  readonly #known = new Map<Dotted, Set<Row>>();
  /** Items that wait for a rule which begins here. */
  readonly waiting = new Map<number, Item[]>();
  /** Rules that begin and end here. */
  readonly empty = new Set<number>();

  add(at: Dotted, origin: Row): void {
    let origins = this.#known.get(at);
    if (origins === undefined) this.#known.set(at, (origins = new Set()));
    if (origins.has(origin)) return;
    origins.add(origin);
    this.items.push({ at, origin });
  }
}

interface Running {
  readonly state: Regex;
  readonly item: Item;
}

export class ByteMatcher {
  readonly #starts: Dotted[][];
  readonly #start: number;
  readonly #derivatives = new Derivatives();

  constructor(grammar: Grammar) {
    let count = 0;
    this.#start = grammar.start;
    this.#starts = grammar.rules.map(({ alternatives }, rule) =>
      alternatives.map((symbols) => {
        let after: Dotted = { id: count++, rule, next: undefined, after: undefined };
        for (const symbol of [...symbols].reverse()) {
          if ('token' in symbol) throw new Error('tokens have no bytes');
          const next =
            'rule' in symbol
              ? { rule: symbol.rule as number }
              : { terminal: this.#derivatives.own(symbol.terminal) };
          after = { id: count++, rule, next, after };
        }
        return after;
      }),
    );
  }

  /** How many bytes of the text can be taken, and whether it is complete after them. */
  run(text: string | Uint8Array): { taken: number; complete: boolean } {
    const bytes = typeof text === 'string' ? UTF8.encode(text) : text;
    let row = new Row();
    this.#predict(this.#start, row);
    let running = this.#close(row);
    const first = row;
    for (let at = 0; at < bytes.length; at++) {
      const next: Running[] = [];
      row = new Row();
      for (const { state, item } of running) {
        const after = this.#derivatives.after(state, bytes[at]);
        if (after.kind === 'empty') continue;
        next.push({ state: after, item });
        if (after.nullable) row.add(item.at.after!, item.origin);
      }
      if (next.length === 0) return { taken: at, complete: false };
      running = [...next, ...this.#close(row)];
    }
    return { taken: bytes.length, complete: this.#isComplete(row, first) };
  }

  accepts(text: string): boolean {
    const { taken, complete } = this.run(text);
    return complete && taken === UTF8.encode(text).length;
  }

  #isComplete(row: Row, first: Row): boolean {
    return row.items.some(
      ({ at, origin }) => at.next === undefined && at.rule === this.#start && origin === first,
    );
  }

  #predict(rule: number, row: Row): void {
    for (const dotted of this.#starts[rule]) row.add(dotted, row);
  }

  /** Completes and predicts. Returns the terminals that begin here. */
  #close(row: Row): Running[] {
    const running: Running[] = [];
    for (let i = 0; i < row.items.length; i++) {
      const item = row.items[i];
      const { next, after, rule } = item.at;
      if (next === undefined) {
        if (item.origin === row) row.empty.add(rule);
        for (const waiting of item.origin.waiting.get(rule) ?? []) {
          row.add(waiting.at.after!, waiting.origin);
        }
      } else if ('rule' in next) {
        const list = row.waiting.get(next.rule);
        if (list === undefined) row.waiting.set(next.rule, [item]);
        else list.push(item);
        if (list === undefined) this.#predict(next.rule, row);
        if (row.empty.has(next.rule)) row.add(after!, item.origin);
      } else {
        running.push({ state: next.terminal, item });
        if (next.terminal.nullable) row.add(after!, item.origin);
      }
    }
    return running;
  }
}

/** What is left of a regex after a byte. */
export class Derivatives {
  readonly #builder = new RegexBuilder();
  readonly #copies = new Map<Regex, Regex>();
  readonly #after = new Map<Regex, (Regex | undefined)[]>();

  own(regex: Regex): Regex {
    const known = this.#copies.get(regex);
    if (known !== undefined) return known;
    const made = this.#copy(regex);
    this.#copies.set(regex, made);
    return made;
  }

  #copy(regex: Regex): Regex {
    const b = this.#builder;
    switch (regex.kind) {
      case 'empty':
        return b.empty();
      case 'epsilon':
        return b.epsilon();
      case 'bytes':
        return b.bytes(regex.set);
      case 'concat':
        return b.concat(...regex.parts.map((part) => this.own(part)));
      case 'alt':
        return b.alt(...regex.parts.map((part) => this.own(part)));
      case 'and':
        return b.and(...regex.parts.map((part) => this.own(part)));
      case 'not':
        return b.not(this.own(regex.of));
      case 'repeat':
        return b.repeat(this.own(regex.of), regex.min, regex.max);
      case 'automaton':
        return b.automaton(regex.dfa);
    }
  }

  after(regex: Regex, byte: number): Regex {
    let row = this.#after.get(regex);
    if (row === undefined) this.#after.set(regex, (row = new Array(256)));
    return (row[byte] ??= this.#derive(regex, byte));
  }

  #derive(regex: Regex, byte: number): Regex {
    const b = this.#builder;
    switch (regex.kind) {
      case 'empty':
      case 'epsilon':
        return b.empty();
      case 'bytes':
        return hasByte(regex.set, byte) ? b.epsilon() : b.empty();
      case 'concat': {
        const ways: Regex[] = [];
        for (const [i, part] of regex.parts.entries()) {
          ways.push(b.concat(this.after(part, byte), ...regex.parts.slice(i + 1)));
          if (!part.nullable) break;
        }
        return b.alt(...ways);
      }
      case 'alt':
        return b.alt(...regex.parts.map((part) => this.after(part, byte)));
      case 'and':
        return b.and(...regex.parts.map((part) => this.after(part, byte)));
      case 'not':
        return b.not(this.after(regex.of, byte));
      case 'repeat': {
        const { of, min, max } = regex;
        return b.concat(this.after(of, byte), b.repeat(of, Math.max(min - 1, 0), max - 1));
      }
      case 'automaton': {
        const { start, numClasses, classOf, next } = regex.dfa;
        return b.automatonAt(regex, next[start * numClasses + classOf[byte]]);
      }
    }
  }
}
