/** From what a caller wrote as `structuredOutputs` to a grammar, and from a text to a value. */
import { z } from 'zod';
import { readArgument } from '../arguments.js';
import { isZod, type StructuredOutputs, type ZodSchema } from '../core/structured.js';
import { isOctavoError, octavoError } from '../errors.js';
import { type GrammarSource, specSource } from '../grammar/compile.js';
import type { GrammarSpec, SpecLimits } from '../grammar/index.js';

/** What an output must be, and what is made of it. */
export interface Structured {
  readonly source: GrammarSource;
  readonly spec: GrammarSpec;
  /** The value of a whole text, undefined where it has none; null: outputs are texts only. */
  readonly parse: ((text: string) => unknown) | null;
}

/**
 * Reads the caller's objects for the last time: they may change as soon as the call has returned.
 * @throws ERR_INVALID_PARAM where a schema is no data
 */
export function structuredOf(given: StructuredOutputs, limits: SpecLimits): Structured {
  const { json, structuralTag, jsonObject, ...rest } = given;
  const spec: Record<string, unknown> = { ...rest };
  if (jsonObject) spec.jsonObject = true;
  if (structuralTag !== undefined) spec.structuralTag = copied(structuralTag, 'structuralTag');
  if (json === undefined) {
    return { ...sourceOf(spec, limits), parse: jsonObject ? parseJson : null };
  }
  if (isZod(json)) {
    spec.json = schemaOfZod(json);
    return { ...sourceOf(spec, limits), parse: (text) => parseZod(json, text) };
  }
  if (typeof json === 'object' && '_def' in json && !('$schema' in json)) {
    throw octavoError(
      'ERR_INVALID_PARAM',
      'structuredOutputs.json is a schema of zod 3, which cannot be read; import zod 4, or give ' +
        'the JSON Schema that zod-to-json-schema makes of it',
      { param: 'structuredOutputs' },
    );
  }
  spec.json = copied(json, 'json');
  return { ...sourceOf(spec, limits), parse: parseJson };
}

function sourceOf(given: Record<string, unknown>, limits: SpecLimits) {
  const spec = given as GrammarSpec;
  const { key, build } = specSource(spec, limits);
  return { spec, source: { key, build: () => named(build) } };
}

/** Whatever is wrong with the spec, it stands in this parameter. */
function named<T>(build: () => T): T {
  try {
    return build();
  } catch (error) {
    if (isOctavoError(error) && error.param === undefined) {
      Object.defineProperty(error, 'param', { value: 'structuredOutputs', enumerable: true });
    }
    throw error;
  }
}

function copied(value: unknown, name: string): unknown {
  if (typeof value !== 'object') return value;
  const refusal = (cause?: unknown) =>
    octavoError('ERR_INVALID_PARAM', `structuredOutputs.${name} cannot be read as JSON`, {
      param: 'structuredOutputs',
      cause,
    });
  const text = readArgument(() => JSON.stringify(value), refusal);
  if (text === undefined) throw refusal();
  return JSON.parse(text);
}

/**
 * The JSON Schema of what a zod schema reads. Objects that say nothing of other properties get
 * none, which zod would drop.
 */
function schemaOfZod(schema: ZodSchema): unknown {
  try {
    return z.toJSONSchema(schema as unknown as z.core.$ZodType, {
      io: 'input',
      override: ({ zodSchema, jsonSchema, path }) => {
        const { type, catchall } = zodSchema._zod.def as { type: string; catchall?: unknown };
        // Both sides of an intersection read the whole object.
        if (type !== 'object' || catchall !== undefined || path.includes('allOf')) return;
        jsonSchema.additionalProperties ??= false;
      },
    });
  } catch (cause) {
    throw octavoError(
      'ERR_GRAMMAR',
      `the zod schema has no JSON Schema: ${(cause as Error).message}`,
      { param: 'structuredOutputs', cause },
    );
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What a schema refuses for a reason that no JSON Schema can say (a refinement) has no value. */
function parseZod(schema: ZodSchema, text: string): unknown {
  const value = parseJson(text);
  if (value === undefined) return undefined;
  try {
    const result = z.safeParse(schema as unknown as z.core.$ZodType, value);
    return result.success ? result.data : undefined;
  } catch {
    return undefined; // it wants to be asked asynchronously
  }
}
