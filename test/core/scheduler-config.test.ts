import { describe, expect, test } from 'vitest';
import { schedulerConfig } from '../../lib/core/scheduler-config.js';

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
    ['numBlocks', 2 ** 31],
  ])('%s = %s is refused by name', (param, value) => {
    expect(refused({ [param]: value })).toMatchObject({ code: 'ERR_INVALID_OPTION', param });
  });

  test('the budget must hold a token per sequence, and a whole prompt without chunks', () => {
    expect(refused({ maxNumSeqs: 64, maxNumBatchedTokens: 63 }).param).toBe('maxNumBatchedTokens');
    const whole = { enableChunkedPrefill: false, maxNumBatchedTokens: 999 };
    expect(refused(whole).param).toBe('maxNumBatchedTokens');
    schedulerConfig({ ...base, ...whole, maxNumBatchedTokens: 1000 });
  });
});
