/** From a template's source to tokens; white space goes as trim_blocks and lstrip_blocks say. */
import { TemplateFailure } from './failure.js';
import { SPACE_CLASS, skipSpace, trimEnd } from './space.js';

export type TokenType =
  | 'data'
  | 'variable_begin'
  | 'variable_end'
  | 'block_begin'
  | 'block_end'
  | 'name'
  | 'integer'
  | 'float'
  | 'string'
  | 'operator'
  | 'end';

export interface Token {
  readonly type: TokenType;
  /** As it stands in the source. */
  readonly text: string;
  readonly line: number;
}

/** Most tokens of a template: text between its tags is one. */
const MAX_TOKENS = 300_000;

const OPERATOR = /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}><=.:|,;]/y;
const FLOAT = /(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?[eE][+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/y;
const INTEGER =
  /0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[\da-fA-F])+|[1-9](?:_?\d)*|0(?:_?0)*/y;
const NAME = /[\p{L}\p{N}\p{Pc}\p{M}]+/uy;
const CLOSERS: Record<string, string> = { '(': ')', '[': ']', '{': '}' };
const RAW = new RegExp(`[${SPACE_CLASS}]*raw[${SPACE_CLASS}]*(-?)%\\}`, 'y');
const END_RAW = new RegExp(`\\{%([-+]?)[${SPACE_CLASS}]*endraw[${SPACE_CLASS}]*([-+]?)%\\}`, 'g');

class Lexer {
  readonly tokens: Token[] = [];
  #at = 0;
  #line = 1;
  #counted = 0;
  /** Whether what was read last ended a line, so that only white space stands before a block. */
  #lineStart = true;
  constructor(readonly source: string) {}

  run(): Token[] {
    while (this.#at < this.source.length) this.#data();
    this.#push('end', '');
    return this.tokens;
  }

  #fail(why: string): TemplateFailure {
    return new TemplateFailure('syntax', `${why} (line ${this.#lineAt(this.#at)})`);
  }

  #lineAt(at: number): number {
    for (let i = this.#counted; i < at; i++) if (this.source[i] === '\n') this.#line++;
    this.#counted = Math.max(at, this.#counted);
    return this.#line;
  }

  #push(type: TokenType, text: string): void {
    if (this.tokens.length >= MAX_TOKENS) {
      throw new TemplateFailure('limit', `it has more than ${MAX_TOKENS} tokens`);
    }
    this.tokens.push({ type, text, line: this.#lineAt(this.#at) });
  }

  /** Text up to the next tag, and the tag. */
  #data(): void {
    const { source } = this;
    const begin = this.#at;
    let open = source.indexOf('{', begin);
    while (open >= 0 && !'{%#'.includes(source[open + 1] || '-')) {
      open = source.indexOf('{', open + 1);
    }
    if (open < 0) {
      this.#text(source.slice(begin));
      this.#at = source.length;
      return;
    }
    const kind = source[open + 1];
    const sign = '-+'.includes(source[open + 2] || ' ') ? source[open + 2] : '';
    this.#text(this.#stripped(source.slice(begin, open), sign, kind !== '{'));
    this.#at = open + 2 + sign.length;
    this.#lineStart = false;
    if (kind === '#') this.#comment();
    else if (kind === '{') this.#inside('variable');
    else if (!this.#raw()) this.#inside('block');
  }

  #text(text: string): void {
    if (text !== '') this.#push('data', text);
  }

  /** Text before a tag: `-` drops all white space, blocks the indent of their line. */
  #stripped(text: string, sign: string, block: boolean): string {
    if (sign === '-') return trimEnd(text);
    if (sign === '+' || !block) return text;
    const start = text.lastIndexOf('\n') + 1;
    if (start === 0 && !this.#lineStart) return text;
    return skipSpace(text, start) === text.length ? text.slice(0, start) : text;
  }

  /** After a tag: `-` drops all white space, the end of a block its newline. */
  #afterTag(sign: string, block: boolean): void {
    const { source } = this;
    const from = this.#at;
    if (sign === '-') this.#at = skipSpace(source, this.#at);
    else if (sign === '' && block && source[this.#at] === '\n') this.#at++;
    this.#lineStart = this.#at > from && source[this.#at - 1] === '\n';
  }

  #comment(): void {
    const { source } = this;
    if (this.#at >= source.length) return;
    const end = source.indexOf('#}', this.#at);
    if (end < 0) throw this.#fail('Missing end of comment tag');
    const before = end > this.#at ? source[end - 1] : '';
    this.#at = end + 2;
    this.#afterTag('-+'.includes(before || ' ') ? before : '', true);
  }

  #raw(): boolean {
    const { source } = this;
    RAW.lastIndex = this.#at;
    const match = RAW.exec(source);
    if (match === null) return false;
    this.#at = RAW.lastIndex;
    if (match[1] === '-') this.#at = skipSpace(source, this.#at);
    this.#lineStart = source[this.#at - 1] === '\n';
    if (this.#at >= source.length) return true;
    END_RAW.lastIndex = this.#at;
    const end = END_RAW.exec(source);
    if (end === null) throw this.#fail('Missing end of raw directive');
    this.#text(this.#stripped(source.slice(this.#at, end.index), end[1], true));
    this.#at = END_RAW.lastIndex;
    this.#afterTag(end[2], true);
    return true;
  }

  #inside(kind: 'variable' | 'block'): void {
    const { source } = this;
    const close = kind === 'block' ? '%}' : '}}';
    this.#push(`${kind}_begin`, '');
    const open: string[] = [];
    for (;;) {
      this.#at = skipSpace(source, this.#at);
      if (this.#at >= source.length) return;
      if (open.length === 0 && this.#closes(kind, close)) return;
      this.#token(open);
    }
  }

  #closes(kind: 'variable' | 'block', close: string): boolean {
    const { source } = this;
    const c = source[this.#at];
    const sign = c === '-' || (c === '+' && kind === 'block') ? c : '';
    if (!source.startsWith(close, this.#at + sign.length)) return false;
    this.#push(`${kind}_end`, '');
    this.#at += sign.length + close.length;
    this.#afterTag(sign, kind === 'block');
    return true;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.source)?.[0];
  }

  #take(type: TokenType, text: string): void {
    this.#push(type, text);
    this.#at += text.length;
  }

  #token(open: string[]): void {
    const c = this.source[this.#at];
    if (c === "'" || c === '"') this.#string(c);
    else if (!this.#number() && !this.#name()) this.#operator(open);
  }

  #number(): boolean {
    const float = this.source[this.#at - 1] === '.' ? undefined : this.#match(FLOAT);
    const text = float ?? this.#match(INTEGER);
    if (text !== undefined) this.#take(float === undefined ? 'integer' : 'float', text);
    return text !== undefined;
  }

  #name(): boolean {
    const name = this.#match(NAME);
    if (name === undefined) return false;
    if (/^\p{N}/u.test(name)) throw this.#fail('Invalid character in identifier');
    this.#take('name', name);
    return true;
  }

  #operator(open: string[]): void {
    const operator = this.#match(OPERATOR);
    if (operator === undefined) throw this.#fail(`unexpected char '${this.source[this.#at]}'`);
    if (Object.hasOwn(CLOSERS, operator)) open.push(CLOSERS[operator]);
    else if (')]}'.includes(operator)) {
      const expected = open.pop();
      if (expected !== operator) {
        const want = expected === undefined ? '' : `, expected '${expected}'`;
        throw this.#fail(`unexpected '${operator}'${want}`);
      }
    }
    this.#take('operator', operator);
  }

  #string(quote: string): void {
    const { source } = this;
    let end = this.#at + 1;
    while (end < source.length && source[end] !== quote) end += source[end] === '\\' ? 2 : 1;
    if (end >= source.length) throw this.#fail('a text has no closing quote');
    this.#take('string', source.slice(this.#at, end + 1));
  }
}

/**
 * Tokens of a template, in time linear in its length. Lines end with \n whatever they ended with;
 * one at the very end is dropped.
 *
 * @throws TemplateFailure of kind syntax
 */
export function tokenize(source: string): Token[] {
  const lines = source.replace(/\r\n?/g, '\n');
  return new Lexer(lines.endsWith('\n') ? lines.slice(0, -1) : lines).run();
}
