/** Bodies and answers of the routes that make vectors and scores of texts. */
import { z } from 'zod';
import { promptField } from './completions.js';
import { flag, only, opt, requestId, text } from './fields.js';

const WHOLE = 'must be true: vectors are of texts with their special tokens; send token ids';
const TOKENS = 'must be two strings, the worse answer first';
const RIGHT = "must be 'right': the end of a text is cut, the special tokens behind it stay";

/** How a text becomes tokens, and what is passed over. */
const textFields = {
  model: text,
  truncate_prompt_tokens: opt(
    z
      .int()
      .min(-1)
      .max(2 ** 31 - 1),
  ),
  truncation_side: opt(z.literal('right', RIGHT)),
  add_special_tokens: opt(z.literal(true, WHOLE)),
  user: z.unknown().optional(),
  priority: z.unknown().optional(),
  request_id: requestId,
  cache_salt: z.unknown().optional(),
};

/** Whether scores are logits; the second is the name that vLLM had for it before. */
const scoreFields = { use_activation: only({ const: true }), activation: only({ const: true }) };

/** How vectors are written. */
const vectorFields = {
  encoding_format: opt(z.enum(['float', 'base64'])),
  embed_dtype: only({ const: 'float32' }),
  endianness: only({ enum: ['native', 'little'] }),
};

export const embeddingBody = z.object({
  ...textFields,
  ...vectorFields,
  input: promptField,
  dimensions: opt(z.int().min(1)),
  normalize: flag,
  pooling: opt(z.enum(['mean', 'cls', 'last'])),
  prompt_name: text,
  instruction: text,
});

export type EmbeddingBody = z.output<typeof embeddingBody>;

export const classifyBody = z.object({ ...textFields, ...scoreFields, input: promptField });

export type ClassifyBody = z.output<typeof classifyBody>;

export const poolingBody = embeddingBody.extend({
  ...scoreFields,
  task: opt(z.enum(['embed', 'classify'])),
});

export type PoolingBody = z.output<typeof poolingBody>;

const texts = z.union(
  [z.string(), z.array(z.string()).min(1)],
  'must be a string, or an array of strings that is not empty',
);

const PLACEHOLDERS = /\{(instruction|query|document)\}/g;
const MAX_TEMPLATE = 65_536;
const MAX_PLACEHOLDERS = 8;

/** The question to a model that answers yes or no, whose texts it makes several times as long. */
const questionFields = {
  instruction: text,
  template: opt(
    z
      .string()
      .max(MAX_TEMPLATE)
      .refine(
        (template) => (template.match(PLACEHOLDERS)?.length ?? 0) <= MAX_PLACEHOLDERS,
        `must have at most ${MAX_PLACEHOLDERS} placeholders`,
      ),
  ),
  tokens: opt(z.array(z.string(), TOKENS).length(2, TOKENS)),
};

/** Two sides, each by the names that vLLM has had for it. */
export const scoreBody = z.object({
  ...textFields,
  ...scoreFields,
  text_1: opt(texts),
  text_2: opt(texts),
  queries: opt(texts),
  documents: opt(texts),
  items: opt(texts),
  data_1: opt(texts),
  data_2: opt(texts),
  ...questionFields,
});

export type ScoreBody = z.output<typeof scoreBody>;

const document = z.union(
  [z.string(), z.looseObject({ text: z.string() })],
  'must be a string, or an object with its text',
);

export const rerankBody = z.object({
  ...textFields,
  ...scoreFields,
  query: z.string(),
  ...questionFields,
  documents: z.array(document).min(1),
  top_n: opt(z.int().min(0)),
  return_documents: flag,
  rank_fields: only({ type: 'array', maxItems: 0 }),
  max_chunks_per_doc: only({ const: 1 }),
  max_tokens_per_doc: only(),
});

export type RerankBody = z.output<typeof rerankBody>;

const usage = z.object({ prompt_tokens: z.int(), total_tokens: z.int() });

const listHead = {
  id: z.string(),
  object: z.literal('list'),
  created: z.int(),
  model: z.string(),
  usage,
};

const vector = z.union([z.array(z.number()), z.string()]);

const embedding = z.object({
  object: z.literal('embedding'),
  index: z.int(),
  embedding: vector,
});

export const embeddingAnswer = z.object({ ...listHead, data: z.array(embedding) });

const pooled = z.object({ object: z.literal('pooling'), index: z.int(), data: vector });

export const poolingAnswer = z.object({ ...listHead, data: z.array(pooled) });

const classified = z.object({
  index: z.int(),
  label: z.string(),
  probs: z.array(z.number()),
  num_classes: z.int(),
});

export const classifyAnswer = z.object({ ...listHead, data: z.array(classified) });

const scored = z.object({ object: z.literal('score'), index: z.int(), score: z.number() });

export const scoreAnswer = z.object({ ...listHead, data: z.array(scored) });

export const rerankAnswer = z.object({
  id: z.string(),
  model: z.string(),
  usage,
  results: z.array(
    z.object({
      index: z.int(),
      relevance_score: z.number(),
      document: z.object({ text: z.string() }).optional(),
    }),
  ),
});
