import { expect, test } from 'vitest';
import { TokenLogprobs } from '../../lib/core/token-logprobs.js';

/** Lists of a step's result that hold 0, 1, 2 …; entry i has two of them from 2 i. */
const lists = {
  topTokenIds: Int32Array.from({ length: 400 }, (_, i) => i),
  topLogprobs: Float64Array.from({ length: 400 }, (_, i) => -i / 2),
};

const entry = (i: number) => ({
  tokenId: 1000 + i,
  logprob: -i,
  rank: i + 1,
  top: [
    { tokenId: 2 * i, logprob: -i },
    { tokenId: 2 * i + 1, logprob: -i - 0.5 },
  ],
});

test('gives any range of what was pushed, whatever came after', () => {
  const logprobs = new TokenLogprobs(2);
  expect(logprobs.list(0, 0)).toEqual([]);
  for (let i = 0; i < 200; i++) {
    logprobs.push(1000 + i, -i, i + 1, lists, 2 * i);
    expect(logprobs.length).toBe(i + 1);
    expect(logprobs.list(i, i + 1)).toEqual([entry(i)]);
  }
  expect(logprobs.list(0, 200)).toEqual(Array.from({ length: 200 }, (_, i) => entry(i)));
  expect(logprobs.list(15, 18)).toEqual([entry(15), entry(16), entry(17)]);
});

test.each([0, -1])('%i: no list beside the tokens', (numTop) => {
  const logprobs = new TokenLogprobs(numTop);
  logprobs.push(7, -1.5, 3, lists, 9);
  expect(logprobs.list(0, 1)).toEqual([{ tokenId: 7, logprob: -1.5, rank: 3, top: [] }]);
});
