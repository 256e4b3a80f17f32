/**
 * Takes the results of a step in: computed tokens, prefixes that now have their KV, forks that were
 * waiting for it, prompt logprobs, drawn tokens and who ended by them.
 */
import { assert } from '../errors.js';
import { growBeams, takeCandidates } from './beam-forks.js';
import { NULL_BLOCK } from './block-pool.js';
import { NO_PREFIX } from './prefix-hash.js';
import { NO_UPDATE } from './row-updates.js';
import type { SchedulerState } from './scheduler-state.js';
import type { Sequence, SequenceGroup } from './sequence.js';
import type { Step } from './step.js';
import type { StepResult } from './step-result.js';
import { decideEnd, type FindStop } from './stop.js';

/** Returns the groups that ended, in order. Sequences that ended before are passed over. */
export function commitStep(
  state: SchedulerState,
  step: Step,
  result: StepResult,
  findStop: FindStop,
): SequenceGroup[] {
  const ended: SequenceGroup[] = [];
  const forked = advance(state, step);
  if (step.numPromptRows > 0) gatherPromptLogprobs(state, step, result);
  const changed = acceptTokens(state, step, result, findStop, ended);
  if (forked || changed) renewRunning(state);
  return ended;
}

/** What the step computed is in the cache now. True: there are new sequences to run. */
function advance(state: SchedulerState, step: Step): boolean {
  const { byRow, states } = state;
  const { seqRows, queryLens, numSeqs } = step;
  const { slides } = state.kvGroups;
  let forked = false;
  for (let i = 0; i < numSeqs; i++) {
    const sequence = byRow[seqRows[i]];
    if (sequence === null) continue;
    const before = sequence.numComputed;
    sequence.advance(queryLens[i]);
    const hasNewState = states?.commit(sequence.row);
    if (sequence.numComputed >= sequence.publishAt) publish(state, sequence);
    if (hasNewState) states!.publishAtBorder(sequence);
    if (slides) state.slide(sequence, before);
    if (sequence.waitingForks !== null && forkReady(state, sequence)) forked = true;
  }
  return forked;
}

/** Blocks that became full can be hit from now on, and not before: their KV exists. */
function publish(state: SchedulerState, sequence: Sequence): void {
  while (sequence.numComputed >= sequence.publishAt) {
    const identity = publishOne(state, sequence);
    if (identity === NO_PREFIX) sequence.publishNoMore();
    else {
      state.states?.identify(sequence, sequence.publishAt, identity);
      sequence.published(identity, state.pool.blockSize);
    }
  }
}

/**
 * The blocks of all groups that end at `publishAt`, and that its tables still have: after a swap
 * those that had slid out are gone. Where there is none, the prefix must be known already, or what
 * comes after it could not be found.
 */
function publishOne(state: SchedulerState, sequence: Sequence): number {
  const { tables, pool, kvGroups } = state;
  const { prefixes } = pool;
  const { prefix, tokens, publishAt } = sequence;
  const at = publishAt - pool.blockSize;
  let known = NULL_BLOCK;
  let numOthers = 0;
  for (let g = 0; g < kvGroups.length; g++) {
    const size = kvGroups.blockSizes[g];
    if (publishAt % size !== 0) continue;
    const block = tables.blockAt(sequence, publishAt / size - 1, g);
    if (block === NULL_BLOCK) continue;
    assert(pool.refCounts[block] > 0, 'a block was published that nobody holds');
    // After a swap, who shares it may have published it already.
    if (prefixes.isPublished(block)) known ||= block;
    else numOthers++;
  }
  if (known === NULL_BLOCK && numOthers === 0) {
    return prefixes.identityAt(prefixes.find(prefix, tokens, at));
  }
  for (let g = 0; g < kvGroups.length && numOthers > 0; g++) {
    const size = kvGroups.blockSizes[g];
    if (publishAt % size !== 0) continue;
    const block = tables.blockAt(sequence, publishAt / size - 1, g);
    if (block === NULL_BLOCK || prefixes.isPublished(block)) continue;
    numOthers--;
    if (known !== NULL_BLOCK) prefixes.publishBeside(block, known, g);
    else if (prefixes.publish(block, prefix, tokens, at, g) === NO_PREFIX) return NO_PREFIX;
    else known = block;
  }
  return prefixes.identityOf(known);
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
  findStop: FindStop,
  ended: SequenceGroup[],
): boolean {
  const { byRow } = state;
  const { sampleRows, samplePositions, numSamples } = step;
  const { tokensAt } = result;
  let changed = false;
  for (let i = 0; i < numSamples; i++) {
    const sequence = byRow[sampleRows[i]];
    if (sequence === null) continue;
    sequence.noteDraw(samplePositions[i]);
    if (step.sampleUpdates[i] !== NO_UPDATE) noteUpdate(sequence, step, i);
    const { group } = sequence;
    const from = tokensAt[i];
    const to = tokensAt[i + 1];
    if (group.beams !== null) {
      if (to === from) sequence.finishReason = 'error';
      else takeCandidates(sequence, result, from);
      if (acceptBeams(state, group, ended)) changed = true;
    } else if (accept(sequence, result, from, to, findStop)) {
      changed = true;
      if (state.retire(sequence)) ended.push(group);
    } else if (to - from > 1 && state.kvGroups.slides) {
      state.promiseWindows(sequence);
    }
  }
  return changed;
}

/** Its row knows what it was told before the draw. */
function noteUpdate(sequence: Sequence, { sampleUpdates, updates }: Step, i: number): void {
  const allowed = updates.allowed[sampleUpdates[i]];
  if (allowed !== undefined) sequence.noteAllowed(allowed);
}

/** After a beam's row: the group goes on once all its live beams have theirs. True as above. */
function acceptBeams(state: SchedulerState, group: SequenceGroup, ended: SequenceGroup[]): boolean {
  const failed = group.sequences.some((sequence) => sequence.finishReason === 'error');
  if (!failed && !group.beams!.ready) return false;
  const growth = failed ? 'over' : growBeams(state, group);
  if (growth === 'changed') group.hasNewForks = true;
  if (growth !== 'over') return growth === 'changed';
  const isError = group.sequences.some((sequence) => sequence.finishReason === 'error');
  for (const sequence of group.sequences) {
    sequence.finishReason = isError ? 'error' : 'stop';
    state.retire(sequence);
  }
  ended.push(group);
  return true;
}

/**
 * Tokens [from … to) of the result join the sequence, until one ends it: true. A row with nothing
 * to draw from ends it without a token, and so does, with it, a token that its constraint forbids.
 */
function accept(
  sequence: Sequence,
  { tokenIds, logprobs }: StepResult,
  from: number,
  to: number,
  findStop: FindStop,
): boolean {
  for (let t = from; t < to; t++) {
    sequence.append(tokenIds[t]);
    sequence.cumulativeLogprob += logprobs[t];
    if (decideEnd(sequence, t, findStop)) return true;
    if (!sequence.advanceConstraint()) {
      sequence.finishReason = 'error';
      return true;
    }
  }
  if (from === to) sequence.finishReason = 'error';
  return from === to;
}

function gatherPromptLogprobs(state: SchedulerState, step: Step, result: StepResult): void {
  const { promptLogprobs: logprobs, promptRanks: ranks, promptTopAt } = result;
  for (let i = 0; i < step.numPromptRows; i++) {
    const sequence = state.byRow[step.seqRows[step.promptSeqs[i]]];
    if (sequence === null) continue;
    const { promptLogprobs } = sequence.group;
    promptLogprobs.push(step.promptTargets[i], logprobs[i], ranks[i], result, promptTopAt[i]);
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
