/**
 * Fills a step from the running list: each sequence, in order, its outstanding tokens, clipped by
 * the threshold, the budget and the next fork. Where a block is missing, the last group of the list
 * is preempted until it is there. The list is in the policy's order, so a victim is never planned
 * yet in this step, unless it is the group being planned itself, which then is taken out again.
 */
import { assert } from '../errors.js';
import { nextStop } from './fork-tree.js';
import { preempt } from './preemption.js';
import type { SchedulerState } from './scheduler-state.js';
import type { Sequence } from './sequence.js';
import type { Step } from './step.js';

/** Plans everybody in the running list; true when somebody was preempted. */
export function planRunning(state: SchedulerState, step: Step): boolean {
  const { running } = state;
  const budget = state.config.maxNumBatchedTokens;
  const before = state.stats.numPreemptions;
  let i = 0;
  while (i < running.length && step.numTokens < budget) {
    const sequence = running[i];
    if (!sequence.solo) {
      const end = endOfGroup(running, i);
      if (!planGroup(state, step, running, i, end)) break;
      i = end;
      continue;
    }
    const isDecode = sequence.numTokens - sequence.numComputed === 1;
    const length = isDecode ? 1 : queryLen(state, sequence, budget - step.numTokens);
    if (sequence.numTokens > sequence.numSlots) {
      step.setMark();
      if (!makeRoom(state, step, sequence, length)) break;
    }
    if (isDecode) {
      state.states?.plan(sequence, sequence.numTokens, step);
      step.add(sequence, 1);
    } else {
      planQuery(state, step, sequence, length);
    }
    i++;
  }
  return state.stats.numPreemptions !== before;
}

/**
 * Plans the sequences of one group, members[from … to), together or (where the budget is less than
 * a token for each) not at all. False: the group itself had to be preempted.
 */
export function planGroup(
  state: SchedulerState,
  step: Step,
  members: readonly Sequence[],
  from: number,
  to: number,
): boolean {
  const budget = state.config.maxNumBatchedTokens;
  if (budget - step.numTokens < to - from) return true;
  const { group } = members[from];
  step.setMark();
  for (let i = from; i < to; i++) {
    const sequence = members[i];
    assert(sequence.group === group && sequence.row >= 0, 'a group is planned with a stranger');
    if (sequence.candidates !== null) continue; // a beam that waits for the others
    const others = to - i - 1;
    const length = queryLen(state, sequence, budget - step.numTokens - others);
    if (!makeRoom(state, step, sequence, length)) return false;
    planQuery(state, step, sequence, length);
  }
  return true;
}

/**
 * Slots for all tokens that the sequence has (in windows, for those of its query), its own copies
 * of shared blocks included.
 */
function makeRoom(
  state: SchedulerState,
  step: Step,
  sequence: Sequence,
  queryLen: number,
): boolean {
  const { running, tables } = state;
  const { group, numComputed, numTokens } = sequence;
  const copiesBefore = step.numCopies;
  const end = numComputed + queryLen;
  while (!tables.prepareWrite(sequence, numComputed, numTokens, step, end)) {
    const victim = running[running.length - 1].group;
    if (victim === group) takeOut(state, step);
    preempt(state, step, victim);
    if (victim === group) return false;
  }
  if (step.numCopies > copiesBefore) state.countCopies(group, step.numCopies - copiesBefore);
  if (sequence.numPromised > 0) state.promiseWindows(sequence);
  return true;
}

/** Takes a group that is half planned out of the step; its tables are as they were. */
function takeOut(state: SchedulerState, step: Step): void {
  undoWrites(state, step, step.numMarkedSeqs, step.numMarkedCopies);
  step.rollBack();
}

/**
 * The sequences that were planned from `fromSeq` on do not write after all: they have the blocks
 * back that the copies from `fromCopy` on were to replace, and give back what was taken for states.
 * Nobody may have written to any.
 */
export function undoWrites(
  state: SchedulerState,
  step: Step,
  fromSeq: number,
  fromCopy: number,
): void {
  const { states, byRow } = state;
  undoCopies(state, step, fromSeq, fromCopy);
  for (let i = fromSeq; i < step.numSeqs && states !== null; i++) {
    if (byRow[step.seqRows[i]] !== null) states.undo(step.seqRows[i]);
  }
}

function undoCopies(state: SchedulerState, step: Step, fromSeq: number, fromCopy: number): void {
  const { tables, kvGroups } = state;
  const sourceOf = new Map<number, number>();
  for (let i = fromCopy; i < step.numCopies; i++) {
    sourceOf.set(step.copies[2 * i + 1], step.copies[2 * i]);
  }
  for (let i = fromSeq; i < step.numSeqs && sourceOf.size > 0; i++) {
    const start = step.contextLens[i] - step.queryLens[i];
    for (let g = 0; g < kvGroups.length; g++) {
      if (start % kvGroups.blockSizes[g] === 0) continue;
      const sequence = state.byRow[step.seqRows[i]];
      assert(sequence !== null, 'a sequence left while its step was in flight');
      const index = Math.floor(start / kvGroups.blockSizes[g]);
      const target = tables.blockAt(sequence, index, g);
      const source = sourceOf.get(target);
      if (source === undefined) continue;
      tables.undoCopy(sequence, index, source, g);
      state.countCopies(sequence.group, -1);
      sourceOf.delete(target);
    }
  }
  assert(sourceOf.size === 0, 'a copy belongs to no sequence of its step');
}

/** Tokens that the sequence computes in a step that has room for `limit`. */
function queryLen(state: SchedulerState, sequence: Sequence, limit: number): number {
  const threshold = state.config.longPrefillThreshold;
  const { states } = state;
  const { numComputed } = sequence;
  let length = Math.min(nextStop(sequence) - numComputed, limit);
  if (threshold > 0 && length > threshold) length = threshold;
  if (states === null || length <= 1) return length;
  return states.endOf(sequence, numComputed + length) - numComputed;
}

function planQuery(state: SchedulerState, step: Step, sequence: Sequence, length: number): void {
  assert(length > 0, 'an empty query');
  state.states?.plan(sequence, sequence.numComputed + length, step);
  if (sequence.group.wantsPromptLogprobs) addPromptRows(step, sequence, length);
  step.add(sequence, length);
}

/** The row of position p predicts prompt token p + 1; the last position has no target. */
function addPromptRows(step: Step, sequence: Sequence, queryLen: number): void {
  const { numComputed } = sequence;
  const { length, numTop } = sequence.group.promptLogprobs;
  const first = Math.max(numComputed, length);
  const end = Math.min(numComputed + queryLen, sequence.numPromptTokens - 1);
  for (let p = first; p < end; p++) {
    step.addPromptRow(step.numTokens + p - numComputed, sequence.tokens[p + 1], numTop);
  }
}

function endOfGroup(running: readonly Sequence[], from: number): number {
  const { group } = running[from];
  let end = from + 1;
  while (end < running.length && running[end].group === group) end++;
  return end;
}
