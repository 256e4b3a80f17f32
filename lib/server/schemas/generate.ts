import { z } from 'zod';
import { failure } from './answers.js';
import {
  flag,
  ids,
  integer,
  only,
  opt,
  requestId,
  samplingFields,
  streamOptions,
  text,
} from './fields.js';

const samplingParams = z.object({
  ...samplingFields,
  max_tokens: integer,
  logprobs: integer,
  detokenize: z.unknown().optional(),
  output_kind: z.unknown().optional(),
});

/** Token in, token out; what the render routes give. */
export const generateBody = z.object({
  request_id: requestId,
  model: text,
  token_ids: ids.meta({ minItems: 1 }),
  sampling_params: opt(samplingParams),
  stream: flag,
  stream_options: streamOptions,
  cache_salt: text,
  priority: integer,
  features: z.unknown().optional(),
  kv_transfer_params: only(),
});

export type GenerateBody = z.output<typeof generateBody>;

export const generateAnswer = z.object({
  request_id: z.string(),
  choices: z.array(
    z.object({
      index: z.int(),
      logprobs: z.unknown().nullable(),
      finish_reason: z.string(),
      error: failure.optional(),
      token_ids: z.array(z.int()),
    }),
  ),
  prompt_logprobs: z.array(z.unknown()).nullable(),
  kv_transfer_params: z.null(),
});
