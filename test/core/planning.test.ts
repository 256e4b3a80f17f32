import { describe, expect, test } from 'vitest';
import { Scheduler } from '../../lib/core/scheduler.js';
import { advance, copiesOf, group, neverStop, planOf, range, resultFor } from '../support/core.js';

describe('planning', () => {
  test('a group is planned with a token for each of its sequences, or not at all', () => {
    const scheduler = new Scheduler({
      numBlocks: 100,
      maxModelLen: 200,
      maxNumSeqs: 6,
      maxNumBatchedTokens: 6,
    });
    scheduler.add(group('a', range(6), { n: 3 }));
    advance(scheduler);
    scheduler.add(group('long', range(30, 50)));
    // Three for the group, three of the long prompt; they never take from the group's share.
    expect(advance(scheduler)).toEqual({ a: 1, 'a.1': 1, 'a.2': 1, long: 3 });
    expect(advance(scheduler)).toEqual({ a: 1, 'a.1': 1, 'a.2': 1, long: 3 });
  });

  test('a long prompt ahead leaves no token for a group behind it', () => {
    const scheduler = new Scheduler({
      numBlocks: 100,
      maxModelLen: 200,
      maxNumSeqs: 6,
      maxNumBatchedTokens: 8,
    });
    scheduler.add(group('long', range(22, 50)));
    scheduler.add(group('a', range(2), { n: 3 }));
    expect(advance(scheduler)).toEqual({ long: 8 });
    expect(advance(scheduler)).toEqual({ long: 8 });
    expect(advance(scheduler)).toEqual({ long: 6, a: 2 });
    expect(advance(scheduler)).toEqual({ long: 1, a: 1, 'a.1': 1, 'a.2': 1 });
  });

  test('a group that must preempt itself is taken out of the step with its copies', () => {
    // a grows block by block while g, whose samples are about to copy, loses its last free block.
    const scheduler = new Scheduler({
      numBlocks: 9,
      blockSize: 4,
      maxModelLen: 24,
      maxNumSeqs: 4,
      enablePrefixCaching: false,
    });
    scheduler.add(group('a', range(8), { maxTokens: 16 }));
    const g = group('g', range(6, 50), { n: 2, maxTokens: 8 });
    scheduler.add(g);
    let step = scheduler.schedule()!;
    while (g.numPreemptions === 0) {
      scheduler.commit(
        step,
        resultFor(step, () => 5),
        neverStop,
      );
      step = scheduler.schedule()!;
      scheduler.checkInvariants();
    }
    expect(planOf(step)).toEqual({ a: 1 });
    expect(copiesOf(step)).toEqual([]);
    expect(step.numTokens).toBe(1);
    expect(step.numSamples).toBe(1);
    expect(scheduler.pool.numUsable - scheduler.pool.numFree).toBe(4);
  });
});
