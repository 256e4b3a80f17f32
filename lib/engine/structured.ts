/** From what a caller wrote as `structuredOutputs` to a grammar, and from a text to a value. */
import { z } from 'zod';
import { readArgument } from '../arguments.js';
import { takeData } from '../core/data.js';
import { isZod, type StructuredOutputs, type ZodSchema } from '../core/structured.js';
import { octavoError } from '../errors.js';
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
 * @throws ERR_INVALID_PARAM where a schema is no data, with its place as `pointer`; ERR_GRAMMAR
 *   where it is too large
 */
export function structuredOf(given: StructuredOutputs, limits: SpecLimits): Structured {
  const { json, structuralTag, jsonObject, ...rest } = given;
  const spec: Record<string, unknown> = { ...rest };
  if (jsonObject) spec.jsonObject = true;
  if (structuralTag !== undefined) {
    spec.structuralTag = taken(structuralTag, 'structuralTag', limits);
  }
  if (json === undefined) {
    return { ...sourceOf(spec, limits), parse: jsonObject ? parseJson : null };
  }
  const zod = isZod(json) ? json : undefined;
  spec.json = taken(zod === undefined ? json : schemaOfZod(zod), 'json', limits);
  const parse = zod === undefined ? parseJson : (text: string) => parseZod(zod, text);
  return { ...sourceOf(spec, limits), parse };
}

function sourceOf(given: Record<string, unknown>, limits: SpecLimits) {
  const spec = given as GrammarSpec;
  // Whatever is wrong with the spec, it stands in this parameter.
  return { spec, source: { ...specSource(spec, limits), param: 'structuredOutputs' } };
}

/** A text is read later. */
function taken(value: unknown, name: string, { maxSchemaBytes = Infinity }: SpecLimits): unknown {
  if (typeof value === 'string') return value;
  const param = 'structuredOutputs';
  return jsonData(value, `${param}.${name}`, { param, maxBytes: maxSchemaBytes });
}

/**
 * A copy of what has to be JSON data.
 * @param what the value's name in sentences
 * @throws ERR_INVALID_PARAM with the place as `pointer`; ERR_GRAMMAR where it is too large
 */
export function jsonData(
  value: unknown,
  what: string,
  { param, maxBytes }: { readonly param: string; readonly maxBytes: number },
): unknown {
  const found = readArgument(
    () => takeData(value, maxBytes),
    (cause) => octavoError('ERR_INVALID_PARAM', `${what} cannot be read`, { param, cause }),
  );
  if (found === 'too large') {
    const sentence = `${what} is larger than ${maxBytes} bytes or nested too deep: make it smaller`;
    throw octavoError('ERR_GRAMMAR', sentence, { param });
  }
  if ('data' in found) return found.data;
  const at = found.pointer === '' ? '' : `at ${found.pointer} `;
  const sentence = `${what} has to be JSON data, and ${at}is ${found.what}`;
  const error = octavoError('ERR_INVALID_PARAM', sentence, { param });
  Object.defineProperty(error, 'pointer', { value: found.pointer, enumerable: true });
  throw error;
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
