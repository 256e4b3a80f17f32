/**
 * Room is short, so a group gives back all that it keeps, blocks and states: into the host's
 * memory, or to be computed again.
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
  const { states } = state;
  const isSwapped = maySwap && swapOut(state, step, group);
  if (!isSwapped && states !== null) {
    // It comes back by a hit, if the state is still there then.
    for (const sequence of group.sequences) if (sequence.row >= 0) states.publish(sequence);
  }
  state.withdrawRunning(group);
  group.countPreemption(isSwapped);
  state.stats.numPreemptions++;
  if (isSwapped) state.enqueueSwapped(group);
  else state.recompute(group);
}
