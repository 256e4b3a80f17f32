/** Parts of answers, for the OpenAPI document. */
import { z } from 'zod';

export const usage = z.object({
  prompt_tokens: z.int(),
  total_tokens: z.int(),
  completion_tokens: z.int(),
  prompt_tokens_details: z.object({ cached_tokens: z.int() }),
  completion_tokens_details: z.object({ reasoning_tokens: z.int() }),
});

export const failure = z.object({
  message: z.string(),
  type: z.string(),
  param: z.string().nullable(),
  code: z.int(),
});

export const problem = z.object({ error: failure });

export const modelCard = z.object({
  id: z.string(),
  object: z.literal('model'),
  created: z.int(),
  owned_by: z.string(),
  root: z.string(),
  parent: z.null(),
  max_model_len: z.int(),
  permission: z.array(z.unknown()),
});

export const modelList = z.object({ object: z.literal('list'), data: z.array(modelCard) });
