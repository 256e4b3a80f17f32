/** `value.name`, `value[key]`, `value[a:b]`, as Jinja's sandbox looks them up. */
import { spend, spendText } from './budget.js';
import { typeFailure, valueFailure } from './failure.js';
import { attributeOf, isDictMethod, isForbidden } from './methods.js';
import { str } from './printing.js';
import {
  asIndex,
  characters,
  Dict,
  Markup,
  Range,
  Tuple,
  textLength,
  textOf,
  typeName,
  Undefined,
  type Value,
} from './values.js';

/** `a[b:c:d]` as a value between the brackets. */
export class Slice {
  constructor(
    readonly start: Value,
    readonly stop: Value,
    readonly step: Value,
  ) {}
}

/** Attributes that everything has in Python, and that lead out of a sandbox. */
const NAMES =
  'class|init|new|doc|dir|eq|ne|lt|le|gt|ge|hash|repr|str|format|sizeof|reduce|reduce_ex|' +
  'getattribute|setattr|delattr|init_subclass|subclasshook';
const INTERNAL = new RegExp(`^__(${NAMES})__$`);

function unsafe(value: Value, name: string): Undefined {
  const what = `access to attribute '${name}' of '${typeName(value)}' object is unsafe`;
  return new Undefined(what, true);
}

function missing(value: Value, key: Value): Undefined {
  if (typeof key === 'string') {
    return new Undefined(`'${typeName(value)} object' has no attribute '${key}'`);
  }
  return new Undefined(`${typeName(value)} object has no element ${str(key)}`);
}

/** By getattr(): undefined where there is none. */
function byAttribute(value: Value, name: string): Value | undefined {
  if (INTERNAL.test(name) || isForbidden(typeName(value), name)) return unsafe(value, name);
  const found = attributeOf(value, name, lookup);
  return found !== undefined && name.startsWith('_') ? unsafe(value, name) : found;
}

function lookup(of: Value, key: Value, attribute: boolean): Value {
  return attribute ? getAttribute(of, str(key)) : getItem(of, key);
}

function at<T>(items: readonly T[], key: Value): T | undefined {
  if (typeof key !== 'number' && typeof key !== 'boolean') return undefined;
  const index = Number(key);
  return items[index < 0 ? index + items.length : index];
}

function characterAt(text: string, key: Value): string | undefined {
  if (typeof key !== 'number' && typeof key !== 'boolean') return undefined;
  const first = text.codePointAt(0);
  // Asking for one character must not cost the whole text.
  if (Number(key) === 0 && first !== undefined) return String.fromCodePoint(first);
  const length = textLength(text);
  if (length === text.length) return text[Number(key) < 0 ? Number(key) + length : Number(key)];
  return at(characters(text), key);
}

/** By `value[key]`: undefined where there is none. */
function byItem(value: Value, key: Value): Value | undefined {
  if (value instanceof Dict) {
    const hashable = !(Array.isArray(key) || key instanceof Dict);
    return hashable ? value.get(key) : undefined;
  }
  if (Array.isArray(value)) return at(value, key);
  if (value instanceof Tuple) return at(value.items, key);
  const text = textOf(value);
  if (text !== undefined) {
    const found = characterAt(text, key);
    return found !== undefined && value instanceof Markup ? new Markup(found) : found;
  }
  if (value instanceof Range && typeof key === 'number') {
    const index = key < 0 ? key + value.length : key;
    return index >= 0 && index < value.length ? value.at(index) : undefined;
  }
  return undefined;
}

/** Whether a dict has an attribute of this name, so that it is not asked for the key. */
function isOwnName(name: string): boolean {
  return name.startsWith('__') || isDictMethod(name);
}

/** @throws TemplateFailure when the value itself is undefined */
export function getAttribute(value: Value, name: string): Value {
  if (value instanceof Undefined) {
    if (INTERNAL.test(name)) return unsafe(value, name);
    throw value.failure();
  }
  // Most of what templates ask for: a message's member.
  if (value instanceof Dict && !isOwnName(name)) {
    const member = value.get(name);
    return member === undefined ? missing(value, name) : member;
  }
  const found = byAttribute(value, name);
  if (found !== undefined) return found;
  const item = byItem(value, name);
  return item === undefined ? missing(value, name) : item;
}

/** @throws TemplateFailure when the value itself is undefined */
export function getItem(value: Value, key: Value): Value {
  if (value instanceof Undefined) throw value.failure();
  const found = byItem(value, key);
  if (found !== undefined) return found;
  const name = textOf(key);
  const attribute = name === undefined ? undefined : byAttribute(value, name);
  return attribute === undefined ? missing(value, key) : attribute;
}

/** First index, step and number of items of a slice. */
function bounds(
  slice: Slice,
  length: number,
): { first: number; end: number; step: number; count: number } {
  const step = slice.step === null ? 1 : asIndex(slice.step);
  if (step === 0) throw valueFailure('slice step cannot be zero');
  const [low, high] = step > 0 ? [0, length] : [-1, length - 1];
  const limit = (value: Value, otherwise: number) => {
    if (value === null) return otherwise;
    const index = asIndex(value);
    return Math.min(high, Math.max(low, index < 0 ? index + length : index));
  };
  const first = limit(slice.start, step > 0 ? low : high);
  const end = limit(slice.stop, step > 0 ? high : low);
  return { first, end, step, count: Math.max(0, Math.ceil((end - first) / step)) };
}

function sliced<T>(items: readonly T[], slice: Slice): T[] {
  const { first, step, count } = bounds(slice, items.length);
  spend(count);
  if (step === 1) return items.slice(first, first + count);
  return Array.from({ length: count }, (_, i) => items[first + i * step]);
}

function slicedText(text: string, slice: Slice): string {
  const length = textLength(text);
  const { first, step, count } = bounds(slice, length);
  if (step !== 1 || length !== text.length) return sliced(characters(text), slice).join('');
  spendText(count);
  return text.slice(first, first + count);
}

/** `value[a:b:c]` */
export function getSlice(value: Value, slice: Slice): Value {
  if (value instanceof Undefined) throw value.failure();
  if (Array.isArray(value)) return sliced(value, slice);
  if (value instanceof Tuple) return new Tuple(sliced(value.items, slice));
  if (value instanceof Range) {
    const { first, end, step } = bounds(slice, value.length);
    return new Range(value.at(first), value.at(end), step * value.step);
  }
  const text = textOf(value);
  if (text !== undefined) {
    const part = slicedText(text, slice);
    return value instanceof Markup ? new Markup(part) : part;
  }
  throw typeFailure(`'${typeName(value)}' object is not subscriptable`);
}
