/** Short words for tests of the scheduler: groups, results, one step at a time. */
import {
  completeParams,
  type SamplingParams,
  validateSamplingParams,
} from '../../lib/core/sampling-params.js';
import type { Scheduler } from '../../lib/core/scheduler.js';
import { type Sequence, SequenceGroup } from '../../lib/core/sequence.js';
import type { Step } from '../../lib/core/step.js';
import { offsetsOf, resultOfTokens, type StepResult } from '../../lib/core/step-result.js';
import type { FindStop } from '../../lib/core/stop.js';

export const VOCAB = 1000;
export const EOS = 999;

export function range(count: number, from = 0): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}

export function group(
  id: string,
  promptTokens: ArrayLike<number>,
  input: SamplingParams & { badWordIds?: number[][] } = {},
): SequenceGroup {
  const { badWordIds, ...rest } = input;
  const params = validateSamplingParams(rest, { vocabSize: VOCAB });
  const context = { vocabSize: VOCAB, eosTokenIds: [EOS], seed: 7, badWordIds };
  return new SequenceGroup({ id, promptTokens, params: completeParams(params, context) });
}

/** The draws of a step: what `draw` says for each sample, logprob −1, and lists as asked for. */
export function resultFor(
  scheduler: Scheduler,
  step: Step,
  draw: (sequence: Sequence) => number,
): StepResult {
  const { numSamples, numPromptRows } = step;
  const topAt = offsetsOf(step.sampleNumTops, numSamples);
  const promptTopAt = offsetsOf(step.promptNumTops, numPromptRows, topAt[numSamples]);
  const top = promptTopAt[numPromptRows];
  const lists = {
    topAt,
    topTokenIds: Int32Array.from(range(top)),
    topLogprobs: Float64Array.from(range(top), (i) => -i),
  };
  const tokens = range(numSamples).map((i) => draw(scheduler.sequenceAt(step.sampleRows[i])!));
  return {
    ...resultOfTokens(tokens, numPromptRows, lists),
    logprobs: new Float64Array(numSamples).fill(-1),
    ranks: new Int32Array(numSamples).fill(1),
    promptLogprobs: Float64Array.from({ length: numPromptRows }, (_, i) => -i - 1),
    promptRanks: Int32Array.from({ length: numPromptRows }, (_, i) => i + 1),
    promptTopAt,
  };
}

export const neverStop: FindStop = () => null;

/** schedule + commit; returns who computed how much, e.g. `{ a: 400, b: 1 }` (forks: `a.1`). */
export function advance(
  scheduler: Scheduler,
  draw: (sequence: Sequence) => number = () => 5,
  findStop: FindStop = neverStop,
): Record<string, number> {
  const step = scheduler.schedule();
  if (step === null) return {};
  const plan = planOf(scheduler, step);
  scheduler.commit(step, resultFor(scheduler, step, draw), findStop);
  scheduler.checkInvariants();
  return plan;
}

export function planOf(scheduler: Scheduler, step: Step): Record<string, number> {
  const plan: Record<string, number> = {};
  for (let i = 0; i < step.numSeqs; i++) {
    plan[nameOf(scheduler.sequenceAt(step.seqRows[i])!)] = step.queryLens[i];
  }
  return plan;
}

export function copiesOf(step: Step): [number, number][] {
  return range(step.numCopies).map((i) => [step.copies[2 * i], step.copies[2 * i + 1]]);
}

function nameOf(sequence: Sequence): string {
  return sequence.index === 0 ? sequence.group.id : `${sequence.group.id}.${sequence.index}`;
}
