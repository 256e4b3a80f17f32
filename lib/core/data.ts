/** What callers give as JSON data: taken once, whole, and only where it is that. */
import { isPlainObject } from '../arguments.js';
import { isZod } from './structured.js';

/** What of a value is no JSON data. */
export interface NotData {
  /** JSON pointer of its place; '' is the value itself. */
  readonly pointer: string;
  /** What is there: "a Map", say. */
  readonly what: string;
}

export type TakenData = { readonly data: unknown } | NotData | 'too large';

/** Levels of arrays and objects within each other. */
const MAX_DEPTH = 1_000;

class Stranger extends Error {
  readonly what: string;
  readonly path: readonly (string | number)[];

  constructor(what: string, path: readonly (string | number)[]) {
    super(what);
    this.what = what;
    this.path = [...path];
  }
}

class TooLarge extends Error {}

/**
 * A copy of what is JSON data: null, booleans, finite numbers, strings, arrays and plain objects.
 * Members that are undefined or have a symbol for a name are left out, as JSON.stringify does; all
 * else (maps, dates, functions, instances of classes, what contains itself, …) is refused.
 * @param maxBytes about as many as its JSON text may have; nothing is looked at beyond them
 */
export function takeData(value: unknown, maxBytes: number): TakenData {
  try {
    return { data: new Copying(maxBytes).copy(value) };
  } catch (error) {
    if (error instanceof TooLarge) return 'too large';
    if (!(error instanceof Stranger)) throw error;
    const parts = error.path.map(
      (part) => `/${`${part}`.replace(/~/g, '~0').replace(/\//g, '~1')}`,
    );
    return { pointer: parts.join(''), what: error.what };
  }
}

class Copying {
  readonly #maxBytes: number;
  readonly #path: (string | number)[] = [];
  readonly #around = new Set<object>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  copy(value: unknown): unknown {
    this.#take(typeof value === 'string' ? Buffer.byteLength(value) + 2 : 4);
    if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    if (typeof value !== 'object') throw new Stranger(kindOf(value), this.#path);
    if (this.#around.has(value)) throw new Stranger('an object that contains itself', this.#path);
    if (this.#path.length >= MAX_DEPTH) throw new TooLarge();
    this.#around.add(value);
    const copied = Array.isArray(value) ? this.#array(value) : this.#object(value);
    this.#around.delete(value);
    return copied;
  }

  #array(value: readonly unknown[]): unknown[] {
    const copied: unknown[] = [];
    for (let i = 0; i < value.length; i++) copied.push(this.#at(i, value[i]));
    return copied;
  }

  #object(value: object): Record<string, unknown> {
    if (!isPlainObject(value)) throw new Stranger(instanceOf(value), this.#path);
    const copied: Record<string, unknown> = {};
    for (const [name, member] of Object.entries(value)) {
      if (member === undefined) continue;
      this.#take(Buffer.byteLength(name) + 4);
      const own = { value: this.#at(name, member), enumerable: true };
      // Assigning to __proto__ would do something else.
      Object.defineProperty(copied, name, { ...own, writable: true, configurable: true });
    }
    return copied;
  }

  #at(part: string | number, value: unknown): unknown {
    this.#path.push(part);
    const copied = this.copy(value);
    this.#path.pop();
    return copied;
  }

  #take(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#maxBytes) throw new TooLarge();
  }
}

function kindOf(value: unknown): string {
  if (isZod(value)) return ZOD;
  return typeof value === 'number' || value === undefined ? String(value) : `a ${typeof value}`;
}

const ZOD = 'a zod schema; give all of it as one, or what z.toJSONSchema() makes of it';
const ZOD_3 =
  'a schema of zod 3, which cannot be read; import zod 4, or give the JSON Schema that ' +
  'zod-to-json-schema makes of it';

function instanceOf(value: object): string {
  if (isZod(value)) return ZOD;
  if (Object.hasOwn(value, '_def')) return ZOD_3;
  const prototype: unknown = Object.getPrototypeOf(value);
  const maker = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value as unknown;
  const name: unknown = typeof maker === 'function' ? maker.name : undefined;
  return typeof name === 'string' && /^\w{1,60}$/.test(name) ? `a ${name}` : 'no plain object';
}
