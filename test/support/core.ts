/** Short words for tests of the scheduler: groups, results, one step at a time. */
import {
  completeParams,
  type SamplingParamsInput,
  validateSamplingParams,
} from '../../lib/core/sampling-params.js';
import type { Scheduler } from '../../lib/core/scheduler.js';
import { type Sequence, SequenceGroup } from '../../lib/core/sequence.js';
import type { StepResult } from '../../lib/core/step.js';
import type { Step } from '../../lib/core/step-record.js';
import type { Judge } from '../../lib/core/stop.js';

export const VOCAB = 1000;
export const EOS = 999;

export function range(count: number, from = 0): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}

export function group(
  id: string,
  promptTokens: ArrayLike<number>,
  input: SamplingParamsInput & { badWordIds?: number[][] } = {},
): SequenceGroup {
  const { badWordIds, ...rest } = input;
  const params = validateSamplingParams(rest, { vocabSize: VOCAB });
  const context = { vocabSize: VOCAB, eosTokenIds: [EOS], seed: 7, badWordIds };
  return new SequenceGroup({ id, promptTokens, params: completeParams(params, context) });
}

/** The draws of a step: what `draw` says for each sample, logprob −1, and lists as asked for. */
export function resultFor(step: Step, draw: (sequence: Sequence) => number): StepResult {
  const numTop = (count: number) => Math.max(0, count);
  let top = 0;
  for (let i = 0; i < step.numSamples; i++) {
    top += numTop(step.sampleSeqs[i].group.params.numLogprobs);
  }
  for (const sequence of step.promptSeqs) top += sequence.group.params.numPromptLogprobs;
  return {
    tokenIds: Int32Array.from({ length: step.numSamples }, (_, i) => draw(step.sampleSeqs[i])),
    logprobs: new Float64Array(step.numSamples).fill(-1),
    ranks: new Int32Array(step.numSamples).fill(1),
    promptLogprobs: Float64Array.from({ length: step.numPromptRows }, (_, i) => -i - 1),
    promptRanks: Int32Array.from({ length: step.numPromptRows }, (_, i) => i + 1),
    topTokenIds: Int32Array.from(range(top)),
    topLogprobs: Float64Array.from(range(top), (i) => -i),
  };
}

export const neverStop: Judge = () => null;

/** schedule + commit; returns who computed how much, e.g. `{ a: 400, b: 1 }` (forks: `a.1`). */
export function advance(
  scheduler: Scheduler,
  draw: (sequence: Sequence) => number = () => 5,
  judge: Judge = neverStop,
): Record<string, number> {
  const step = scheduler.schedule();
  if (step === null) return {};
  const plan = planOf(step);
  scheduler.commit(step, resultFor(step, draw), judge);
  scheduler.checkInvariants();
  return plan;
}

export function planOf(step: Step): Record<string, number> {
  const plan: Record<string, number> = {};
  for (let i = 0; i < step.numSeqs; i++) plan[nameOf(step.seqs[i])] = step.queryLens[i];
  return plan;
}

export function copiesOf(step: Step): [number, number][] {
  return range(step.numCopies).map((i) => [step.copies[2 * i], step.copies[2 * i + 1]]);
}

export function tableOf(scheduler: Scheduler, sequence: Sequence): number[] {
  const at = sequence.row * scheduler.blocksPerRow;
  return [...scheduler.tableSlab.slice(at, at + sequence.numBlocks)];
}

function nameOf(sequence: Sequence): string {
  return sequence.index === 0 ? sequence.group.id : `${sequence.group.id}.${sequence.index}`;
}
