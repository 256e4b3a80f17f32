/** Random texts of a grammar. */
import { hasByte } from '../../lib/grammar/bytes.js';
import type { Grammar, Sym } from '../../lib/grammar/grammar.js';
import type { Regex } from '../../lib/grammar/ir.js';
import { Derivatives } from './byte-matcher.js';

/** Longest string of one terminal. */
const MAX_TERMINAL = 200;

export class GrammarSamples {
  readonly #grammar: Grammar;
  readonly #roll: (sides: number) => number;
  readonly #derivatives = new Derivatives();
  /** Of each rule and alternative: how deep its shortest texts nest. */
  readonly #heights: number[];

  constructor(grammar: Grammar, roll: (sides: number) => number) {
    this.#grammar = grammar;
    this.#roll = roll;
    this.#heights = grammar.rules.map(() => Infinity);
    for (let changed = true; changed; ) {
      changed = false;
      grammar.rules.forEach(({ alternatives }, rule) => {
        const height = 1 + Math.min(...alternatives.map((symbols) => this.#height(symbols)));
        if (height < this.#heights[rule]) {
          this.#heights[rule] = height;
          changed = true;
        }
      });
    }
  }

  /** Undefined where the way that was taken led nowhere. */
  text(): string | undefined {
    const bytes: number[] = [];
    // Left recursion unrolls from the end: texts are made from lists of symbols, not in place.
    if (!this.#rule(this.#grammar.start, 40, bytes)) return undefined;
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      Uint8Array.from(bytes),
    );
  }

  #height(symbols: readonly Sym[]): number {
    return Math.max(0, ...symbols.map((s) => ('rule' in s ? this.#heights[s.rule] : 0)));
  }

  #rule(rule: number, depth: number, out: number[]): boolean {
    const { alternatives } = this.#grammar.rules[rule];
    const open = alternatives.filter((symbols) => this.#height(symbols) < depth);
    const least = Math.min(...alternatives.map((symbols) => this.#height(symbols)));
    const usable = open.length > 0 ? open : alternatives.filter((s) => this.#height(s) === least);
    return usable[this.#roll(usable.length)].every((symbol) =>
      'terminal' in symbol
        ? this.#terminal(symbol.terminal, out)
        : 'rule' in symbol && this.#rule(symbol.rule, depth - 1, out),
    );
  }

  #terminal(regex: Regex, out: number[]): boolean {
    let state = this.#derivatives.own(regex);
    for (let length = 0; length < MAX_TERMINAL; length++) {
      if (state.nullable && this.#roll(4) === 0) return true;
      const next = this.#next(state);
      if (next === undefined) return state.nullable;
      out.push(next.byte);
      state = next.state;
    }
    return state.nullable;
  }

  #next(state: Regex): { byte: number; state: Regex } | undefined {
    const allowed: { byte: number; state: Regex }[] = [];
    for (let byte = 0; byte < 256; byte++) {
      if (state.kind === 'bytes' && !hasByte(state.set, byte)) continue;
      const after = this.#derivatives.after(state, byte);
      if (after.kind !== 'empty') allowed.push({ byte, state: after });
    }
    // Quotes, commas and the like are where strings end: they are tried more often.
    const marks = allowed.filter(({ byte }) => byte < 0x30 || (byte > 0x5a && byte < 0x5e));
    const from = marks.length > 0 && this.#roll(3) === 0 ? marks : allowed;
    return from.length === 0 ? undefined : from[this.#roll(from.length)];
  }
}
