/** What the bodies of chat and text completions have in common; null is the same as absent. */
import { z } from 'zod';
import { int64 } from './int64.js';

/** What names a request. */
export const REQUEST_ID = /^[\x21-\x7e]{1,128}$/;

/** May be absent or null, which is undefined from here on. */
export function opt<S extends z.ZodType>(schema: S) {
  return schema.nullish().transform((value) => value ?? undefined);
}

/** A list that is looked at by the engine, entry by entry and faster than here. */
export const ids = z
  .custom<number[]>(Array.isArray, 'must be an array of token ids')
  .meta({ type: 'array', items: { type: 'integer', minimum: 0 } });

/** A text or several. */
export const stop = z.union(
  [z.string(), z.array(z.string()).max(4096)],
  'must be a string or an array of strings, at most 4096',
);

export const anyList = z
  .custom<unknown[]>(Array.isArray, 'must be an array')
  .meta({ type: 'array', items: {} });

export const flag = opt(z.boolean());
export const number = opt(z.number());
export const integer = opt(z.int());
export const text = opt(z.string());

export const streamOptions = opt(
  z.object({
    include_usage: opt(z.boolean()),
    continuous_usage_stats: opt(z.boolean()),
    include_obfuscation: opt(z.boolean()),
  }),
);

/** A request's name is sent back in a header. */
export const requestId = opt(
  z.string().regex(REQUEST_ID, 'must be 1 to 128 printable ASCII characters without blanks'),
);

/** Passed over, whatever they say: nothing here depends on them. */
const IGNORED = {
  user: z.unknown().optional(),
  metadata: z.unknown().optional(),
  store: z.unknown().optional(),
  service_tier: z.unknown().optional(),
  safety_identifier: z.unknown().optional(),
  prompt_cache_key: z.unknown().optional(),
  prompt_cache_retention: z.unknown().optional(),
  prediction: z.unknown().optional(),
  verbosity: z.unknown().optional(),
  spaces_between_special_tokens: z.unknown().optional(),
  session_id: z.unknown().optional(),
  vllm_xargs: z.unknown().optional(),
};

/** Looked at elsewhere; the document says which values are taken. */
export function only(...taken: readonly object[]) {
  return z
    .unknown()
    .optional()
    .meta({ anyOf: [{ type: 'null' }, ...taken] });
}

export const EMPTY_LIST = { type: 'array', maxItems: 0 };

const record = z.record(z.string(), z.unknown());

/** A JSON Schema, also as its text. */
const jsonSchema = z.union(
  [record, z.boolean(), z.string()],
  'must be a JSON Schema: an object, true, false, or its text',
);

const tag = z.union([record, z.string()], 'must be an object or its JSON text');

/** What an output must be, as OpenAI says it. */
export const outputFormat = z.looseObject({
  type: z.enum(['text', 'json_object', 'json_schema', 'structural_tag', 'grammar']),
  json_schema: opt(z.looseObject({ name: text, schema: opt(jsonSchema), strict: flag })),
  schema: opt(jsonSchema),
  grammar: text,
});

export type OutputFormat = z.output<typeof outputFormat>;

/** By vLLM's names; one of the first six. */
const structuredOutputs = z.looseObject({
  json: opt(jsonSchema),
  regex: text,
  choice: opt(z.array(z.string())),
  grammar: text,
  json_object: flag,
  structural_tag: opt(tag),
  disable_any_whitespace: flag,
  disable_additional_properties: flag,
  whitespace_pattern: text,
});

/** Structured output: OpenAI's field, vLLM's new and old ones, and llama.cpp's. */
const structuredFields = {
  response_format: opt(outputFormat),
  structured_outputs: opt(structuredOutputs),
  guided_json: opt(jsonSchema),
  guided_regex: text,
  guided_choice: opt(z.array(z.string())),
  guided_grammar: text,
  guided_json_object: flag,
  guided_whitespace_pattern: text,
  guided_decoding_backend: z.unknown().optional(),
  structural_tag: opt(tag),
  grammar: text,
  json_schema: opt(jsonSchema),
};

const structured = z.object(structuredFields);

export type StructuredBody = z.output<typeof structured>;

/** Refused with a sentence unless they ask for nothing; see refused.ts. */
const REFUSED = {
  reasoning_effort: only({ const: 'none' }),
  thinking_token_budget: only(),
  logprob_token_ids: only(EMPTY_LIST),
  kv_transfer_params: only(),
  repetition_detection: only(),
  logits_processors: only(EMPTY_LIST),
  typical_p: only({ const: 1 }),
  mirostat: only({ const: 0 }),
  dynatemp_range: only({ const: 0 }),
  xtc_probability: only({ const: 0 }),
  dry_multiplier: only({ const: 0 }),
  best_of: integer,
};

/** How tokens are drawn, and when they end: alike on every route that draws. */
export const drawFields = {
  temperature: number,
  top_p: number,
  top_k: integer,
  min_p: number,
  presence_penalty: number,
  frequency_penalty: number,
  repetition_penalty: number,
  seed: opt(int64),
  stop: opt(stop),
  stop_token_ids: opt(ids),
  ignore_eos: flag,
  min_tokens: integer,
  logit_bias: opt(z.record(z.string(), z.number())),
  allowed_token_ids: opt(ids).meta({ minItems: 1 }),
  bad_words: opt(z.array(z.string()).max(4096)),
  skip_special_tokens: flag,
  include_stop_str_in_output: flag,
  cache_salt: text,
  ...structuredFields,
  ...REFUSED,
};

/** How a model may think before it answers; of conversations. */
export const reasoningFields = {
  reasoning_effort: text,
  thinking_token_budget: opt(z.int().min(-1)),
};

export const samplingFields = {
  ...drawFields,
  model: text,
  n: opt(z.int().min(1).max(128)),
  max_completion_tokens: integer,
  prompt_logprobs: integer,
  use_beam_search: flag,
  length_penalty: number,
  early_stopping: opt(z.union([z.boolean(), z.literal('never')], "must be true, false or 'never'")),
  priority: integer,
  request_id: requestId,
  stream: flag,
  stream_options: streamOptions,
  stream_interval: opt(z.int().min(1)),
  echo: flag,
  truncate_prompt_tokens: opt(z.int().min(-1)),
  truncation_side: opt(z.enum(['left', 'right'])),
  return_tokens_as_token_ids: flag,
  return_token_ids: flag,
  return_prompt_text: flag,
  ...IGNORED,
};

const sampling = z.object(samplingFields);
type SamplingBody = z.output<typeof sampling>;

const draw = z.object(drawFields);

/** What decides how tokens are drawn, whether or not a route knows beams and several samples. */
export type DrawBody = z.output<typeof draw> &
  Partial<Pick<SamplingBody, 'n' | 'use_beam_search' | 'length_penalty' | 'early_stopping'>>;
