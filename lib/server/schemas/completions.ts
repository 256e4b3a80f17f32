import { z } from 'zod';
import { failure, usage } from './answers.js';
import { flag, integer, opt, samplingFields, text } from './fields.js';

const ID = { type: 'integer', minimum: 0 };

/** Text, ids, or a list of either; looked into when it becomes prompts. */
export const promptField = z
  .custom<string | unknown[]>(
    (value) => typeof value === 'string' || Array.isArray(value),
    'must be a string, an array of token ids, or an array of either',
  )
  .meta({
    anyOf: [
      { type: 'string' },
      { type: 'array', minItems: 1, items: { type: 'string' } },
      { type: 'array', minItems: 1, items: ID },
      { type: 'array', minItems: 1, items: { type: 'array', minItems: 1, items: ID } },
    ],
  });

export const completionBody = z.object({
  ...samplingFields,
  prompt: promptField,
  max_tokens: integer,
  logprobs: opt(z.int().min(-1)),
  suffix: text,
  add_special_tokens: flag,
});

export type CompletionBody = z.output<typeof completionBody>;

export const completionAnswer = z.object({
  id: z.string(),
  object: z.literal('text_completion'),
  created: z.int(),
  model: z.string(),
  choices: z.array(
    z.object({
      index: z.int(),
      text: z.string(),
      logprobs: z
        .object({
          text_offset: z.array(z.int()),
          token_logprobs: z.array(z.number().nullable()),
          tokens: z.array(z.string()),
          top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
        })
        .nullable(),
      finish_reason: z.enum(['stop', 'length', 'abort', 'error']),
      stop_reason: z.union([z.string(), z.int()]).nullable(),
      error: failure.optional(),
      prompt_logprobs: z.array(z.unknown()).nullable(),
      token_ids: z.array(z.int()).optional(),
      prompt_token_ids: z.array(z.int()).optional(),
      prompt_text: z.string().nullable().optional(),
    }),
  ),
  usage,
  system_fingerprint: z.string().nullable(),
  service_tier: z.null(),
});
