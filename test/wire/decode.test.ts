import { expect, test } from 'vitest';
import { Scheduler } from '../../lib/core/scheduler.js';
import { decodeResult } from '../../lib/wire/decode.js';
import { group, range } from '../support/core.js';

/** Three samples with lists of 2, 0 and 1, two prompt rows with lists of 1. */
function makeStep() {
  const scheduler = new Scheduler({ numBlocks: 50, maxModelLen: 40, maxNumSeqs: 4 });
  scheduler.add(group('a', [1, 2, 3], { logprobs: 2, promptLogprobs: 1 }));
  scheduler.add(group('b', [4]));
  scheduler.add(group('c', [5], { logprobs: 1 }));
  return scheduler.schedule()!;
}

const raw = (tokens: readonly number[]) => ({
  tokenIds: Int32Array.from(tokens),
  logprobs: Float64Array.of(-1, -2, -3),
  ranks: Int32Array.of(1, 2, 3),
  promptLogprobs: Float64Array.of(-4, -5),
  promptRanks: Int32Array.of(4, 5),
  topTokenIds: Int32Array.from(range(5, 10)),
  topLogprobs: Float64Array.from(range(5), (i) => -i),
  computeMs: 3,
});

test('each sample and each prompt row gets its own', () => {
  const given = raw([7, 8, 9]);
  const { computeMs: _, ...lists } = given;
  const result = decodeResult(makeStep(), given);
  expect(result).toEqual({
    ...lists,
    tokensAt: Int32Array.of(0, 1, 2, 3),
    topAt: Int32Array.of(0, 2, 2, 3),
    promptTopAt: Int32Array.of(3, 4, 5),
  });
  expect(result.topTokenIds).toBe(given.topTokenIds);
});

test('a sample that drew nothing has no token, and its list is gone', () => {
  expect(decodeResult(makeStep(), raw([-1, 8, 9]))).toEqual({
    tokensAt: Int32Array.of(0, 0, 1, 2),
    tokenIds: Int32Array.of(8, 9),
    logprobs: Float64Array.of(-2, -3),
    ranks: Int32Array.of(2, 3),
    promptLogprobs: Float64Array.of(-4, -5),
    promptRanks: Int32Array.of(4, 5),
    topAt: Int32Array.of(0, 0, 1),
    promptTopAt: Int32Array.of(1, 2, 3),
    topTokenIds: Int32Array.of(12, 13, 14),
    topLogprobs: Float64Array.of(-2, -3, -4),
  });
  expect([...decodeResult(makeStep(), raw([-1, -1, -1])).topTokenIds]).toEqual([13, 14]);
});

test('a result that is not of this step is refused', () => {
  for (const [name, column] of Object.entries(raw([7, 8, 9]))) {
    if (typeof column === 'number') continue;
    for (const other of [undefined, column.subarray(1)]) {
      const spoilt = { ...raw([7, 8, 9]), [name]: other };
      expect(() => decodeResult(makeStep(), spoilt)).toThrow(/another length/);
    }
  }
});
