/**
 * What a caller may ask of a generation, validated once at the gate and frozen. Behind the gate the
 * engine completes it (seed drawn, bad words as ids, the model's EOS ids) to {@link DrawParams},
 * the form that sequences carry.
 */
import { z } from 'zod';
import { isPlainObject, readArgument, takeObject, unknownName } from '../arguments.js';
import { octavoError } from '../errors.js';
import type { BeamParams } from './beam-search.js';
import type { StructuredOutputs } from './structured.js';
import { sentenceOf, structuredOutputs } from './structured-shape.js';

const MAX_INT32 = 2 ** 31 - 1;

/** What bounds a request: the model, and what the engine lets one request ask for. */
export interface ParamLimits {
  readonly vocabSize: number;
  /** Most logprobs beside a token; −1 or absent: the whole vocabulary. */
  readonly maxLogprobs?: number;
  /**
   * Most entries of a list (`stop`, `stopTokenIds`, `badWords`, `logitBias`, `allowedTokenIds`);
   * the texts of one together have at most {@link UNITS_PER_ENTRY} times as many UTF-16 units.
   * Absent: no limit.
   */
  readonly maxListLength?: number;
}

/** Sampling parameters, validated, complete and frozen; see {@link validateSamplingParams}. */
export interface ValidSamplingParams {
  /** How many samples of the same prompt, at most the engine's maxNumSeqs; they share its KV. */
  readonly n: number;
  /** 0 = greedy. */
  readonly temperature: number;
  /** Tokens are drawn from the most likely ones that have this probability together; 1 = all. */
  readonly topP: number;
  /** 0 = all. */
  readonly topK: number;
  /** Tokens less likely than this share of the most likely one are not drawn; 0 = none. */
  readonly minP: number;
  /** Taken off the logit of each token that the output has; −2 to 2. */
  readonly presencePenalty: number;
  /** The same for each time that the output has it; −2 to 2. */
  readonly frequencyPenalty: number;
  /** Above 1, tokens of the prompt and the output become less likely: positive logits are
   * divided by it, negative ones multiplied. */
  readonly repetitionPenalty: number;
  /** Sample i draws as a request with seed + i would. Absent: the engine draws one. */
  readonly seed?: number;
  /** Texts that end the output, which ends in front of them. */
  readonly stop: readonly string[];
  /** Ids that end the output, as an EOS does. */
  readonly stopTokenIds: readonly number[];
  /** Whether the output goes on behind an EOS. */
  readonly ignoreEos: boolean;
  /** Most tokens of the output. Default 16. */
  readonly maxTokens: number;
  /** Before so many tokens neither EOS nor `stopTokenIds` nor `stop` end the output. */
  readonly minTokens: number;
  /** How many of the best tokens beside each drawn one, at most the engine's maxLogprobs (20);
   * −1 = the whole vocabulary, where maxLogprobs is −1 too. */
  readonly logprobs?: number;
  /** The same beside each token of the prompt. */
  readonly promptLogprobs?: number;
  /** Added to the logits of tokens, by id; −100 to 100. */
  readonly logitBias?: Readonly<Record<number, number>>;
  /** Only these are drawn. */
  readonly allowedTokenIds?: readonly number[];
  /** Texts that the output does not have. */
  readonly badWords: readonly string[];
  /** Whether special tokens are left out of the text. Default true. */
  readonly skipSpecialTokens: boolean;
  /** Whether the stop string that ended the output stays in its text. Default false. */
  readonly includeStopStrInOutput: boolean;
  /** Requests share cached prefixes only with requests of the same salt. */
  readonly cacheSalt?: string;
  /** What the output must be: JSON by a schema, a regular expression, a grammar, say. */
  readonly structuredOutputs?: StructuredOutputs;
}

/**
 * What a caller writes: everything optional, `stop` also as one string. `T` is what a zod schema
 * of `structuredOutputs` makes of an output.
 */
export interface SamplingParams<T = unknown>
  extends Partial<Omit<ValidSamplingParams, 'stop' | 'structuredOutputs'>> {
  /** A text, or several, that end the output, which ends in front of it. */
  readonly stop?: string | readonly string[];
  /** What the output must be: JSON by a schema, a regular expression, a grammar, say. */
  readonly structuredOutputs?: StructuredOutputs<T>;
}

/** Characters (UTF-16 units) of text that a list may have for each entry of maxListLength. */
const UNITS_PER_ENTRY = 16;

const number = (min: number, max: number, sentence: string) =>
  z.number(sentence).min(min, sentence).max(max, sentence);
const integer = (min: number, max: number, sentence: string) =>
  z.int(sentence).min(min, sentence).max(max, sentence);
const flag = (name: string) => z.boolean(`${name} must be true or false`);
const words = (name: string, single = '') => {
  const sentence = `${name} must be ${single}an array of strings, none of them empty`;
  return z.array(z.string(sentence).min(1, sentence), sentence);
};

// Lists of thousands are looked at by hand: zod takes a microsecond and more for each entry.

function tokenIds(name: string, { vocabSize }: ParamLimits, least = 0) {
  const sentence = `${name} must be an array of token ids from 0 to ${vocabSize - 1}`;
  return z
    .custom<readonly number[]>(
      (value) => Array.isArray(value) && areIds(value, vocabSize),
      sentence,
    )
    .refine((ids) => ids.length >= least, `${name} must name at least one token id, or be left out`)
    .transform((ids) => [...ids]);
}

function areIds(values: readonly unknown[], vocabSize: number): boolean {
  // Not every(): that passes over holes.
  for (let i = 0; i < values.length; i++) if (!isId(values[i], vocabSize)) return false;
  return true;
}

function isId(value: unknown, vocabSize: number): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < vocabSize;
}

function logitBias({ vocabSize }: ParamLimits) {
  const ids = `token ids from 0 to ${vocabSize - 1}`;
  const sentence = `logitBias must map ${ids} to numbers from -100 to 100`;
  return z
    .custom<Readonly<Record<number, number>>>((value) => isBias(value, vocabSize), sentence)
    .transform((bias) => ({ ...bias }));
}

function isBias(value: unknown, vocabSize: number): boolean {
  if (!isPlainObject(value)) return false;
  return Object.entries(value).every(([key, bias]) => {
    const id = Number(key);
    const isIdOf = isId(id, vocabSize) && String(id) === key;
    return isIdOf && typeof bias === 'number' && Math.abs(bias) <= 100;
  });
}

function logprobs(name: string, { vocabSize, maxLogprobs = -1 }: ParamLimits) {
  const whole = maxLogprobs === -1 || maxLogprobs >= vocabSize;
  const most = whole ? vocabSize : maxLogprobs;
  const rest = whole
    ? ', or -1 for the whole vocabulary'
    : ` (the engine option maxLogprobs; load with more, or with -1 for the whole vocabulary)`;
  const sentence = `${name} must be an integer from 0 to ${most}${rest}`;
  return integer(whole ? -1 : 0, most, sentence);
}

function schemaFor(limits: ParamLimits) {
  const stop = words('stop', 'a string or ').refine(
    (stops) => stops.every((text) => !/\p{Surrogate}/u.test(text)),
    'stop must not hold half a surrogate pair',
  );
  return z.strictObject({
    n: integer(1, MAX_INT32, `n must be an integer from 1 to ${MAX_INT32}`).default(1),
    temperature: number(0, 1e6, 'temperature must be a number from 0 (greedy) to 1e6').default(1),
    topP: number(0, 1, 'topP must be a number above 0, at most 1')
      .gt(0, 'topP must be a number above 0, at most 1')
      .default(1),
    topK: integer(
      0,
      MAX_INT32,
      `topK must be an integer from 1 to ${MAX_INT32}, or 0 for all`,
    ).default(0),
    minP: number(0, 1, 'minP must be a number from 0 to 1').default(0),
    presencePenalty: number(-2, 2, 'presencePenalty must be a number from -2 to 2').default(0),
    frequencyPenalty: number(-2, 2, 'frequencyPenalty must be a number from -2 to 2').default(0),
    repetitionPenalty: number(
      1e-300,
      1e6,
      'repetitionPenalty must be a number from 1e-300 to 1e6; 1 is neutral',
    ).default(1),
    seed: integer(
      0,
      Number.MAX_SAFE_INTEGER,
      'seed must be an integer from 0 to 2^53 - 1, or be left out',
    ).optional(),
    stop: stop.default([]),
    stopTokenIds: tokenIds('stopTokenIds', limits).default([]),
    ignoreEos: flag('ignoreEos').default(false),
    maxTokens: integer(1, MAX_INT32, `maxTokens must be an integer from 1 to ${MAX_INT32}`).default(
      16,
    ),
    minTokens: integer(0, MAX_INT32, `minTokens must be an integer from 0 to ${MAX_INT32}`).default(
      0,
    ),
    logprobs: logprobs('logprobs', limits).optional(),
    promptLogprobs: logprobs('promptLogprobs', limits).optional(),
    logitBias: logitBias(limits).optional(),
    allowedTokenIds: tokenIds('allowedTokenIds', limits, 1).optional(),
    badWords: words('badWords').default([]),
    skipSpecialTokens: flag('skipSpecialTokens').default(true),
    includeStopStrInOutput: flag('includeStopStrInOutput').default(false),
    cacheSalt: z
      .string('cacheSalt must be a string that is not empty')
      .min(1, 'cacheSalt must be a string that is not empty')
      .optional(),
    structuredOutputs: structuredOutputs.optional(),
  });
}

const schemas = new Map<string, ReturnType<typeof schemaFor>>();

function schemaOf(limits: ParamLimits): ReturnType<typeof schemaFor> {
  const key = `${limits.vocabSize} ${limits.maxLogprobs}`;
  let schema = schemas.get(key);
  if (schema === undefined) {
    schema = schemaFor(limits);
    schemas.set(key, schema);
  }
  return schema;
}

/** Checks what a caller wrote, fills in the defaults and freezes; throws ERR_INVALID_PARAM. */
export function validateSamplingParams(
  input: SamplingParams | undefined,
  limits: ParamLimits,
): ValidSamplingParams {
  const given = takeObject(input === undefined ? {} : input, 'sampling parameters', 'params');
  if (typeof given.stop === 'string') given.stop = [given.stop];
  const parsed = readArgument(
    () => {
      if (limits.maxListLength !== undefined) checkLists(given, limits.maxListLength);
      return schemaOf(limits).safeParse(given);
    },
    () => invalid('params', 'a sampling parameter cannot be read'),
  );
  if (!parsed.success) throw refusal(parsed.error.issues[0]);
  const params = parsed.data;
  if (params.minTokens > params.maxTokens) {
    throw invalid(
      'minTokens',
      `minTokens (${params.minTokens}) must not be above maxTokens (${params.maxTokens})`,
    );
  }
  if (params.structuredOutputs !== undefined && params.ignoreEos) {
    throw invalid(
      'ignoreEos',
      'ignoreEos and structuredOutputs exclude each other: a constrained output ends by EOS',
    );
  }
  for (const value of Object.values(params)) Object.freeze(value);
  return Object.freeze(params);
}

/** Lengths first: looking at each entry of a list costs time that only a list of fair size gets. */
function checkLists(given: Readonly<Record<string, unknown>>, maxListLength: number): void {
  const raise = 'the engine option maxListLength raises this';
  for (const name of ['stop', 'badWords', 'stopTokenIds', 'allowedTokenIds', 'logitBias']) {
    const value = given[name];
    const list = name === 'logitBias' && isPlainObject(value) ? Object.keys(value) : value;
    if (!Array.isArray(list)) continue;
    if (list.length > maxListLength) {
      throw invalid(name, `${name} must have at most ${maxListLength} entries; ${raise}`);
    }
    if (name === 'stop' || name === 'badWords') checkUnits(name, list, maxListLength);
  }
}

function checkUnits(name: string, texts: readonly unknown[], maxListLength: number): void {
  const most = maxListLength * UNITS_PER_ENTRY;
  const units = texts.reduce<number>((sum, t) => sum + (typeof t === 'string' ? t.length : 0), 0);
  if (units <= most) return;
  throw invalid(
    name,
    `${name} must have at most ${most} characters together (${UNITS_PER_ENTRY} times the engine ` +
      'option maxListLength)',
  );
}

function refusal(issue: z.core.$ZodIssue) {
  if (issue.path[0] === 'structuredOutputs') {
    return invalid('structuredOutputs', sentenceOf(issue));
  }
  if (issue.code === 'unrecognized_keys') {
    const known = Object.keys(schemaOf({ vocabSize: 1 }).shape);
    return unknownName('sampling has no parameter', issue.keys[0], known);
  }
  return invalid(String(issue.path[0]), issue.message);
}

function invalid(param: string, message: string): Error {
  return octavoError('ERR_INVALID_PARAM', message, { param });
}

/** What only the engine knows when a request comes in. */
export interface DrawContext extends ParamLimits {
  readonly eosTokenIds: readonly number[];
  /** Used where the caller gave no seed. */
  readonly seed: number;
  /** `badWords` as token ids; a word may have several spellings in tokens. */
  readonly badWordIds?: readonly (readonly number[])[];
}

/** The form behind the gate: nothing left to look up while steps run. */
export interface DrawParams extends Omit<ValidSamplingParams, 'structuredOutputs'> {
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

/**
 * Completes validated parameters. Ids that the model has no logit for (an EOS id or a bad word
 * beyond its vocabulary) cannot be drawn, so nothing needs to ban them.
 * @throws ERR_INVALID_PARAM when its lists leave nothing to draw
 */
export function completeParams(params: ValidSamplingParams, context: DrawContext): DrawParams {
  const { vocabSize } = context;
  const eosTokenIds = params.ignoreEos ? [] : context.eosTokenIds;
  const bias = Object.entries(params.logitBias ?? {});
  const numTop = (asked: number | undefined) =>
    asked === undefined ? -1 : asked === -1 ? vocabSize : asked;
  const needsPrompt = params.repetitionPenalty !== 1;
  const ends = [...eosTokenIds, ...params.stopTokenIds].filter((id) => id < vocabSize);
  // A constraint comes with the sequences, not with how they draw.
  const { structuredOutputs: _, ...rest } = params;
  const complete: DrawParams = Object.freeze({
    ...rest,
    beam: null,
    seed: params.seed ?? context.seed,
    badWordIds: (context.badWordIds ?? []).filter(
      (word) => word.length > 0 && word.every((id) => id < vocabSize),
    ),
    eosTokenIds,
    endTokenIds: Int32Array.from(new Set(ends)),
    numLogprobs: numTop(params.logprobs),
    numPromptLogprobs: numTop(params.promptLogprobs),
    allowedIds: params.allowedTokenIds ? Int32Array.from(new Set(params.allowedTokenIds)) : null,
    biasIds: Int32Array.from(bias, ([id]) => Number(id)),
    biasValues: Float32Array.from(bias, ([, value]) => value),
    needsPrompt,
    needsOutput: needsPrompt || params.frequencyPenalty !== 0 || params.presencePenalty !== 0,
  });
  checkDrawable(complete, vocabSize);
  return complete;
}

/** Something must be left of the vocabulary for the first token. */
function checkDrawable(params: DrawParams, vocabSize: number): void {
  const { allowedIds, badWordIds, endTokenIds, minTokens } = params;
  const banned = new Set(minTokens > 0 ? endTokenIds : []);
  for (const word of badWordIds) if (word.length === 1) banned.add(word[0]);
  const left = allowedIds ? allowedIds.some((id) => !banned.has(id)) : banned.size < vocabSize;
  if (left) return;
  const param = allowedIds
    ? 'allowedTokenIds'
    : badWordIds.length > 0
      ? 'badWords'
      : 'stopTokenIds';
  throw invalid(
    param,
    'allowedTokenIds, badWords and, before minTokens, stopTokenIds and EOS must leave at least ' +
      'one token to draw',
  );
}
