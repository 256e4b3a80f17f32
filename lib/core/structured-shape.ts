/** What a caller wrote as `structuredOutputs`, checked for its shape. */
import { z } from 'zod';
import { octavoError } from '../errors.js';
import { isZod, type StructuredOutputs } from './structured.js';

const KINDS = ['json', 'regex', 'choice', 'grammar', 'jsonObject', 'structuralTag'] as const;

const text = (name: string) => {
  const sentence = `structuredOutputs.${name} must be a string that is not empty`;
  return z.string(sentence).min(1, sentence);
};
const flag = (name: string) => z.boolean(`structuredOutputs.${name} must be true or false`);
const choices = 'structuredOutputs.choice must be an array of strings, at least one';

function isSchema(value: unknown): boolean {
  if (typeof value === 'string') return value !== '';
  return typeof value === 'boolean' || isThing(value);
}

/** Not only plain objects: a zod schema is of a class, in some versions a function. */
function isThing(value: unknown): boolean {
  return (typeof value === 'object' && value !== null && !Array.isArray(value)) || isZod(value);
}

const schema = z.strictObject(
  {
    json: z
      .custom<object | string | boolean>(
        isSchema,
        'structuredOutputs.json must be a JSON Schema (an object, true or false, or its JSON ' +
          'text) or a zod schema',
      )
      .optional(),
    regex: text('regex').optional(),
    choice: z.array(z.string(choices), choices).min(1, choices).optional(),
    grammar: text('grammar').optional(),
    jsonObject: flag('jsonObject').optional(),
    structuralTag: z
      .custom<object | string>(
        (value) => typeof value !== 'boolean' && isSchema(value),
        'structuredOutputs.structuralTag must be an object or its JSON text',
      )
      .optional(),
    disableAnyWhitespace: flag('disableAnyWhitespace').optional(),
    disableAdditionalProperties: flag('disableAdditionalProperties').optional(),
    whitespacePattern: text('whitespacePattern').optional(),
    strict: flag('strict').optional(),
  },
  'structuredOutputs must be an object',
);

/** The member `structuredOutputs` of sampling parameters. */
export const structuredOutputs = schema
  .refine(
    (given) => numKinds(given) === 1,
    `structuredOutputs must have exactly one of ${KINDS.join(', ')}`,
  )
  .transform((given): StructuredOutputs => Object.freeze(given));

/** jsonObject: false asks for nothing. */
function numKinds(given: StructuredOutputs): number {
  return KINDS.filter(
    (kind) => given[kind] !== undefined && !(kind === 'jsonObject' && !given[kind]),
  ).length;
}

/**
 * Checks what a caller wrote, where it stands alone.
 * @throws ERR_INVALID_PARAM
 */
export function checkStructuredOutputs(given: unknown): StructuredOutputs {
  const parsed = structuredOutputs.safeParse(given);
  if (parsed.success) return parsed.data;
  throw octavoError('ERR_INVALID_PARAM', sentenceOf(parsed.error.issues[0]), {
    param: 'structuredOutputs',
  });
}

/** A name that is not known is said by zod in its own words. */
export function sentenceOf(issue: z.core.$ZodIssue): string {
  if (issue.code !== 'unrecognized_keys') return issue.message;
  const known = Object.keys(schema.shape).join(', ');
  return `structuredOutputs has no member ${JSON.stringify(issue.keys[0])}; known are ${known}`;
}
