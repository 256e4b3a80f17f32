import { expect, test } from 'vitest';
import { Step } from '../../lib/core/step.js';
import { STEP_LAYOUT as L } from '../../lib/wire/layout.js';
import {
  makeMaskSlab,
  makeSamplerSlab,
  updateTables,
  writeSamplerRow,
} from '../../lib/wire/slabs.js';
import { group } from '../support/core.js';

test('a row holds everything that shapes a draw', () => {
  const slab = makeSamplerSlab(3);
  const made = group('a', [1], {
    temperature: 0.7,
    topP: 0.9,
    minP: 0.05,
    topK: 40,
    repetitionPenalty: 1.1,
    frequencyPenalty: 0.2,
    presencePenalty: 0.3,
    logprobs: 5,
    seed: 3 * 2 ** 32 + 9,
  });
  writeSamplerRow(slab, 1, made.params, 0);
  const row = slab.subarray(L.samplerDoubles, 2 * L.samplerDoubles);
  expect([...row]).toEqual([0.7, 0.9, 0.05, 1.1, 0.2, 0.3, 40, 5, 9, 3]);
  expect(slab[0]).toBe(0);
  expect(slab[2 * L.samplerDoubles]).toBe(0);
});

test('sample i draws with seed + i, exactly, also past 2^32 and 2^53', () => {
  const slab = makeSamplerSlab(3);
  const halves = (seed: number) => {
    const { params } = group('a', [1], { n: 3, seed });
    return [0, 1, 2].map((i) => {
      writeSamplerRow(slab, i, params, i);
      const at = i * L.samplerDoubles;
      return [slab[at + L.samplerSeedHigh], slab[at + L.samplerSeedLow]];
    });
  };
  const top = 2 ** 32 - 1;
  expect(halves(5)).toEqual([
    [0, 5],
    [0, 6],
    [0, 7],
  ]);
  expect(halves(2 ** 32 - 2)).toEqual([
    [0, top - 1],
    [0, top],
    [1, 0],
  ]);
  expect(halves(2 ** 53 - 1)).toEqual([
    [2 ** 21 - 1, top],
    [2 ** 21, 0],
    [2 ** 21, 1],
  ]);
});

test('a mask has a bit for each token', () => {
  expect(makeMaskSlab(3, 64)).toHaveLength(3 * 2);
  expect(makeMaskSlab(3, 65)).toHaveLength(3 * 3);
});

test('entries of the tables become what the step says last', () => {
  const slab = Int32Array.of(9, 9, 9, 9);
  const step = new Step(2, 8);
  for (const item of [1, 5, 3, 6, 1, 7]) step.tableChanges.push(item);
  updateTables(slab, step);
  expect([...slab]).toEqual([9, 7, 9, 6]);
});
