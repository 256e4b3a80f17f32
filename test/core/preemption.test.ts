import { expect, test } from 'vitest';
import { preempt } from '../../lib/core/preemption.js';
import { leastSizes } from '../../lib/core/recurrent-states.js';
import { Scheduler } from '../../lib/core/scheduler.js';
import { type SchedulerOptions, schedulerConfig } from '../../lib/core/scheduler-config.js';
import { SchedulerState } from '../../lib/core/scheduler-state.js';
import { Step } from '../../lib/core/step.js';
import { advance, group, range } from '../support/core.js';

/** Two samples that share two blocks run, another group waits. */
function make(options: Partial<SchedulerOptions>) {
  const sizes = { numBlocks: 50, blockSize: 4, maxModelLen: 40, maxNumSeqs: 6 };
  const state = new SchedulerState(schedulerConfig({ ...sizes, ...options }));
  const [a, b] = ['a', 'b'].map((id, i) => {
    const made = group(id, range(6), { n: 2 - i });
    made.arrival = i;
    state.groups.set(id, made);
    return made;
  });
  state.giveRows(a);
  const [first, second] = a.sequences;
  state.tables.grow(first, 6);
  state.tables.fork(first, second, 6);
  for (const sequence of a.sequences) sequence.numComputed = 6;
  state.enterRunning(a, a.sequences);
  state.countShared(a);
  state.enqueue(b);
  state.checkInvariants();
  return { state, a, b };
}

test('preempting frees rows and blocks and goes before those who came later', () => {
  const { state, a, b } = make({});
  expect(a.numSharedBlocks).toBe(2);
  preempt(state, new Step(6, 64), a);
  expect(state.waiting).toEqual([a, b]);
  expect(state.running).toEqual([]);
  expect([state.pool.usage, state.tables.numFreeRows]).toEqual([0, 6]);
  expect([a.numSharedBlocks, a.numPreemptions, a.numSwaps]).toEqual([2, 1, 0]);
  expect(a.sequences.map((s) => s.numComputed)).toEqual([0, 0]);
  state.checkInvariants();
});

test('where no state fits into the host it is not by swap, and the cache keeps the states', () => {
  const { numSlots, numRecords } = leastSizes(6);
  const recurrent = { numSlots: numSlots + 4, numRecords, interval: 2048 };
  const policy = { numHostBlocks: 20, preemptionPolicy: 'swap' } as const;
  const scheduler = new Scheduler({
    ...{ numBlocks: 10, blockSize: 16, maxModelLen: 100, maxNumSeqs: 6, recurrent },
    ...policy,
  });
  const [a, b] = ['a', 'b'].map((id, i) => group(id, range(47, 100 * i), { maxTokens: 40 }));
  for (const g of [a, b]) scheduler.add(g);
  advance(scheduler);
  while (b.numPreemptions === 0) advance(scheduler);
  expect([b.state, b.numSwaps, scheduler.stats.numSwappedOut]).toEqual(['waiting', 0, 0]);
  // Of b those at 32, the end of its prompt, and at 64, where it was thrown out.
  expect(scheduler.states!.slots.numCached).toBe(3);
  scheduler.abort('a');
  expect(advance(scheduler)).toEqual({ b: 1 });
  expect(scheduler.states!.numHits).toBe(1);
});

test('by swap a group stands in the other line, and nothing of it is forgotten', () => {
  const { state, a, b } = make({ numHostBlocks: 2, preemptionPolicy: 'auto' });
  const step = new Step(6, 64);
  preempt(state, step, a);
  expect([state.waiting, state.swapped, step.swappedOut]).toEqual([[b], [a], [a.arrival]]);
  expect([step.numSwapOuts, a.numPreemptions, a.numSwaps]).toEqual([2, 1, 1]);
  expect(a.sequences.map((s) => s.numComputed)).toEqual([6, 6]);
  state.checkInvariants();
});
