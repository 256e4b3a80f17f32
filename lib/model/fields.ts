/** Typed reading of a config's fields, with the file and the field in every refusal. */
import { shown } from '../arguments.js';
import { damaged } from './files.js';
import type { Harmless } from './harmless.js';

/** Token ids in one list; the longest known has four. */
const MAX_IDS = 1024;

export class Fields {
  readonly #read = new Set<string>();
  #defaults: Readonly<Record<string, unknown>> = {};

  constructor(
    readonly file: string,
    readonly values: Readonly<Record<string, unknown>>,
    /** In front of each name in messages: "rope_scaling." or "llama." */
    readonly prefix = '',
  ) {}

  /** What fields hold that are absent; a null stays one. What was said first counts. */
  defaults(values: Readonly<Record<string, unknown>>): void {
    this.#defaults = { ...values, ...this.#defaults };
  }

  has(name: string): boolean {
    const value = this.raw(name);
    return value !== undefined && value !== null;
  }

  raw(name: string): unknown {
    this.#read.add(name);
    return this.values[name] === undefined ? this.#defaults[name] : this.values[name];
  }

  wasRead(name: string): boolean {
    return this.#read.has(name);
  }

  fail(name: string, why: string): never {
    throw damaged(this.file, `${this.prefix}${name}`, why);
  }

  number(name: string, low: number, high: number, fallback?: number): number {
    if (!this.has(name) && fallback !== undefined) return fallback;
    const value = this.raw(name);
    if (typeof value !== 'number' || !(value >= low && value <= high)) {
      this.fail(name, `is ${shown(value)}, not a number from ${low} to ${high}`);
    }
    return value;
  }

  /** As number, but a null is not taken for a setting that is left out. */
  known(name: string, low: number, high: number, fallback?: number): number {
    return this.number(name, low, high, this.raw(name) === null ? undefined : fallback);
  }

  integer(name: string, low: number, high: number, fallback?: number): number {
    const value = this.number(name, low, high, fallback);
    if (!Number.isInteger(value)) this.fail(name, `is ${value}, not a whole number`);
    return value;
  }

  boolean(name: string, fallback: boolean): boolean {
    if (!this.has(name)) return fallback;
    const value = this.raw(name);
    if (typeof value !== 'boolean') this.fail(name, `is ${shown(value)}, not a boolean`);
    return value;
  }

  string(name: string, fallback?: string): string {
    if (!this.has(name) && fallback !== undefined) return fallback;
    const value = this.raw(name);
    if (typeof value !== 'string') this.fail(name, `is ${shown(value)}, not a string`);
    return value;
  }

  /** An object; undefined where it is absent or null. */
  object(name: string): Record<string, unknown> | undefined {
    if (!this.has(name)) return undefined;
    const value = this.raw(name);
    if (typeof value !== 'object' || Array.isArray(value)) this.fail(name, 'must be an object');
    return value as Record<string, unknown>;
  }

  /** The fields of an object in it. */
  within(name: string): Fields | undefined {
    const value = this.object(name);
    return value && new Fields(this.file, value, `${this.prefix}${name}.`);
  }

  /** One whole number for all layers, or a list with one for each. */
  perLayer(name: string, count: number, low: number, high: number, fallback?: number): number[] {
    const value = this.raw(name);
    if (!Array.isArray(value) && !ArrayBuffer.isView(value)) {
      return Array(count).fill(this.integer(name, low, high, fallback));
    }
    const list = Array.from(value as ArrayLike<unknown>);
    const fits = (n: unknown): n is number =>
      Number.isInteger(n) && (n as number) >= low && (n as number) <= high;
    if (list.length !== count || !list.every(fits)) {
      this.fail(name, `is not a whole number from ${low} to ${high} for each of ${count} layers`);
    }
    return list;
  }

  /** A number or a list of at most 1,024 numbers; none where it is absent. */
  ids(name: string): number[] {
    if (!this.has(name)) return [];
    const value = this.raw(name);
    const list = Array.isArray(value) ? value : [value];
    const good =
      list.length <= MAX_IDS && list.every((id) => Number.isInteger(id) && id >= 0 && id < 2 ** 31);
    if (!good) this.fail(name, `is not a token id or a list of up to ${MAX_IDS} of them`);
    return list;
  }

  /** A list of layers, each once; none where it is absent. */
  layers(name: string, count: number): number[] {
    if (!this.has(name)) return [];
    const value = this.raw(name);
    const isLayer = (i: unknown) =>
      Number.isInteger(i) && (i as number) >= 0 && (i as number) < count;
    if (!Array.isArray(value) || !value.every(isLayer) || new Set(value).size < value.length) {
      this.fail(name, `is not a list of layers from 0 to ${count - 1}, each once`);
    }
    return value;
  }

  /** Names that nobody has read and that none of `harmless` lists with the value they have. */
  unread(...harmless: readonly (Harmless | undefined)[]): string[] {
    return Object.entries(this.values)
      .filter(([name]) => !this.#read.has(name))
      .filter(([name, value]) => !harmless.some((list) => list?.has(name, value)))
      .map(([name]) => name);
  }
}
