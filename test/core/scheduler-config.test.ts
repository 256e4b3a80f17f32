import { describe, expect, test } from 'vitest';
import { leastSizes } from '../../lib/core/recurrent-states.js';
import { allocated, schedulerConfig } from '../../lib/core/scheduler-config.js';

const base = { numBlocks: 100, maxModelLen: 1000 };

function refused(options: object): { code?: string; param?: string } {
  try {
    schedulerConfig({ ...base, ...options });
  } catch (error) {
    return error as { code?: string; param?: string };
  }
  throw new Error('it was accepted');
}

describe('schedulerConfig', () => {
  test('defaults, frozen', () => {
    const config = schedulerConfig(base);
    expect(config).toMatchObject({ blockSize: 16, maxNumSeqs: 256, enableChunkedPrefill: true });
    expect(Object.isFrozen(config)).toBe(true);
  });

  test.each([
    ['numBlocks', 1],
    ['blockSize', 0],
    ['maxNumSeqs', 1.5],
    ['maxNumBatchedTokens', Number.NaN],
    ['maxModelLen', Number.POSITIVE_INFINITY],
    ['maxNumWaiting', 0],
    ['longPrefillThreshold', -1],
    ['longRopeFrom', 0],
    ['numBlocks', 2 ** 30 + 1],
    ['maxNumSeqs', 65_537],
    ['maxModelLen', 2 ** 31],
  ])('%s = %s is refused by name', (param, value) => {
    expect(refused({ [param]: value })).toMatchObject({ code: 'ERR_INVALID_OPTION', param });
  });

  test.each([
    ['none', []],
    ['a negative window', [{ window: -1, blockSize: 16 }]],
    ['blocks finer than the finest', [{ window: 0, blockSize: 8 }]],
    [
      'blocks that are no power of two as large',
      [16, 48].map((blockSize) => ({ window: 0, blockSize })),
    ],
    ['only coarse blocks', [{ window: 0, blockSize: 32 }]],
    ['too many', Array(256).fill({ window: 0, blockSize: 16 })],
  ])('groups: %s are refused by name', (_, groups) => {
    expect(refused({ groups })).toMatchObject({ code: 'ERR_INVALID_OPTION', param: 'groups' });
  });

  test('without groups there is one, which keeps all tokens', () => {
    const { groups } = schedulerConfig({ ...base, blockSize: 8 });
    expect(groups).toEqual([{ window: 0, blockSize: 8 }]);
  });

  test('the budget must hold a token per sequence, and a whole prompt without chunks', () => {
    expect(refused({ maxNumSeqs: 64, maxNumBatchedTokens: 63 }).param).toBe('maxNumBatchedTokens');
    const whole = { enableChunkedPrefill: false, maxNumBatchedTokens: 999 };
    expect(refused(whole).param).toBe('maxNumBatchedTokens');
    schedulerConfig({ ...base, ...whole, maxNumBatchedTokens: 1000 });
  });

  test('recurrent layers have states and records for all that run', () => {
    const recurrent = { ...leastSizes(5), interval: 2048 };
    expect(recurrent).toMatchObject({ numSlots: 9, numRecords: 80 });
    schedulerConfig({ ...base, maxNumSeqs: 5, recurrent });
    for (const less of [{ numSlots: 8 }, { numRecords: 79 }, { interval: 0 }, { numSlots: 9.5 }]) {
      const options = { maxNumSeqs: 5, recurrent: { ...recurrent, ...less } };
      expect(refused(options)).toMatchObject({ code: 'ERR_INVALID_OPTION', param: 'recurrent' });
    }
  });

  test('block tables have at most 2^30 entries', () => {
    const wide = { maxNumSeqs: 65_536, maxNumBatchedTokens: 65_536, maxModelLen: 2 ** 20 };
    expect(refused({ ...wide, blockSize: 8 })).toMatchObject({
      code: 'ERR_INVALID_OPTION',
      param: 'maxNumSeqs',
    });
    schedulerConfig({ ...base, ...wide, blockSize: 64 });
    const groups = [64, 64].map((blockSize) => ({ window: 0, blockSize }));
    expect(refused({ ...wide, blockSize: 64, groups }).param).toBe('maxNumSeqs');
  });
});

test('what cannot be allocated is an error that names the sizes; others pass', () => {
  const config = schedulerConfig(base);
  expect(allocated(config, () => 5)).toBe(5);
  const tooMany = () => allocated(config, () => new Int32Array(2 ** 53 - 1));
  expect(tooMany).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }));
  expect(tooMany).toThrow(/1000 tokens/);
  const broken = () =>
    allocated(config, () => {
      throw new TypeError('another mistake');
    });
  expect(broken).toThrow(/^another mistake$/);
});
