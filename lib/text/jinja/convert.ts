/** From JavaScript's values to a template's. */
import { TemplateFailure, valueFailure } from './failure.js';
import { isMarking, mark } from './marks.js';
import { MAX_DIGITS } from './printing.js';
import { Dict, Float, Tuple, type Value } from './values.js';

/** Deepest nesting of what a template is given. */
const MAX_NESTING = 256;

/** Most parts of all that it is given, and largest integer: Python writes none of more digits. */
const MAX_PARTS = 1_000_000;
const LARGEST = 10n ** BigInt(MAX_DIGITS);

/** What a value cost: the number of its parts, its texts' length. */
export interface Size {
  parts: number;
  text: number;
}

/** A number as JSON would write it and Python would read it: an integer where it has no point. */
function number(value: number): Value {
  if (Number.isSafeInteger(value)) return value + 0;
  const whole = Number.isInteger(value) && Math.abs(value) < 1e21;
  return whole ? BigInt(value) : new Float(value);
}

function named(value: object): string {
  const { name } = value.constructor ?? {};
  return `<${typeof name === 'string' && name !== '' ? name : 'object'}>`;
}

class Converter {
  /** What is there twice is converted once. */
  readonly #done = new Map<object, Value>();
  constructor(readonly size: Size) {}

  convert(value: unknown, nesting: number): Value {
    this.#count(1);
    if (typeof value === 'string') {
      this.size.text += value.length;
      return mark(value);
    }
    if (value === null || value === undefined) return null;
    if (typeof value === 'boolean') return value;
    if (typeof value === 'number') return number(value);
    if (typeof value === 'bigint') {
      if (value >= LARGEST || value <= -LARGEST) {
        throw valueFailure(`it is given an integer of more than ${MAX_DIGITS} digits`);
      }
      const small = Number(value);
      return Number.isSafeInteger(small) ? small : value;
    }
    if (typeof value !== 'object') return `<${typeof value}>`;
    const known = this.#done.get(value);
    if (known !== undefined) return known;
    const made = this.#object(value, nesting);
    this.#done.set(value, made);
    return made;
  }

  #count(parts: number): void {
    this.size.parts += parts;
    if (this.size.parts > MAX_PARTS) {
      throw new TemplateFailure('limit', `it is given more than ${MAX_PARTS} values`);
    }
  }

  #object(value: object, nesting: number): Value {
    if (nesting > MAX_NESTING) {
      throw new TemplateFailure('limit', 'it is given values that nest too deeply or in a circle');
    }
    // A value of this room: arguments that were JSON, for example.
    if (value instanceof Float) return value;
    if (value instanceof Tuple) return isMarking() ? this.#tuple(value, nesting) : value;
    if (value instanceof Dict) return isMarking() ? this.#dict(value.entries(), nesting) : value;
    if (Array.isArray(value)) return this.#list(value, nesting);
    if (value instanceof Map) return this.#dict(value, nesting);
    const boxed = [String, Number, Boolean].some((type) => value instanceof type);
    if (boxed) return this.convert(value.valueOf(), nesting + 1);
    const { toJSON } = value as { toJSON?: unknown };
    if (typeof toJSON === 'function') return this.convert(toJSON.call(value), nesting + 1);
    // What has no JSON to speak of is named: a template may ask whether it is there.
    if (ArrayBuffer.isView(value) || value instanceof Set) return named(value);
    return this.#dict(Object.entries(value), nesting);
  }

  #tuple({ items }: Tuple, nesting: number): Tuple {
    return new Tuple(items.map((item) => this.convert(item, nesting + 1)));
  }

  /** With its holes, as JSON has it. */
  #list(items: readonly unknown[], nesting: number): Value[] {
    const { length } = items;
    if (length > MAX_PARTS) this.#count(length);
    const list: Value[] = [];
    for (let i = 0; i < length; i++) list.push(this.convert(items[i], nesting + 1));
    return list;
  }

  #dict(entries: Iterable<[unknown, unknown]>, nesting: number): Dict {
    const dict = new Dict();
    for (const [key, value] of entries) {
      if (value === undefined) {
        this.#count(1);
        continue;
      }
      dict.set(this.convert(key, nesting + 1), this.convert(value, nesting + 1));
    }
    return dict;
  }
}

/**
 * A value as templates see it. Members that are undefined are none, as in JSON; a Map is a dict in
 * its order; functions and symbols are named, not passed on.
 *
 * @param size grows by what is converted
 * @throws TemplateFailure of kind limit for a circle
 */
export function fromJs(value: unknown, size: Size = { parts: 0, text: 0 }): Value {
  return new Converter(size).convert(value, 0);
}
