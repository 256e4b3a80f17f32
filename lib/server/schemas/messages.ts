import { z } from 'zod';
import { EMPTY_LIST, flag, integer, number, only, opt, text } from './fields.js';
import { messageToolFields } from './tools.js';

const block = z.looseObject({ type: z.string() });

export type WireBlock = z.output<typeof block>;

const words = z.union(
  [z.string(), z.array(block)],
  'must be a string, or an array of blocks that have a type',
);

const message = z.object({ role: z.enum(['user', 'assistant', 'system']), content: words });

/** What an answer must be, as beta versions of the API wrote it, too. */
const format = opt(
  z.looseObject({
    type: z.enum(['json_schema']),
    schema: z.union([z.record(z.string(), z.unknown()), z.boolean()], 'must be a JSON Schema'),
  }),
);

export type AnthropicMessage = z.output<typeof message>;

export const countBody = z.object({
  model: text,
  messages: z.array(message).min(1),
  system: opt(words),
  ...messageToolFields,
  thinking: opt(
    z.looseObject({
      type: z.enum(['enabled', 'disabled', 'adaptive']),
      budget_tokens: opt(z.int().min(0)),
    }),
  ),
  output_config: opt(z.looseObject({ format, effort: text })),
  output_format: format,
  thread: only(),
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

const messageFailure = z.object({
  type: z.string(),
  message: z.string(),
  details: z.unknown().optional(),
});

export const messageProblem = z.object({
  type: z.literal('error'),
  error: messageFailure,
  request_id: z.string(),
});

export const messageAnswer = z.object({
  id: z.string(),
  type: z.literal('message'),
  role: z.literal('assistant'),
  content: z.array(
    z.discriminatedUnion('type', [
      z.object({ type: z.literal('text'), text: z.string() }),
      z.object({ type: z.literal('thinking'), thinking: z.string(), signature: z.string() }),
      z.object({
        type: z.literal('tool_use'),
        id: z.string(),
        name: z.string(),
        input: z.record(z.string(), z.unknown()),
      }),
    ]),
  ),
  model: z.string(),
  stop_reason: z.enum(['end_turn', 'max_tokens', 'stop_sequence', 'tool_use', 'error']).nullable(),
  stop_sequence: z.string().nullable(),
  error: messageFailure.optional(),
  usage: z.object({
    input_tokens: z.int(),
    output_tokens: z.int(),
    cache_read_input_tokens: z.int(),
    cache_creation_input_tokens: z.int(),
  }),
});
