import { expect, test } from 'vitest';
import { SwapList } from '../../lib/core/swap-list.js';

test('holds pairs, counts those that go and those that come, and is emptied', () => {
  const swaps = new SwapList(1);
  swaps.addOut(5, 0);
  swaps.addOut(7, 2);
  expect([[...swaps.view], swaps.numOuts, swaps.numIns]).toEqual([[5, 0, 7, 2], 2, 0]);
  swaps.clear();
  expect([swaps.length, swaps.numOuts, swaps.numIns]).toEqual([0, 0, 0]);
  swaps.addIn(9, 2);
  expect([[...swaps.view], swaps.numOuts, swaps.numIns]).toEqual([[9, 2], 0, 1]);
});
