import { z } from 'zod';
import {
  drawFields,
  flag,
  integer,
  only,
  opt,
  outputFormat,
  reasoningFields,
  text,
} from './fields.js';
import { responseToolFields } from './tools.js';

/** Loose: items and parts have members that depend on their type. */
const item = z.looseObject({ type: z.string().optional() });

export type WireItem = z.output<typeof item>;

/** What is behind `json_schema` elsewhere stands beside the type. */
const responseFormat = outputFormat.extend({ name: text, strict: flag });

export const responseBody = z.object({
  model: text,
  input: z.union(
    [z.string(), z.array(item).min(1)],
    'must be a string, or an array of items, at least one',
  ),
  instructions: text,
  previous_response_id: text,
  max_output_tokens: opt(z.int().min(1)),
  top_logprobs: opt(z.int().min(0)),
  include: opt(z.array(z.string())),
  text: opt(z.looseObject({ format: opt(responseFormat) })),
  reasoning: opt(z.looseObject({ effort: text })),
  ...responseToolFields,
  max_tool_calls: z.unknown().optional(),
  metadata: opt(z.record(z.string(), z.unknown())),
  store: flag,
  stream: flag,
  stream_options: z.unknown().optional(),
  truncation: text,
  background: flag.meta({ enum: [false, null] }),
  conversation: only(),
  prompt: only(),
  user: z.unknown().optional(),
  service_tier: z.unknown().optional(),
  safety_identifier: z.unknown().optional(),
  prompt_cache_key: z.unknown().optional(),
  prompt_cache_retention: z.unknown().optional(),
  client_metadata: z.unknown().optional(),
  // vLLM's
  ...drawFields,
  ...reasoningFields,
  chat_template_kwargs: opt(z.record(z.string(), z.unknown())),
  priority: integer,
});

export type ResponseBody = z.output<typeof responseBody>;

const status = z.enum(['completed', 'incomplete', 'in_progress']);
const reasoningText = z.object({ type: z.literal('reasoning_text'), text: z.string() });
const call = {
  id: z.string(),
  call_id: z.string(),
  name: z.string(),
  namespace: z.string().optional(),
};

const outputItem = z.discriminatedUnion('type', [
  z.object({
    id: z.string(),
    type: z.literal('message'),
    role: z.literal('assistant'),
    status,
    content: z.array(
      z.object({
        type: z.literal('output_text'),
        text: z.string(),
        annotations: z.array(z.unknown()),
        logprobs: z.array(z.unknown()),
      }),
    ),
  }),
  z.object({
    id: z.string(),
    type: z.literal('reasoning'),
    summary: z.array(z.unknown()),
    content: z.array(reasoningText),
    encrypted_content: z.string().nullable(),
    status,
  }),
  z.object({ type: z.literal('function_call'), ...call, arguments: z.string(), status }),
  z.object({ type: z.literal('custom_tool_call'), ...call, input: z.string(), status }),
]);

export const responseAnswer = z.looseObject({
  id: z.string(),
  object: z.literal('response'),
  created_at: z.int(),
  completed_at: z.int().nullable(),
  status: z.enum(['completed', 'incomplete', 'failed', 'in_progress']),
  error: z.unknown().nullable(),
  incomplete_details: z.object({ reason: z.string() }).nullable(),
  model: z.string(),
  output: z.array(outputItem),
  usage: z
    .object({
      input_tokens: z.int(),
      input_tokens_details: z.object({ cached_tokens: z.int(), cache_write_tokens: z.int() }),
      output_tokens: z.int(),
      output_tokens_details: z.object({ reasoning_tokens: z.int() }),
      total_tokens: z.int(),
    })
    .nullable(),
});

export const responseDeleted = z.object({
  id: z.string(),
  object: z.literal('response'),
  deleted: z.literal(true),
});
