import { Budget } from './budget.js';
import type { Grammar, Sym } from './grammar.js';
import { MAX_POOL_WORDS, type Regex } from './ir.js';
import { grammarError } from './problem.js';

/** First word of an encoded grammar. */
export const PROGRAM_MAGIC = 0x4f474731;
/** Words before the first regex node. */
export const PROGRAM_HEADER = 9;
/** What stands in the first word of a regex node. */
export const REGEX_OPS = {
  empty: 0,
  epsilon: 1,
  bytes: 2,
  concat: 3,
  alt: 4,
  and: 5,
  not: 6,
  repeat: 7,
  automaton: 8,
} as const satisfies Record<Regex['kind'], number>;
/** The kind of a symbol stands in its upper four bits. */
export const SYMBOL_KINDS = { terminal: 0, rule: 1, tokens: 2 } as const;
export const SYMBOL_SHIFT = 28;

/**
 * A grammar as the one array that native code compiles; native/grammar reads the same layout:
 * header [magic, counts of regex nodes, terminals, token sets, rules, alternatives and symbols,
 * start rule, words of the pool], then these tables in this order, then the pool.
 * @param budget of the grammar's text
 * @throws ERR_GRAMMAR where it is too large, or the budget does not suffice
 */
export function encodeProgram(grammar: Grammar, budget = new Budget()): Int32Array {
  const pool = new Pool(budget);
  const regexes = new RegexTable(pool);
  const terminals = new Numbers<Regex>();
  const tokenSets: number[] = [];
  const setNumbers = new Map<string, number>();
  const rules: number[] = [];
  const alternatives: number[] = [];
  const symbols: number[] = [];

  const numberOf = (symbol: Sym): number => {
    if ('rule' in symbol) return (SYMBOL_KINDS.rule << SYMBOL_SHIFT) | symbol.rule;
    if ('terminal' in symbol) {
      return (SYMBOL_KINDS.terminal << SYMBOL_SHIFT) | terminals.of(symbol.terminal);
    }
    const key = symbol.token.join();
    let known = setNumbers.get(key);
    if (known === undefined) {
      known = setNumbers.size;
      setNumbers.set(key, known);
      tokenSets.push(pool.add(symbol.token), symbol.token.length);
    }
    return (SYMBOL_KINDS.tokens << SYMBOL_SHIFT) | known;
  };

  for (const rule of grammar.rules) {
    rules.push(alternatives.length / 2, rule.alternatives.length);
    budget.spend();
    for (const alternative of rule.alternatives) {
      alternatives.push(symbols.length, alternative.length);
      budget.spend(1 + alternative.length / 8);
      for (const symbol of alternative) symbols.push(numberOf(symbol));
    }
  }
  const roots = terminals.all.map((regex) => regexes.number(regex));
  const header = [
    PROGRAM_MAGIC,
    regexes.words.length / 4,
    roots.length,
    setNumbers.size,
    grammar.rules.length,
    alternatives.length / 2,
    symbols.length,
    grammar.start,
    pool.words.length,
  ];
  const parts = [
    ...[header, regexes.words, roots, tokenSets],
    ...[rules, alternatives, symbols, pool.words],
  ];
  const program = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    program.set(part, at);
    at += part.length;
  }
  return program;
}

class Pool {
  readonly budget: Budget;
  readonly words: number[] = [];

  constructor(budget: Budget) {
    this.budget = budget;
  }

  add(words: ArrayLike<number>): number {
    const offset = this.words.length;
    this.budget.spend(1 + words.length / 64);
    if (offset + words.length > MAX_POOL_WORDS) {
      throw grammarError(
        `the grammar comes to more than ${MAX_POOL_WORDS} words: make it smaller or split it`,
      );
    }
    for (let i = 0; i < words.length; i++) this.words.push(words[i] | 0);
    return offset;
  }
}

class Numbers<T> {
  readonly all: T[] = [];
  readonly #numbers = new Map<T, number>();

  of(value: T): number {
    let known = this.#numbers.get(value);
    if (known === undefined) {
      known = this.all.length;
      this.#numbers.set(value, known);
      this.all.push(value);
    }
    return known;
  }
}

/** The nodes that are needed, children first. */
class RegexTable {
  readonly words: number[] = [];
  readonly #numbers = new Map<Regex, number>();
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  number(root: Regex): number {
    // By hand and not by calls: a node is visited once before its children and once after them.
    const stack = [root];
    while (stack.length > 0) {
      const node = stack[stack.length - 1];
      if (!this.#numbers.has(node)) {
        const { length } = stack;
        for (const child of childrenOf(node)) if (!this.#numbers.has(child)) stack.push(child);
        if (stack.length > length) continue;
        this.#pool.budget.spend();
        const [a, b, c] = this.#words(node);
        this.#numbers.set(node, this.words.length / 4);
        this.words.push(REGEX_OPS[node.kind], a, b, c);
      }
      stack.pop();
    }
    return this.#numbers.get(root)!;
  }

  #words(node: Regex): [number, number, number] {
    const of = (child: Regex) => this.#numbers.get(child)!;
    switch (node.kind) {
      case 'empty':
      case 'epsilon':
        return [0, 0, 0];
      case 'bytes':
        return [this.#pool.add(node.set), 0, 0];
      case 'concat':
      case 'alt':
      case 'and':
        return [this.#pool.add(node.parts.map(of)), node.parts.length, 0];
      case 'not':
        return [of(node.of), 0, 0];
      case 'repeat':
        return [of(node.of), node.min, node.max === Infinity ? -1 : node.max];
      case 'automaton':
        return [this.#automaton(node.dfa), 0, 0];
    }
  }

  #automaton(dfa: Extract<Regex, { kind: 'automaton' }>['dfa']): number {
    const accepts = new Uint32Array(Math.ceil(dfa.numStates / 32));
    dfa.accepts.forEach((accept, state) => {
      if (accept) accepts[state >> 5] |= 1 << (state & 31);
    });
    const classes = new Uint32Array(64);
    dfa.classOf.forEach((value, byte) => {
      classes[byte >> 2] |= value << ((byte & 3) * 8);
    });
    const offset = this.#pool.add([dfa.numStates, dfa.start, dfa.numClasses]);
    this.#pool.add(accepts);
    this.#pool.add(classes);
    this.#pool.add(dfa.next);
    return offset;
  }
}

/** The nodes right below a node. */
export function childrenOf(node: Regex): readonly Regex[] {
  if (node.kind === 'concat' || node.kind === 'alt' || node.kind === 'and') return node.parts;
  return node.kind === 'not' || node.kind === 'repeat' ? [node.of] : [];
}
