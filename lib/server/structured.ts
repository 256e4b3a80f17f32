/** What an output must be, from the fields that requests say it with. */
import type { StructuredOutputs } from '../core/structured.js';
import type { Exchange } from './exchange.js';
import { badRequest } from './problem.js';
import type { OutputFormat, StructuredBody } from './schemas/fields.js';

/** What was asked for, and by which field: errors are about that. */
export interface StructuredWish {
  readonly field: string;
  readonly spec: StructuredOutputs;
}

type Body = Partial<StructuredBody>;

/** Fields that are a constraint each, oldest names last. */
const READERS: readonly [name: keyof StructuredBody, read: (body: Body) => Wished][] = [
  ['response_format', ({ response_format: format }) => format && formatOf(format)],
  ['structured_outputs', ({ structured_outputs: given }) => given && specOf(given)],
  ['guided_json', ({ guided_json: json }) => given({ json })],
  ['guided_regex', ({ guided_regex: regex }) => given({ regex })],
  ['guided_choice', ({ guided_choice: choice }) => given({ choice })],
  ['guided_grammar', ({ guided_grammar: grammar }) => given({ grammar })],
  ['guided_json_object', ({ guided_json_object: asked }) => asked && { jsonObject: true }],
  ['structural_tag', ({ structural_tag: structuralTag }) => given({ structuralTag })],
  ['grammar', ({ grammar }) => given({ grammar: grammar || undefined })],
  ['json_schema', ({ json_schema: json }) => given({ json })],
];

type Wished = StructuredOutputs | undefined | false;

/** A spec of one member, or none. */
function given(spec: StructuredOutputs): Wished {
  return Object.values(spec).every((value) => value !== undefined) && spec;
}

/**
 * The constraint that a request asks for.
 * @throws Problem 400 for two of them, and for one that says nothing
 */
export function structuredOf(body: Body): StructuredWish | undefined {
  const wishes: StructuredWish[] = [];
  for (const [field, read] of READERS) {
    const spec = read(body);
    if (spec) wishes.push({ field, spec });
  }
  if (wishes.length > 1) {
    const [first, second] = wishes;
    const sentence = `${first.field} and ${second.field} exclude each other; send one of them`;
    throw badRequest(sentence, second.field);
  }
  const [wish] = wishes;
  const { guided_whitespace_pattern: whitespacePattern } = body;
  if (wish === undefined || whitespacePattern === undefined) return wish;
  return { ...wish, spec: { ...wish.spec, whitespacePattern } };
}

/**
 * As {@link structuredOf}; errors of the engine about it are told by the request's field.
 * @throws Problem 400
 */
export function structuredWish(exchange: Exchange, body: Body): StructuredOutputs | undefined {
  const wish = structuredOf(body);
  if (wish !== undefined) exchange.structuredField = wish.field;
  return wish?.spec;
}

/**
 * OpenAI's form, in chat completions as `response_format`.
 * @throws Problem 400
 */
export function formatOf(format: OutputFormat, field = 'response_format'): Wished {
  const { type, json_schema: _, schema, grammar, ...rest } = format;
  switch (type) {
    case 'text':
      return undefined;
    case 'json_object':
      // Others than OpenAI take a schema here as well.
      return schema === undefined ? { jsonObject: true } : { json: schema };
    case 'json_schema':
      return schemaOf(format, field);
    case 'grammar':
      if (grammar) return { grammar };
      throw badRequest(`${field}.grammar: is needed`, `${field}.grammar`);
    case 'structural_tag':
      return { structuralTag: { type, ...rest } };
  }
}

/** The Responses API writes beside `type` what stands behind `json_schema` elsewhere. */
function schemaOf(format: OutputFormat, field: string): StructuredOutputs {
  const { schema: json, strict } = format.json_schema ?? format;
  if (json !== undefined) return { json, ...(strict === false ? { strict: false } : {}) };
  const place = field === 'response_format' ? `${field}.json_schema.schema` : `${field}.schema`;
  throw badRequest(`${place}: is needed`, place);
}

/** vLLM's form; only one member may say what is wanted. */
function specOf(body: NonNullable<Body['structured_outputs']>): StructuredOutputs {
  const { json, regex, choice, grammar, structural_tag: structuralTag } = body;
  const kinds = { json, regex, choice, grammar, structuralTag };
  const wanted = {
    ...kinds,
    jsonObject: body.json_object || undefined,
    disableAnyWhitespace: body.disable_any_whitespace,
    disableAdditionalProperties: body.disable_additional_properties,
    whitespacePattern: body.whitespace_pattern,
  };
  const asked = [...Object.values(kinds), wanted.jsonObject].filter((one) => one !== undefined);
  if (asked.length === 1) {
    return Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== undefined));
  }
  const sentence =
    'structured_outputs: exactly one of json, regex, choice, grammar, json_object and ' +
    'structural_tag is needed';
  throw badRequest(sentence, 'structured_outputs');
}
