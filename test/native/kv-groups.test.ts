/** KV groups on the native side: what a load and a step say of them is checked, and changes no bit. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { PlannedGroup } from '../../lib/core/kv-groups.js';
import { STEP_LAYOUT as L } from '../../lib/wire/layout.js';
import { ROOT } from '../support/addon.js';
import { RawModel } from '../support/goldens.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';

/** Four layers; that with number 2 sees all, the others 20 tokens. */
const PATH = join(ROOT, 'test/fixtures/models/gemma3');
const VOCAB = 320;
const FULL: PlannedGroup = { window: 0, blockSize: 8, layers: [2] };
const WINDOW: PlannedGroup = { window: 20, blockSize: 16, layers: [3, 0, 1] };

const open = (groups: readonly PlannedGroup[], device = {}) =>
  RawModel.open(PATH, { blockSize: 8, groups, device });

describe('groups of a load', () => {
  const { window, blockSize } = WINDOW;
  it.each<[string, readonly PlannedGroup[]]>([
    ['no group', []],
    ['33 groups', Array.from({ length: 33 }, () => FULL)],
    ['a layer left out', [FULL, { window, blockSize, layers: [0, 1] }]],
    ['a layer twice', [FULL, { window, blockSize, layers: [0, 1, 3, 3] }]],
    ['a layer in two groups', [FULL, { window, blockSize, layers: [0, 1, 2, 3] }]],
    ['a layer that is not there', [FULL, { window, blockSize, layers: [0, 1, 3, 4] }]],
    ['a layer of no number', [FULL, { window, blockSize, layers: [0, 1, Number.NaN] }]],
    ['a window shorter than a layer’s', [FULL, { ...WINDOW, window: 19 }]],
    ['a window for a layer that sees all', [{ ...FULL, window: 500 }, WINDOW]],
    ['a chunk for layers with a window', [FULL, { ...WINDOW, chunked: true }]],
    ['a flag that is none', [FULL, { ...WINDOW, chunked: 1 as unknown as boolean }]],
    ['blocks finer than the finest', [{ ...FULL, blockSize: 4 }, WINDOW]],
    ['blocks of three times the finest', [FULL, { ...WINDOW, blockSize: 24 }]],
    ['blocks of more than 256', [FULL, { ...WINDOW, blockSize: 512 }]],
  ])('with %s are refused', async (_, groups) => {
    await expect(open(groups)).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
  });
});

describe('groups', () => {
  const rng = random(SEED);
  const ids = Array.from({ length: 70 }, () => rng.integer(VOCAB));
  const last = [5, 40, 69];

  /** Of three steps that each leave behind what their windows do not reach. */
  async function slidLogits(groups: readonly PlannedGroup[], device = {}) {
    const model = await open(groups, device);
    try {
      const rows = [];
      for (const [begin, end] of [
        [0, 33],
        [33, 60],
        [60, 70],
      ]) {
        let at = 0;
        for (const group of groups) {
          const slid = group.window === 0 ? 0 : (begin - group.window + 1) / group.blockSize;
          for (let i = 0; i + 1 <= slid; i++) model.tables[at + i] = 0;
          at += 512 / group.blockSize;
        }
        const here = last.filter((p) => p >= begin && p < end);
        const words = model.encode(ids, begin, end, here);
        const { executor, tables, samplers } = model;
        rows.push((await executor.step(words, tables, samplers, undefined, true)).logits!);
      }
      return rows;
    } finally {
      await model.close();
    }
  }

  const ONE: readonly PlannedGroup[] = [{ window: 0, blockSize: 8, layers: [0, 1, 2, 3] }];
  const others: readonly (readonly [string, readonly PlannedGroup[]])[] = [
    ['two', [FULL, WINDOW]],
    [
      'two, the window first',
      [
        { ...WINDOW, blockSize: 8 },
        { ...FULL, blockSize: 128 },
      ],
    ],
    ['a group for each layer', [0, 1, 2, 3].map((i) => ({ ...FULL, layers: [i] }))],
    [
      'windows in groups of their own',
      [
        { window: 20, blockSize: 8, layers: [1] },
        { window: 25, blockSize: 32, layers: [0] },
        { window: 0, blockSize: 64, layers: [2, 3] },
      ],
    ],
  ];

  it.each(others)('have the bits of one: %s', async (_, groups) => {
    expect(await slidLogits(groups)).toEqual(await slidLogits(ONE));
  });

  it.each(others.slice(0, 2))('through the CUDA sources: %s', async (_, groups) => {
    const device = { index: 0 };
    expect(await slidLogits(groups, device)).toEqual(await slidLogits(ONE, device));
  });
});

describe('a step of two groups', () => {
  const ids = Array.from({ length: 64 }, (_, i) => i);
  const tableOf = (g: number) => (g === 0 ? 0 : 512 / FULL.blockSize);

  /** The outcome of computing tokens 50 to 63 after `spoil`. */
  async function outcome(spoil: (words: Int32Array, tables: Int32Array) => void) {
    const model = await open([FULL, WINDOW]);
    try {
      await model.logits(ids.slice(0, 50), []);
      const words = model.encode(ids, 50, 64, [63]);
      spoil(words, model.tables);
      return await model.executor.step(words, model.tables, model.samplers).then(
        () => 'ok',
        (error) => error.code as string,
      );
    } finally {
      await model.close();
    }
  }

  it.each<[string, string, (words: Int32Array, tables: Int32Array) => void]>([
    ['as it is', 'ok', () => {}],
    // Token 50 sees 31 to 50: the first block of 16 is gone, the second is not.
    [
      'the null block where the window is past',
      'ok',
      (_, t) => t.fill(0, tableOf(1), tableOf(1) + 1),
    ],
    [
      'one where it is not',
      'ERR_INVALID_STEP',
      (_, t) => t.fill(0, tableOf(1) + 1, tableOf(1) + 2),
    ],
    ['one where all is seen', 'ERR_INVALID_STEP', (_, t) => t.fill(0, 0, 1)],
    [
      'a block that is not there',
      'ERR_INVALID_STEP',
      (_, t) => t.fill(1e6, tableOf(1) + 2, tableOf(1) + 3),
    ],
    ['a negative block', 'ERR_INVALID_STEP', (_, t) => t.fill(-1, tableOf(1) + 3, tableOf(1) + 4)],
    ['ids past what counts', 'ok', (_, t) => t.fill(-1, tableOf(1) + 4)],
    [
      'another number of groups',
      'ERR_INVALID_STEP',
      (w) => w.fill(1, L.headerNumGroups, L.headerNumGroups + 1),
    ],
    ...[0, 1].flatMap((g): [string, string, (words: Int32Array) => void][] => {
      const set = (count: number) => (w: Int32Array) => {
        w[w[L.headerSeqsAt] + L.seqNumBlocks + g] = count;
      };
      const [used, most] = [64 / [FULL, WINDOW][g].blockSize, 512 / [FULL, WINDOW][g].blockSize];
      return [
        [`a short table of group ${g}`, 'ERR_INVALID_STEP', set(used - 1)],
        [`a table of group ${g} longer than its row`, 'ERR_INVALID_STEP', set(most + 1)],
        [`no table of group ${g}`, 'ERR_INVALID_STEP', set(-1)],
      ];
    }),
  ])('with %s: %s', async (_, expected, spoil) => {
    expect(await outcome(spoil)).toBe(expected);
  });

  it('may copy as many blocks as there are sequences and groups', async () => {
    // The ids of its tokens serve as pairs: 2 → 3, 4 → 5, 6 → 7.
    const withPairs = (n: number) =>
      outcome((words) => {
        words[L.headerNumCopies] = n;
        words[L.headerCopiesAt] = words[L.headerTokensAt];
        words.set([2, 3, 4, 5, 6, 7], words[L.headerTokensAt]);
      });
    expect(await withPairs(2)).toBe('ok');
    expect(await withPairs(3)).toBe('ERR_INVALID_STEP');
  });
});
