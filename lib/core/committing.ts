/**
 * Takes the results of a step in: computed tokens, prefixes that now have their KV, forks that were
 * waiting for it, prompt logprobs, drawn tokens and who ended by them.
 */
import { growBeams, takeCandidates } from './beam-forks.js';
import type { SchedulerState } from './scheduler-state.js';
import type { Sequence, SequenceGroup } from './sequence.js';
import type { StepResult } from './step.js';
import type { Step } from './step-record.js';
import { type Judge, judgeEnd } from './stop.js';

/** Returns the groups that ended, in order. Sequences that ended before are passed over. */
export function commitStep(
  state: SchedulerState,
  step: Step,
  result: StepResult,
  judge: Judge,
): SequenceGroup[] {
  const ended: SequenceGroup[] = [];
  const forked = advance(state, step);
  if (step.numPromptRows > 0) gatherPromptLogprobs(step, result);
  const changed = acceptTokens(state, step, result, judge, ended);
  if (forked || changed) renewRunning(state);
  return ended;
}

/** What the step computed is in the cache now. True: there are new sequences to run. */
function advance(state: SchedulerState, step: Step): boolean {
  const { seqs, queryLens, numSeqs } = step;
  const slides = state.config.slidingWindow > 0;
  let forked = false;
  for (let i = 0; i < numSeqs; i++) {
    const sequence = seqs[i];
    if (sequence.finishReason !== null) continue;
    sequence.numComputed += queryLens[i];
    if (sequence.numComputed >= sequence.publishAt) publish(state, sequence);
    if (slides) state.slide(sequence);
    if (sequence.waitingForks !== null && forkReady(state, sequence)) forked = true;
  }
  return forked;
}

/** Blocks that became full can be hit from now on, and not before: their KV exists. */
function publish(state: SchedulerState, sequence: Sequence): void {
  const { tables, pool } = state;
  while (sequence.numComputed >= sequence.publishAt) {
    const block = tables.blockAt(sequence, sequence.numPublished);
    const at = sequence.publishAt - pool.blockSize;
    // After a swap, who shares it may have published it already.
    sequence.prefix = pool.prefixes.isPublished(block)
      ? pool.prefixes.identityOf(block)
      : pool.prefixes.publish(block, sequence.prefix, sequence.tokens, at);
    sequence.numPublished++;
    sequence.publishAt += pool.blockSize;
  }
}

function forkReady(state: SchedulerState, parent: Sequence): boolean {
  let forked = false;
  for (const child of parent.waitingForks!) {
    if (child.forkAt !== parent.numComputed) continue;
    state.fork(parent, child);
    parent.group.hasNewForks = true;
    forked = true;
  }
  if (forked) state.countShared(parent.group);
  return forked;
}

/** True: somebody ended, or other sequences run now. */
function acceptTokens(
  state: SchedulerState,
  step: Step,
  result: StepResult,
  judge: Judge,
  ended: SequenceGroup[],
): boolean {
  const { sampleSeqs, numSamples } = step;
  const { tokenIds, logprobs } = result;
  let changed = false;
  let top = 0;
  for (let i = 0; i < numSamples; i++) {
    const sequence = sampleSeqs[i];
    const { group } = sequence;
    const from = top;
    top += Math.max(0, group.params.numLogprobs);
    if (sequence.finishReason !== null) continue;
    if (group.beams !== null) {
      if (tokenIds[i] < 0) sequence.finishReason = 'error';
      else takeCandidates(sequence, result, from, top);
      if (acceptBeams(state, group, ended)) changed = true;
    } else if (accept(sequence, i, tokenIds[i], logprobs, judge)) {
      changed = true;
      if (state.retire(sequence)) ended.push(group);
    }
  }
  return changed;
}

/** After a beam's row: the group goes on once all its live beams have theirs. True as above. */
function acceptBeams(state: SchedulerState, group: SequenceGroup, ended: SequenceGroup[]): boolean {
  const failed = group.sequences.some((sequence) => sequence.finishReason === 'error');
  if (!failed && !group.beams!.ready) return false;
  const growth = failed ? 'over' : growBeams(state, group);
  if (growth === 'changed') group.hasNewForks = true;
  if (growth !== 'over') return growth === 'changed';
  for (const sequence of group.sequences) {
    sequence.finishReason = failed ? 'error' : 'stop';
    state.retire(sequence);
  }
  ended.push(group);
  return true;
}

/** True: the sequence has ended. A row with nothing to draw from ends it without a token. */
function accept(
  sequence: Sequence,
  sample: number,
  token: number,
  logprobs: Float64Array,
  judge: Judge,
): boolean {
  if (token < 0) {
    sequence.finishReason = 'error';
    return true;
  }
  sequence.append(token);
  sequence.cumulativeLogprob += logprobs[sample];
  return judgeEnd(sequence, sample, judge);
}

/** The lists of all samples come first in the result, then those of the prompt rows. */
function gatherPromptLogprobs(step: Step, result: StepResult): void {
  let at = 0;
  for (let i = 0; i < step.numSamples; i++) {
    at += Math.max(0, step.sampleSeqs[i].group.params.numLogprobs);
  }
  for (let i = 0; i < step.numPromptRows; i++) {
    const sequence = step.promptSeqs[i];
    const { params, promptLogprobs } = sequence.group;
    const end = at + params.numPromptLogprobs;
    if (sequence.finishReason === null) {
      promptLogprobs.push({
        tokenId: step.promptTargets[i],
        logprob: result.promptLogprobs[i],
        rank: result.promptRanks[i],
        topTokenIds: result.topTokenIds.slice(at, end),
        topLogprobs: result.topLogprobs.slice(at, end),
      });
    }
    at = end;
  }
}

/** Drops who ended and lines new forks up beside their siblings, in place. */
function renewRunning(state: SchedulerState): void {
  const { running } = state;
  const forks: SequenceGroup[] = [];
  let kept = 0;
  for (let i = 0; i < running.length; i++) {
    const sequence = running[i];
    const { group } = sequence;
    if (!sequence.solo && group.hasNewForks) {
      group.hasNewForks = false;
      forks.push(group);
    }
    if (sequence.finishReason === null) running[kept++] = sequence;
  }
  running.length = kept;
  for (const group of forks) {
    state.leaveRunning(group);
    const active = group.sequences.filter((sequence) => sequence.isActive);
    if (active.length > 0) state.enterRunning(group, active);
  }
}
