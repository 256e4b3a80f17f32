import { z } from 'zod';
import { anyList, EMPTY_LIST, flag, integer, number, only, opt, text } from './fields.js';

const block = z.looseObject({ type: z.string() });

export type WireBlock = z.output<typeof block>;

const words = z.union(
  [z.string(), z.array(block)],
  'must be a string, or an array of blocks that have a type',
);

const message = z.object({ role: z.enum(['user', 'assistant', 'system']), content: words });

/** An object whose `type` may be one of these, as the document says it. */
const typed = (...types: string[]) =>
  opt(z.looseObject({ type: z.string() })).meta({ properties: { type: { enum: types } } });

export type AnthropicMessage = z.output<typeof message>;

export const countBody = z.object({
  model: text,
  messages: z.array(message).min(1),
  system: opt(words),
  tools: opt(anyList).meta({ maxItems: 0 }),
  tool_choice: typed('auto', 'none'),
  thinking: typed('disabled', 'adaptive'),
  output_config: opt(z.looseObject({ format: only(), effort: z.unknown().optional() })),
  output_format: only(),
  mcp_servers: only(EMPTY_LIST),
  container: only(),
  metadata: z.unknown().optional(),
  service_tier: z.unknown().optional(),
  cache_control: z.unknown().optional(),
  context_management: z.unknown().optional(),
});

export type CountBody = z.output<typeof countBody>;

export const messageBody = countBody.extend({
  max_tokens: z.int().min(1),
  stop_sequences: opt(z.array(z.string())),
  temperature: number,
  top_p: number,
  top_k: integer,
  stream: flag,
});

export type MessageBody = z.output<typeof messageBody>;

export const messageProblem = z.object({
  type: z.literal('error'),
  error: z.object({ type: z.string(), message: z.string() }),
  request_id: z.string(),
});

export const messageAnswer = z.object({
  id: z.string(),
  type: z.literal('message'),
  role: z.literal('assistant'),
  content: z.array(z.object({ type: z.literal('text'), text: z.string() })),
  model: z.string(),
  stop_reason: z.enum(['end_turn', 'max_tokens', 'stop_sequence']).nullable(),
  stop_sequence: z.string().nullable(),
  usage: z.object({
    input_tokens: z.int(),
    output_tokens: z.int(),
    cache_read_input_tokens: z.int(),
    cache_creation_input_tokens: z.int(),
  }),
});
