/**
 * Fills a step from the running list: each sequence, in order, its outstanding tokens, clipped by
 * the threshold, the budget and the next fork. Where a block is missing, the last group of the list
 * is preempted until it is there. The list is in the policy's order, so a victim is never planned
 * yet in this step, unless it is the group being planned itself, which then is taken out again.
 */
import { nextStop } from './fork-tree.js';
import type { SchedulerState } from './scheduler-state.js';
import type { Sequence, SequenceGroup } from './sequence.js';
import type { Step } from './step-record.js';

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
    if (sequence.numTokens > sequence.numSlots) {
      step.setMark();
      if (!makeRoom(state, step, sequence)) break;
    }
    if (sequence.numTokens - sequence.numComputed === 1) step.add(sequence, 1);
    else planQuery(state, step, sequence, budget - step.numTokens);
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
  const copiesBefore = step.numCopies;
  for (let i = from; i < to; i++) {
    const sequence = members[i];
    if (sequence.candidates !== null) continue; // a beam that waits for the others
    if (!makeRoom(state, step, sequence)) return false;
    const others = to - i - 1;
    planQuery(state, step, sequence, budget - step.numTokens - others);
  }
  group.numBlockCopies += step.numCopies - copiesBefore;
  state.stats.numBlockCopies += step.numCopies - copiesBefore;
  return true;
}

/** Slots for all tokens that the sequence has, its own copy of a shared block included. */
function makeRoom(state: SchedulerState, step: Step, sequence: Sequence): boolean {
  const { running, tables } = state;
  const { numComputed, numTokens } = sequence;
  while (!tables.prepareWrite(sequence, numComputed, numTokens, step)) {
    const victim = running[running.length - 1].group;
    if (victim === sequence.group) takeOut(state, step, victim);
    state.preempt(victim, step);
    if (victim === sequence.group) return false;
  }
  return true;
}

/** Takes a group that is half planned out of the step; its tables are as they were. */
function takeOut(state: SchedulerState, step: Step, group: SequenceGroup): void {
  const { tables, pool } = state;
  for (let i = step.numCopies - 1; i >= step.numMarkedCopies; i--) {
    const [source, target] = step.copies.subarray(2 * i, 2 * i + 2);
    for (const sequence of group.sequences) {
      const index = Math.floor(sequence.numComputed / pool.blockSize);
      if (index >= sequence.numBlocks || tables.blockAt(sequence, index) !== target) continue;
      tables.undoCopy(sequence, index, source);
    }
  }
  step.rollBack();
}

function planQuery(state: SchedulerState, step: Step, sequence: Sequence, limit: number): void {
  const threshold = state.config.longPrefillThreshold;
  let length = Math.min(nextStop(sequence) - sequence.numComputed, limit);
  if (threshold > 0 && length > threshold) length = threshold;
  if (sequence.group.wantsPromptLogprobs) addPromptRows(step, sequence, length);
  step.add(sequence, length);
}

/** The row of position p predicts prompt token p + 1; the last position has no target. */
function addPromptRows(step: Step, sequence: Sequence, length: number): void {
  const { numComputed } = sequence;
  const first = Math.max(numComputed, sequence.group.promptLogprobs.length);
  const end = Math.min(numComputed + length, sequence.numPromptTokens - 1);
  for (let p = first; p < end; p++) {
    step.addPromptRow(sequence, step.numTokens + p - numComputed, sequence.tokens[p + 1]);
  }
}

function endOfGroup(running: readonly Sequence[], from: number): number {
  const { group } = running[from];
  let end = from + 1;
  while (end < running.length && running[end].group === group) end++;
  return end;
}
