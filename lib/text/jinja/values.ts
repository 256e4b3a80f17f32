/**
 * Values as templates know them, which are Python's: an integer (number, or bigint where it is not
 * safe) is no float (Float); a list (array) no tuple. Nothing of JavaScript's own objects can be
 * reached from one: attributes are what `attribute()` and attributes.ts say.
 */
import { spend, spendLong, spendText } from './budget.js';
import { TemplateFailure, typeFailure, valueFailure } from './failure.js';
import { plain } from './marks.js';

export type Value = null | boolean | number | bigint | string | Value[] | Obj;

/** Arguments of a call. */
export interface Args {
  readonly pos: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
}

export const NO_NAMES: ReadonlyMap<string, Value> = new Map();

/** Everything that is no primitive and no list. */
export abstract class Obj {
  /** Python's name of the type. */
  abstract readonly type: string;
  /** A public attribute by name; undefined where there is none. */
  attribute(_name: string): Value | undefined {
    return undefined;
  }
  /** What str() and repr() give. */
  print(): string {
    return `<${this.type} object>`;
  }
}

export class Float extends Obj {
  readonly type = 'float';
  constructor(readonly value: number) {
    super();
  }
}

export class Tuple extends Obj {
  readonly type: string = 'tuple';
  constructor(readonly items: readonly Value[]) {
    super();
  }
}

/** What groupby gives: a pair with names. */
export class Group extends Tuple {
  override readonly type = '_GroupTuple';
  override attribute(name: string): Value | undefined {
    return name === 'grouper' ? this.items[0] : name === 'list' ? this.items[1] : undefined;
  }
}

/** Text that is escaped already. */
export class Markup extends Obj {
  readonly type = 'Markup';
  constructor(readonly text: string) {
    super();
  }
}

/** What is not there: prints as nothing, is empty; anything more is an error. */
export class Undefined extends Obj {
  readonly type = 'Undefined';
  constructor(
    readonly why: string,
    readonly unsafe = false,
  ) {
    super();
  }
  static named(name: string): Undefined {
    return new Undefined(`'${name}' is undefined`);
  }
  failure(): TemplateFailure {
    return new TemplateFailure(this.unsafe ? 'security' : 'undefined', this.why);
  }
}

export class Range extends Obj {
  readonly type = 'range';
  readonly length: number;
  constructor(
    readonly start: number,
    readonly stop: number,
    readonly step: number,
  ) {
    super();
    if (![start, stop, step].every(Number.isSafeInteger)) {
      throw new TemplateFailure('limit', 'a range of numbers beyond 2 ** 53');
    }
    this.length = Math.max(0, Math.ceil((stop - start) / step));
  }
  at(index: number): number {
    return this.start + index * this.step;
  }
  override attribute(name: string): Value | undefined {
    return name === 'start' || name === 'stop' || name === 'step' ? this[name] : undefined;
  }
  override print(): string {
    const step = this.step === 1 ? '' : `, ${this.step}`;
    return `range(${this.start}, ${this.stop}${step})`;
  }
}

/** A value that can be called: `call` takes what the template gives. */
export class Fn extends Obj {
  readonly type: string = 'function';
  constructor(
    readonly name: string,
    readonly call: (args: Args) => Value,
  ) {
    super();
  }
  override print(): string {
    return `<function ${this.name}>`;
  }
}

/** A generator: its items can be had once. */
export class Stream extends Obj {
  readonly type = 'generator';
  constructor(
    readonly items: Iterator<Value>,
    readonly name = 'generator',
  ) {
    super();
  }
  override print(): string {
    return `<generator object ${this.name} at 0x7f0000000000>`;
  }
}

export class Bytes extends Obj {
  readonly type = 'bytes';
  constructor(readonly bytes: readonly number[]) {
    super();
  }
  override print(): string {
    const one = (b: number) =>
      b >= 32 && b < 127 ? String.fromCharCode(b) : `\\x${b.toString(16).padStart(2, '0')}`;
    return `b'${this.bytes.map(one).join('')}'`;
  }
}

/** What a dict finds its values by: equal values have equal keys. */
type Key = string | number | bigint | null | object;

const NOTHING = Object.freeze({});

function unhashable(value: Value): TemplateFailure {
  return typeFailure(`unhashable type: '${typeName(value)}'`);
}

function numberKey(value: number): Key {
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? BigInt(value) : value;
}

/** Texts are as long as they are, so that no two tuples have the same key. */
function tupleKey({ items }: Tuple): string {
  // No text that a user writes begins with half a surrogate pair.
  let out = '\udc00';
  for (const item of items) {
    const key = keyOf(item);
    const text = String(key);
    spendText(out.length + text.length);
    out += `${typeof key} ${text.length} ${text}`;
  }
  return out;
}

function keyOf(value: Value): Key {
  if (typeof value === 'string') {
    spendLong(value.length);
    return plain(value);
  }
  if (typeof value === 'number' || value === null) return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (typeof value === 'bigint') return value;
  if (value instanceof Float) return numberKey(value.value);
  if (value instanceof Markup) return plain(value.text);
  if (value instanceof Undefined) return NOTHING;
  if (value instanceof View && value.kind !== 'values') throw unhashable(value);
  if (value instanceof Tuple) return tupleKey(value);
  if (Array.isArray(value) || value instanceof Dict) {
    throw unhashable(value);
  }
  return value;
}

/** A dict, in the order of insertion. */
export class Dict extends Obj {
  readonly type = 'dict';
  readonly #values = new Map<Key, Value>();
  /** Keys that are not their own Key. */
  #keys: Map<Key, Value> | undefined;

  static of(entries: Iterable<readonly [Value, Value]>): Dict {
    const dict = new Dict();
    for (const [key, value] of entries) dict.set(key, value);
    return dict;
  }
  get size(): number {
    return this.#values.size;
  }
  get(key: Value): Value | undefined {
    return this.#values.get(keyOf(key));
  }
  has(key: Value): boolean {
    return this.#values.has(keyOf(key));
  }
  /** Only while it is made: templates cannot change one. */
  set(key: Value, value: Value): void {
    const k = keyOf(key);
    if (k !== key && !this.#values.has(k)) (this.#keys ??= new Map()).set(k, key);
    this.#values.set(k, value);
  }
  /** @internal Only while it is made. */
  delete(key: string): void {
    this.#values.delete(key);
  }
  *entries(): Generator<[Value, Value]> {
    spend(2 * this.size);
    for (const [k, value] of this.#values) yield [this.#original(k), value];
  }
  keys(): Value[] {
    spend(2 * this.size);
    return Array.from(this.#values.keys(), (k) => this.#original(k));
  }
  values(): Value[] {
    spend(this.size);
    return [...this.#values.values()];
  }
  #original(k: Key): Value {
    return this.#keys?.has(k) ? (this.#keys.get(k) as Value) : (k as Value);
  }
}

/** What keys(), values() and items() of a dict give. */
export class View extends Obj {
  readonly type: string;
  constructor(
    readonly kind: 'keys' | 'values' | 'items',
    readonly dict: Dict,
  ) {
    super();
    this.type = `dict_${kind}`;
  }
  list(): Value[] {
    if (this.kind === 'keys') return this.dict.keys();
    if (this.kind === 'values') return this.dict.values();
    spend(4 * this.dict.size);
    return Array.from(this.dict.entries(), (pair) => new Tuple(pair));
  }
}

export class Namespace extends Obj {
  readonly type = 'TemplateNamespace';
  readonly attributes = new Dict();
  override attribute(name: string): Value | undefined {
    return this.attributes.get(name);
  }
  set(name: Value, value: Value): void {
    if (typeof name === 'string' && name.startsWith('_')) {
      throw new TemplateFailure('security', `a namespace cannot have the attribute '${name}'`);
    }
    this.attributes.set(name, value);
  }
}

/** Python's name of a value's type. */
export function typeName(value: Value): string {
  if (value === null) return 'NoneType';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number' || typeof value === 'bigint') return 'int';
  if (typeof value === 'string') return 'str';
  return Array.isArray(value) ? 'list' : value.type;
}

/** The text of a str or Markup; undefined for anything else. */
export function textOf(value: Value): string | undefined {
  if (typeof value === 'string') return value;
  return value instanceof Markup ? value.text : undefined;
}

export function truth(value: Value): boolean {
  if (typeof value !== 'object' || value === null) return Boolean(value);
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Float) return value.value !== 0;
  if (value instanceof Undefined) return false;
  return sizeOf(value) !== 0;
}

const SURROGATE = /[\ud800-\udfff]/;

/** Characters (code points) as an array of texts. */
export function characters(text: string): string[] {
  spend(text.length);
  return SURROGATE.test(text) ? Array.from(text) : text.split('');
}

/** Length in code points, as Python counts. */
export function textLength(text: string): number {
  spend(text.length >> 6);
  if (!SURROGATE.test(text)) return text.length;
  spendText(text.length);
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** Number of items; undefined for what has none. */
export function sizeOf(value: Value): number | undefined {
  if (typeof value === 'string') return textLength(value);
  if (Array.isArray(value)) return value.length;
  if (value instanceof Markup) return textLength(value.text);
  if (value instanceof Tuple) return value.items.length;
  if (value instanceof Dict) return value.size;
  if (value instanceof Range) return value.length;
  if (value instanceof View) return value.dict.size;
  return value instanceof Undefined ? 0 : undefined;
}

function* rangeItems(range: Range): Generator<Value> {
  for (let i = 0; i < range.length; i++) yield range.at(i);
}

/** Whether a loop can go over it. */
export function isIterable(value: Value): boolean {
  return sizeOf(value) !== undefined || value instanceof Stream || value instanceof Bytes;
}

/** @throws TemplateFailure where Python says "object is not iterable" */
export function iterate(value: Value): Iterable<Value> {
  if (Array.isArray(value)) return value;
  const text = textOf(value);
  if (text !== undefined) return characters(text);
  if (value instanceof Tuple) return value.items;
  if (value instanceof Dict) return value.keys();
  if (value instanceof View) return value.list();
  if (value instanceof Range) return rangeItems(value);
  if (value instanceof Stream) return { [Symbol.iterator]: () => value.items };
  if (value instanceof Bytes) return value.bytes;
  if (value instanceof Undefined) {
    if (value.unsafe) throw value.failure();
    return [];
  }
  throw typeFailure(`'${typeName(value)}' object is not iterable`);
}

/** A new list of what a loop would see. */
export function toList(value: Value): Value[] {
  const list: Value[] = [];
  const size = sizeOf(value);
  if (size !== undefined) spend(size);
  for (const item of iterate(value)) {
    if (size === undefined) spend(1);
    list.push(item);
  }
  return list;
}

/** An index or count; booleans are integers, floats are not. */
export function asIndex(value: Value): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return Number(value);
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof Undefined) throw value.failure();
  throw typeFailure(`'${typeName(value)}' object cannot be interpreted as an integer`);
}

const C_BITS = { int: 32, ssize_t: 64, index: 64 };

/**
 * As asIndex, where Python needs a number of C: what is not one fails, however little it would
 * change. Slices and bounds, which Python cuts to size, and what it computes itself take asIndex.
 *
 * @param type of C; `index` is ssize_t where Python asks for an index
 */
export function asSize(value: Value, type: keyof typeof C_BITS): number {
  const size = asIndex(value);
  const exact = typeof value === 'bigint' ? value : BigInt(size);
  if (BigInt.asIntN(C_BITS[type], exact) === exact) return size;
  throw valueFailure(
    type === 'index'
      ? "cannot fit 'int' into an index-sized integer"
      : `Python int too large to convert to C ${type}`,
  );
}

/** Matches arguments with names; what is missing is undefined. */
export function bind(who: string, args: Args, names: readonly string[], required = 0): Value[] {
  if (args.pos.length > names.length) {
    throw typeFailure(`${who}() takes ${names.length} arguments, ${args.pos.length} are given`);
  }
  const out = [...args.pos];
  for (const [name, value] of args.named) {
    const at = names.indexOf(name);
    if (at < 0) throw typeFailure(`${who}() got an unexpected keyword argument '${name}'`);
    if (at < args.pos.length) throw typeFailure(`${who}() got two values for '${name}'`);
    out[at] = value;
  }
  for (let i = 0; i < required; i++) {
    if (out[i] === undefined) throw typeFailure(`${who}() misses the argument '${names[i]}'`);
  }
  return out;
}

/** A value, or what stands for it where there is none: null is one. */
export function orElse(value: Value | undefined, otherwise: Value): Value {
  return value === undefined ? otherwise : value;
}

/** Calls what can be called. */
export function call(value: Value, args: Args): Value {
  if (value instanceof Fn) {
    spend(1);
    return value.call(args);
  }
  if (value instanceof Undefined) throw value.failure();
  throw typeFailure(`'${typeName(value)}' object is not callable`);
}

/** A pair, for dict() and unpacking. */
export function unpack(value: Value, count: number): Value[] {
  const list = toList(value);
  if (list.length === count) return list;
  const many = list.length > count ? 'too many' : 'not enough';
  throw valueFailure(`${many} values to unpack (expected ${count})`);
}
