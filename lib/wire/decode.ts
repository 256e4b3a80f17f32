/**
 * Cuts what the native side gives back, flat lists without gaps, into what each sample and each
 * prompt row of the step got. The one place that counts lists.
 */
import type { Step } from '../core/step.js';
import { offsetsOf, type StepResult } from '../core/step-result.js';
import { assert } from '../errors.js';

/**
 * What crosses, S samples and P prompt rows in the step's order. `tokenIds[i]` is −1 where a row
 * had no finite logit to draw from, ranks are 0 where no logprobs were asked for. The lists of all
 * samples, then of all prompt rows, follow each other without gaps, each as long as was asked.
 */
export interface RawResult {
  readonly tokenIds: Int32Array; // [S]
  readonly logprobs: Float64Array; // [S]
  readonly ranks: Int32Array; // [S]
  readonly promptLogprobs: Float64Array; // [P]
  readonly promptRanks: Int32Array; // [P]
  readonly topTokenIds: Int32Array; // [sum of list lengths]
  readonly topLogprobs: Float64Array; // [sum of list lengths]
}

export function decodeResult(step: Step, raw: RawResult): StepResult {
  const { numSamples, numPromptRows } = step;
  const { tokenIds, logprobs, ranks, promptLogprobs, promptRanks, topTokenIds, topLogprobs } = raw;
  const topAt = offsetsOf(step.sampleNumTops, numSamples);
  const promptTopAt = offsetsOf(step.promptNumTops, numPromptRows, topAt[numSamples]);
  for (const column of [tokenIds, logprobs, ranks]) checkLength(column, numSamples);
  for (const column of [promptLogprobs, promptRanks]) checkLength(column, numPromptRows);
  for (const column of [topTokenIds, topLogprobs]) checkLength(column, promptTopAt[numPromptRows]);
  const tokensAt = new Int32Array(numSamples + 1);
  for (let i = 0; i < numSamples; i++) tokensAt[i + 1] = tokensAt[i] + (tokenIds[i] < 0 ? 0 : 1);
  const prompts = { promptLogprobs, promptRanks, promptTopAt };
  const result = {
    tokensAt,
    tokenIds,
    logprobs,
    ranks,
    topAt,
    topTokenIds,
    topLogprobs,
    ...prompts,
  };
  return tokensAt[numSamples] === numSamples ? result : withoutGaps(result);
}

/** Takes out samples that drew nothing, and their lists. */
function withoutGaps(result: StepResult): StepResult {
  const { tokenIds, topAt, promptTopAt } = result;
  const isDrawn = (_: number, i: number) => tokenIds[i] >= 0;
  const isKept = new Uint8Array(result.topTokenIds.length).fill(1);
  for (let i = 0; i < tokenIds.length; i++) {
    if (tokenIds[i] < 0) isKept.fill(0, topAt[i], topAt[i + 1]);
  }
  const inList = (_: number, k: number) => isKept[k] === 1;
  const lengths = topAt.subarray(1).map((end, i) => end - topAt[i]);
  const kept = lengths.filter(isDrawn);
  const keptTopAt = offsetsOf(kept, kept.length);
  const lost = topAt[tokenIds.length] - keptTopAt[kept.length];
  return {
    ...result,
    tokenIds: tokenIds.filter(isDrawn),
    logprobs: result.logprobs.filter(isDrawn),
    ranks: result.ranks.filter(isDrawn),
    topAt: keptTopAt,
    promptTopAt: promptTopAt.map((at) => at - lost),
    topTokenIds: result.topTokenIds.filter(inList),
    topLogprobs: result.topLogprobs.filter(inList),
  };
}

function checkLength(column: ArrayLike<number> | undefined, length: number): void {
  assert(column?.length === length, 'a result has another length than its step asks for');
}
