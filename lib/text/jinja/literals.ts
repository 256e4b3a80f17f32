/** Literals of a template: what stands between quotes, and numbers. */

import { integer } from './arithmetic.js';
import { TemplateFailure } from './failure.js';
import { Float, type Value } from './values.js';

const SIMPLE: Record<string, string> = {
  '\n': '',
  '\\': '\\',
  "'": "'",
  '"': '"',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

/** Names of \N{…}: those that texts for models use; the whole list has 30,000. */
const NAMED: Record<string, string> = {
  SPACE: ' ',
  'NO-BREAK SPACE': '\u00a0',
  'ZERO WIDTH SPACE': '\u200b',
  'ZERO WIDTH JOINER': '\u200d',
  'EN DASH': '–',
  'EM DASH': '—',
  'LEFT SINGLE QUOTATION MARK': '‘',
  'RIGHT SINGLE QUOTATION MARK': '’',
  'LEFT DOUBLE QUOTATION MARK': '“',
  'RIGHT DOUBLE QUOTATION MARK': '”',
  BULLET: '•',
  'HORIZONTAL ELLIPSIS': '…',
  'RIGHTWARDS ARROW': '→',
  'LEFTWARDS ARROW': '←',
  'DEGREE SIGN': '°',
  'EURO SIGN': '€',
  'LOWER ONE EIGHTH BLOCK': '▁',
  'FULLWIDTH VERTICAL LINE': '｜',
  'CHECK MARK': '✓',
};

const WIDTHS: Record<string, number> = { x: 2, u: 4, U: 8 };

function damaged(what: string): TemplateFailure {
  return new TemplateFailure('syntax', `a text has a damaged escape ${what}`);
}

function numbered(letter: string, hex: string): string {
  const code = Number.parseInt(hex, 16);
  if (hex.length !== WIDTHS[letter] || !(code <= 0x10ffff)) throw damaged(`\\${letter}${hex}`);
  return String.fromCodePoint(code);
}

/** As Python spells a character beyond ASCII that follows a backslash. */
function spelled(char: string): string {
  const hex = (char.codePointAt(0) as number).toString(16);
  if (hex.length <= 2) return `\\x${hex.padStart(2, '0')}`;
  return hex.length <= 4 ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`;
}

function unescaped(whole: string, rest: string): string {
  const letter = rest[0];
  if (Object.hasOwn(SIMPLE, rest)) return SIMPLE[rest];
  if (letter in WIDTHS) return numbered(letter, rest.slice(1));
  if (/^[0-7]/.test(rest)) return String.fromCharCode(Number.parseInt(rest, 8));
  if (letter === 'N') {
    const name = rest.slice(2, -1).toUpperCase();
    if (!Object.hasOwn(NAMED, name)) throw damaged(`${whole}; write the character itself`);
    return NAMED[name];
  }
  return (rest.codePointAt(0) as number) > 0x7f ? spelled(rest) : whole;
}

const ESCAPE =
  /\\(N\{[^}]{0,99}\}|N|x[0-9a-fA-F]{0,2}|u[0-9a-fA-F]{0,4}|U[0-9a-fA-F]{0,8}|[0-7]{1,3}|[\s\S])/gu;

/** The text of a literal, quotes included. */
export function textLiteral(source: string): string {
  const body = source.slice(1, -1);
  return body.includes('\\') ? body.replace(ESCAPE, unescaped) : body;
}

export function integerLiteral(source: string): Value {
  return integer(BigInt(source.replaceAll('_', '')));
}

export function floatLiteral(source: string): Value {
  return new Float(Number(source.replaceAll('_', '')));
}
