/**
 * Room is short, so a group gives all of its blocks back: into the host pool, or to be computed
 * again.
 */
import type { SchedulerState } from './scheduler-state.js';
import type { SequenceGroup } from './sequence.js';
import type { Step } from './step.js';
import { swapOut } from './swapping.js';

/** Preempts a group that runs and is not planned in this step. */
export function preempt(state: SchedulerState, step: Step, group: SequenceGroup): void {
  const { preemptionPolicy } = state.config;
  const maySwap =
    preemptionPolicy === 'swap' || (preemptionPolicy === 'auto' && group.numUnfinished > 1);
  const isSwapped = maySwap && swapOut(state, step, group);
  state.withdrawRunning(group);
  group.countPreemption(isSwapped);
  state.stats.numPreemptions++;
  if (isSwapped) state.enqueueSwapped(group);
  else state.recompute(group);
}
