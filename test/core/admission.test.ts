import { describe, expect, test } from 'vitest';
import { Scheduler } from '../../lib/core/scheduler.js';
import { advance, group, range } from '../support/core.js';

function refusal(action: () => void): { code?: string; param?: string } {
  try {
    action();
  } catch (error) {
    return error as { code?: string; param?: string };
  }
  throw new Error('it was accepted');
}

describe('the gate', () => {
  const make = () =>
    new Scheduler({
      numBlocks: 11,
      blockSize: 4,
      maxModelLen: 40,
      maxNumSeqs: 4,
      maxNumWaiting: 2,
    });

  test('worst case = (prompt + maxTokens, at most the context) × n, shared blocks once', () => {
    const wide = () => new Scheduler({ numBlocks: 1 + 8, blockSize: 4, maxModelLen: 40 });
    const fits = (prompt: number, maxTokens: number, n: number) => {
      const asked = () => wide().checkFeasible(group('a', range(prompt), { maxTokens, n }));
      return expect(asked);
    };
    fits(10, 23, 1).toThrow(/may need 9 blocks of 4 tokens, but the KV pool has 8/);
    fits(10, 100, 1).toThrow(/may need 10 blocks/);
    fits(10, 22, 1).not.toThrow();
    fits(10, 6, 4).toThrow(/may need 10 blocks/); // 2 + 4 · 2
    fits(10, 6, 3).not.toThrow(); // 2 + 3 · 2
    fits(12, 4, 6).toThrow(/may need 9 blocks/); // 3 + 6
  });

  test('what can never fit is refused at once, what just fits runs', () => {
    const scheduler = make();
    const tooLarge = () => scheduler.add(group('x', range(10), { n: 4, maxTokens: 7 }));
    expect(refusal(tooLarge).code).toBe('ERR_REQUEST_TOO_LARGE');
    const prompt = () => scheduler.add(group('x', range(40)));
    expect(refusal(prompt)).toMatchObject({ code: 'ERR_PROMPT_TOO_LONG', param: 'prompt' });
    const many = () => scheduler.add(group('x', [1], { n: 5 }));
    expect(refusal(many)).toMatchObject({ code: 'ERR_REQUEST_TOO_LARGE', param: 'n' });
    expect(scheduler.hasUnfinished).toBe(false);
    const fits = group('x', range(10), { n: 4, maxTokens: 6 });
    scheduler.add(fits);
    while (scheduler.hasUnfinished) advance(scheduler);
    expect(fits.numPreemptions).toBe(0);
    const context = group('y', range(39, 500), { maxTokens: 1000 });
    scheduler.add(context);
    expect(advance(scheduler)).toEqual({ y: 39 });
    expect(context.sequences[0].finishReason).toBe('length');
  });

  test('the line is bounded, ids are unique while they live', () => {
    const scheduler = make();
    scheduler.add(group('a', [1]));
    expect(refusal(() => scheduler.add(group('a', [1]))).param).toBe('requestId');
    scheduler.add(group('b', [1]));
    const error = refusal(() => scheduler.add(group('c', [1])));
    expect(error).toMatchObject({ code: 'ERR_OVERLOADED', status: 429 });
    expect(scheduler.numWaiting).toBe(2);
    while (scheduler.hasUnfinished) advance(scheduler);
    scheduler.add(group('a', [1]));
  });
});

describe('admission', () => {
  test('the whole prompt is taken at once, though a chunk is computed', () => {
    const scheduler = new Scheduler({
      numBlocks: 30,
      blockSize: 4,
      maxModelLen: 64,
      maxNumSeqs: 4,
      maxNumBatchedTokens: 8,
    });
    scheduler.add(group('a', range(40)));
    expect(advance(scheduler)).toEqual({ a: 8 });
    expect(30 - 1 - scheduler.pool.numFree).toBe(10);
  });

  test.each([
    [1, true],
    [0, false],
  ])('with %i blocks beyond the prompt and one per running sequence: %s', (spare, admitted) => {
    // One runs with 3 blocks; the next needs 4, and one must stay in hand.
    const scheduler = new Scheduler({
      numBlocks: 1 + 3 + 4 + spare,
      blockSize: 4,
      maxModelLen: 28,
      enablePrefixCaching: false,
    });
    scheduler.add(group('a', range(10), { maxTokens: 2 }));
    scheduler.add(group('b', range(16, 50), { maxTokens: 2 }));
    expect(advance(scheduler)).toEqual(admitted ? { a: 10, b: 16 } : { a: 10 });
  });

  test('blocks for forks to come are left alone', () => {
    const scheduler = new Scheduler({
      numBlocks: 12,
      blockSize: 4,
      maxModelLen: 28,
      maxNumBatchedTokens: 8,
      maxNumSeqs: 8,
    });
    // 3 blocks now, 3 more for the copies of the last one; 5 remain, 1 stays in hand.
    scheduler.add(group('a', range(10), { n: 4, maxTokens: 2 }));
    scheduler.add(group('b', range(20, 50), { maxTokens: 1 }));
    expect(advance(scheduler)).toEqual({ a: 8 });
    expect(advance(scheduler)).toEqual({ a: 2 });
    expect(scheduler.numWaiting).toBe(1);
    expect(advance(scheduler)).toEqual({ a: 1, 'a.1': 1, 'a.2': 1, 'a.3': 1 });
    expect(advance(scheduler)).toEqual({ b: 8 });
  });

  test('the head blocks the line on purpose', () => {
    const scheduler = new Scheduler({ numBlocks: 12, blockSize: 4, maxModelLen: 44 });
    scheduler.add(group('a', range(20), { maxTokens: 3 }));
    scheduler.add(group('large', range(30, 50), { maxTokens: 2 }));
    scheduler.add(group('small', [1, 2]));
    expect(advance(scheduler)).toEqual({ a: 20 });
    expect(advance(scheduler)).toEqual({ a: 1 });
    expect(advance(scheduler)).toEqual({ a: 1 });
    expect(advance(scheduler)).toEqual({ large: 30, small: 2 });
  });
});

test('a prompt is counted once as looked up, what is computed again apart', () => {
  const scheduler = new Scheduler({ numBlocks: 11, blockSize: 4, maxModelLen: 32, maxNumSeqs: 4 });
  const a = group('a', range(15), { maxTokens: 12 });
  const b = group('b', [...range(8), ...range(7, 50)], { maxTokens: 12 });
  scheduler.add(a);
  advance(scheduler);
  scheduler.add(b);
  while (b.numPreemptions === 0) advance(scheduler);
  const first = { numPrefixQueries: 15 + 15, numPrefixHits: 8 };
  const none = { numPreemptedQueries: 0, numPreemptedHits: 0 };
  expect(scheduler.stats).toMatchObject({ ...first, ...none });
  const { numTokens } = b.sequences[0];
  expect(numTokens).toBeGreaterThan(15);
  while (scheduler.hasUnfinished) advance(scheduler);
  expect(b.numPreemptions).toBe(1);
  expect(scheduler.stats).toMatchObject({ ...first, numPreemptedQueries: numTokens });
  expect(scheduler.stats.numPreemptedHits).toBeGreaterThan(0);
});
