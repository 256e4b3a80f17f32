/**
 * What a caller may ask of a generation, validated once at the gate and frozen. Behind the gate the
 * engine completes it (seed drawn, bad words as ids, the model's EOS ids) to {@link DrawParams},
 * the form that sequences carry.
 */
import { z } from 'zod';
import { octavoError } from '../errors.js';
import type { BeamParams } from './beam-search.js';

const MAX_INT32 = 2 ** 31 - 1;

/** Words that describe the model to the gate. */
export interface ModelLimits {
  readonly vocabSize: number;
}

/** A validated, frozen set of sampling parameters; see {@link validateSamplingParams}. */
export interface SamplingParams {
  /** How many samples of the same prompt; they share its KV. */
  readonly n: number;
  /** 0 = greedy. */
  readonly temperature: number;
  readonly topP: number;
  /** 0 = all. */
  readonly topK: number;
  readonly minP: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly repetitionPenalty: number;
  /** Sample i draws as a request with seed + i would. Absent: the engine draws one. */
  readonly seed?: number;
  readonly stop: readonly string[];
  readonly stopTokenIds: readonly number[];
  readonly ignoreEos: boolean;
  readonly maxTokens: number;
  readonly minTokens: number;
  /** How many of the best tokens beside each drawn one; −1 = the whole vocabulary. */
  readonly logprobs?: number;
  readonly promptLogprobs?: number;
  readonly logitBias?: Readonly<Record<number, number>>;
  readonly allowedTokenIds?: readonly number[];
  readonly badWords: readonly string[];
  readonly skipSpecialTokens: boolean;
  readonly includeStopStrInOutput: boolean;
  /** Requests share cached prefixes only with requests of the same salt. */
  readonly cacheSalt?: string;
}

/** What a caller writes: everything optional, `stop` also as one string. */
export type SamplingParamsInput = Partial<Omit<SamplingParams, 'stop'>> & {
  readonly stop?: string | readonly string[];
};

const number = (min: number, max: number, sentence: string) =>
  z.number(sentence).min(min, sentence).max(max, sentence);
const integer = (min: number, max: number, sentence: string) =>
  z.int(sentence).min(min, sentence).max(max, sentence);
const flag = (name: string) => z.boolean(`${name} must be true or false`);
const words = (name: string, single = '') => {
  const sentence = `${name} must be ${single}an array of strings, none of them empty`;
  return z.array(z.string(sentence).min(1, sentence), sentence);
};

function tokenIds(name: string, limits: ModelLimits) {
  const top = limits.vocabSize - 1;
  const sentence = `${name} must be an array of token ids from 0 to ${top}`;
  return z.array(integer(0, top, sentence), sentence);
}

function logitBias(limits: ModelLimits) {
  const top = limits.vocabSize - 1;
  const sentence = `logitBias must map token ids from 0 to ${top} to numbers from -100 to 100`;
  return z
    .record(z.string(), number(-100, 100, sentence), sentence)
    .refine((bias) => Object.keys(bias).every((key) => isTokenId(key, top)), sentence);
}

function isTokenId(key: string, top: number): boolean {
  return /^(0|[1-9]\d*)$/.test(key) && Number(key) <= top;
}

function schemaFor(limits: ModelLimits) {
  const logprobs = (name: string) =>
    integer(
      -1,
      limits.vocabSize,
      `${name} must be an integer from 0 to ${limits.vocabSize}, or -1 for the whole vocabulary`,
    );
  const stop = words('stop', 'a string or ');
  return z.strictObject({
    n: integer(1, MAX_INT32, 'n must be an integer of at least 1').default(1),
    temperature: number(0, 1e6, 'temperature must be a number from 0 (greedy) upwards').default(1),
    topP: number(0, 1, 'topP must be a number above 0, at most 1')
      .gt(0, 'topP must be a number above 0, at most 1')
      .default(1),
    topK: integer(0, MAX_INT32, 'topK must be an integer of at least 1, or 0 for all').default(0),
    minP: number(0, 1, 'minP must be a number from 0 to 1').default(0),
    presencePenalty: number(-2, 2, 'presencePenalty must be a number from -2 to 2').default(0),
    frequencyPenalty: number(-2, 2, 'frequencyPenalty must be a number from -2 to 2').default(0),
    repetitionPenalty: number(0, 1e6, 'repetitionPenalty must be a number above 0; 1 is neutral')
      .gt(0, 'repetitionPenalty must be a number above 0; 1 is neutral')
      .default(1),
    seed: integer(
      0,
      Number.MAX_SAFE_INTEGER,
      'seed must be an integer from 0 to 2^53 - 1, or be left out',
    ).optional(),
    stop: z.preprocess((value) => (typeof value === 'string' ? [value] : value), stop).default([]),
    stopTokenIds: tokenIds('stopTokenIds', limits).default([]),
    ignoreEos: flag('ignoreEos').default(false),
    maxTokens: integer(1, MAX_INT32, 'maxTokens must be an integer of at least 1').default(16),
    minTokens: integer(0, MAX_INT32, 'minTokens must be an integer of at least 0').default(0),
    logprobs: logprobs('logprobs').optional(),
    promptLogprobs: logprobs('promptLogprobs').optional(),
    logitBias: logitBias(limits).optional(),
    allowedTokenIds: tokenIds('allowedTokenIds', limits)
      .min(1, 'allowedTokenIds must name at least one token id, or be left out')
      .optional(),
    badWords: words('badWords').default([]),
    skipSpecialTokens: flag('skipSpecialTokens').default(true),
    includeStopStrInOutput: flag('includeStopStrInOutput').default(false),
    cacheSalt: z
      .string('cacheSalt must be a string that is not empty')
      .min(1, 'cacheSalt must be a string that is not empty')
      .optional(),
  });
}

const schemas = new Map<number, ReturnType<typeof schemaFor>>();

function schemaOf(limits: ModelLimits): ReturnType<typeof schemaFor> {
  let schema = schemas.get(limits.vocabSize);
  if (schema === undefined) {
    schema = schemaFor(limits);
    schemas.set(limits.vocabSize, schema);
  }
  return schema;
}

/** Checks what a caller wrote, fills in the defaults and freezes; throws ERR_INVALID_PARAM. */
export function validateSamplingParams(
  input: SamplingParamsInput | undefined,
  limits: ModelLimits,
): SamplingParams {
  const parsed = schemaOf(limits).safeParse(input ?? {});
  if (!parsed.success) throw refusal(parsed.error.issues[0]);
  const params = parsed.data;
  if (params.minTokens > params.maxTokens) {
    throw octavoError(
      'ERR_INVALID_PARAM',
      `minTokens (${params.minTokens}) must not be above maxTokens (${params.maxTokens})`,
      { param: 'minTokens' },
    );
  }
  for (const value of Object.values(params)) Object.freeze(value);
  return Object.freeze(params);
}

function refusal(issue: z.core.$ZodIssue) {
  if (issue.code === 'unrecognized_keys') {
    const known = Object.keys(schemaOf({ vocabSize: 1 }).shape).join(', ');
    return octavoError(
      'ERR_INVALID_PARAM',
      `unknown sampling parameter ${JSON.stringify(issue.keys[0])}; known are ${known}`,
      { param: issue.keys[0] },
    );
  }
  if (issue.path.length === 0) {
    return octavoError('ERR_INVALID_PARAM', 'sampling parameters must be given as an object');
  }
  return octavoError('ERR_INVALID_PARAM', issue.message, { param: String(issue.path[0]) });
}

/** What only the engine knows when a request comes in. */
export interface DrawContext extends ModelLimits {
  readonly eosTokenIds: readonly number[];
  /** Used where the caller gave no seed. */
  readonly seed: number;
  /** `badWords` as token ids; a word may have several spellings in tokens. */
  readonly badWordIds?: readonly (readonly number[])[];
}

/** The form behind the gate: nothing left to look up while steps run. */
export interface DrawParams extends SamplingParams {
  /** A beam search of n beams; nothing is drawn. */
  readonly beam: BeamParams | null;
  readonly seed: number;
  readonly badWordIds: readonly (readonly number[])[];
  /** Ids that end a sequence as EOS: none when EOS is to be ignored. */
  readonly eosTokenIds: readonly number[];
  /** EOS and stop ids: banned until minTokens are there. */
  readonly endTokenIds: Int32Array;
  /** As the sampler slab counts: −1 = none asked, else how many of the best tokens. */
  readonly numLogprobs: number;
  readonly numPromptLogprobs: number;
  readonly allowedIds: Int32Array | null;
  readonly biasIds: Int32Array;
  readonly biasValues: Float32Array;
  /** A penalty looks at the generated tokens. */
  readonly needsOutput: boolean;
  /** A penalty looks at the prompt as well. */
  readonly needsPrompt: boolean;
}

export function completeParams(params: SamplingParams, context: DrawContext): DrawParams {
  const eosTokenIds = params.ignoreEos ? [] : context.eosTokenIds;
  const bias = Object.entries(params.logitBias ?? {});
  const numTop = (asked: number | undefined) =>
    asked === undefined ? -1 : asked === -1 ? context.vocabSize : asked;
  const needsPrompt = params.repetitionPenalty !== 1;
  return Object.freeze({
    ...params,
    beam: null,
    seed: params.seed ?? context.seed,
    badWordIds: (context.badWordIds ?? []).filter((word) => word.length > 0),
    eosTokenIds,
    endTokenIds: Int32Array.from(new Set([...eosTokenIds, ...params.stopTokenIds])),
    numLogprobs: numTop(params.logprobs),
    numPromptLogprobs: numTop(params.promptLogprobs),
    allowedIds: params.allowedTokenIds ? Int32Array.from(new Set(params.allowedTokenIds)) : null,
    biasIds: Int32Array.from(bias, ([id]) => Number(id)),
    biasValues: Float32Array.from(bias, ([, value]) => value),
    needsPrompt,
    needsOutput: needsPrompt || params.frequencyPenalty !== 0 || params.presencePenalty !== 0,
  });
}
