/** Python's two ways to format: `'%5.2f' % x` and the format specs of `'{:>5}'.format(x)`. */
import { spend, spendText } from './budget.js';
import { numeric } from './compare.js';
import { typeFailure, valueFailure } from './failure.js';
import { escapeText } from './html.js';
import { exponentText, floatText, intText, quoted, repr, str } from './printing.js';
import {
  Dict,
  Float,
  Range,
  Tuple,
  textLength,
  textOf,
  typeName,
  Undefined,
  type Value,
} from './values.js';

/** A float as m · 2^e, exactly. */
function parts(value: number): [bigint, number] {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const word = view.getBigUint64(0);
  const power = Number((word >> 52n) & 0x7ffn);
  const low = word & 0xfffffffffffffn;
  return power === 0 ? [low, -1074] : [low | 0x10000000000000n, power - 1075];
}

/** |value| with so many decimals, halves to even: what the float is exactly, rounded once. */
export function fixed(value: number, decimals: number): string {
  spendText(decimals + 400);
  spend(2 * decimals);
  const [mantissa, power] = parts(Math.abs(value));
  const scaled = mantissa * 10n ** BigInt(decimals);
  let digits: bigint;
  if (power >= 0) digits = scaled << BigInt(power);
  else {
    const divisor = 1n << BigInt(-power);
    const rest = 2n * (scaled % divisor);
    digits = scaled / divisor;
    if (rest > divisor || (rest === divisor && digits % 2n === 1n)) digits++;
  }
  const text = digits.toString().padStart(decimals + 1, '0');
  if (decimals === 0) return text;
  return `${text.slice(0, -decimals)}.${text.slice(-decimals)}`;
}

function scientific(value: number, decimals: number): string {
  const [digits, power] = Math.abs(value).toExponential(Math.min(decimals, 100)).split('e');
  const zeros = '0'.repeat(Math.max(0, decimals - 100));
  return `${digits}${zeros}e${exponentText(Number(power))}`;
}

function general(value: number, precision: number, keepZeros: boolean): string {
  const count = precision === 0 ? 1 : precision;
  const [, power] = scientific(value, count - 1).split('e');
  const exponent = Number(power);
  const small = exponent >= -4 && exponent < count;
  const text = small ? fixed(value, count - 1 - exponent) : scientific(value, count - 1);
  if (keepZeros) return text;
  const [digits, tail] = text.split('e');
  const short = digits.includes('.') ? digits.replace(/0+$/, '').replace(/\.$/, '') : digits;
  return tail === undefined ? short : `${short}e${tail}`;
}

/** |value| in the manner of e, f, g; upper case is the caller's. */
function floatDigits(value: number, type: string, precision: number, keepZeros: boolean): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : 'inf';
  spendText(precision + 16);
  if (type === 'f') return fixed(value, precision);
  return type === 'e' ? scientific(value, precision) : general(value, precision, keepZeros);
}

/** At most so many, without a look at the rest. */
export function firstCharacters(text: string, count: number): string {
  return [...text.slice(0, 2 * count)].slice(0, count).join('');
}

interface Spec {
  fill: string;
  align: string;
  sign: string;
  alternate: boolean;
  zero: boolean;
  width: number;
  group: string;
  precision: number | undefined;
  type: string;
}

function grouped(digits: string, group: string): string {
  if (group === '') return digits;
  const [whole, rest] = digits.split(/(?=[.e%])/, 2);
  const tail = rest === undefined ? '' : digits.slice(whole.length);
  return whole.replace(/\B(?=(\d{3})+$)/g, group) + tail;
}

function padded(text: string, spec: Spec, align: string, signLength = 0): string {
  const missing = spec.width - textLength(text);
  if (missing <= 0) return text;
  spendText(spec.width + text.length);
  const chosen = spec.align || align;
  if (chosen === '=') {
    return text.slice(0, signLength) + spec.fill.repeat(missing) + text.slice(signLength);
  }
  const left = chosen === '<' ? 0 : chosen === '>' ? missing : missing >> 1;
  return spec.fill.repeat(left) + text + spec.fill.repeat(missing - left);
}

const SPEC =
  /^(?:([\s\S])?([<>=^]))?([ +-])?(z)?(#)?(0)?(\d+)?([,_])?(?:\.(\d+))?([bcdeEfFgGnosxX%])?$/u;

/** A number in a format: Python's are of ssize_t. */
export function formatNumber(digits: string | number): number {
  const size = Number(digits);
  // What is just below is rounded to it.
  if (size > 2 ** 63 || (size === 2 ** 63 && BigInt(digits) >= 2n ** 63n)) {
    throw valueFailure('Too many decimal digits in format string');
  }
  return size;
}

function parseSpec(text: string): Spec {
  const match = SPEC.exec(text);
  if (match === null) throw valueFailure(`Invalid format specifier '${text.slice(0, 100)}'`);
  const [, fill, align, sign, , alternate, zero, width, group, precision, type] = match;
  return {
    fill: fill ?? (zero ? '0' : ' '),
    align: align ?? (zero ? '=' : ''),
    sign: sign ?? '-',
    alternate: alternate !== undefined,
    zero: zero !== undefined,
    width: formatNumber(width ?? 0),
    group: group ?? '',
    precision: precision === undefined ? undefined : formatNumber(precision),
    type: type ?? '',
  };
}

const BASES: Record<string, [number, string]> = { b: [2, '0b'], o: [8, '0o'], x: [16, '0x'] };

function intDigits(value: number | bigint, spec: Pick<Spec, 'type' | 'alternate'>): string {
  const size = value < 0 ? -value : value;
  const base = BASES[spec.type.toLowerCase()];
  if (base === undefined) return intText(size);
  const text = (spec.alternate ? base[1] : '') + size.toString(base[0]);
  return spec.type === 'X' ? text.toUpperCase() : text;
}

function floatSpec(value: number, spec: Spec): string {
  const { type, precision } = spec;
  if (type === '%') return `${floatDigits(100 * value, 'f', precision ?? 6, false)}%`;
  if (type === '' || type === 'n') {
    if (precision === undefined) return floatText(Math.abs(value));
    const text = general(value, precision, false);
    return /[.e]/.test(text) || !Number.isFinite(value) ? text : `${text}.0`;
  }
  const digits = floatDigits(value, type.toLowerCase(), precision ?? 6, spec.alternate);
  return type === type.toLowerCase() ? digits : digits.toUpperCase();
}

/** `format(value, spec)` */
export function formatValue(value: Value, specText: string): string {
  if (specText === '') return str(value);
  const text = textOf(value) ?? (value instanceof Undefined ? '' : undefined);
  const spec = parseSpec(specText);
  if (text !== undefined) {
    if (spec.sign !== '-') throw valueFailure('Sign not allowed in string format specifier');
    if (!['', 's'].includes(spec.type) || spec.align === '=') {
      throw valueFailure(`Unknown format code '${spec.type}' for object of type 'str'`);
    }
    const cut = spec.precision;
    return padded(cut === undefined ? text : firstCharacters(text, cut), spec, '<');
  }
  const number = numeric(value);
  if (number === undefined || (typeof value === 'boolean' && spec.type === 's')) {
    throw typeFailure(`unsupported format string passed to ${typeName(value)}.__format__`);
  }
  const whole = !(value instanceof Float) && !/[eEfFgG%]/.test(spec.type);
  if (!whole && /[bcdoxX]/.test(spec.type)) {
    throw valueFailure(`Unknown format code '${spec.type}' for object of type 'float'`);
  }
  if (whole && spec.type === 'c') return padded(String.fromCodePoint(Number(number)), spec, '<');
  if (spec.type === 's') throw valueFailure("Unknown format code 's' for a number");
  const digits = whole ? intDigits(number, spec) : floatSpec(Number(number), spec);
  const minus = number < 0 || Object.is(number, -0);
  const sign = minus ? '-' : spec.sign === '-' ? '' : spec.sign;
  return padded(sign + grouped(digits, spec.group), spec, '>', sign.length);
}

const PERCENT = /%(?:\(([^()]*)\))?([-+ #0]*)(\*|\d+)?(?:\.(\*|\d*))?[hlL]?([\s\S])?/gu;

/** Where the values of a % come from. */
class Source {
  #at = 0;
  readonly #items: readonly Value[] | undefined;
  constructor(readonly values: Value) {
    this.#items = values instanceof Tuple ? values.items : undefined;
  }
  next(): Value {
    if (this.#items === undefined ? this.#at > 0 : this.#at >= this.#items.length) {
      throw typeFailure('not enough arguments for format string');
    }
    const at = this.#at++;
    return this.#items === undefined ? this.values : this.#items[at];
  }
  named(name: string): Value {
    if (!(this.values instanceof Dict)) throw typeFailure('format requires a mapping');
    const value = this.values.get(name);
    if (value === undefined) throw valueFailure(`there is no value named '${name}' for %`);
    this.#at = Number.POSITIVE_INFINITY;
    return value;
  }
  end(): void {
    const used = this.#items === undefined ? this.#at > 0 : this.#at >= this.#items.length;
    const spare =
      Array.isArray(this.values) ||
      [Dict, Range, Undefined].some((type) => this.values instanceof type);
    if (!used && !spare) throw typeFailure('not all arguments converted during string formatting');
  }
}

function percentNumber(value: Value, type: string): number | bigint {
  const number = numeric(value);
  if (number === undefined) {
    if (value instanceof Undefined) throw value.failure();
    throw typeFailure(`%${type} format: a real number is required, not ${typeName(value)}`);
  }
  if (!(value instanceof Float) || /[eEfFgG]/.test(type)) return number;
  if (/[oxX]/.test(type)) {
    throw typeFailure(`%${type} format: an integer is required, not float`);
  }
  if (!Number.isFinite(Number(number))) throw valueFailure('cannot convert float to integer');
  return BigInt(Math.trunc(Number(number)));
}

function oneCharacter(value: Value): string {
  const text = textOf(value);
  if (text !== undefined && textLength(text) === 1) return text;
  const code = numeric(value);
  if (code === undefined || value instanceof Float || code < 0 || code > 0x10ffff) {
    throw typeFailure('%c requires int or char');
  }
  return String.fromCodePoint(Number(code));
}

function percentText(value: Value, type: string, precision: number | undefined, markup: boolean) {
  if (type === 'c' && markup) throw typeFailure('%c requires int or char');
  if (type === 'c') return oneCharacter(value);
  const plain = type === 's' ? value : repr(value);
  const text = markup ? escapeText(plain) : str(plain);
  const ascii = type === 'a' ? asciiOnly(text) : text;
  return precision === undefined ? ascii : firstCharacters(ascii, precision);
}

function asciiOnly(text: string): string {
  return text.replace(/[^\0-\x7f]/gu, (c) => {
    const hex = (c.codePointAt(0) as number).toString(16);
    const width = hex.length <= 2 ? 2 : hex.length <= 4 ? 4 : 8;
    return `\\${{ 2: 'x', 4: 'u', 8: 'U' }[width]}${hex.padStart(width, '0')}`;
  });
}

/** `pattern % values`; in markup, what is no number is escaped. */
export function percentFormat(pattern: string, values: Value, markup = false): string {
  spendText(pattern.length);
  const source = new Source(values);
  const size = (given: string | undefined) =>
    given === '*' ? Number(numeric(source.next())) : Number(given || 0);
  const out = pattern.replace(PERCENT, (...match: (string | undefined)[]) => {
    const [, name, flags = '', width, dot, type] = match;
    const columns = size(width);
    const precision = dot === undefined ? undefined : size(dot);
    if (type === '%') return '%';
    if (type === undefined) throw valueFailure('incomplete format');
    if (!'diouxXeEfFgGcrsa'.includes(type)) {
      throw valueFailure(`unsupported format character '${type}'`);
    }
    const value = name === undefined ? source.next() : source.named(name);
    const spec = parseSpec('');
    Object.assign(spec, { width: columns, type, alternate: flags.includes('#') });
    spendText(columns + (precision ?? 0));
    if ('crsa'.includes(type)) {
      return padded(
        percentText(value, type, precision, markup),
        spec,
        flags.includes('-') ? '<' : '>',
      );
    }
    return percentSigned(percentNumber(value, type), spec, flags, precision);
  });
  source.end();
  return out;
}

function percentSigned(
  number: number | bigint,
  spec: Spec,
  flags: string,
  precision: number | undefined,
): string {
  const float = /[eEfFgG]/.test(spec.type);
  const whole = 'iu'.includes(spec.type) ? { ...spec, type: 'd' } : spec;
  const digits = float
    ? floatSpec(Math.abs(Number(number)), { ...spec, precision: precision ?? 6 })
    : intDigits(number, whole).padStart(precision ?? 0, '0');
  const minus = number < 0 || Object.is(number, -0);
  const sign = minus ? '-' : flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : '';
  const zeros = flags.includes('0') && !flags.includes('-');
  spec.fill = zeros ? '0' : ' ';
  const prefix = spec.alternate && /[xXo]/.test(spec.type) ? 2 : 0;
  const align = flags.includes('-') ? '<' : zeros ? '=' : '>';
  return padded(sign + digits, spec, align, sign.length + prefix);
}

/** `{!r}` and its like. */
export function convert(value: Value, how: string | undefined): Value {
  if (how === undefined) return value;
  if (how === 's') return str(value);
  if (how === 'r') return repr(value);
  if (how === 'a') return asciiOnly(repr(value));
  throw valueFailure(`Unknown conversion specifier ${quoted(how)}`);
}
