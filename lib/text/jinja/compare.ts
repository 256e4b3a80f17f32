/** Python's ==, <, in, over all values. */
import { spend, spendLong, spendSearch } from './budget.js';
import { typeFailure } from './failure.js';
import { plain } from './marks.js';
import {
  Dict,
  Float,
  iterate,
  Range,
  Tuple,
  textOf,
  toList,
  typeName,
  Undefined,
  type Value,
  View,
} from './values.js';

/** What arithmetic sees of a number; undefined for what is none. */
export function numeric(value: Value): number | bigint | undefined {
  if (typeof value === 'number' || typeof value === 'bigint') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  return value instanceof Float ? value.value : undefined;
}

function sameNumber(a: number | bigint, b: number | bigint): boolean {
  // biome-ignore lint/suspicious/noDoubleEquals: a number may equal a bigint
  return a == b;
}

function textsEqual(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  spendLong(a.length);
  return a === b || plain(a) === plain(b);
}

/** What is the same is equal in a list even where it equals nothing, as NaN. */
function sameOrEqual(a: Value, b: Value): boolean {
  return (typeof a !== 'string' && a === b) || equals(a, b);
}

function listsEqual(a: readonly Value[], b: readonly Value[]): boolean {
  spend(1 + Math.min(a.length, b.length));
  return a.length === b.length && a.every((item, i) => sameOrEqual(item, b[i]));
}

function dictsEqual(a: Dict, b: Dict): boolean {
  spend(1 + a.size);
  if (a.size !== b.size) return false;
  for (const [key, value] of a.entries()) {
    const other = b.get(key);
    if (other === undefined || !equals(value, other)) return false;
  }
  return true;
}

export function equals(a: Value, b: Value): boolean {
  if (typeof a === 'string' && typeof b === 'string') return textsEqual(a, b);
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== undefined || y !== undefined) {
    return x !== undefined && y !== undefined && sameNumber(x, y);
  }
  if (a === b) return true;
  if (a === null || b === null || typeof a === 'boolean' || typeof b === 'boolean') return false;
  if (Array.isArray(a)) return Array.isArray(b) && listsEqual(a, b);
  if (a instanceof Tuple) return b instanceof Tuple && listsEqual(a.items, b.items);
  if (a instanceof Dict) return b instanceof Dict && dictsEqual(a, b);
  if (a instanceof Undefined) return b instanceof Undefined;
  if (a instanceof Range) return b instanceof Range && listsEqual(toList(a), toList(b));
  if (isSet(a)) {
    return isSet(b) && a.dict.size === b.dict.size && toList(a).every((item) => inside(item, b));
  }
  const [s, t] = [textOf(a), textOf(b)];
  return s !== undefined && t !== undefined && textsEqual(s, t);
}

/** A UTF-16 unit by the order of code points: surrogates last. */
function rank(unit: number): number {
  return unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit;
}

function compareTexts(left: string, right: string): number {
  const [a, b] = [plain(left), plain(right)];
  const length = Math.min(a.length, b.length);
  let i = 0;
  while (i < length && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  spend(1 + (i >> 2));
  if (i === length) return a.length - b.length;
  return rank(a.charCodeAt(i)) - rank(b.charCodeAt(i));
}

function compareLists(a: readonly Value[], b: readonly Value[], sign: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    spend(1);
    if (!equals(a[i], b[i])) return compare(a[i], b[i], sign);
  }
  return a.length - b.length;
}

/** The keys or items of a mapping. */
function isSet(value: Value): value is View {
  return value instanceof View && value.kind !== 'values';
}

/** Below is a subset; sizes first, then members, as Python asks them. */
function compareSets(a: View, b: View, sign: string): number {
  const [less, more] = sign.startsWith('<') ? [a, b] : [b, a];
  const isStrict = !sign.endsWith('=');
  const [size, most] = [less.dict.size, more.dict.size];
  const holds =
    (isStrict ? size < most : size <= most) && toList(less).every((item) => inside(item, more));
  if (!holds) return Number.NaN;
  return isStrict ? (less === a ? -1 : 1) : 0;
}

/**
 * Below, at or above 0; NaN where neither holds.
 *
 * @param sign the operator, for the error
 * @throws TemplateFailure where Python knows no order
 */
export function compare(a: Value, b: Value, sign = '<'): number {
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== undefined && y !== undefined) {
    return x < y ? -1 : x > y ? 1 : sameNumber(x, y) ? 0 : Number.NaN;
  }
  const [s, t] = [textOf(a), textOf(b)];
  if (s !== undefined && t !== undefined) return compareTexts(s, t);
  if (Array.isArray(a) && Array.isArray(b)) return compareLists(a, b, sign);
  if (a instanceof Tuple && b instanceof Tuple) return compareLists(a.items, b.items, sign);
  if (isSet(a) && isSet(b)) return compareSets(a, b, sign);
  if (a instanceof Undefined) throw a.failure();
  if (b instanceof Undefined) throw b.failure();
  throw typeFailure(
    `'${sign}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`,
  );
}

/** `item in container` */
export function inside(item: Value, container: Value): boolean {
  const text = textOf(container);
  if (text !== undefined) {
    const part = textOf(item);
    if (part === undefined) {
      if (item instanceof Undefined) throw item.failure();
      throw typeFailure(`'in <string>' requires string as left operand, not ${typeName(item)}`);
    }
    spendSearch(text, part);
    return plain(text).includes(plain(part));
  }
  if (container instanceof Dict) return container.has(item);
  if (container instanceof View && container.kind === 'keys') return container.dict.has(item);
  if (container === null || typeof container !== 'object') {
    throw typeFailure(`argument of type '${typeName(container)}' is not iterable`);
  }
  for (const other of iterate(container)) {
    spend(1);
    if (sameOrEqual(other, item)) return true;
  }
  return false;
}
