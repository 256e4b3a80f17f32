import { z } from 'zod';
import { usage } from './answers.js';
import { anyList, flag, integer, NO_TOOL, only, opt, samplingFields, text } from './fields.js';

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
  tools: opt(anyList),
  tool_choice: z.unknown().optional(),
};

export const chatBody = z.object({
  ...samplingFields,
  ...conversationFields,
  // What the library does not offer yet is taken where it asks for nothing.
  tools: opt(anyList).meta({ maxItems: 0 }),
  tool_choice: only(NO_TOOL),
  max_tokens: integer,
  logprobs: flag,
  top_logprobs: opt(z.int().min(-1)),
  functions: opt(anyList).meta({ maxItems: 0 }),
  function_call: only(NO_TOOL),
  parallel_tool_calls: z.unknown().optional(),
  web_search_options: z.unknown().optional(),
  include_reasoning: z.unknown().optional(),
  modalities: opt(z.array(z.string())).meta({ items: { const: 'text' } }),
  audio: only(),
});

export type ChatBody = z.output<typeof chatBody>;

const token = z.object({
  token: z.string(),
  logprob: z.number(),
  bytes: z.array(z.int()).nullable(),
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
      }),
      logprobs: z
        .object({
          content: z.array(token.extend({ top_logprobs: z.array(token) })),
          refusal: z.null(),
        })
        .nullable(),
      finish_reason: z.enum(['stop', 'length', 'abort']),
      stop_reason: z.union([z.string(), z.int()]).nullable(),
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
