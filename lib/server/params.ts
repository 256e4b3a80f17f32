/** From the fields of a body to the parameters of a generation. */
import type { BeamSearchParams } from '../core/beam-params.js';
import { KvGroups } from '../core/kv-groups.js';
import type { SamplingParams } from '../core/sampling-params.js';
import type { StructuredOutputs } from '../core/structured.js';
import type { GenerateParams } from '../engine/gate.js';
import type { LLM } from '../engine/llm.js';
import type { ModelInfo } from '../engine/load.js';
import { badRequest } from './problem.js';
import type { DrawBody } from './schemas/fields.js';

/**
 * What only a stream may ask for, and what only another may.
 * @throws Problem 400
 */
export function checkStream(body: {
  readonly stream?: boolean;
  readonly stream_options?: object;
  readonly prompt_logprobs?: number;
}): void {
  if (body.stream_options !== undefined && !body.stream) {
    throw badRequest('stream_options is for streams only', 'stream_options');
  }
  if (body.prompt_logprobs !== undefined && body.stream) {
    throw badRequest('prompt_logprobs is not for streams', 'prompt_logprobs');
  }
}

/** What protocols say differently. */
export interface ParamWishes {
  /** Undefined: as many as fit. */
  readonly maxTokens: number | undefined;
  /** How many of the best tokens beside each; undefined: none are reported. */
  readonly logprobs?: number;
  readonly promptLogprobs?: number;
  readonly structuredOutputs?: StructuredOutputs;
}

const MAX_SEED = 2n ** 53n - 129n;

/**
 * A seed of the engine for any of 64 bits: itself where the engine takes it (with room for the
 * seeds of 128 samples), else one that depends on all of its bits.
 */
export function engineSeed(seed: number | bigint | string): number {
  const given = BigInt(seed);
  if (given >= 0n && given <= MAX_SEED) return Number(given);
  // The finalizer of SplitMix64 (Steele, Lea, Flood 2014)
  let z = BigInt.asUintN(64, given);
  z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return Number((z ^ (z >> 31n)) % MAX_SEED);
}

function groupsOf(info: GroupInfo): KvGroups {
  const { maxModelLen, maxNumBatchedTokens, blockSize, kvGroups } = info;
  const sizes = { maxModelLen, maxNumBatchedTokens, longPrefillThreshold: 0 };
  return new KvGroups({ groups: kvGroups, blockSize, ...sizes });
}

type GroupInfo = Pick<
  ModelInfo,
  'maxModelLen' | 'maxNumBatchedTokens' | 'blockSize' | 'kvGroups' | 'numBlocks'
>;

/**
 * Tokens that the KV pool holds of sequences as long as the context, the last as long as the rest
 * allows. With one group these are its blocks' tokens. With several, groups share the pool, and
 * those with a window hold no more than that, so neither all blocks times a block's tokens nor that
 * over the number of groups (vLLM's estimate) says how much fits.
 */
export function kvCapacity(info: GroupInfo): number {
  const { maxModelLen, numBlocks } = info;
  // A model that is loaded to pool has no pool of KV.
  if (numBlocks === 0) return 0;
  const groups = groupsOf(info);
  const usable = numBlocks - 1;
  const whole = Math.floor(usable / groups.worstCase(0, maxModelLen, 1));
  const left = usable - whole * groups.worstCase(0, maxModelLen, 1);
  let [fits, tooMany] = [0, maxModelLen];
  while (tooMany - fits > 1) {
    const middle = Math.floor((fits + tooMany) / 2);
    if (groups.worstCase(0, middle, 1) <= left) fits = middle;
    else tooMany = middle;
  }
  return whole * maxModelLen + fits;
}

/**
 * Most tokens that each of `n` samples may have where nothing is said: whatever the length of the
 * prompt that they share, the pool holds all of them.
 */
export function restOfContext({ info }: LLM, n: number): number {
  const { maxModelLen, numBlocks } = info;
  if (n === 1) return maxModelLen;
  const groups = groupsOf(info);
  let [fits, tooMany] = [1, maxModelLen + 1];
  while (tooMany - fits > 1) {
    const middle = Math.floor((fits + tooMany) / 2);
    // The most blocks are needed after a prompt that leaves room for just so many; where it ends
    // within a block, one more.
    const begin = Math.max(0, maxModelLen - middle - groups.coarsest);
    if (groups.worstCase(begin, maxModelLen, n) < numBlocks) fits = middle;
    else tooMany = middle;
  }
  return fits;
}

export function generateParams(llm: LLM, body: DrawBody, wishes: ParamWishes): GenerateParams {
  const n = body.n ?? 1;
  const maxTokens = wishes.maxTokens ?? restOfContext(llm, n);
  if (body.use_beam_search) return beamParams(body, wishes, maxTokens);
  if (body.length_penalty !== undefined && body.length_penalty !== 1) {
    throw badRequest('length_penalty is for use_beam_search', 'length_penalty');
  }
  const params: SamplingParams = {
    n,
    maxTokens,
    temperature: body.temperature,
    topP: body.top_p,
    topK: body.top_k === -1 ? 0 : body.top_k,
    minP: body.min_p,
    presencePenalty: body.presence_penalty,
    frequencyPenalty: body.frequency_penalty,
    repetitionPenalty: body.repetition_penalty,
    seed: body.seed === undefined ? undefined : engineSeed(body.seed),
    stop: stopOf(body.stop),
    stopTokenIds: body.stop_token_ids,
    ignoreEos: body.ignore_eos,
    minTokens: body.min_tokens,
    logprobs: wishes.logprobs,
    promptLogprobs: wishes.promptLogprobs,
    logitBias: body.logit_bias,
    allowedTokenIds: body.allowed_token_ids,
    badWords: body.bad_words,
    skipSpecialTokens: body.skip_special_tokens,
    includeStopStrInOutput: body.include_stop_str_in_output,
    cacheSalt: body.cache_salt,
    structuredOutputs: wishes.structuredOutputs,
  };
  return withoutAbsent(params);
}

/** No stop at all is the same as an empty one. */
export function stopOf(stop: string | string[] | undefined): string[] | undefined {
  const list = typeof stop === 'string' ? [stop] : stop;
  return list?.filter((text) => text !== '');
}

function withoutAbsent<T extends object>(params: T): T {
  const given = Object.entries(params).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as T;
}

/** What a beam search draws by: nothing. Values that say as much are passed over. */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  temperature: [0, 1],
  top_p: [1],
  top_k: [0, -1],
  min_p: [0],
  presence_penalty: [0],
  frequency_penalty: [0],
  repetition_penalty: [1],
  include_stop_str_in_output: [false],
};

const NOT_WITH_BEAMS = [
  ...Object.keys(NEUTRAL),
  ...['stop', 'logit_bias', 'allowed_token_ids', 'bad_words', 'logprobs', 'prompt_logprobs'],
] as const;

function beamParams(body: DrawBody, wishes: ParamWishes, maxTokens: number): GenerateParams {
  const asked: Record<string, unknown> = {
    ...body,
    logprobs: wishes.logprobs,
    prompt_logprobs: wishes.promptLogprobs,
  };
  for (const name of NOT_WITH_BEAMS) {
    const value = asked[name];
    const isEmpty = Array.isArray(value) && value.length === 0;
    if (value === undefined || isEmpty || NEUTRAL[name]?.includes(value)) continue;
    throw badRequest(`${name} is not for use_beam_search: nothing is drawn`, name);
  }
  const params: BeamSearchParams = {
    beamWidth: body.n ?? 1,
    maxTokens,
    lengthPenalty: body.length_penalty,
    earlyStopping: body.early_stopping,
    minTokens: body.min_tokens,
    ignoreEos: body.ignore_eos,
    stopTokenIds: body.stop_token_ids,
    skipSpecialTokens: body.skip_special_tokens,
    cacheSalt: body.cache_salt,
    structuredOutputs: wishes.structuredOutputs,
  };
  return withoutAbsent(params);
}
