/** Options of the calls that make vectors and scores: checked whole, taken once. */
import { z } from 'zod';
import { readArgument, takeObject, unknownName } from '../arguments.js';
import { octavoError } from '../errors.js';
import { POOLINGS, type Pooling } from '../wire/layout.js';
import { callFields } from './call-fields.js';
import type { SignalOptions } from './call-options.js';

/** Of any call that takes texts for vectors or scores. */
export interface TruncateOptions extends SignalOptions {
  /**
   * Whether a text that is too long is cut (true), special tokens kept, or refused with
   * ERR_PROMPT_TOO_LONG (false, the default). A number cuts to so many tokens, and to no more than
   * the model takes.
   */
  readonly truncate?: boolean | number;
}

/** Of `embed()`. What is not given is as the model's files say. */
export interface EmbedOptions extends TruncateOptions {
  /** How the vectors of a text's tokens become one. */
  readonly pooling?: Pooling;
  /** Whether vectors are divided by their length. */
  readonly normalize?: boolean;
  /** Values of a vector, of models that were trained for it: the first ones, which are then divided
   * by their length if `normalize` says so. Default: all. */
  readonly dimensions?: number;
  /** The prompt of the model's files that stands in front of texts; '' for none. */
  readonly promptName?: string;
  /** Texts become `Instruct: ${instruction}\nQuery:${text}`, the form of Qwen3-Embedding and
   * others; not beside `promptName`. */
  readonly instruction?: string;
}

/** Of `score()`. */
export interface ScoreOptions extends TruncateOptions {
  /** Of a model that answers a question about each document: the two tokens whose logits are
   * compared, the worse answer first. Default `['no', 'yes']`. */
  readonly tokens?: readonly [string, string];
  /** The question to such a model, with `{instruction}`, `{query}` and `{document}` in it, control
   * tokens included. Default: that of Qwen3-Reranker. */
  readonly template?: string;
  /** What `{instruction}` stands for, and what stands in front of the query of an embedding model.
   * Default of the first: that of Qwen3-Reranker. */
  readonly instruction?: string;
}

/** Of `rank()`. */
export interface RankOptions extends ScoreOptions {
  /** So many of the best are given. Default: all. */
  readonly topN?: number;
}

/** Of `classify()`. */
export type ClassifyOptions = TruncateOptions;

const truncateSentence = 'truncate must be true, false or an integer above 0';
const topNSentence = 'topN must be an integer above 0';
const tokensSentence = 'tokens must be two different strings, the worse answer first';
const text = (name: string) => z.string(`${name} must be a string`);

const truncating = callFields.pick({ signal: true, timeoutMs: true }).extend({
  truncate: z
    .union(
      [
        z.boolean(),
        z
          .int()
          .min(1)
          .max(2 ** 31 - 1),
      ],
      truncateSentence,
    )
    .default(false),
});

const POOLING_NAMES = Object.keys(POOLINGS) as [Pooling, ...Pooling[]];

const embed = truncating.extend({
  pooling: z.enum(POOLING_NAMES, `pooling must be one of ${POOLING_NAMES.join(', ')}`).optional(),
  normalize: z.boolean('normalize must be true or false').optional(),
  dimensions: z
    .int('dimensions must be an integer above 0')
    .min(1, 'dimensions must be an integer above 0')
    .optional(),
  promptName: text('promptName').optional(),
  instruction: text('instruction').optional(),
});

const score = truncating.extend({
  tokens: z
    .tuple([z.string(tokensSentence), z.string(tokensSentence)], tokensSentence)
    .refine(([worse, better]) => worse !== better, tokensSentence)
    .optional(),
  template: text('template').optional(),
  instruction: text('instruction').optional(),
});

const rank = score.extend({ topN: z.int(topNSentence).min(1, topNSentence).optional() });

const SCHEMAS: Readonly<Record<PoolingCallName, z.ZodObject>> = {
  ...{ embed, score, rank },
  classify: truncating,
};

interface CallOptions {
  readonly embed: EmbedOptions;
  readonly score: ScoreOptions;
  readonly rank: RankOptions;
  readonly classify: ClassifyOptions;
}

export type PoolingCallName = keyof CallOptions;

/** Options of a call, checked. */
export type PoolingCallOptions<K extends PoolingCallName> = CallOptions[K] & {
  readonly truncate: boolean | number;
};

/** @throws ERR_INVALID_PARAM naming the option, also for a name that is none */
export function poolingOptions<K extends PoolingCallName>(
  name: K,
  options: unknown,
): PoolingCallOptions<K> {
  const schema = SCHEMAS[name];
  const given = takeObject(options, `options of ${name}()`, 'options');
  const unreadable = (cause: unknown) => invalid('options', `options of ${name}()`, cause);
  const parsed = readArgument(() => schema.safeParse(given), unreadable);
  if (parsed.success) return parsed.data as PoolingCallOptions<K>;
  const [issue] = parsed.error.issues;
  if (issue.code !== 'unrecognized_keys') throw invalid(String(issue.path[0]), issue.message);
  throw unknownName(`${name}() has no option`, issue.keys[0], Object.keys(schema.shape));
}

function invalid(param: string, message: string, cause?: unknown): Error {
  return octavoError('ERR_INVALID_PARAM', message, { param, cause });
}
