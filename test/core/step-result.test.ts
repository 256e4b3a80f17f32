import { expect, test } from 'vitest';
import { appendTokens, offsetsOf, resultOfTokens } from '../../lib/core/step-result.js';

test('a result of tokens has an entry for each that was drawn in every column', () => {
  const lists = {
    topAt: Int32Array.of(0, 3),
    topTokenIds: Int32Array.of(5, 6, 7),
    topLogprobs: Float64Array.of(-1, -2, -3),
  };
  expect(resultOfTokens([-1, 5, -1], 1, lists)).toEqual({
    tokensAt: Int32Array.of(0, 0, 1, 1),
    tokenIds: Int32Array.of(5),
    logprobs: Float64Array.of(0),
    ranks: Int32Array.of(0),
    promptLogprobs: Float64Array.of(0),
    promptRanks: Int32Array.of(0),
    promptTopAt: Int32Array.of(0, 0),
    ...lists,
  });
  expect(resultOfTokens(Int32Array.of(3)).topTokenIds).toHaveLength(0);
});

test('offsets: each list begins where the one before ends', () => {
  expect([...offsetsOf([2, 0, 3, 99], 3)]).toEqual([0, 2, 2, 5]);
  expect([...offsetsOf([1], 1, 7)]).toEqual([7, 8]);
  expect([...offsetsOf([], 0, 7)]).toEqual([7]);
});

test('tokens behind those that were drawn have no logprobs and no lists', () => {
  const drawn = {
    ...resultOfTokens([5, -1, 7], 1, {
      topAt: Int32Array.of(0, 2, 3),
      topTokenIds: Int32Array.of(5, 6, 7),
      topLogprobs: Float64Array.of(-1, -2, -3),
    }),
    logprobs: Float64Array.of(-0.5, -0.25),
    ranks: Int32Array.of(1, 2),
  };
  const all = appendTokens(drawn, [[], [], [8, 9]]);
  expect([...all.tokensAt]).toEqual([0, 1, 1, 4]);
  expect([...all.tokenIds]).toEqual([5, 7, 8, 9]);
  expect([...all.logprobs]).toEqual([-0.5, -0.25, 0, 0]);
  expect([...all.ranks]).toEqual([1, 2, 0, 0]);
  expect([...all.topAt]).toEqual([0, 2, 3, 3, 3]);
  const first = appendTokens(drawn, [[1], [], []]);
  expect([...first.tokenIds]).toEqual([5, 1, 7]);
  expect([...first.topAt]).toEqual([0, 2, 2, 3]);
  expect(first.topTokenIds).toBe(drawn.topTokenIds);
});
