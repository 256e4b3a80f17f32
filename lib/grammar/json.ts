import { Budget } from './budget.js';
import { ALL_CHARS, byteSet, type CharSet, intersectChars, subtractChars } from './bytes.js';
import { type Regex, RegexBuilder } from './ir.js';
import { regexToTerminal } from './regex.js';

export interface JsonOptions {
  /** True: no whitespace at all. Default false. */
  readonly disableAnyWhitespace?: boolean;
  /** A regex of what may stand between any two parts of a value, instead of the default. */
  readonly whitespacePattern?: string;
}

/** Digits before and after the point: numbers stay finite as doubles, and digits come to an end. */
const MAX_DIGITS = 30;

/** Controls that have an escape of two characters, and its letter. */
const SHORT_ESCAPES: readonly (readonly [code: number, letter: string])[] = [
  [0x08, 'b'],
  [0x09, 't'],
  [0x0a, 'n'],
  [0x0c, 'f'],
  [0x0d, 'r'],
];

/**
 * The parts of JSON texts as regexes. Whitespace by default: after `{`, `[` and `,` and before `}`
 * and `]` at most one space, or one line feed with an indentation of at most 20 spaces or 10 tabs;
 * after `:` at most one space. Endless whitespace, which small models fall into, does not fit.
 */
export class JsonSyntax {
  readonly builder: RegexBuilder;
  readonly objectOpen: Regex;
  readonly objectClose: Regex;
  readonly arrayOpen: Regex;
  readonly arrayClose: Regex;
  readonly comma: Regex;
  readonly colon: Regex;
  readonly emptyObject: Regex;
  readonly emptyArray: Regex;
  /** One character within a string's quotes, in any spelling. */
  readonly char: Regex;
  /** Any characters within a string's quotes. */
  readonly chars: Regex;
  readonly integer: Regex;
  readonly number: Regex;

  constructor(builder: RegexBuilder, options: JsonOptions = {}) {
    this.builder = builder;
    const { gap, beforeColon, afterColon, beforeComma } = whitespace(builder, options);
    const text = (value: string) => builder.text(value);
    this.objectOpen = builder.concat(text('{'), gap);
    this.objectClose = builder.concat(gap, text('}'));
    this.arrayOpen = builder.concat(text('['), gap);
    this.arrayClose = builder.concat(gap, text(']'));
    this.comma = builder.concat(beforeComma, text(','), gap);
    this.colon = builder.concat(beforeColon, text(':'), afterColon);
    this.emptyObject = builder.concat(text('{'), gap, text('}'));
    this.emptyArray = builder.concat(text('['), gap, text(']'));
    const { char, chars, integer, number } = partsOf(builder);
    this.char = char;
    this.chars = chars;
    this.integer = integer;
    this.number = number;
  }

  /** A string with its quotes, of what stands within them. */
  quoted(chars: Regex): Regex {
    const quote = this.builder.text('"');
    return this.builder.concat(quote, chars, quote);
  }

  /** One character of a set; see {@link encodeChars}. */
  encode(set: CharSet): Regex {
    return encodeChars(set, this.builder);
  }

  /** The one spelling of a text that serializers write, without the quotes. */
  spell(text: string): string {
    return JSON.stringify(text).slice(1, -1);
  }

  /** What is written of texts. */
  texts(texts: readonly string[]): Regex {
    return this.builder.texts(texts.map((text) => this.spell(text)));
  }

  /** All that `encode` gives of a text. */
  spellings(text: string): Regex {
    if (!/[\p{Cc}/]/u.test(text)) return this.builder.text(this.spell(text));
    return this.encoded(text);
  }

  protected encoded(text: string): Regex {
    const chars = Array.from(text, (char) => {
      const code = char.codePointAt(0)!;
      return this.encode([[code, code]]);
    });
    return this.builder.concatOf(chars);
  }
}

/**
 * One character of a set as it is written in a string, the way that serializers write it: itself
 * where JSON lets it be, else its escape. Two sets without a character in common give languages
 * without a string in common, so that complement and intersection of texts carry over to what is
 * written. A slash may be escaped, a control also be written as \u00XX.
 */
export function encodeChars(set: CharSet, builder: RegexBuilder): Regex {
  return set === ALL_CHARS ? partsOf(builder).encoded : encodedChars(set, builder);
}

function encodedChars(set: CharSet, builder: RegexBuilder): Regex {
  const plain = subtractChars(set, [
    [0, 0x1f],
    [0x22, 0x22],
    [0x5c, 0x5c],
    [0xd800, 0xdfff],
  ]);
  const parts = [builder.chars(plain)];
  const has = (code: number) => intersectChars(set, [[code, code]]).length > 0;
  for (const char of ['"', '\\', '/']) {
    if (has(char.charCodeAt(0))) parts.push(builder.text(`\\${char}`));
  }
  for (const [code, letter] of SHORT_ESCAPES) {
    if (has(code)) parts.push(builder.text(`\\${letter}`));
  }
  for (const [first, last] of intersectChars(set, [[0, 0x1f]])) {
    for (let code = first; code <= last; code++) parts.push(controlEscape(code, builder));
  }
  return builder.alt(...parts);
}

/** False for halves of surrogate pairs alone, which UTF-8 cannot write. */
export function isText(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

function controlEscape(code: number, builder: RegexBuilder): Regex {
  const digit = (code & 15).toString(16);
  return builder.concat(
    builder.text(`\\u00${code >> 4}`),
    builder.alt(builder.text(digit), builder.text(digit.toUpperCase())),
  );
}

/** One character of a text in JSON, in any spelling. */
export function anyChar(builder: RegexBuilder): Regex {
  const hex = (from: number, to: number) => {
    const letters = [0x41, 0x61].map((a) => [Math.max(a, a + from - 10), a + to - 10] as const);
    const decimal = [0x30 + from, 0x30 + Math.min(to, 9)] as const;
    const ranges = [decimal, ...letters].filter(([first, last]) => first <= last);
    return builder.bytes(byteSet(...ranges));
  };
  const any = hex(0, 15);
  const d = builder.alt(builder.text('d'), builder.text('D'));
  const u = builder.text('\\u');
  const below = builder.concat(hexExcept(builder), any, any, any);
  const surrogateRow = builder.concat(d, hex(0, 7), any, any);
  const pair = builder.concat(d, hex(8, 11), any, any, u, d, hex(12, 15), any, any);
  return builder.alt(
    builder.chars([
      [0x20, 0x21],
      [0x23, 0x5b],
      [0x5d, 0xd7ff],
      [0xe000, 0x10ffff],
    ]),
    builder.concat(builder.text('\\'), builder.texts(['"', '\\', '/', 'b', 'f', 'n', 'r', 't'])),
    builder.concat(u, builder.alt(below, surrogateRow, pair)),
  );
}

/** Any hexadecimal digit but D: \uD… may begin half a surrogate pair. */
function hexExcept(builder: RegexBuilder): Regex {
  return builder.bytes(
    byteSet([0x30, 0x39], [0x41, 0x43], [0x45, 0x46], [0x61, 0x63], [0x65, 0x66]),
  );
}

/** Up to 269 either way: with 30 digits before the point that is still below the largest double. */
function exponent(builder: RegexBuilder, digit: Regex): Regex {
  const sign = builder.optional(builder.texts(['+', '-']));
  const upTo = (last: number) => builder.bytes(byteSet([0x30, 0x30 + last]));
  const hundreds = builder.alt(
    builder.concat(builder.text('1'), digit, digit),
    builder.concat(builder.text('2'), upTo(6), digit),
  );
  const size = builder.alt(builder.repeat(digit, 1, 2), hundreds);
  return builder.concat(builder.texts(['e', 'E']), sign, size);
}

function whitespace(builder: RegexBuilder, options: JsonOptions) {
  const none = builder.epsilon();
  if (options.whitespacePattern !== undefined) {
    const gap = regexToTerminal(options.whitespacePattern, builder);
    return { gap, beforeColon: gap, afterColon: gap, beforeComma: gap };
  }
  if (options.disableAnyWhitespace === true) {
    return { gap: none, beforeColon: none, afterColon: none, beforeComma: none };
  }
  const indentation = builder.alt(
    builder.repeat(builder.text(' '), 0, 20),
    builder.repeat(builder.text('\t'), 0, 10),
  );
  const line = builder.concat(builder.text('\n'), indentation);
  const space = builder.text(' ');
  return {
    gap: builder.optional(builder.alt(space, line)),
    beforeColon: none,
    afterColon: builder.optional(space),
    beforeComma: none,
  };
}

/** What no option changes. */
class JsonParts {
  readonly char: Regex;
  readonly chars: Regex;
  readonly integer: Regex;
  readonly number: Regex;
  /** Any one character, as {@link encodeChars} writes it. */
  readonly encoded: Regex;

  constructor(builder: RegexBuilder) {
    const text = (value: string) => builder.text(value);
    this.char = anyChar(builder);
    this.chars = builder.repeat(this.char, 0, Infinity);
    const digit = builder.bytes(byteSet([0x30, 0x39]));
    const lead = builder.bytes(byteSet([0x31, 0x39]));
    const minus = builder.optional(text('-'));
    const whole = builder.concat(lead, builder.repeat(digit, 0, MAX_DIGITS - 1));
    this.integer = builder.alt(text('0'), builder.concat(minus, whole));
    const fraction = builder.concat(text('.'), builder.repeat(digit, 1, MAX_DIGITS));
    this.number = builder.concat(
      minus,
      builder.alt(text('0'), whole),
      builder.optional(fraction),
      builder.optional(exponent(builder, digit)),
    );
    this.encoded = encodedChars(ALL_CHARS, builder);
  }
}

/** Builders of grammars begin with the parts of JSON, which are made once. */
export const JSON_BASE = new RegexBuilder(new Budget({ maxWork: Infinity }));
const BASE_PARTS = new JsonParts(JSON_BASE);

function partsOf(builder: RegexBuilder): JsonParts {
  return builder.isOn(JSON_BASE) ? BASE_PARTS : new JsonParts(builder);
}
