/** Integers of 64 bits, and where a body has them. */
import { z } from 'zod';

const MIN = -(2n ** 63n);
const MAX = 2n ** 63n - 1n;

const isWithin = (value: bigint) => value >= MIN && value <= MAX;

/**
 * JSON's numbers are read exactly, whatever their size: as bigints beyond 2^53. A string of digits
 * is one, too, for whoever has no other way to write it.
 */
export const int64 = z
  .custom<number | bigint | string>((value) => {
    if (typeof value === 'bigint') return isWithin(value);
    if (typeof value === 'string') return /^-?\d{1,19}$/.test(value) && isWithin(BigInt(value));
    return Number.isSafeInteger(value);
  }, 'must be an integer of 64 bits (-2^63 to 2^63 - 1)')
  .meta({ type: ['integer', 'string'], format: 'int64' } as Record<string, unknown>);

export type Path = readonly string[];

const known = new WeakMap<z.ZodObject, readonly Path[]>();

/** Where a body of this schema has integers of 64 bits. */
export function int64Paths(schema: z.ZodObject): readonly Path[] {
  let paths = known.get(schema);
  if (paths === undefined) {
    paths = Object.entries(schema.shape).flatMap(([name, member]) => {
      const inner = bare(member);
      if (inner === int64) return [[name]];
      if (!(inner instanceof z.ZodObject)) return [];
      return int64Paths(inner).map((path) => [name, ...path]);
    });
    known.set(schema, paths);
  }
  return paths;
}

/** Without what makes it optional. */
function bare(schema: unknown): unknown {
  if (schema instanceof z.ZodPipe) return bare(schema.in);
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) {
    return bare(schema.unwrap());
  }
  return schema;
}
