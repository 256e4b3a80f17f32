import { describe, expect, test } from 'vitest';
import { schedulerConfig } from '../../lib/core/scheduler-config.js';
import { precedes, SchedulerState } from '../../lib/core/scheduler-state.js';
import { group, range } from '../support/core.js';

function make() {
  const state = new SchedulerState(
    schedulerConfig({ numBlocks: 50, blockSize: 4, maxModelLen: 40, maxNumSeqs: 6 }),
  );
  const add = (id: string, arrival: number, n = 1) => {
    const made = group(id, range(6), { n });
    made.arrival = arrival;
    state.groups.set(id, made);
    return made;
  };
  return { state, add };
}

describe('SchedulerState', () => {
  test('both lines are in order of arrival, whatever the order of entry', () => {
    const { state, add } = make();
    const [a, b, c] = [add('a', 0), add('b', 1), add('c', 2)];
    for (const each of [b, c, a]) state.enqueue(each);
    expect(state.waiting).toEqual([a, b, c]);
    state.waiting.length = 0;
    for (const each of [c, a, b]) {
      state.giveRows(each);
      state.enterRunning(each, each.sequences);
    }
    expect(state.running.map((s) => s.group.id)).toEqual(['a', 'b', 'c']);
    state.checkInvariants();
    expect(precedes(a, b) && !precedes(b, a) && !precedes(a, a)).toBe(true);
  });

  test('what ends while a step runs keeps its blocks and rows until the step has ended', () => {
    const { state, add } = make();
    const a = add('a', 0);
    state.giveRows(a);
    state.tables.grow(a.sequences[0], 6);
    state.enterRunning(a, a.sequences);
    state.terminate(a, 'abort', true);
    expect([state.numFenced, state.groups.size, state.running.length]).toEqual([1, 0, 0]);
    expect([state.pool.numFree, state.tables.numFreeRows]).toEqual([47, 5]);
    state.checkInvariants();
    state.unfence();
    expect([state.pool.numFree, state.tables.numFreeRows]).toEqual([49, 6]);
    state.checkInvariants();
  });

  test('the check sees a lost block, a wrong count and a sequence that runs unlisted', () => {
    const spoil = (how: (state: SchedulerState, first: ReturnType<typeof group>) => void) => {
      const { state, add } = make();
      const a = add('a', 0);
      state.giveRows(a);
      state.tables.grow(a.sequences[0], 6);
      state.enterRunning(a, a.sequences);
      state.checkInvariants();
      how(state, a);
      return () => state.checkInvariants();
    };
    expect(spoil((state) => state.pool.allocateOne())).toThrow(/number of tables/);
    expect(spoil((state) => state.pool.touch(1))).toThrow(/number of tables/);
    expect(spoil((state) => state.running.pop())).toThrow(/disagree/);
    expect(spoil((state) => state.numPromised++)).toThrow(/promised/);
    expect(spoil((state) => state.pool.refCounts[9]++)).toThrow(/free list/);
  });
});
