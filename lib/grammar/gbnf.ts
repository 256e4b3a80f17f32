/** Grammars as llama.cpp writes them (GBNF). */
import { ALL_CHARS, type CharSet, charSetOf, invertChars } from './bytes.js';
import type { GrammarBuilder, Sym } from './grammar.js';
import { MAX_COUNT } from './ir.js';
import { addRules, type Expression } from './rules.js';
import { Scanner, type TokenLookup, takeTokens } from './scanner.js';

const SPACE = /(?:[ \t\r\n]+|#[^\n]*)*/y;
const NAME = /[A-Za-z0-9_-]+/y;
const DEFINED = /([A-Za-z0-9_-]+)[ \t]*::=/y;
const COUNTS = /\{[ \t]*(\d*)[ \t]*(,?)[ \t]*(\d*)[ \t]*\}/y;
const HEX: Readonly<Record<string, RegExp>> = {
  x: /[0-9a-fA-F]{2}/y,
  u: /[0-9a-fA-F]{4}/y,
  U: /[0-9a-fA-F]{8}/y,
};
const CONTROLS: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9 };

/**
 * Rules `name ::= …`; a text is what `root` says. Rules may also be left-recursive, and a rule ends
 * where the next begins, wherever the lines break.
 * @throws ERR_GRAMMAR with the line
 */
export function gbnfToGrammar(
  source: string,
  builder: GrammarBuilder,
  options: { readonly tokens?: TokenLookup } = {},
): Sym {
  return addRules(new GbnfReader(source, builder, options.tokens).rules(), 'root', builder);
}

class GbnfReader {
  readonly #scanner: Scanner;
  readonly #builder: GrammarBuilder;
  readonly #tokens: TokenLookup | undefined;

  constructor(source: string, builder: GrammarBuilder, tokens: TokenLookup | undefined) {
    this.#scanner = new Scanner(source, builder.budget);
    this.#builder = builder;
    this.#tokens = tokens;
  }

  rules(): Map<string, Expression> {
    const scanner = this.#scanner;
    const rules = new Map<string, Expression>();
    scanner.take(SPACE);
    while (!scanner.done) {
      const name = scanner.take(DEFINED)?.[1];
      if (name === undefined) throw scanner.wrong('must begin a rule: name ::= …');
      if (rules.has(name)) throw scanner.wrong(`defines ${name} a second time: join both with |`);
      scanner.take(SPACE);
      rules.set(name, this.#choice());
    }
    return rules;
  }

  #choice(): Expression {
    const parts = [this.#sequence()];
    while (this.#scanner.takeText('|')) {
      this.#scanner.take(SPACE);
      parts.push(this.#sequence());
    }
    return parts.length === 1 ? parts[0] : { kind: 'choice', parts };
  }

  #sequence(): Expression {
    const parts: Expression[] = [];
    for (;;) {
      const scanner = this.#scanner;
      if (scanner.done || scanner.look(/[|)]/y) || scanner.look(DEFINED)) break;
      parts.push(this.#repeated(this.#item()));
    }
    return parts.length === 1 ? parts[0] : { kind: 'sequence', parts };
  }

  #repeated(of: Expression): Expression {
    const scanner = this.#scanner;
    for (;;) {
      scanner.take(SPACE);
      if (scanner.takeText('*')) of = { kind: 'repeat', of, min: 0, max: Infinity };
      else if (scanner.takeText('+')) of = { kind: 'repeat', of, min: 1, max: Infinity };
      else if (scanner.takeText('?')) of = { kind: 'repeat', of, min: 0, max: 1 };
      else if (scanner.look(/\{/y)) of = this.#counted(of);
      else return of;
      // Each wraps the last: only brackets may nest without bound on their own.
      if (depthOf(of) > 20) throw scanner.wrong('repeats a repetition too often');
    }
  }

  #counted(of: Expression): Expression {
    const match = this.#scanner.take(COUNTS);
    if (match === null) throw this.#scanner.wrong('has { without counts: write {2}, {2,} or {2,4}');
    const [all, low, comma, high] = match;
    const min = Number(low);
    const max = comma === '' ? min : high === '' ? Infinity : Number(high);
    if ((low === '' && high === '') || min > max || min > MAX_COUNT) {
      throw this.#scanner.wrong(`has ${all}: give the smaller count first, ${MAX_COUNT} at most`);
    }
    return { kind: 'repeat', of, min, max };
  }

  #item(): Expression {
    const scanner = this.#scanner;
    const { regex } = this.#builder;
    if (scanner.takeText('"')) return { kind: 'regex', regex: regex.text(this.#literal()) };
    if (scanner.takeText('[')) return { kind: 'regex', regex: regex.chars(this.#class()) };
    if (scanner.takeText('.')) return { kind: 'regex', regex: regex.chars(ALL_CHARS) };
    if (scanner.takeText('(')) {
      return scanner.bracketed(')', () => {
        scanner.take(SPACE);
        return this.#choice();
      });
    }
    const ids = scanner.look(/</y) ? takeTokens(scanner, this.#tokens) : undefined;
    if (ids !== undefined) return { kind: 'token', ids };
    if (scanner.look(/!</y)) throw scanner.wrong('excludes a token (!<…>), which is not supported');
    const line = scanner.line;
    const name = scanner.take(NAME)?.[0];
    if (name !== undefined) return { kind: 'rule', name, line };
    throw scanner.wrong(`has ${JSON.stringify(scanner.text[scanner.at])} where no part begins`);
  }

  #literal(): string {
    const scanner = this.#scanner;
    const chars: string[] = [];
    while (!scanner.takeText('"')) {
      if (scanner.done || scanner.look(/\n/y)) throw scanner.wrong('has a " without its end');
      chars.push(String.fromCodePoint(this.#char()));
    }
    return chars.join('');
  }

  #class(): CharSet {
    const scanner = this.#scanner;
    const inverted = scanner.takeText('^');
    const ranges: [number, number][] = [];
    while (!scanner.takeText(']')) {
      if (scanner.done) throw scanner.wrong('has a [ without its ]');
      const first = this.#char();
      let last = first;
      if (scanner.look(/-[^\]]/y)) {
        scanner.at++;
        last = this.#char();
      }
      if (last < first) throw scanner.wrong('has a range in […] that ends before its beginning');
      ranges.push([first, last]);
    }
    const set = charSetOf(ranges);
    return inverted ? invertChars(set) : set;
  }

  #char(): number {
    const scanner = this.#scanner;
    if (!scanner.takeText('\\')) return scanner.char();
    const letter = scanner.text[scanner.at] ?? '';
    if (letter in HEX) {
      scanner.at++;
      const value = Number.parseInt(scanner.take(HEX[letter])?.[0] ?? 'none', 16);
      if (!(value <= 0x10ffff)) throw scanner.wrong(`has \\${letter} without its code point`);
      return value;
    }
    if (letter in CONTROLS) {
      scanner.at++;
      return CONTROLS[letter];
    }
    if (letter === '' || /[A-Za-z0-9\s]/.test(letter)) {
      throw scanner.wrong(
        `has the unknown escape \\${letter}: \\n, \\t, \\", \\\\, \\x41 are known`,
      );
    }
    return scanner.char();
  }
}

function depthOf(expression: Expression): number {
  let depth = 0;
  for (let e = expression; e.kind === 'repeat'; e = e.of) depth++;
  return depth;
}
