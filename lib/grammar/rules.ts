import type { GrammarBuilder, RuleId, Sym } from './grammar.js';
import type { Regex } from './ir.js';
import { grammarError } from './problem.js';

/** The right side of a rule, as grammar texts write it. */
export type Expression =
  | { readonly kind: 'regex'; readonly regex: Regex }
  | { readonly kind: 'rule'; readonly name: string; readonly line: number }
  | { readonly kind: 'token'; readonly ids: readonly number[] }
  | { readonly kind: 'sequence' | 'choice'; readonly parts: readonly Expression[] }
  | {
      readonly kind: 'repeat';
      readonly of: Expression;
      readonly min: number;
      readonly max: number;
    };

/** Longest grammar text, in UTF-16 units. */
export const MAX_SOURCE_LENGTH = 262_144;
/** Deepest nesting of brackets. */
export const MAX_BRACKETS_DEEP = 100;

/** A rule without recursion whose text, written out, has up to so many parts becomes a terminal. */
const TERMINAL_SIZE = 2_000;
const TERMINAL_DEPTH = 100;

export interface RuleOptions {
  /** What may stand before each terminal, and at the end of the whole text. */
  readonly ignore?: Regex;
}

/**
 * Adds rules by name to a grammar and returns the symbol of `start`. Rules that are no part of a
 * recursion become terminals where they are small: bytes of a terminal cost a parser nothing.
 * @throws ERR_GRAMMAR where a name has no rule
 */
export function addRules(
  rules: ReadonlyMap<string, Expression>,
  start: string,
  builder: GrammarBuilder,
  options: RuleOptions = {},
): Sym {
  if (!rules.has(start)) {
    throw grammarError(`the grammar has no rule ${start}, where every text begins: add one`);
  }
  const writer = new RuleWriter(rules, builder, options.ignore);
  const symbol = writer.whole(start);
  if (options.ignore === undefined) return symbol;
  return builder.sequence(symbol, { terminal: options.ignore });
}

class RuleWriter {
  readonly #rules: ReadonlyMap<string, Expression>;
  readonly #builder: GrammarBuilder;
  readonly #ignore: Regex | undefined;
  readonly #symbols = new Map<string, Sym>();
  readonly #sizes = new Map<string, number>();

  constructor(rules: ReadonlyMap<string, Expression>, builder: GrammarBuilder, ignore?: Regex) {
    this.#rules = rules;
    this.#builder = builder;
    this.#ignore = ignore;
  }

  whole(start: string): Sym {
    const recursive = this.#withoutRecursion();
    const open: [Expression, RuleId][] = [];
    for (const name of recursive) {
      const rule = this.#builder.newRule(name);
      this.#symbols.set(name, { rule });
      open.push([this.#rules.get(name)!, rule]);
    }
    for (const [expression, rule] of open) {
      for (const way of expression.kind === 'choice' ? expression.parts : [expression]) {
        const parts = way.kind === 'sequence' ? way.parts : [way];
        const symbols = parts.map((part) => this.#symbol(part));
        this.#builder.addAlternative(rule, this.#builder.fuse(symbols));
      }
    }
    return this.#symbols.get(start)!;
  }

  /** Gives each rule that leads into no recursion its symbol; returns the names of the others. */
  #withoutRecursion(): string[] {
    const users = new Map<string, string[]>();
    const waiting = new Map<string, number>();
    for (const [name, expression] of this.#rules) {
      const used = namesIn(expression);
      waiting.set(name, used.size);
      for (const [other, line] of used) {
        if (!this.#rules.has(other)) {
          throw grammarError(
            `the grammar's line ${line} uses ${other}, which no line says anything of`,
          );
        }
        const known = users.get(other);
        if (known === undefined) users.set(other, [name]);
        else known.push(name);
      }
    }
    const ready = [...waiting].flatMap(([name, count]) => (count === 0 ? [name] : []));
    for (let name = ready.pop(); name !== undefined; name = ready.pop()) {
      waiting.delete(name);
      this.#symbols.set(name, this.#settled(name));
      for (const user of users.get(name) ?? []) {
        const left = waiting.get(user)! - 1;
        waiting.set(user, left);
        if (left === 0) ready.push(user);
      }
    }
    return [...waiting.keys()];
  }

  #settled(name: string): Sym {
    const expression = this.#rules.get(name)!;
    const size = this.#size(expression);
    this.#sizes.set(name, size);
    const symbol = this.#symbol(expression);
    if (!('terminal' in symbol)) return symbol;
    if (size <= TERMINAL_SIZE && symbol.terminal.depth <= TERMINAL_DEPTH) return symbol;
    const rule = this.#builder.newRule(name);
    this.#builder.addAlternative(rule, [symbol]);
    this.#sizes.set(name, 1);
    return { rule };
  }

  /** How many parts an expression has, with those of the rules that it uses. */
  #size(expression: Expression): number {
    switch (expression.kind) {
      case 'regex':
        return expression.regex.kind === 'concat' ? expression.regex.parts.length : 1;
      case 'token':
        return 1;
      case 'rule':
        return this.#sizes.get(expression.name) ?? 1;
      case 'repeat':
        return 1 + this.#size(expression.of);
      default:
        return expression.parts.reduce((sum, part) => sum + this.#size(part), 1);
    }
  }

  #symbol(expression: Expression): Sym {
    const builder = this.#builder;
    switch (expression.kind) {
      case 'regex':
        if (this.#ignore === undefined) return { terminal: expression.regex };
        return { terminal: builder.regex.concat(this.#ignore, expression.regex) };
      case 'token': {
        const token = builder.token(...expression.ids);
        if (this.#ignore === undefined) return token;
        return builder.sequence({ terminal: this.#ignore }, token);
      }
      case 'rule':
        return this.#symbols.get(expression.name)!;
      case 'sequence':
        return builder.sequenceOf(expression.parts.map((part) => this.#symbol(part)));
      case 'choice':
        return builder.choiceOf(expression.parts.map((part) => this.#symbol(part)));
      case 'repeat':
        return builder.repeat(this.#symbol(expression.of), expression.min, expression.max);
    }
  }
}

/** The rules that an expression uses, each with a line where it does. */
function namesIn(expression: Expression): Map<string, number> {
  const names = new Map<string, number>();
  const look = (part: Expression) => {
    if (part.kind === 'rule') names.set(part.name, part.line);
    else if (part.kind === 'repeat') look(part.of);
    else if (part.kind === 'sequence' || part.kind === 'choice') part.parts.forEach(look);
  };
  look(expression);
  return names;
}
