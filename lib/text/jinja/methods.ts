/** Attributes of values by their type: methods, and the few that are data. */
import { integer } from './arithmetic.js';
import { checkLength, spend } from './budget.js';
import { equals } from './compare.js';
import { TemplateFailure, typeFailure, valueFailure } from './failure.js';
import { convert, formatNumber, formatValue } from './format.js';
import { escapeText } from './html.js';
import { MAX_DIGITS, repr, str } from './printing.js';
import { type Method, needText, STRING_METHODS, translate } from './string-methods.js';
import {
  type Args,
  asIndex,
  Bytes,
  bind,
  Dict,
  Float,
  Fn,
  Markup,
  NO_NAMES,
  orElse,
  Range,
  Tuple,
  toList,
  type Value,
  View,
} from './values.js';

/** Looks an attribute up in a format's field: `{0.name[key]}`. */
export type Lookup = (of: Value, key: Value, attribute: boolean) => Value;

const FIELD = /^([^.[!:]*)((?:\.[^.[!:]+|\[[^\]]+\])*)(?:!(.))?(?::([\s\S]*))?$/u;

/** What str.format does; fields within a field's spec are replaced first. */
class Formatter {
  #next = 0;
  constructor(
    readonly args: Args,
    readonly lookup: Lookup,
    /** Whether it is of markup: what is put in is escaped. */
    readonly markup: boolean,
  ) {}

  run(pattern: string, nesting = 0): string {
    if (nesting > 2) throw valueFailure('Max string recursion exceeded');
    let out = '';
    for (let at = 0, before = 0; at < pattern.length; before = at) {
      const c = pattern[at];
      if (c !== '{' && c !== '}') {
        const next = pattern.slice(at).search(/[{}]/);
        out += next < 0 ? pattern.slice(at) : pattern.slice(at, at + next);
        at = next < 0 ? pattern.length : at + next;
      } else if (pattern[at + 1] === c) {
        out += c;
        at += 2;
      } else if (c === '}') {
        throw valueFailure("Single '}' encountered in format string");
      } else {
        const end = closing(pattern, at);
        out += this.#field(pattern.slice(at + 1, end), nesting);
        at = end + 1;
      }
      spend(4 + ((at - before) >> 2));
      checkLength(out.length);
    }
    return out;
  }

  #field(field: string, nesting: number): string {
    const match = FIELD.exec(field);
    if (match === null) throw valueFailure(`a damaged field in a format: {${field.slice(0, 80)}}`);
    const [, first, path, how, spec = ''] = match;
    let value = this.#value(first);
    for (const [step] of path.matchAll(/\.[^.[]+|\[[^\]]+\]/g)) {
      const key = step[0] === '.' ? step.slice(1) : step.slice(1, -1);
      value = this.lookup(value, /^\d+$/.test(key) ? formatNumber(key) : key, step[0] === '.');
    }
    return this.#formatted(convert(value, how), this.run(spec, nesting + 1));
  }

  #formatted(value: Value, spec: string): string {
    if (!this.markup) return formatValue(value, spec);
    if (!(value instanceof Markup)) return escapeText(formatValue(value, spec));
    if (spec !== '') throw valueFailure('Unsupported format specification for Markup.');
    return value.text;
  }

  #value(name: string): Value {
    const position =
      name === '' ? this.#next++ : /^\d+$/.test(name) ? formatNumber(name) : undefined;
    const value = position === undefined ? this.args.named.get(name) : this.args.pos[position];
    if (value === undefined) throw valueFailure(`a format has no value for {${name}}`);
    return value;
  }
}

/** Index of the brace that closes the one at `at`. */
function closing(pattern: string, at: number): number {
  let depth = 0;
  for (let i = at; i < pattern.length; i++) {
    if (pattern[i] === '{') depth++;
    else if (pattern[i] === '}' && --depth === 0) return i;
  }
  throw valueFailure("expected '}' before end of string");
}

function textMethods(name: string, of: string | Markup, lookup: Lookup): Fn['call'] | undefined {
  const markup = of instanceof Markup;
  const self = markup ? of.text : of;
  if (name === 'format') return (args) => new Formatter(args, lookup, markup).run(self);
  if (name === 'format_map') {
    return (args) => {
      const [map] = bind('format_map', args, ['mapping'], 1);
      if (!(map instanceof Dict)) throw typeFailure('format_map() takes a dict');
      const named = new Map(Array.from(map.entries(), ([k, v]) => [str(k), v] as const));
      return new Formatter({ pos: [], named }, lookup, markup).run(self);
    };
  }
  if (name === 'translate') {
    return (args) => {
      const [table] = bind('translate', args, ['table'], 1);
      if (!(table instanceof Dict)) throw typeFailure('translate() takes a dict');
      return translate(self, table);
    };
  }
  const method = STRING_METHODS.get(name);
  return method === undefined ? undefined : (args) => method(self, args);
}

/** Methods whose result is text of its text's kind. */
const KEEPS_MARKUP = new Set([
  ...['capitalize', 'casefold', 'center', 'expandtabs', 'format', 'format_map', 'join', 'ljust'],
  ...['lower', 'lstrip', 'removeprefix', 'removesuffix', 'replace', 'rjust', 'rstrip', 'strip'],
  ...['swapcase', 'title', 'translate', 'upper', 'zfill'],
]);

/** Where methods of markup take a text that becomes part of it, and so is escaped. */
const ESCAPED: Readonly<Record<string, number>> = { center: 1, ljust: 1, replace: 1, rjust: 1 };

function escapedArgument(name: string, args: Args): Args {
  if (name === 'join') {
    const [items] = bind('join', args, ['iterable'], 1);
    return positional(toList(items).map(escapeText));
  }
  if (!Object.hasOwn(ESCAPED, name)) return args;
  const at = ESCAPED[name];
  const pos = args.pos.map((value, i) => (i === at ? escapeText(value) : value));
  return { pos, named: args.named };
}

function find(items: readonly Value[], args: Args): number {
  const [what, start = 0, end = items.length] = bind('index', args, ['value', 'start', 'stop'], 1);
  const from = asIndex(start) < 0 ? asIndex(start) + items.length : asIndex(start);
  spend(items.length);
  const at = items.findIndex((item, i) => i >= from && i < asIndex(end) && equals(item, what));
  if (at < 0) throw valueFailure(`${repr(what)} is not in list`);
  return at;
}

function count(items: readonly Value[], args: Args): number {
  const [what] = bind('count', args, ['value'], 1);
  spend(items.length);
  return items.filter((item) => equals(item, what)).length;
}

type Methods<Self> = Readonly<Record<string, Method<Self>>>;

const SEQUENCE: Methods<readonly Value[]> = { index: find, count };

const RANGE: Methods<readonly Value[]> = {
  index: (items, args) => find(items, { pos: bind('index', args, ['value'], 1), named: NO_NAMES }),
  count,
};

const DICT: Methods<Dict> = {
  keys: (self) => new View('keys', self),
  values: (self) => new View('values', self),
  items: (self) => new View('items', self),
  copy: (self) => Dict.of(self.entries()),
  get(self, args) {
    const [key, otherwise = null] = bind('get', args, ['key', 'default'], 1);
    return orElse(self.get(key), otherwise);
  },
  fromkeys: (_, args) => fromKeys(args),
};

export function fromKeys(args: Args): Value {
  const [keys, value = null] = bind('fromkeys', args, ['iterable', 'value'], 1);
  const list = toList(keys);
  spend(4 * list.length);
  return Dict.of(list.map((key) => [key, value] as const));
}

/** What would change a list or a dict: known, and forbidden. */
const FORBIDDEN: Record<string, readonly string[]> = {
  list: ['append', 'clear', 'extend', 'insert', 'pop', 'remove', 'reverse', 'sort'],
  dict: ['clear', 'pop', 'popitem', 'setdefault', 'update'],
};

/** Whether a dict has this method, or would if it could be changed. */
export function isDictMethod(name: string): boolean {
  return Object.hasOwn(DICT, name) || FORBIDDEN.dict.includes(name);
}

export function isForbidden(type: string, name: string): boolean {
  return Object.hasOwn(FORBIDDEN, type) && FORBIDDEN[type].includes(name);
}

function ratio(value: number): Value {
  if (!Number.isFinite(value)) throw valueFailure('cannot convert it to an integer ratio');
  let bottom = 1n;
  while (!Number.isInteger(value)) {
    spend(2);
    value *= 2;
    bottom *= 2n;
  }
  return new Tuple([integer(BigInt(value)), integer(bottom)]);
}

function toBytes(self: number | bigint, args: Args): Value {
  const [length = 1, order = 'big'] = bind('to_bytes', args, ['length', 'byteorder', 'signed']);
  const size = asIndex(length);
  if (!(size >= 0 && size <= MAX_DIGITS)) {
    throw new TemplateFailure('limit', 'to_bytes() of so many bytes');
  }
  if (self < 0 || BigInt(self) >> BigInt(8 * size) !== 0n) {
    throw valueFailure('int too big to convert');
  }
  spend(2 * size);
  const hex = self.toString(16).padStart(2 * size, '0');
  const bytes = Array.from({ length: size }, (_, i) =>
    Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  );
  return new Bytes(order === 'little' ? bytes.reverse() : bytes);
}

const INT: Methods<number | bigint> = {
  bit_length: (n) => (Number(n) === 0 ? 0 : absolute(n).toString(2).length),
  bit_count: (n) => absolute(n).toString(2).replaceAll('0', '').length,
  conjugate: (n) => n,
  as_integer_ratio: (n) => new Tuple([n, 1]),
  to_bytes: toBytes,
};

function absolute(n: number | bigint): bigint {
  return n < 0 ? -BigInt(n) : BigInt(n);
}

const FLOAT: Methods<Float> = {
  is_integer: (x) => Number.isInteger(x.value),
  conjugate: (x) => x,
  as_integer_ratio: (x) => ratio(x.value),
};

const INT_DATA: Record<string, (n: number | bigint) => Value> = {
  real: (n) => n,
  imag: () => 0,
  numerator: (n) => n,
  denominator: () => 1,
};

function bound<Self>(methods: Methods<Self>, self: Self, name: string): Value | undefined {
  if (!Object.hasOwn(methods, name)) return undefined;
  const method = methods[name];
  return new Fn(name, (args) => method(self, args));
}

function numberAttribute(value: number | bigint, name: string): Value | undefined {
  if (Object.hasOwn(INT_DATA, name)) return INT_DATA[name](value);
  return bound(INT, value, name);
}

/** Makes and uses tables of str.translate. */
function makeTable(args: Args): Value {
  const [from, to = null] = bind('maketrans', args, ['x', 'y', 'z'], 1);
  if (from instanceof Dict) {
    const key = (k: Value) => (typeof k === 'string' ? (k.codePointAt(0) as number) : k);
    return Dict.of(Array.from(from.entries(), ([k, v]) => [key(k), v] as const));
  }
  const [a, b] = [needText(from, 'maketrans()'), needText(to, 'maketrans()')].map((s) => [...s]);
  const code = (c: string) => c.codePointAt(0) as number;
  spend(8 * (a.length + b.length));
  return Dict.of(a.map((c, i) => [code(c), code(b[i] ?? c)] as const));
}

function textAttribute(value: string | Markup, name: string, lookup: Lookup): Value | undefined {
  if (name === 'maketrans') return new Fn(name, makeTable);
  const method = textMethods(name, value, lookup);
  if (method === undefined) return undefined;
  if (typeof value === 'string') return new Fn(name, method);
  if (['split', 'rsplit', 'splitlines'].includes(name)) {
    return new Fn(name, (args) => toList(method(args)).map((part) => new Markup(str(part))));
  }
  if (['partition', 'rpartition'].includes(name)) {
    const marked = (parts: Value) => toList(parts).map((part) => new Markup(str(part)));
    return new Fn(name, (args) => new Tuple(marked(method(args))));
  }
  if (!KEEPS_MARKUP.has(name)) return new Fn(name, method);
  return new Fn(name, (args) => new Markup(str(method(escapedArgument(name, args)))));
}

/** A public attribute by name, as Python's getattr() finds it; undefined where there is none. */
export function attributeOf(value: Value, name: string, lookup: Lookup): Value | undefined {
  if (value === null) return undefined;
  if (typeof value === 'string' || value instanceof Markup)
    return textAttribute(value, name, lookup);
  if (value instanceof Dict) return bound(DICT, value, name);
  if (Array.isArray(value)) {
    if (name === 'copy') return new Fn(name, () => toList(value));
    return bound(SEQUENCE, value, name);
  }
  if (typeof value === 'boolean') return numberAttribute(value ? 1 : 0, name);
  if (typeof value === 'number' || typeof value === 'bigint') return numberAttribute(value, name);
  if (value instanceof Float) {
    if (name === 'real') return value;
    return name === 'imag' ? new Float(0) : bound(FLOAT, value, name);
  }
  const own = value.attribute(name);
  if (own !== undefined) return own;
  if (value instanceof Tuple) return bound(SEQUENCE, value.items, name);
  return value instanceof Range ? bound(RANGE, toList(value), name) : undefined;
}

/** Arguments without names. */
export function positional(...pos: Value[]): Args {
  return { pos, named: NO_NAMES };
}
