import { Budget } from './budget.js';
import { checkCounts, MAX_COUNT, type Regex, RegexBuilder } from './ir.js';
import { JSON_BASE } from './json.js';
import { grammarError } from './problem.js';

declare const ruleBrand: unique symbol;
/** A rule of one {@link GrammarBuilder}: a small whole number. */
export type RuleId = number & { readonly [ruleBrand]: true };

/** One place of an alternative. */
export type Sym =
  /** A string of this regex (the empty one too, where it is of it). */
  | { readonly terminal: Regex }
  | { readonly rule: RuleId }
  /** One whole token out of these ids, whatever its bytes: for special tokens. */
  | { readonly token: readonly number[] };

export interface Rule {
  readonly name: string;
  readonly alternatives: readonly (readonly Sym[])[];
}

/**
 * A context-free grammar over bytes and special tokens. All its strings belong: nothing is longest
 * match, nothing has precedence. Every rule can be reached from `start` and gives some string.
 */
export interface Grammar {
  readonly rules: readonly Rule[];
  readonly start: RuleId;
}

export const MAX_RULES = 50_000;
export const MAX_SYMBOLS = 500_000;
const MAX_TOKENS = 1_000_000;

/** Repetitions of rules up to this are counted one by one, longer ones by powers of two. */
const COUNTED = 16;

/**
 * Collects rules. The helpers ({@link sequence}, {@link choice}, {@link star}, …) return a symbol
 * to be used anywhere; what is made of terminals only becomes one terminal, and equal calls give
 * the same symbol. Every method throws ERR_GRAMMAR past MAX_RULES or MAX_SYMBOLS, or where the
 * budget does not suffice.
 */
export class GrammarBuilder {
  readonly budget: Budget;
  /** Makes this grammar's terminals. */
  readonly regex: RegexBuilder;
  readonly #rules: { name: string; alternatives: (readonly Sym[])[] }[] = [];
  readonly #made = new Map<string, Sym>();
  #symbols = 0;
  #start: RuleId | undefined;

  /** @param budget of all the work that is done for the grammar */
  constructor(budget = new Budget()) {
    this.budget = budget;
    this.regex = new RegexBuilder(budget, JSON_BASE);
  }

  /** A rule that has no alternatives yet. The name is for messages only. */
  newRule(name?: string): RuleId {
    if (this.#rules.length >= MAX_RULES) throw tooMany('rules', MAX_RULES);
    this.#rules.push({ name: name ?? `#${this.#rules.length}`, alternatives: [] });
    return (this.#rules.length - 1) as RuleId;
  }

  /** `rule` may also be these symbols, one after another; none: the empty string. */
  addAlternative(rule: RuleId, symbols: readonly Sym[]): void {
    this.#symbols += symbols.length + 1;
    this.budget.spend(1 + symbols.length / 8);
    if (this.#symbols > MAX_SYMBOLS) throw tooMany('symbols', MAX_SYMBOLS);
    this.#rules[rule].alternatives.push(symbols.slice());
  }

  /** What the whole text must be. Exactly one call, before {@link build}. */
  start(symbol: Sym): void {
    this.#start = 'rule' in symbol ? symbol.rule : this.#rule('start', [[symbol]]);
  }

  terminal(regex: Regex): Sym {
    return { terminal: regex };
  }

  /** Exactly this text. */
  text(text: string): Sym {
    return { terminal: this.regex.text(text) };
  }

  /** One of these tokens by id, each whole. @throws ERR_GRAMMAR without any */
  token(...ids: readonly number[]): Sym {
    const sorted = [...new Set(ids)].sort((a, b) => a - b);
    if (sorted.length === 0 || sorted.length > MAX_TOKENS || !sorted.every(isTokenId)) {
      throw grammarError('a token of a grammar needs at least one id of a token');
    }
    return { token: sorted };
  }

  /** The empty string. */
  nothing(): Sym {
    return { terminal: this.regex.epsilon() };
  }

  /** One after another. */
  sequence(...symbols: readonly Sym[]): Sym {
    return this.sequenceOf(symbols);
  }

  /** As {@link sequence}, for lists of any length. */
  sequenceOf(symbols: readonly Sym[]): Sym {
    const fused = this.fuse(symbols);
    if (fused.length === 0) return this.nothing();
    if (fused.length === 1) return fused[0];
    return this.#once(`seq:${fused.map(keyOf).join(' ')}`, () => [fused]);
  }

  /** The same symbols, terminals next to each other made one. */
  fuse(symbols: readonly Sym[]): Sym[] {
    const fused: Sym[] = [];
    let run: Regex[] = [];
    const end = () => {
      const regex = this.regex.concatOf(run);
      if (regex.kind !== 'epsilon') fused.push({ terminal: regex });
      run = [];
    };
    for (const symbol of symbols) {
      if ('terminal' in symbol) {
        run.push(symbol.terminal);
      } else {
        end();
        fused.push(symbol);
      }
    }
    end();
    return fused;
  }

  /** Any one of them. @throws ERR_GRAMMAR without any */
  choice(...symbols: readonly Sym[]): Sym {
    return this.choiceOf(symbols);
  }

  /** As {@link choice}, for lists of any length. */
  choiceOf(symbols: readonly Sym[]): Sym {
    if (symbols.length === 0) throw grammarError('a choice needs something to choose');
    const regexes = symbols.flatMap((symbol) => ('terminal' in symbol ? [symbol.terminal] : []));
    const others = symbols.filter((symbol) => !('terminal' in symbol));
    const merged = regexes.length === 0 ? [] : [{ terminal: this.regex.altOf(regexes) }];
    const byKey = new Map([...merged, ...others].map((symbol) => [keyOf(symbol), symbol]));
    const different = [...byKey.values()];
    if (different.length === 1) return different[0];
    return this.#once(`alt:${[...byKey.keys()].join(' ')}`, () => different.map((s) => [s]));
  }

  optional(symbol: Sym): Sym {
    return this.repeat(symbol, 0, 1);
  }

  /** None or any number of them. */
  star(symbol: Sym): Sym {
    return this.repeat(symbol, 0, Infinity);
  }

  /** One or more of them. */
  plus(symbol: Sym): Sym {
    return this.repeat(symbol, 1, Infinity);
  }

  /** `min` to `max` of them; `max` may be Infinity. Costs some log₂(max) rules. */
  repeat(symbol: Sym, min: number, max: number): Sym {
    if (max > MAX_COUNT) max = Infinity;
    checkCounts(min, max);
    if ('terminal' in symbol) return { terminal: this.regex.repeat(symbol.terminal, min, max) };
    if (max === 0) return this.nothing();
    if (min === 1 && max === 1) return symbol;
    const key = keyOf(symbol);
    if (max === Infinity) {
      // Left recursion: the rows of a parser come out the same however often it turned.
      if (min === 0) return this.#loop(`star:${key}`, [], symbol);
      if (min === 1) return this.#loop(`plus:${key}`, [symbol], symbol);
      return this.sequence(this.#power(symbol, min - 1), this.plus(symbol));
    }
    const rest = this.#upTo(symbol, max - min);
    return min === 0 ? rest : this.sequence(this.#power(symbol, min), rest);
  }

  /** `min` to `max` items with a separator between any two. */
  separated(item: Sym, separator: Sym, min: number, max: number): Sym {
    checkCounts(min, max);
    if (max === 0) return this.nothing();
    const more = this.repeat(this.sequence(separator, item), Math.max(min - 1, 0), max - 1);
    const some = this.sequence(item, more);
    return min === 0 ? this.optional(some) : some;
  }

  /**
   * The grammar, without what cannot be reached or gives no string.
   * @throws ERR_GRAMMAR where a rule has no alternatives, or no text at all would fit
   */
  build(): Grammar {
    if (this.#start === undefined) throw grammarError('the grammar has no start');
    this.#checkDefined(this.#start);
    const gives = this.#productive();
    if (!gives[this.#start]) {
      throw grammarError('no text fits the grammar: some part of it can never end');
    }
    const numbers = new Map<RuleId, RuleId>();
    const order: RuleId[] = [];
    const number = (rule: RuleId): RuleId => {
      let known = numbers.get(rule);
      if (known === undefined) {
        known = order.length as RuleId;
        numbers.set(rule, known);
        order.push(rule);
      }
      return known;
    };
    const rules: Rule[] = [];
    number(this.#start);
    for (let i = 0; i < order.length; i++) {
      const { name, alternatives } = this.#rules[order[i]];
      this.budget.spend(1 + alternatives.length / 2);
      const live = alternatives.filter((symbols) => symbols.every((s) => isProductive(s, gives)));
      rules.push({
        name,
        alternatives: live.map((symbols) =>
          symbols.map((symbol) => ('rule' in symbol ? { rule: number(symbol.rule) } : symbol)),
        ),
      });
    }
    return { rules, start: 0 as RuleId };
  }

  #checkDefined(start: RuleId): void {
    const seen = new Set([start]);
    for (const rule of seen) {
      const { name, alternatives } = this.#rules[rule];
      if (alternatives.length === 0) {
        throw grammarError(`rule ${name} is used but nothing says what it is`);
      }
      for (const symbols of alternatives) {
        for (const symbol of symbols) if ('rule' in symbol) seen.add(symbol.rule);
      }
    }
  }

  /** Exactly `count`, by halves. */
  #power(symbol: Sym, count: number): Sym {
    if (count === 1) return symbol;
    const half = this.#power(symbol, count >> 1);
    const both = this.sequence(half, half);
    return count % 2 === 0 ? both : this.sequence(both, symbol);
  }

  /** None to `most`, each count in one way only, so that counting never makes a text ambiguous. */
  #upTo(symbol: Sym, most: number): Sym {
    if (most === 0) return this.nothing();
    const key = keyOf(symbol);
    if (most <= COUNTED) {
      const counts = Array.from({ length: most }, (_, i) => i + 1);
      return this.#once(`upto:${key},${most}`, () => [
        [],
        ...counts.map((count) => [this.#countTo(symbol, count)]),
      ]);
    }
    const bits = 31 - Math.clz32(most + 1);
    const below = this.#belowPower(symbol, bits);
    if (most === 2 ** bits - 1) return below;
    return this.#once(`upto:${key},${most}`, () => [
      [below],
      [this.#power(symbol, 2 ** bits), this.#upTo(symbol, most - 2 ** bits)],
    ]);
  }

  #countTo(symbol: Sym, count: number): Sym {
    if (count === 1) return symbol;
    return this.#once(`count:${keyOf(symbol)},${count}`, () => [
      [this.#countTo(symbol, count - 1), symbol],
    ]);
  }

  /** None to 2^bits - 1: each binary digit there or not. */
  #belowPower(symbol: Sym, bits: number): Sym {
    if (2 ** bits - 1 <= COUNTED) return this.#upTo(symbol, 2 ** bits - 1);
    return this.#once(`below:${keyOf(symbol)},${bits}`, () => {
      const lower = this.#belowPower(symbol, bits - 1);
      return [[lower], [this.#power(symbol, 2 ** (bits - 1)), lower]];
    });
  }

  #loop(key: string, first: readonly Sym[], symbol: Sym): Sym {
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const rule = this.newRule();
    this.addAlternative(rule, first);
    this.addAlternative(rule, [{ rule }, symbol]);
    this.#made.set(key, { rule });
    return { rule };
  }

  #once(key: string, alternatives: () => (readonly Sym[])[]): Sym {
    let known = this.#made.get(key);
    if (known === undefined) {
      known = { rule: this.#rule(undefined, alternatives()) };
      this.#made.set(key, known);
    }
    return known;
  }

  #rule(name: string | undefined, alternatives: (readonly Sym[])[]): RuleId {
    const rule = this.newRule(name);
    for (const symbols of alternatives) this.addAlternative(rule, symbols);
    return rule;
  }

  /** Of each rule: whether some string comes of it. */
  #productive(): boolean[] {
    const gives: boolean[] = new Array(this.#rules.length).fill(false);
    const found: number[] = [];
    const add = (rule: number) => {
      if (!gives[rule]) found.push(rule);
      gives[rule] = true;
    };
    /** Of each rule: alternatives that wait for it, with how many rules they wait for. */
    const waiting: { readonly rule: number; missing: number }[][] = this.#rules.map(() => []);
    this.#rules.forEach(({ alternatives }, rule) => {
      for (const symbols of alternatives) {
        this.budget.spend(1 + symbols.length / 8);
        if (symbols.some((s) => 'terminal' in s && s.terminal.kind === 'empty')) continue;
        const way = { rule, missing: 0 };
        for (const symbol of symbols) {
          if (!('rule' in symbol)) continue;
          way.missing++;
          waiting[symbol.rule].push(way);
        }
        if (way.missing === 0) add(rule);
      }
    });
    for (let rule = found.pop(); rule !== undefined; rule = found.pop()) {
      for (const way of waiting[rule]) if (--way.missing === 0) add(way.rule);
    }
    return gives;
  }
}

function isProductive(symbol: Sym, gives: readonly boolean[]): boolean {
  if ('terminal' in symbol) return symbol.terminal.kind !== 'empty';
  return 'token' in symbol || gives[symbol.rule];
}

function isTokenId(id: number): boolean {
  return Number.isInteger(id) && id >= 0 && id <= MAX_COUNT;
}

function keyOf(symbol: Sym): string {
  if ('terminal' in symbol) return `t${symbol.terminal.id}`;
  return 'rule' in symbol ? `r${symbol.rule}` : `k${symbol.token.join()}`;
}

function tooMany(what: string, most: number): Error {
  return grammarError(`the grammar comes to more than ${most} ${what}: simplify it`);
}
