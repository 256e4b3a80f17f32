import { z } from 'zod';
import { failure, usage } from './answers.js';
import {
  anyList,
  flag,
  integer,
  only,
  opt,
  reasoningFields,
  samplingFields,
  text,
} from './fields.js';
import { chatToolFields } from './tools.js';

const PARTS = 'must be a string, or an array of parts that have a type';

/** Loose: what a message may have beside these reaches the template. */
const message = z.looseObject({
  role: z.string().min(1),
  content: z.union([z.string(), z.array(z.looseObject({ type: z.string() }))], PARTS).nullish(),
});

export type WireMessage = z.output<typeof message>;

/** What decides how a conversation becomes a prompt. */
export const conversationFields = {
  model: text,
  messages: z.array(message).min(1),
  add_generation_prompt: flag,
  continue_final_message: flag,
  add_special_tokens: flag,
  documents: opt(anyList),
  chat_template: text,
  chat_template_kwargs: opt(z.record(z.string(), z.unknown())),
  ...chatToolFields,
};

export const chatBody = z.object({
  ...samplingFields,
  ...conversationFields,
  ...reasoningFields,
  max_tokens: integer,
  logprobs: flag,
  top_logprobs: opt(z.int().min(-1)),
  web_search_options: z.unknown().optional(),
  include_reasoning: flag,
  modalities: opt(z.array(z.string())).meta({ items: { const: 'text' } }),
  audio: only(),
});

export type ChatBody = z.output<typeof chatBody>;

const token = z.object({
  token: z.string(),
  logprob: z.number(),
  bytes: z.array(z.int()).nullable(),
});

const calledFunction = z.object({ name: z.string(), arguments: z.string() });

const toolCall = z.object({
  id: z.string(),
  type: z.enum(['function', 'custom']),
  function: calledFunction.optional(),
  custom: z.object({ name: z.string(), input: z.string() }).optional(),
});

export const chatAnswer = z.object({
  id: z.string(),
  object: z.literal('chat.completion'),
  created: z.int(),
  model: z.string(),
  choices: z.array(
    z.object({
      index: z.int(),
      message: z.object({
        role: z.string(),
        content: z.string().nullable(),
        refusal: z.null(),
        reasoning: z.string().optional(),
        reasoning_content: z.string().optional(),
        tool_calls: z.array(toolCall).optional(),
        function_call: calledFunction.optional(),
      }),
      logprobs: z
        .object({
          content: z.array(token.extend({ top_logprobs: z.array(token) })),
          refusal: z.null(),
        })
        .nullable(),
      finish_reason: z.enum(['stop', 'length', 'abort', 'error', 'tool_calls', 'function_call']),
      stop_reason: z.union([z.string(), z.int()]).nullable(),
      error: failure.optional(),
      token_ids: z.array(z.int()).optional(),
    }),
  ),
  usage,
  system_fingerprint: z.string().nullable(),
  service_tier: z.null(),
  prompt_logprobs: z.array(z.unknown()).nullable(),
  prompt_token_ids: z.array(z.int()).optional(),
  prompt_text: z.string().nullable().optional(),
});
