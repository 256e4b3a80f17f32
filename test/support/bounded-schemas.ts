/** Random schemas whose values end soon, with most of what schemas can say. */
import type { Random } from './random.js';

type Schema = Readonly<Record<string, unknown>>;

const FORMATS = ['date', 'time', 'date-time', 'uuid', 'ipv4', 'email'];
const PATTERNS = ['^[a-c]{1,6}$', '^\\d{2}-\\d{2}$', 'x$', '^é+|z$', '^[^"\\\\]{0,5}$'];
const VALUES = ['red', 'it’s', 'a "b"', 'back\\slash', '42', 'true', 7, -1.5, true, null, ''];
const NAMES = ['city', 'max_days', 'x', 'Kind'];

export interface SchemaLimits {
  /** Leaves keywords that combine schemas out. Default false. */
  readonly plain?: boolean;
}

/** @param depth of objects and arrays within each other */
export function boundedSchema(draws: Random, depth: number, limits: SchemaLimits = {}): Schema {
  const pick = <T>(list: readonly T[]): T => list[draws.integer(list.length)];
  const inner = () => boundedSchema(draws, depth - 1, limits);
  const some = <T>(list: readonly T[]) => list.filter(() => draws.integer(2) === 0);
  const scalars: (() => Schema)[] = [
    () => ({ type: 'string', maxLength: 1 + draws.integer(12), minLength: draws.integer(2) }),
    () => ({ type: 'string', pattern: pick(PATTERNS), maxLength: 12 }),
    () => ({ type: 'string', format: pick(FORMATS) }),
    () => ({ enum: [pick(VALUES), pick(VALUES), pick(VALUES)] }),
    () => ({ const: pick(VALUES) }),
    () => ({ type: 'integer', minimum: -draws.integer(1000), maximum: draws.integer(100_000) }),
    () => ({ type: 'integer', minimum: 0, maximum: 600, multipleOf: 1 + draws.integer(12) }),
    () => ({ type: 'number', minimum: -1, exclusiveMaximum: 1 + draws.integer(9) }),
    () => ({ type: pick(['boolean', 'null']) }),
    () => ({ type: ['integer', 'null'], minimum: 3, maximum: 9 }),
  ];
  const nested: (() => Schema)[] = [
    () => ({ type: 'array', items: inner(), maxItems: 1 + draws.integer(3) }),
    () => ({ type: 'array', prefixItems: [inner(), inner()], items: false, minItems: 1 }),
    () => boundedObject(draws, depth, limits),
  ];
  const combined: (() => Schema)[] = [
    () => ({ anyOf: [inner(), inner()] }),
    () => ({ allOf: [pick(scalars)(), { not: { enum: [null, 'red', 7] } }] }),
    () => ({ oneOf: [{ type: 'boolean' }, { type: 'string', maxLength: 4 }, { const: 3 }] }),
    () => ({
      ...{ type: 'object', required: ['kind'], additionalProperties: false },
      properties: { kind: { enum: ['a', 'b'] }, a: inner(), b: inner() },
      if: { properties: { kind: { const: 'a' } } },
      // biome-ignore lint/suspicious/noThenProperty: it is JSON Schema's
      then: { required: ['a'] },
      else: { required: ['b'] },
    }),
    () => ({
      ...{ type: 'object', dependentRequired: { x: ['y'] }, additionalProperties: false },
      properties: Object.fromEntries(some(['x', 'y', 'z']).map((name) => [name, inner()])),
    }),
    () => ({ type: 'array', items: { enum: [1, 2, 3] }, contains: { const: 2 }, maxItems: 4 }),
    () => ({
      ...{ type: 'object', maxProperties: 3, additionalProperties: { type: 'boolean' } },
      propertyNames: { pattern: '^[a-z]{1,3}$' },
    }),
  ];
  const kinds = [scalars];
  if (depth > 0) kinds.push(nested);
  if (depth > 0 && !limits.plain) kinds.push(combined);
  return pick(pick(kinds))();
}

/** An object of several members, of which each may be required. */
export function boundedObject(draws: Random, depth: number, limits: SchemaLimits = {}): Schema {
  const names = NAMES.slice(0, 1 + draws.integer(NAMES.length));
  const properties = Object.fromEntries(
    names.map((name) => [name, boundedSchema(draws, depth - 1, limits)]),
  );
  const required = names.filter(() => draws.integer(3) > 0);
  return { type: 'object', properties, required, additionalProperties: false };
}
