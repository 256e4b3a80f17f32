/** Python's + - * / // % ** and ~ over all values. Integers are exact at any size. */
import { spend, spendText } from './budget.js';
import { numeric } from './compare.js';
import { TemplateFailure, typeFailure, valueFailure } from './failure.js';
import { percentFormat } from './format.js';
import { escapeText } from './html.js';
import { str } from './printing.js';
import {
  asSize,
  Float,
  Markup,
  Tuple,
  textOf,
  typeName,
  Undefined,
  type Value,
  View,
} from './values.js';

/** Bits of the largest integer that is computed. */
const MAX_BITS = 1 << 17;

export type Operator = '+' | '-' | '*' | '/' | '//' | '%' | '**';

/** An integer as number where that is exact. */
export function integer(value: bigint): number | bigint {
  const small = Number(value);
  return Number.isSafeInteger(small) ? small : value;
}

function bits(value: number | bigint): number {
  return typeof value === 'number'
    ? Math.ceil(Math.log2(Math.abs(value) + 1))
    : value.toString(16).length * 4;
}

function checkBits(count: number): void {
  if (count > MAX_BITS) {
    throw new TemplateFailure('limit', `it computes an integer of more than ${MAX_BITS} bits`);
  }
  spend(1 + (count >> 3));
}

function zeroDivision(): TemplateFailure {
  return valueFailure('division by zero');
}

function bigDivision(a: bigint, b: bigint, rest: boolean): bigint {
  spend(1 + Math.floor((bits(a) * bits(b)) / 2048));
  const remainder = a % b;
  const wrong = remainder !== 0n && remainder < 0n !== b < 0n;
  if (rest) return wrong ? remainder + b : remainder;
  return a / b - (wrong ? 1n : 0n);
}

function intPower(a: number | bigint, b: number | bigint): Value {
  if (b < 0) {
    if (Number(a) === 0) throw zeroDivision();
    return new Float(Number(a) ** Number(b));
  }
  if (Number(a) !== 0 && Math.abs(Number(a)) !== 1) checkBits(bits(a) * Number(b));
  return integer(BigInt(a) ** BigInt(b));
}

function ints(op: Operator, a: number | bigint, b: number | bigint): Value {
  if (op === '/') {
    if (Number(b) === 0) throw zeroDivision();
    return new Float(Number(a) / Number(b));
  }
  if (op === '**') return intPower(a, b);
  if (op === '//' || op === '%') {
    if (Number(b) === 0) throw zeroDivision();
    return integer(bigDivision(BigInt(a), BigInt(b), op === '%'));
  }
  if (op === '*') {
    checkBits(bits(a) + bits(b));
    spend(Math.floor((bits(a) * bits(b)) / 2048));
  }
  const [x, y] = [BigInt(a), BigInt(b)];
  return integer(op === '+' ? x + y : op === '-' ? x - y : x * y);
}

/** The remainder with the sign of the divisor. */
function floatRemainder(a: number, b: number): number {
  const rest = a % b;
  if (rest === 0) return Object.is(Math.sign(b), -1) ? -0 : 0;
  return rest < 0 !== b < 0 ? rest + b : rest;
}

function floatPower(a: number, b: number): number {
  if (a === 0 && b < 0) throw zeroDivision();
  if (a < 0 && !Number.isInteger(b)) throw typeFailure('complex numbers are not known here');
  const power = a ** b;
  if (!Number.isFinite(power) && Number.isFinite(a) && Number.isFinite(b)) {
    throw valueFailure('the result of ** is too large for a float');
  }
  return power;
}

function floats(op: Operator, a: number, b: number): number {
  if (op === '+') return a + b;
  if (op === '-') return a - b;
  if (op === '*') return a * b;
  if (op === '**') return floatPower(a, b);
  if (b === 0) throw zeroDivision();
  if (op === '/') return a / b;
  const rest = floatRemainder(a, b);
  if (op === '%') return rest;
  const whole = (a - rest) / b;
  return whole === 0 ? (Object.is(a / b < 0, true) ? -0 : 0) : Math.round(whole);
}

function unsupported(op: Operator, a: Value, b: Value): TemplateFailure {
  const isOfView = a instanceof View || b instanceof View; // there are no sets here
  if (a instanceof Undefined && !isOfView) return a.failure();
  if (b instanceof Undefined && !isOfView) return b.failure();
  return typeFailure(
    `unsupported operand type(s) for ${op}: '${typeName(a)}' and '${typeName(b)}'`,
  );
}

function concatenate(a: Value, b: Value): Value | undefined {
  if (typeof a === 'string' && typeof b === 'string') {
    spendText(a.length + b.length);
    return a + b;
  }
  if (a instanceof Markup || b instanceof Markup) {
    const [x, y] = [textOf(a), textOf(b)];
    if (x === undefined || y === undefined) return undefined;
    return new Markup(escapeText(a) + escapeText(b));
  }
  if (Array.isArray(a) && Array.isArray(b)) {
    spend(a.length + b.length);
    return a.concat(b);
  }
  if (a instanceof Tuple && b instanceof Tuple) {
    spend(a.items.length + b.items.length);
    return new Tuple([...a.items, ...b.items]);
  }
  return undefined;
}

function isCount(value: Value): boolean {
  return ['number', 'bigint', 'boolean'].includes(typeof value);
}

/** A text, list or tuple several times. */
function repeated(what: Value, count: Value): Value | undefined {
  if (!isCount(count)) return undefined;
  const text = textOf(what);
  const items = Array.isArray(what) ? what : what instanceof Tuple ? what.items : undefined;
  if (text === undefined && items === undefined) return undefined;
  const times = Math.max(0, asSize(count, 'index'));
  if (text !== undefined) {
    spendText(text.length * times);
    const all = text.repeat(text === '' ? 0 : times);
    return typeof what === 'string' ? all : new Markup(all);
  }
  if (items === undefined) return undefined;
  spend(items.length * times);
  const all = Array.from({ length: items.length * times }, (_, i) => items[i % items.length]);
  return Array.isArray(what) ? all : new Tuple(all);
}

/** @throws TemplateFailure */
export function binary(op: Operator, a: Value, b: Value): Value {
  if (op === '+') {
    if (typeof a === 'number' && typeof b === 'number') {
      const sum = a + b;
      if (Number.isSafeInteger(sum)) return sum;
    }
    const joined = concatenate(a, b);
    if (joined !== undefined) return joined;
  }
  if (op === '%' && textOf(a) !== undefined) return formatted(a, b);
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== undefined && y !== undefined) {
    if (a instanceof Float || b instanceof Float)
      return new Float(floats(op, Number(x), Number(y)));
    return ints(op, x, y);
  }
  const many = op === '*' ? (repeated(a, b) ?? repeated(b, a)) : undefined;
  if (many !== undefined) return many;
  throw unsupported(op, a, b);
}

function formatted(a: Value, b: Value): Value {
  if (a instanceof Markup) return new Markup(percentFormat(a.text, b, true));
  return percentFormat(a as string, b);
}

/** @throws TemplateFailure */
export function negative(value: Value): Value {
  if (value instanceof Float) return new Float(-value.value);
  const number = numeric(value);
  if (typeof number === 'number') return 0 - number;
  if (typeof number === 'bigint') return integer(-number);
  if (value instanceof Undefined) throw value.failure();
  throw typeFailure(`bad operand type for unary -: '${typeName(value)}'`);
}

/** @throws TemplateFailure */
export function positive(value: Value): Value {
  if (value instanceof Float) return value;
  const number = numeric(value);
  if (number !== undefined) return number;
  if (value instanceof Undefined) throw value.failure();
  throw typeFailure(`bad operand type for unary +: '${typeName(value)}'`);
}

/** The ~ of values, each as text. */
export function joined(values: readonly Value[]): string {
  let length = 0;
  const texts = values.map((value) => str(value));
  for (const text of texts) length += text.length;
  spendText(length);
  return texts.join('');
}
