import { z } from 'zod';
import {
  anyList,
  drawFields,
  flag,
  integer,
  NO_TOOL,
  only,
  opt,
  TEXT_TYPE,
  text,
} from './fields.js';

/** Loose: items and parts have members that depend on their type. */
const item = z.looseObject({ type: z.string().optional() });

export type WireItem = z.output<typeof item>;

/** Tools that run on this side are not there yet; hosted ones are passed over. */
const HOSTED = {
  not: { required: ['type'], properties: { type: { enum: ['function', 'custom', 'namespace'] } } },
};

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
  text: opt(
    z.looseObject({
      format: z
        .looseObject({ type: z.string() })
        .nullish()
        .meta({ properties: TEXT_TYPE.properties }),
    }),
  ),
  reasoning: opt(
    z.looseObject({
      effort: z
        .string()
        .nullish()
        .meta({ enum: ['none', null] }),
    }),
  ),
  tools: opt(anyList).meta({ items: HOSTED }),
  tool_choice: only(NO_TOOL),
  parallel_tool_calls: flag,
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
  priority: integer,
});

export type ResponseBody = z.output<typeof responseBody>;

export const responseAnswer = z.looseObject({
  id: z.string(),
  object: z.literal('response'),
  created_at: z.int(),
  completed_at: z.int().nullable(),
  status: z.enum(['completed', 'incomplete', 'failed', 'in_progress']),
  error: z.unknown().nullable(),
  incomplete_details: z.object({ reason: z.string() }).nullable(),
  model: z.string(),
  output: z.array(
    z.object({
      id: z.string(),
      type: z.literal('message'),
      role: z.literal('assistant'),
      status: z.enum(['completed', 'incomplete', 'in_progress']),
      content: z.array(
        z.object({
          type: z.literal('output_text'),
          text: z.string(),
          annotations: z.array(z.unknown()),
          logprobs: z.array(z.unknown()),
        }),
      ),
    }),
  ),
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
