import { describe, expect, test } from 'vitest';
import { Scheduler } from '../../lib/core/scheduler.js';
import type { SchedulerOptions } from '../../lib/core/scheduler-config.js';
import type { Sequence } from '../../lib/core/sequence.js';
import {
  advance,
  copiesOf,
  EOS,
  group,
  neverStop,
  planOf,
  range,
  resultFor,
} from '../support/core.js';

function make(options: Partial<SchedulerOptions> = {}): Scheduler {
  return new Scheduler({ numBlocks: 1001, maxModelLen: 4096, ...options });
}

function drain(scheduler: Scheduler, draw?: (sequence: Sequence) => number): number {
  let steps = 0;
  while (scheduler.hasUnfinished) {
    advance(scheduler, draw);
    if (++steps > 10_000) throw new Error('it never ends');
  }
  expect(scheduler.pool.usage).toBe(0);
  expect([...scheduler.pool.refCounts].filter((count) => count > 0)).toEqual([1]);
  return steps;
}

describe('one token budget', () => {
  const long = { maxNumBatchedTokens: 1024, longPrefillThreshold: 400 };

  test('three prompts of 800, budget 1024, threshold 400', () => {
    const scheduler = make({ ...long, enablePrefixCaching: false });
    for (const id of ['a', 'b', 'c']) scheduler.add(group(id, range(800)));
    expect(advance(scheduler)).toEqual({ a: 400, b: 400, c: 224 });
    expect(advance(scheduler)).toEqual({ a: 400, b: 400, c: 224 });
    expect(advance(scheduler)).toEqual({ a: 1, b: 1, c: 352 });
    expect(advance(scheduler)).toEqual({ a: 1, b: 1, c: 1 });
    drain(scheduler);
  });

  test('without chunks a long head blocks the rest', () => {
    const scheduler = make({
      enableChunkedPrefill: false,
      maxNumBatchedTokens: 1024,
      maxModelLen: 1024,
    });
    scheduler.add(group('a', range(600)));
    scheduler.add(group('b', range(700, 100)));
    scheduler.add(group('c', range(10, 900)));
    expect(advance(scheduler)).toEqual({ a: 600 });
    expect(advance(scheduler)).toEqual({ a: 1, b: 700, c: 10 });
    drain(scheduler);
  });

  test('maxNumSeqs counts sequences: a group reserves n', () => {
    const scheduler = make({ maxNumSeqs: 4 });
    scheduler.add(group('a', range(8), { n: 3 }));
    scheduler.add(group('b', range(8, 50), { n: 2 }));
    scheduler.add(group('c', range(8, 90)));
    expect(advance(scheduler)).toEqual({ a: 8 });
    expect([scheduler.numRunning, scheduler.numWaiting]).toEqual([1, 2]);
    drain(scheduler);
  });

  test('a decode step asks for one token each, at the position it will have', () => {
    const scheduler = make();
    const a = group('a', [1, 2, 3]);
    scheduler.add(a);
    advance(scheduler, () => 42);
    const step = scheduler.schedule()!;
    expect([step.numTokens, step.numSamples, step.sampleTokenRows[0]]).toEqual([1, 1, 0]);
    expect(a.sequences[0].lastToken).toBe(42);
    expect(a.sequences[0].numTokens).toBe(4);
    scheduler.commit(
      step,
      resultFor(scheduler, step, () => EOS),
      neverStop,
    );
    expect(a.sequences[0].finishReason).toBe('stop');
  });
});

describe('prefix cache', () => {
  test('11 blocks, 55 tokens: the exact blocks, counts and free order', () => {
    const scheduler = make({ numBlocks: 11, maxModelLen: 160 });
    const { pool } = scheduler;
    const add = (id: string, prompt: number[]) => {
      const made = group(id, prompt, { maxTokens: 5 });
      scheduler.add(made);
      return made;
    };
    const first = add('first', range(55));
    expect(advance(scheduler)).toEqual({ first: 55 });
    expect(scheduler.tableOf(first.sequences[0])).toEqual([1, 2, 3, 4]);

    const second = add('second', [...range(48), ...range(7, 500)]);
    expect(advance(scheduler)).toEqual({ first: 1, second: 7 });
    expect(scheduler.tableOf(second.sequences[0])).toEqual([1, 2, 3, 5]);
    expect([1, 2, 3, 4, 5].map((b) => pool.refCounts[b])).toEqual([2, 2, 2, 1, 1]);
    expect(pool.numFree).toBe(5);
    expect([first.numCachedTokens, second.numCachedTokens]).toEqual([0, 48]);
    expect(second.numSharedBlocks).toBe(3);

    scheduler.abort('first');
    scheduler.abort('second');
    expect(pool.freeBlocks()).toEqual([5, 4, 6, 7, 8, 9, 10, 3, 2, 1]);

    const third = add('third', [...range(48), 700]);
    expect(advance(scheduler)).toEqual({ third: 1 });
    expect(scheduler.tableOf(third.sequences[0])).toEqual([1, 2, 3, 5]);
    scheduler.abort('third');
    expect(pool.freeBlocks()).toEqual([5, 4, 6, 7, 8, 9, 10, 3, 2, 1]);

    const miss = add('miss', range(155, 200));
    advance(scheduler);
    expect(scheduler.tableOf(miss.sequences[0])).toEqual([5, 4, 6, 7, 8, 9, 10, 3, 2, 1]);
    scheduler.abort('miss');
    const again = add('again', range(49));
    advance(scheduler);
    expect(again.numCachedTokens).toBe(0);
    drain(scheduler);
  });

  test('a hit is capped below the whole prompt, in whole blocks', () => {
    const scheduler = make();
    scheduler.add(group('a', range(64)));
    drain(scheduler);
    const same = group('same', range(64));
    scheduler.add(same);
    expect(advance(scheduler)).toEqual({ same: 16 });
    expect(same.numCachedTokens).toBe(48);
    const longer = group('longer', range(65));
    scheduler.add(longer);
    expect(advance(scheduler)).toEqual({ same: 1, longer: 1 });
    expect(scheduler.stats.numPrefixHits).toBe(48 + 64);
  });

  test('salts, prompt logprobs and a cache switched off do not hit', () => {
    const off = make({ enablePrefixCaching: false });
    const on = make();
    for (const scheduler of [off, on]) {
      scheduler.add(group('a', range(64)));
      drain(scheduler);
      scheduler.add(group('plain', range(64)));
      scheduler.add(group('salted', range(64), { cacheSalt: 's' }));
      scheduler.add(group('rows', range(64), { promptLogprobs: 0 }));
    }
    expect(advance(off)).toEqual({ plain: 64, salted: 64, rows: 64 });
    expect(advance(on)).toEqual({ plain: 16, salted: 64, rows: 64 });
    on.add(group('salted again', range(64), { cacheSalt: 's' }));
    expect(advance(on)['salted again']).toBe(16);
    drain(on);
  });

  test('nothing can be hit before its KV exists', () => {
    const scheduler = make();
    scheduler.add(group('a', range(64)));
    scheduler.add(group('b', range(64)));
    expect(advance(scheduler)).toEqual({ a: 64, b: 64 });
  });

  test('reset is refused while blocks are in use', () => {
    const scheduler = make();
    scheduler.add(group('a', range(64)));
    advance(scheduler);
    expect(scheduler.resetPrefixCache()).toBe(false);
    drain(scheduler);
    expect(scheduler.resetPrefixCache()).toBe(true);
    scheduler.add(group('b', range(64)));
    expect(advance(scheduler)).toEqual({ b: 64 });
  });
});

describe('a model with two tables of angles', () => {
  test('a request that may grow long takes the long one, with all its samples', () => {
    const scheduler = make({ longRopeFrom: 40, maxModelLen: 100 });
    const flagOf = (prompt: number, maxTokens: number) => {
      const id = `${prompt}+${maxTokens}`;
      scheduler.add(group(id, range(prompt), { n: 2, maxTokens }));
      const step = scheduler.schedule()!;
      const flags = scheduler.get(id)!.sequences.map((s) => s.longRope);
      expect([...step.longRope.subarray(0, step.numSeqs)]).toEqual([flags[0]]);
      scheduler.abort(id);
      scheduler.discard(step);
      return flags;
    };
    expect(flagOf(20, 20)).toEqual([0, 0]);
    expect(flagOf(20, 21)).toEqual([1, 1]);
    expect(flagOf(90, 1000)).toEqual([1, 1]);
    const short = make({ longRopeFrom: 40, maxModelLen: 40 });
    short.add(group('a', range(30), { maxTokens: 1000 }));
    expect(short.schedule()!.longRope[0]).toBe(0);
  });

  test('requests by different tables share no prefix', () => {
    const scheduler = make({ blockSize: 16, longRopeFrom: 100 });
    const hits = (id: string, maxTokens: number) => {
      const made = group(id, range(64), { maxTokens });
      scheduler.add(made);
      advance(scheduler);
      scheduler.abort(id);
      return made.numCachedTokens;
    };
    expect([hits('a', 10), hits('b', 90), hits('c', 10), hits('d', 90)]).toEqual([0, 0, 48, 48]);
  });
});

describe('parallel samples', () => {
  test('one prefill, n draws from one row, n − 1 copies, full blocks shared', () => {
    const scheduler = make({ blockSize: 4 });
    const a = group('a', range(6), { n: 3, maxTokens: 4 });
    scheduler.add(a);
    const step = scheduler.schedule()!;
    expect(planOf(scheduler, step)).toEqual({ a: 6 });
    expect([...step.sampleTokenRows.slice(0, step.numSamples)]).toEqual([5, 5, 5]);
    expect(range(3).map((i) => scheduler.sequenceAt(step.sampleRows[i])!.index)).toEqual([0, 1, 2]);
    scheduler.commit(
      step,
      resultFor(scheduler, step, (s) => 10 + s.index),
      neverStop,
    );
    scheduler.checkInvariants();
    expect(a.sequences.map((s) => scheduler.tableOf(s))).toEqual([
      [1, 2],
      [1, 2],
      [1, 2],
    ]);
    expect(scheduler.pool.usage).toBeCloseTo(2 / 1000);
    expect(a.numSharedBlocks).toBe(2);

    const second = scheduler.schedule()!;
    expect(planOf(scheduler, second)).toEqual({ a: 1, 'a.1': 1, 'a.2': 1 });
    expect(copiesOf(second)).toEqual([
      [2, 3],
      [2, 4],
    ]);
    expect(a.sequences.map((s) => scheduler.tableOf(s))).toEqual([
      [1, 3],
      [1, 4],
      [1, 2],
    ]);
    scheduler.commit(
      second,
      resultFor(scheduler, second, () => 1),
      neverStop,
    );
    expect(copiesOf(scheduler.schedule()!)).toEqual([]);
    expect(a.numBlockCopies).toBe(2);
    scheduler.abort('a');
  });

  test('a prompt of whole blocks needs no copy', () => {
    const scheduler = make({ blockSize: 4 });
    const a = group('a', range(8), { n: 3, maxTokens: 3 });
    scheduler.add(a);
    drain(scheduler);
    expect(a.numBlockCopies).toBe(0);
    expect(a.numSharedBlocks).toBe(2);
  });

  test('samples end one by one; the first token may end one', () => {
    const scheduler = make({ blockSize: 4 });
    const a = group('a', range(6), { n: 3, maxTokens: 5 });
    scheduler.add(a);
    advance(scheduler, (s) => (s.index === 0 ? EOS : 3));
    expect(a.sequences.map((s) => s.finishReason)).toEqual(['stop', null, null]);
    expect(advance(scheduler)).toEqual({ 'a.1': 1, 'a.2': 1 });
    expect(a.numBlockCopies).toBe(1);
    drain(scheduler);
    expect(a.sequences.map((s) => s.finishReason)).toEqual(['stop', 'length', 'length']);
    expect(a.sequences.map((s) => s.numOutputTokens)).toEqual([1, 5, 5]);
  });

  test('chunked prompts fork only at their end', () => {
    const scheduler = make({ longPrefillThreshold: 10 });
    scheduler.add(group('a', range(25), { n: 2 }));
    expect(advance(scheduler)).toEqual({ a: 10 });
    expect(advance(scheduler)).toEqual({ a: 10 });
    expect(advance(scheduler)).toEqual({ a: 5 });
    expect(advance(scheduler)).toEqual({ a: 1, 'a.1': 1 });
    drain(scheduler);
  });
});

describe('preemption', () => {
  const tiny = { blockSize: 4, numBlocks: 9, maxModelLen: 32, maxNumSeqs: 4 };

  test('the last arrived goes, to the front of the line, and computes again', () => {
    const scheduler = make({ ...tiny, enablePrefixCaching: false });
    const a = group('a', range(11), { maxTokens: 16 });
    const b = group('b', range(11, 50), { maxTokens: 16 });
    scheduler.add(a);
    scheduler.add(b);
    expect(advance(scheduler)).toEqual({ a: 11, b: 11 });
    scheduler.add(group('c', range(11, 90), { maxTokens: 4 }));
    // 6 of 8 blocks are taken; after 5 more tokens each has 4, then nothing is left.
    for (let i = 0; i < 5; i++) expect(advance(scheduler)).toEqual({ a: 1, b: 1 });
    expect(scheduler.pool.numFree).toBe(0);
    expect(advance(scheduler)).toEqual({ a: 1 });
    expect([a.numPreemptions, b.numPreemptions, b.state]).toEqual([0, 1, 'waiting']);
    expect(b.sequences[0].numTokens).toBe(17);
    const order: string[] = [];
    while (scheduler.hasUnfinished) order.push(...Object.keys(advance(scheduler)));
    const firstOf = (id: string) => order.indexOf(id);
    expect(firstOf('b')).toBeLessThan(firstOf('c'));
    expect(scheduler.pool.usage).toBe(0);
    expect(b.sequences[0].numOutputTokens).toBe(16);
  });

  test('nobody is preempted while space is free', () => {
    const scheduler = make({ ...tiny, numBlocks: 30 });
    for (const id of ['a', 'b', 'c']) scheduler.add(group(id, range(11), { maxTokens: 16 }));
    drain(scheduler);
    expect(scheduler.stats.numPreemptions).toBe(0);
  });

  test('nothing is admitted in a step that preempts', () => {
    const scheduler = make({ ...tiny, enablePrefixCaching: false });
    scheduler.add(group('a', range(11), { maxTokens: 12 }));
    scheduler.add(group('b', range(11, 50), { maxTokens: 12 }));
    for (let i = 0; i < 6; i++) advance(scheduler);
    expect(scheduler.pool.numFree).toBe(0);
    scheduler.add(group('c', [1], { maxTokens: 1 }));
    // a and b have 17 tokens and 4 blocks each; c would fit into what b leaves behind.
    expect(advance(scheduler)).toEqual({ a: 1 });
    expect(scheduler.numWaiting).toBe(2);
    drain(scheduler);
  });

  test('freed blocks that are cached are hit again on resume', () => {
    const scheduler = make({ ...tiny, numBlocks: 11 });
    const a = group('a', range(15), { maxTokens: 12 });
    const b = group('b', range(15, 50), { maxTokens: 12 });
    scheduler.add(a);
    scheduler.add(b);
    while (b.numPreemptions === 0) advance(scheduler);
    expect(scheduler.stats.numPreemptedHits).toBe(0);
    drain(scheduler);
    expect(scheduler.stats.numPreemptedHits).toBeGreaterThan(0);
    expect(b.numCachedTokens).toBe(0);
    expect(b.sequences[0].numOutputTokens).toBe(12);
  });

  test('a group goes as a whole and comes back as its token tree', () => {
    const scheduler = make({ ...tiny, numBlocks: 12, enablePrefixCaching: false });
    const a = group('a', range(10), { maxTokens: 14 });
    const g = group('g', range(6, 50), { n: 2, maxTokens: 8 });
    scheduler.add(a);
    scheduler.add(g);
    // The samples agree on two tokens, then part.
    const draw = (s: Sequence) => (s.numOutputTokens < 2 ? 7 : 20 + s.index);
    while (g.numPreemptions === 0) advance(scheduler, draw);
    expect(g.sequences.map((s) => [s.row, scheduler.tableOf(s).length])).toEqual([
      [-1, 0],
      [-1, 0],
    ]);
    const [x, y] = g.sequences;
    const length = x.numTokens;
    expect(length).toBeGreaterThan(8);
    scheduler.abort('a');
    // The stretch that both share, 6 + 2 tokens, once; then each catches up its own.
    expect(advance(scheduler, draw)).toEqual({ g: 8 });
    const copies = g.numBlockCopies;
    expect(advance(scheduler, draw)).toEqual({ g: length - 8, 'g.1': length - 8 });
    expect(g.numBlockCopies).toBe(copies);
    expect([x.numTokens, y.numTokens]).toEqual([length + 1, length + 1]);
    drain(scheduler, draw);
    expect([...x.outputTokens]).toEqual([7, 7, 20, 20, 20, 20, 20, 20]);
    expect([...y.outputTokens]).toEqual([7, 7, 21, 21, 21, 21, 21, 21]);
  });
});

describe('abort and failure', () => {
  test('in every state', () => {
    const scheduler = make({ maxNumSeqs: 1 });
    scheduler.add(group('running', range(40)));
    advance(scheduler);
    scheduler.add(group('waiting', range(40)));
    const waiting = scheduler.get('waiting')!;
    expect(scheduler.abort('waiting')).toBe(true);
    expect(waiting.sequences[0].finishReason).toBe('abort');
    expect(scheduler.abort('running')).toBe(true);
    expect(scheduler.abort('running')).toBe(false);
    expect(scheduler.abort('nobody')).toBe(false);
    expect(scheduler.pool.usage).toBe(0);
    expect(scheduler.schedule()).toBeNull();
  });

  test('during a step: blocks are fenced until it ends, results are dropped', () => {
    const scheduler = make();
    const a = group('a', range(40), { n: 2 });
    const b = group('b', range(40, 100));
    scheduler.add(a);
    scheduler.add(b);
    const step = scheduler.schedule()!;
    const { numFree } = scheduler.pool;
    expect(scheduler.abort('a')).toBe(true);
    expect(scheduler.get('a')).toBeUndefined();
    expect(scheduler.pool.numFree).toBe(numFree);
    scheduler.checkInvariants();
    let asked = 0;
    const findStop = () => {
      asked++;
      return null;
    };
    expect(
      scheduler.commit(
        step,
        resultFor(scheduler, step, () => 5),
        findStop,
      ),
    ).toEqual([]);
    expect(asked).toBe(1);
    expect(a.sequences.map((s) => s.numOutputTokens)).toEqual([0, 0]);
    expect(a.sequences.map((s) => s.finishReason)).toEqual(['abort', 'abort']);
    expect(scheduler.pool.numFree).toBe(numFree + 3);
    drain(scheduler);
  });

  test('of everybody during a step, after a preemption, and of one that was preempted', () => {
    const scheduler = make({ blockSize: 4, numBlocks: 9, maxModelLen: 32, maxNumSeqs: 4 });
    scheduler.add(group('a', range(11), { maxTokens: 16 }));
    const b = group('b', range(11, 50), { maxTokens: 16 });
    scheduler.add(b);
    let step = scheduler.schedule()!;
    while (b.numPreemptions === 0) {
      scheduler.commit(
        step,
        resultFor(scheduler, step, () => 5),
        neverStop,
      );
      step = scheduler.schedule()!;
    }
    scheduler.abort('b');
    scheduler.abort('a');
    expect(scheduler.hasUnfinished).toBe(true);
    scheduler.commit(
      step,
      resultFor(scheduler, step, () => 5),
      neverStop,
    );
    scheduler.checkInvariants();
    expect(scheduler.hasUnfinished).toBe(false);
    expect(scheduler.pool.usage).toBe(0);
  });

  test('a failed step ends its own groups only', () => {
    const scheduler = make({ maxNumSeqs: 2 });
    const a = group('a', range(40), { n: 2 });
    scheduler.add(a);
    const b = group('b', range(10));
    scheduler.add(b);
    const step = scheduler.schedule()!;
    expect(scheduler.discard(step)).toEqual([a]);
    expect(a.sequences.map((s) => s.finishReason)).toEqual(['error', 'error']);
    scheduler.checkInvariants();
    expect(advance(scheduler)).toEqual({ b: 10 });
    drain(scheduler);
  });

  test('a row with nothing to draw from ends its sequence with an error, without a token', () => {
    const scheduler = make();
    const a = group('a', range(4), { n: 2, maxTokens: 2 });
    scheduler.add(a);
    advance(scheduler, (s) => (s.index === 0 ? -1 : 3));
    expect(a.sequences.map((s) => s.finishReason)).toEqual(['error', null]);
    expect(a.sequences[0].numOutputTokens).toBe(0);
    drain(scheduler);
  });

  test('two steps at once, and a foreign step, are refused', () => {
    const scheduler = make();
    scheduler.add(group('a', range(4)));
    const step = scheduler.schedule()!;
    expect(() => scheduler.schedule()).toThrow(/in flight/);
    scheduler.commit(
      step,
      resultFor(scheduler, step, () => 5),
      neverStop,
    );
    expect(() =>
      scheduler.commit(
        step,
        resultFor(scheduler, step, () => 5),
        neverStop,
      ),
    ).toThrow(/not in/);
  });
});

test('arrays that JavaScript cannot allocate are an error with its code', () => {
  const huge = () => make({ numBlocks: 2 ** 30, blockSize: 64 });
  expect(huge).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }));
});
