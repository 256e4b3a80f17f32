import { escapePointer, Refusal } from './refusal.js';

export type JsonObject = Readonly<Record<string, unknown>>;

/** Which keywords mean what: 4 and 7 by number, all later drafts alike. */
export type Dialect = 4 | 7 | 2020;

/** A schema that is an object, with what its place in the document says about it. */
export interface SchemaPlace {
  readonly schema: JsonObject;
  readonly pointer: string;
  readonly base: string;
  readonly dialect: Dialect;
}

export interface DocumentLimits {
  /** Most bytes of the schema as compact JSON. Default 65,536. */
  readonly maxSchemaBytes?: number;
  /** Deepest nesting of schemas. Default 64. */
  readonly maxDepth?: number;
  /** Most bytes of all values of all `enum`s. Default 100,000. */
  readonly maxEnumBytes?: number;
}

const ROOT = 'octavo:/schema';

/** Keywords whose value is a schema; a list of schemas; an object of schemas. */
const ONE = new Set([
  'items',
  'additionalItems',
  'contains',
  'additionalProperties',
  'propertyNames',
  'not',
  'if',
  'then',
  'else',
  'unevaluatedItems',
  'unevaluatedProperties',
  'contentSchema',
]);
const LIST = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems', 'items']);
const MAP = new Set([
  'properties',
  'patternProperties',
  '$defs',
  'definitions',
  'dependentSchemas',
  'dependencies',
]);

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A keyword's value; what objects inherit is none. */
export function keyword(schema: JsonObject, name: string): unknown {
  return Object.hasOwn(schema, name) ? schema[name] : undefined;
}

/** A parsed schema: where its parts stand, and what its references mean. */
export class SchemaDocument {
  readonly root: unknown;
  /** True where unevaluatedProperties or unevaluatedItems occurs. */
  readonly unevaluated: boolean = false;
  /** About as many as its JSON text has. */
  readonly numBytes: number;
  readonly #places = new Map<JsonObject, SchemaPlace>();
  /** By absolute URI, with `#name` for anchors. */
  readonly #targets = new Map<string, JsonObject>();
  readonly #dynamic = new Map<string, number>();

  /** @throws Refusal past a limit */
  constructor(root: unknown, limits: DocumentLimits = {}) {
    this.root = root;
    this.numBytes = checkLimits(root, limits);
    if (isObject(root)) {
      this.#targets.set(ROOT, root);
      const place = { schema: root, pointer: '', base: ROOT, dialect: dialectOf(root, 2020) };
      this.#walk(place, new Set());
      for (const { schema } of this.#places.values()) {
        const has = (name: string) => Object.hasOwn(schema, name);
        if (has('unevaluatedProperties') || has('unevaluatedItems')) this.unevaluated = true;
      }
    }
  }

  /** Of a schema of this document, found as a part of the schema at `parent`. */
  place(schema: JsonObject, parent: SchemaPlace | undefined, pointer: string): SchemaPlace {
    const known = this.#places.get(schema);
    if (known !== undefined) return known;
    const [base, dialect] =
      parent === undefined ? [ROOT, 2020 as const] : [parent.base, parent.dialect];
    this.#walk({ schema, pointer, base, dialect }, new Set());
    return this.#places.get(schema)!;
  }

  /** What `$ref` at a place leads to: a schema and its pointer. @throws Refusal */
  resolve(
    from: SchemaPlace,
    reference: string,
    name: string,
  ): { value: unknown; place: SchemaPlace } {
    const at = `${from.pointer}/${name}`;
    const uri = absolute(reference, from.base);
    if (uri === undefined) throw new Refusal(at, `"${reference}" is no reference that can be read`);
    const hash = uri.indexOf('#');
    const [document, raw] = hash < 0 ? [uri, ''] : [uri.slice(0, hash), uri.slice(hash + 1)];
    const anchored = raw !== '' && !raw.startsWith('/') ? this.#targets.get(uri) : undefined;
    if (anchored !== undefined) return { value: anchored, place: this.#places.get(anchored)! };
    const resource = this.#targets.get(document);
    if (resource === undefined) {
      throw new Refusal(
        at,
        `"${reference}" is not in this document: copy what it means into $defs`,
      );
    }
    const start = this.#places.get(resource)!;
    if (raw === '') return { value: resource, place: start };
    if (!raw.startsWith('/')) throw new Refusal(at, `there is no anchor "${raw}"`);
    return this.#follow(start, raw, at, reference);
  }

  /** What `$dynamicRef` leads to where no choice is left to run time. @throws Refusal */
  resolveDynamic(from: SchemaPlace, reference: string): { value: unknown; place: SchemaPlace } {
    const name = reference.slice(reference.indexOf('#') + 1);
    if ((this.#dynamic.get(name) ?? 0) > 1) {
      throw new Refusal(
        `${from.pointer}/$dynamicRef`,
        `"${reference}" depends on the way that led here: use $ref`,
      );
    }
    return this.resolve(from, reference, '$dynamicRef');
  }

  #follow(start: SchemaPlace, raw: string, at: string, reference: string) {
    let value: unknown = start.schema;
    let place = start;
    let pointer = start.pointer;
    for (const part of raw.slice(1).split('/')) {
      const step = decode(part).replaceAll('~1', '/').replaceAll('~0', '~');
      const inside: unknown = Array.isArray(value)
        ? value[/^\d+$/.test(step) ? Number(step) : -1]
        : isObject(value)
          ? keyword(value, step)
          : undefined;
      if (inside === undefined) throw new Refusal(at, `"${reference}" leads nowhere`);
      value = inside;
      pointer += `/${escapePointer(step)}`;
      if (isObject(value)) place = this.#places.get(value) ?? place;
    }
    if (isObject(value)) place = this.place(value, place, pointer);
    return { value, place: { ...place, pointer } };
  }

  #walk(outer: SchemaPlace, above: Set<JsonObject>): void {
    const { schema } = outer;
    if (this.#places.has(schema) || above.has(schema)) return;
    const dialect = dialectOf(schema, outer.dialect);
    const place = { ...outer, dialect, base: this.#register(outer, dialect) };
    this.#places.set(schema, place);
    above.add(schema);
    const visit = (value: unknown, pointer: string) => {
      if (isObject(value)) this.#walk({ ...place, schema: value, pointer }, above);
    };
    for (const [name, value] of Object.entries(schema)) {
      const pointer = `${place.pointer}/${escapePointer(name)}`;
      if (Array.isArray(value)) {
        if (LIST.has(name)) for (const [i, part] of value.entries()) visit(part, `${pointer}/${i}`);
      } else if (ONE.has(name)) visit(value, pointer);
      else if (MAP.has(name) && isObject(value)) {
        for (const [key, part] of Object.entries(value)) {
          visit(part, `${pointer}/${escapePointer(key)}`);
        }
      }
    }
    above.delete(schema);
  }

  /** Notes the schema's ids and anchors. Returns its base. */
  #register({ schema, base }: SchemaPlace, dialect: Dialect): string {
    const id = keyword(schema, dialect === 4 ? 'id' : '$id') ?? keyword(schema, '$id');
    const hidden = dialect !== 2020 && Object.hasOwn(schema, '$ref');
    if (typeof id === 'string' && !hidden) {
      const uri = absolute(id, base);
      if (uri !== undefined) {
        const hash = uri.indexOf('#');
        const whole = hash < 0 ? uri : uri.slice(0, hash);
        const fragment = hash < 0 ? '' : uri.slice(hash + 1);
        if (fragment !== '') this.#targets.set(uri, schema);
        else {
          base = whole;
          if (!this.#targets.has(whole)) this.#targets.set(whole, schema);
        }
      }
    }
    for (const name of ['$anchor', '$dynamicAnchor']) {
      const anchor = keyword(schema, name);
      if (typeof anchor !== 'string') continue;
      this.#targets.set(`${base}#${anchor}`, schema);
      if (name === '$dynamicAnchor')
        this.#dynamic.set(anchor, (this.#dynamic.get(anchor) ?? 0) + 1);
    }
    return base;
  }
}

function dialectOf(schema: JsonObject, outer: Dialect): Dialect {
  const uri = keyword(schema, '$schema');
  if (typeof uri !== 'string') return outer;
  if (/draft-0[34]/.test(uri)) return 4;
  return /draft-0[67]/.test(uri) ? 7 : 2020;
}

function absolute(reference: string, base: string): string | undefined {
  return URL.canParse(reference, base) ? new URL(reference, base).href : undefined;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @returns its bytes */
function checkLimits(root: unknown, limits: DocumentLimits): number {
  const { maxSchemaBytes = 65_536, maxDepth = 64, maxEnumBytes = 100_000 } = limits;
  // A schema lies at most two levels of JSON below the schema around it.
  const deepest = 2 * maxDepth + 2;
  let enumBytes = 0;
  let bytes = 0;
  const measure = (value: unknown, depth: number): void => {
    if (depth > deepest) throw new Refusal('', `it is nested deeper than ${maxDepth} schemas`);
    if (typeof value === 'string') bytes += Buffer.byteLength(value) + 2;
    else bytes += 4;
    if (bytes > maxSchemaBytes) throw new Refusal('', `it is larger than ${maxSchemaBytes} bytes`);
    if (Array.isArray(value)) for (const part of value) measure(part, depth + 1);
    else if (isObject(value)) {
      for (const [name, part] of Object.entries(value)) {
        const before = bytes;
        bytes += Buffer.byteLength(name) + 4;
        measure(part, depth + 1);
        if (name === 'enum' && Array.isArray(part)) enumBytes += bytes - before;
      }
    }
    if (enumBytes > maxEnumBytes) {
      throw new Refusal('', `the values of its enums are larger than ${maxEnumBytes} bytes`);
    }
  };
  measure(root, 0);
  return bytes;
}
