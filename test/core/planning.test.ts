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
        resultFor(scheduler, step, () => 5),
        neverStop,
      );
      step = scheduler.schedule()!;
      scheduler.checkInvariants();
    }
    expect(planOf(scheduler, step)).toEqual({ a: 1 });
    expect(copiesOf(step)).toEqual([]);
    expect(step.numTokens).toBe(1);
    expect(step.numSamples).toBe(1);
    expect(scheduler.pool.numUsable - scheduler.pool.numFree).toBe(4);
  });
});

describe('a step that is put back', () => {
  test('harms nobody: shared blocks are shared again, the next step is the same', () => {
    const scheduler = new Scheduler({
      numBlocks: 50,
      blockSize: 4,
      maxModelLen: 40,
      maxNumSeqs: 8,
    });
    const a = group('a', range(6), { n: 3, maxTokens: 8 });
    scheduler.add(a);
    advance(scheduler, (s) => 10 + s.index);
    scheduler.add(group('b', range(9, 50)));
    const tables = a.sequences.map((s) => scheduler.tableOf(s));
    const computed = a.sequences.map((s) => s.numComputed);
    const refused = scheduler.schedule()!;
    const plan = planOf(scheduler, refused);
    expect(plan).toEqual({ a: 1, 'a.1': 1, 'a.2': 1, b: 9 });
    expect(refused.numCopies).toBe(2);
    scheduler.putBack(refused);
    scheduler.checkInvariants();
    expect(a.sequences.map((s) => scheduler.tableOf(s))).toEqual(tables);
    expect(a.sequences.map((s) => s.numComputed)).toEqual(computed);
    expect([a.numBlockCopies, scheduler.stats.numBlockCopies]).toEqual([0, 0]);
    const again = scheduler.schedule()!;
    expect([planOf(scheduler, again), again.numCopies]).toEqual([plan, 2]);
    scheduler.commit(
      again,
      resultFor(scheduler, again, () => 5),
      neverStop,
    );
    expect([a.numBlockCopies, a.numPreemptions]).toEqual([2, 0]);
  });

  test('goes on without the one to blame, whether it is aborted before or after', () => {
    for (const before of [true, false]) {
      const scheduler = new Scheduler({ numBlocks: 50, blockSize: 4, maxModelLen: 40 });
      for (const id of ['a', 'guilty', 'b']) scheduler.add(group(id, range(6), { n: 2 }));
      advance(scheduler, (s) => 10 + s.index);
      const refused = scheduler.schedule()!;
      if (before) scheduler.abort('guilty');
      scheduler.putBack(refused);
      if (!before) scheduler.abort('guilty');
      scheduler.checkInvariants();
      expect(advance(scheduler)).toEqual({ a: 1, 'a.1': 1, b: 1, 'b.1': 1 });
      while (scheduler.hasUnfinished) advance(scheduler);
      expect(scheduler.pool.usage).toBe(0);
    }
  });

  test('apart: each of its groups then has steps of its own, until it has drawn a token', () => {
    const scheduler = new Scheduler({
      numBlocks: 50,
      blockSize: 4,
      maxModelLen: 40,
      longPrefillThreshold: 4,
    });
    scheduler.add(group('a', range(6), { n: 2 }));
    scheduler.add(group('b', range(6, 50)));
    expect(advance(scheduler)).toEqual({ a: 4, b: 4 });
    scheduler.putBack(scheduler.schedule()!, true);
    scheduler.add(group('c', range(3)));
    // Of a, the end of the prompt; of b, too. Who comes later waits only while they are apart.
    expect(advance(scheduler)).toEqual({ a: 2 });
    expect(advance(scheduler)).toEqual({ b: 2 });
    expect(advance(scheduler)).toEqual({ a: 1, 'a.1': 1, b: 1, c: 3 });
    scheduler.putBack(scheduler.schedule()!, true);
    expect(advance(scheduler)).toEqual({ a: 1, 'a.1': 1 });
    scheduler.abort('b');
    expect(advance(scheduler)).toEqual({ c: 1 });
    expect(advance(scheduler)).toEqual({ a: 1, 'a.1': 1, c: 1 });
  });

  test('apart: who has to be let in again does not wait until nobody runs', () => {
    const scheduler = new Scheduler({
      numBlocks: 9,
      blockSize: 4,
      maxModelLen: 32,
      maxNumSeqs: 4,
      numHostBlocks: 8,
      preemptionPolicy: 'swap',
    });
    const long = { maxTokens: 24 };
    scheduler.add(group('a', range(4), long));
    scheduler.add(group('b', range(4, 50), long));
    const c = group('c', range(7, 90));
    scheduler.add(c);
    for (let i = 0; c.numSwaps === 0; i++) {
      if (i > 40) throw new Error('nobody was swapped out');
      advance(scheduler);
    }
    scheduler.abort('b');
    const refused = scheduler.schedule()!;
    expect(Object.keys(planOf(scheduler, refused))).toEqual(['a', 'c']);
    expect(refused.numSwapIns).toBeGreaterThan(0);
    scheduler.putBack(refused, true);
    expect(c.state).toBe('waiting');
    expect(advance(scheduler)).toEqual({ a: 1 });
    expect(Object.keys(advance(scheduler))).toEqual(['c']);
    expect(advance(scheduler)).toEqual({ a: 1, c: 1 });
    while (scheduler.hasUnfinished) advance(scheduler);
    expect(scheduler.pool.usage).toBe(0);
  });
});
