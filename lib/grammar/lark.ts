/** Grammars in the style of Lark, as guidance's and vLLM's users write them. */
import type { GrammarBuilder, Sym } from './grammar.js';
import { MAX_COUNT, type Regex } from './ir.js';
import { LARK_COMMON } from './lark-common.js';
import { regexToTerminal } from './regex.js';
import { addRules, type Expression } from './rules.js';
import { Scanner, type TokenLookup, takeTokens } from './scanner.js';

/** Blanks within a line. */
const BLANKS = /[ \t]*/y;
/** Blanks, ends of lines and comments. */
const SPACE = /(?:[ \t\r\n\f]+|\/\/[^\n]*|#[^\n]*)*/y;
/** A rule or terminal that begins here, with Lark's marks, which mean nothing to us. */
const DEFINED = /[?!]{0,2}([A-Za-z_][A-Za-z0-9_]*)(?:\.-?\d+)?[ \t]*:/y;
const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;
const STRING = /"((?:[^"\\\n]|\\.)*)"(i?)/y;
const REGEX = /\/((?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+)\/([a-z]*)/y;
const COUNTS = /~[ \t]*(\d+)(?:[ \t]*\.\.[ \t]*(\d+))?/y;
const ALIAS = /->[ \t]*[A-Za-z_][A-Za-z0-9_]*/y;
const IMPORT_ONE = /common\.([A-Z_]+)(?:[ \t]*->[ \t]*([A-Z_][A-Z0-9_]*))?/y;
const IMPORT_SOME = /common[ \t]*\(([A-Z_, \t\r\n]*)\)/y;
const DIRECTIVE = /%([a-z]+)[ \t]*/y;

/**
 * Rules `name: …` and terminals `NAME: …`; a text is what `start` says. What `%ignore` names may
 * stand before each terminal of a rule and at the end. All texts of the grammar belong: terminals
 * have no priorities, and are not the longest possible.
 * @throws ERR_GRAMMAR with the line
 */
export function larkToGrammar(
  source: string,
  builder: GrammarBuilder,
  options: { readonly tokens?: TokenLookup } = {},
): Sym {
  const reader = new LarkReader(source, builder, options.tokens);
  reader.read();
  const { regex } = builder;
  const parts = reader.ignored.map((part) => reader.terminal(part));
  const ignore = parts.length === 0 ? undefined : regex.repeat(regex.altOf(parts), 0, Infinity);
  const rules = new Map<string, Expression>();
  for (const [name, rule] of reader.rules) rules.set(name, reader.withTerminals(rule));
  return addRules(rules, 'start', builder, { ignore });
}

const MAX_TERMINALS_DEEP = 100;

const isTerminal = (name: string) => /^_*[A-Z]/.test(name);

class LarkReader {
  readonly rules = new Map<string, Expression>();
  readonly ignored: Expression[] = [];
  readonly #terminals = new Map<string, Expression>();
  /** Of each terminal that was asked for; null while it is being made. */
  readonly #regexes = new Map<string, Regex | null>();
  #deep = 0;
  readonly #scanner: Scanner;
  readonly #builder: GrammarBuilder;
  readonly #tokens: TokenLookup | undefined;

  constructor(source: string, builder: GrammarBuilder, tokens: TokenLookup | undefined) {
    this.#scanner = new Scanner(source, builder.budget);
    this.#builder = builder;
    this.#tokens = tokens;
  }

  read(): void {
    const scanner = this.#scanner;
    for (scanner.take(SPACE); !scanner.done; scanner.take(SPACE)) {
      if (scanner.look(/%/y)) {
        this.#directive();
        continue;
      }
      const name = scanner.take(DEFINED)?.[1];
      if (name === undefined) {
        const templated = scanner.look(/[a-z_]+\{/y) !== null;
        const what = templated ? 'has a template rule, which is not supported' : 'begins no rule';
        throw scanner.wrong(`${what}: write name: … or NAME: …`);
      }
      this.#define(name, this.#choice());
    }
  }

  #define(name: string, expression: Expression): void {
    const into = isTerminal(name) ? this.#terminals : this.rules;
    if (into.has(name))
      throw this.#scanner.wrong(`defines ${name} a second time: join both with |`);
    into.set(name, expression);
  }

  #directive(): void {
    const scanner = this.#scanner;
    const name = scanner.take(DIRECTIVE)?.[1];
    if (name === 'ignore') this.ignored.push(this.#choice());
    else if (name === 'import') this.#import();
    // Options of another engine.
    else if (name === 'llguidance') scanner.take(/\{[^}\n]*\}/y);
    else throw scanner.wrong(`has %${name ?? ''}, which is not supported: %ignore and %import are`);
  }

  #import(): void {
    const scanner = this.#scanner;
    const one = scanner.take(IMPORT_ONE);
    const some = one === null ? scanner.take(IMPORT_SOME) : null;
    if (one === null && some === null) {
      throw scanner.wrong('imports from elsewhere than common: write the terminal out');
    }
    const names = one === null ? some![1].split(',').map((name) => name.trim()) : [one[1]];
    for (const name of names) {
      if (!Object.hasOwn(LARK_COMMON, name)) {
        throw scanner.wrong(`imports common.${name}, which is not known: write the terminal out`);
      }
      const regex = regexToTerminal(LARK_COMMON[name], this.#builder.regex);
      this.#define(one?.[2] ?? name, { kind: 'regex', regex });
    }
  }

  #choice(): Expression {
    const parts = [this.#sequence()];
    while (this.#scanner.takeText('|')) parts.push(this.#sequence());
    return parts.length === 1 ? parts[0] : { kind: 'choice', parts };
  }

  /** Ends where a bar, a bracket or the next definition comes, wherever the lines break. */
  #sequence(): Expression {
    const scanner = this.#scanner;
    const parts: Expression[] = [];
    for (;;) {
      scanner.take(SPACE);
      if (scanner.done || scanner.look(/[|)\]%]/y) || scanner.look(DEFINED)) break;
      if (scanner.take(ALIAS) === null) parts.push(this.#repeated(this.#item()));
    }
    return parts.length === 1 ? parts[0] : { kind: 'sequence', parts };
  }

  #repeated(of: Expression): Expression {
    const scanner = this.#scanner;
    scanner.take(BLANKS);
    if (scanner.takeText('*')) return { kind: 'repeat', of, min: 0, max: Infinity };
    if (scanner.takeText('+')) return { kind: 'repeat', of, min: 1, max: Infinity };
    if (scanner.takeText('?')) return { kind: 'repeat', of, min: 0, max: 1 };
    const counts = scanner.take(COUNTS);
    if (counts === null) return of;
    const min = Number(counts[1]);
    const max = counts[2] === undefined ? min : Number(counts[2]);
    if (min > max || min > MAX_COUNT) {
      throw scanner.wrong(`has ${counts[0]}: give the smaller count first, ${MAX_COUNT} at most`);
    }
    return { kind: 'repeat', of, min, max };
  }

  #item(): Expression {
    const scanner = this.#scanner;
    if (scanner.takeText('(')) return scanner.bracketed(')', () => this.#choice());
    if (scanner.takeText('[')) {
      const of = scanner.bracketed(']', () => this.#choice());
      return { kind: 'repeat', of, min: 0, max: 1 };
    }
    if (scanner.look(/"/y)) return this.#string();
    const regex = scanner.take(REGEX);
    if (regex !== null) {
      const [, source, flags] = regex;
      const terminal = regexToTerminal(source, this.#builder.regex, { flags });
      return { kind: 'regex', regex: terminal };
    }
    if (scanner.look(/</y)) {
      const ids = takeTokens(scanner, this.#tokens);
      if (ids !== undefined) return { kind: 'token', ids };
    }
    const line = scanner.line;
    const name = scanner.take(NAME)?.[0];
    if (name === undefined || scanner.look(/\{/y)) {
      throw scanner.wrong(`has ${JSON.stringify(scanner.text[scanner.at] ?? '')} out of place`);
    }
    return { kind: 'rule', name, line };
  }

  #string(): Expression {
    const scanner = this.#scanner;
    const { regex } = this.#builder;
    const text = this.#stringText();
    scanner.take(BLANKS);
    if (!scanner.takeText('..')) {
      if (!text.ignoreCase) return { kind: 'regex', regex: regex.text(text.value) };
      const source = text.value.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
      return { kind: 'regex', regex: regexToTerminal(source, regex, { flags: 'i' }) };
    }
    scanner.take(BLANKS);
    const last = scanner.look(/"/y) ? this.#stringText() : { value: '' };
    const [low, high] = [text.value, last.value].map((value) => Array.from(value));
    if (low.length !== 1 || high.length !== 1 || low[0].codePointAt(0)! > high[0].codePointAt(0)!) {
      throw scanner.wrong('has a range that is not of one character to a later one: "a".."z"');
    }
    const set = [[low[0].codePointAt(0)!, high[0].codePointAt(0)!]] as const;
    return { kind: 'regex', regex: regex.chars(set) };
  }

  #stringText(): { value: string; ignoreCase: boolean } {
    const scanner = this.#scanner;
    const match = scanner.take(STRING);
    if (match === null) throw scanner.wrong('has a " without its end');
    const controls: Record<string, string> = { n: '\n', r: '\r', t: '\t', f: '\f', v: '\v' };
    const escapes = /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))/gsu;
    const value = match[1].replace(escapes, (all, x, u, long, char: string | undefined) => {
      if (char === undefined) {
        const codePoint = Number.parseInt(x ?? u ?? long, 16);
        if (codePoint > 0x10ffff) throw scanner.wrong(`has ${all}, which is no code point`);
        return String.fromCodePoint(codePoint);
      }
      if (char in controls) return controls[char];
      if (!/[A-Za-z0-9]/.test(char)) return char;
      throw scanner.wrong(`has the unknown escape ${all}: \\n, \\t, \\", \\\\ and \\x41 are known`);
    });
    return { value, ignoreCase: match[2] === 'i' };
  }

  /** The same expression with its terminals in the place of their names. */
  withTerminals(expression: Expression): Expression {
    switch (expression.kind) {
      case 'rule':
        if (!isTerminal(expression.name)) return expression;
        return { kind: 'regex', regex: this.#named(expression.name, expression.line) };
      case 'sequence':
      case 'choice': {
        const parts = expression.parts.map((part) => this.withTerminals(part));
        return { kind: expression.kind, parts };
      }
      case 'repeat':
        return { ...expression, of: this.withTerminals(expression.of) };
      default:
        return expression;
    }
  }

  #named(name: string, line: number): Regex {
    const known = this.#regexes.get(name);
    if (known === null) throw this.#at(line, `uses ${name} inside itself: make it a rule`);
    if (known !== undefined) return known;
    const expression = this.#terminals.get(name);
    if (expression === undefined) throw this.#at(line, `uses ${name}, which no line defines`);
    if (++this.#deep > MAX_TERMINALS_DEEP) {
      throw this.#at(line, `uses terminals in terminals deeper than ${MAX_TERMINALS_DEEP}`);
    }
    this.#regexes.set(name, null);
    const regex = this.terminal(expression);
    this.#deep--;
    this.#regexes.set(name, regex);
    return regex;
  }

  #at(line: number, what: string): Error {
    this.#scanner.at = 0;
    for (let i = 1; i < line; i++) this.#scanner.take(/[^\n]*\n/y);
    return this.#scanner.wrong(what);
  }

  /** An expression that is part of a terminal. */
  terminal(expression: Expression): Regex {
    const { regex } = this.#builder;
    switch (expression.kind) {
      case 'regex':
        return expression.regex;
      case 'rule':
        if (isTerminal(expression.name)) return this.#named(expression.name, expression.line);
        throw this.#at(expression.line, `uses the rule ${expression.name} in a terminal`);
      case 'token':
        throw this.#at(1, 'or a later one has a token by id in a terminal: put it into a rule');
      case 'sequence':
        return regex.concatOf(expression.parts.map((part) => this.terminal(part)));
      case 'choice':
        return regex.altOf(expression.parts.map((part) => this.terminal(part)));
      case 'repeat':
        return regex.repeat(this.terminal(expression.of), expression.min, expression.max);
    }
  }
}
