import { TemplateFailure } from './failure.js';
import type { Token, TokenType } from './lexer.js';

/** Deepest nesting of brackets and blocks. */
const MAX_NESTING = 100;
/** Longest chain of operators, filters, attributes: they nest too. */
const MAX_CHAIN = 1000;

const NAMES: Partial<Record<TokenType, string>> = {
  variable_end: 'end of print statement',
  block_end: 'end of statement block',
  end: 'end of template',
};

/** Tokens, and where in them the parser is. */
export class TokenStream {
  #at = 0;
  #nesting = 0;
  constructor(readonly tokens: readonly Token[]) {}

  get current(): Token {
    return this.tokens[this.#at];
  }

  get following(): Token {
    return this.tokens[Math.min(this.#at + 1, this.tokens.length - 1)];
  }

  next(): Token {
    const token = this.current;
    if (this.#at < this.tokens.length - 1) this.#at++;
    return token;
  }

  is(type: TokenType, text?: string): boolean {
    const { current } = this;
    return current.type === type && (text === undefined || current.text === text);
  }

  isOperator(text: string): boolean {
    return this.is('operator', text);
  }

  isName(text: string): boolean {
    return this.is('name', text);
  }

  /** Takes the token if it is this one. */
  skip(type: TokenType, text?: string): boolean {
    if (!this.is(type, text)) return false;
    this.next();
    return true;
  }

  expect(type: TokenType, text?: string): Token {
    if (this.is(type, text)) return this.next();
    throw this.fail(`expected token '${text ?? NAMES[type] ?? type}', got '${this.describe()}'`);
  }

  describe(token = this.current): string {
    return token.text || NAMES[token.type] || token.type;
  }

  fail(why: string): TemplateFailure {
    return new TemplateFailure('syntax', `${why} (line ${this.current.line})`);
  }

  /** For what holds others of its kind. */
  nested<T>(parse: () => T): T {
    if (++this.#nesting > MAX_NESTING) throw this.fail('it nests too deeply');
    const value = parse();
    this.#nesting--;
    return value;
  }

  /** For the links of a chain, counted from 0. */
  link(count: number): void {
    if (count > MAX_CHAIN) throw this.fail('a chain of operators is too long');
  }
}
