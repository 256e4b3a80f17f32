/**
 * What types the arguments of a call may have, as far as it is plain to see: where nothing is, any.
 * Readers tell texts from other values by it; the grammar writes only what is read so.
 */
import { JSON_TYPES, type JsonType, typeOf } from './format.js';

type Schema = Readonly<Record<string, unknown>>;
type Types = ReadonlySet<JsonType>;

const ALL: Types = new Set(JSON_TYPES);
const NONE: Types = new Set();

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function get(schema: Schema, keyword: string): unknown {
  return Object.hasOwn(schema, keyword) ? schema[keyword] : undefined;
}

/** Names times schemas they are looked up in: beyond, nothing is plain to see. */
const MAX_LOOKUPS = 10_000;

export class SchemaTypes {
  /** Names of properties that the schema speaks of. */
  readonly named: ReadonlySet<string>;
  readonly #root: Schema;
  readonly #ofSchemas = new Map<Schema, Types>();
  readonly #ofKeys = new Map<string, Types>();
  #ofOthers: Types | undefined;

  /** @param root the schema of a call's arguments */
  constructor(root: Schema) {
    this.#root = root;
    const parts = new Set<Schema>();
    this.#visit(root, parts);
    const named = new Set(
      [...parts].flatMap((part) => {
        const properties = get(part, 'properties');
        return isSchema(properties) ? Object.keys(properties) : [];
      }),
    );
    const isTooMuch = named.size * parts.size > MAX_LOOKUPS;
    this.named = isTooMuch ? new Set() : named;
    if (isTooMuch) this.#ofOthers = ALL;
  }

  /** Types that the argument of this name may have. */
  of(key: string): Types {
    if (!this.named.has(key)) return this.others;
    let types = this.#ofKeys.get(key);
    if (types === undefined) {
      types = this.#all(this.#root, new Map(), (schema) => this.#property(schema, key));
      this.#ofKeys.set(key, types);
    }
    return types;
  }

  /** Types that arguments of all other names may have. */
  get others(): Types {
    this.#ofOthers ??= this.#all(this.#root, new Map(), (schema) => this.#other(schema));
    return this.#ofOthers;
  }

  #property(schema: Schema, key: string): Types {
    const properties = get(schema, 'properties');
    const own = isSchema(properties) ? get(properties, key) : undefined;
    return own === undefined ? this.#other(schema) : this.#value(own);
  }

  /** Which of the patterns a name is of is left open. */
  #other(schema: Schema): Types {
    const more = get(schema, 'additionalProperties');
    const types = more === undefined ? ALL : this.#value(more);
    const patterns = get(schema, 'patternProperties');
    if (!isSchema(patterns)) return types;
    return union([types, ...Object.values(patterns).map((one) => this.#value(one))]);
  }

  #value(schema: unknown): Types {
    return this.#all(schema, this.#ofSchemas, (own) => {
      let types = ALL;
      const type = get(own, 'type');
      if (type !== undefined) {
        const named = (Array.isArray(type) ? type : [type]).map((one) =>
          one === 'integer' ? 'number' : one,
        );
        types = meet(types, new Set(named as JsonType[]));
      }
      const list = get(own, 'enum');
      if (Array.isArray(list)) types = meet(types, new Set(list.map(typeOf)));
      const only = get(own, 'const');
      return only === undefined ? types : meet(types, new Set([typeOf(only)]));
    });
  }

  /** What a schema says by itself and by the schemas it is made of. */
  #all(schema: unknown, known: Map<Schema, Types>, own: (schema: Schema) => Types): Types {
    if (schema === false) return NONE;
    if (!isSchema(schema)) return ALL;
    const before = known.get(schema);
    if (before !== undefined) return before;
    // What leads back here says no more than is said already.
    known.set(schema, ALL);
    const inner = (part: unknown) => this.#all(part, known, own);
    let types = own(schema);
    for (const several of [get(schema, 'anyOf'), get(schema, 'oneOf')]) {
      if (Array.isArray(several)) types = meet(types, union(several.map(inner)));
    }
    const parts = get(schema, 'allOf');
    if (Array.isArray(parts)) for (const part of parts) types = meet(types, inner(part));
    const reference = get(schema, '$ref');
    if (typeof reference === 'string') types = meet(types, inner(this.#pointed(reference)));
    known.set(schema, types);
    return types;
  }

  /** Every schema that one is made of. */
  #visit(schema: unknown, parts: Set<Schema>): void {
    if (!isSchema(schema) || parts.has(schema)) return;
    parts.add(schema);
    for (const keyword of ['anyOf', 'oneOf', 'allOf']) {
      const several = get(schema, keyword);
      if (Array.isArray(several)) for (const part of several) this.#visit(part, parts);
    }
    const reference = get(schema, '$ref');
    if (typeof reference === 'string') this.#visit(this.#pointed(reference), parts);
  }

  /** What a pointer within the document leads to; true for what is not plain to see. */
  #pointed(reference: string): unknown {
    if (reference === '#') return this.#root;
    if (!reference.startsWith('#/')) return true;
    let at: unknown = this.#root;
    for (const part of reference.slice(2).split('/')) {
      if (typeof at !== 'object' || at === null) return true;
      const key = decoded(part).replaceAll('~1', '/').replaceAll('~0', '~');
      at = Object.hasOwn(at, key) ? (at as Record<string, unknown>)[key] : true;
    }
    return at;
  }
}

function meet(a: Types, b: Types): Types {
  return new Set([...a].filter((type) => b.has(type)));
}

function union(all: readonly Types[]): Types {
  return new Set(all.flatMap((types) => [...types]));
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
