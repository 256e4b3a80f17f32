/** Typed reading of a config's fields, with the file and the field in every refusal. */
import { damaged } from './files.js';

export class Fields {
  readonly #read = new Set<string>();

  constructor(
    readonly file: string,
    readonly values: Readonly<Record<string, unknown>>,
    /** In front of each name in messages: "rope_scaling." or "llama." */
    readonly prefix = '',
  ) {}

  has(name: string): boolean {
    this.#read.add(name);
    const value = this.values[name];
    return value !== undefined && value !== null;
  }

  raw(name: string): unknown {
    this.#read.add(name);
    return this.values[name];
  }

  fail(name: string, why: string): never {
    throw damaged(this.file, `${this.prefix}${name}`, why);
  }

  number(name: string, low: number, high: number, fallback?: number): number {
    if (!this.has(name) && fallback !== undefined) return fallback;
    const value = this.raw(name);
    if (typeof value !== 'number' || !(value >= low && value <= high)) {
      this.fail(name, `is ${JSON.stringify(value)}, not a number from ${low} to ${high}`);
    }
    return value;
  }

  integer(name: string, low: number, high: number, fallback?: number): number {
    const value = this.number(name, low, high, fallback);
    if (!Number.isInteger(value)) this.fail(name, `is ${value}, not a whole number`);
    return value;
  }

  boolean(name: string, fallback: boolean): boolean {
    if (!this.has(name)) return fallback;
    const value = this.raw(name);
    if (typeof value !== 'boolean') this.fail(name, `is ${JSON.stringify(value)}, not a boolean`);
    return value;
  }

  string(name: string, fallback?: string): string {
    if (!this.has(name) && fallback !== undefined) return fallback;
    const value = this.raw(name);
    if (typeof value !== 'string') this.fail(name, `is ${JSON.stringify(value)}, not a string`);
    return value;
  }

  /** A number or a list of numbers; none where it is absent. */
  ids(name: string): number[] {
    if (!this.has(name)) return [];
    const value = this.raw(name);
    const list = Array.isArray(value) ? value : [value];
    const good = list.every((id) => Number.isInteger(id) && id >= 0 && id < 2 ** 31);
    if (!good || list.length > 1024) this.fail(name, 'is not a token id or a list of them');
    return list;
  }

  /** Names that stand there with a value that says something, and that nobody has read. */
  unread(harmless: ReadonlySet<string>): string[] {
    return Object.entries(this.values)
      .filter(([name, value]) => !this.#read.has(name) && !harmless.has(name) && says(value))
      .map(([name]) => name);
  }
}

function says(value: unknown): boolean {
  if (value === null || value === undefined || value === false || value === 0) return false;
  if (value === '') return false;
  return !(typeof value === 'object' && Object.keys(value as object).length === 0);
}
