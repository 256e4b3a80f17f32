import { describe, expect, it } from 'vitest';
import { ENGINE_OPTION_NAMES, engineConfig, engineSizes } from '../lib/config.js';

const KV = 1024; // bytes per token

describe('engine options', () => {
  it('have defaults and are frozen', () => {
    const config = engineConfig();
    expect(config).toMatchObject({ blockSize: 16, enablePrefixCaching: true, device: 'auto' });
    expect(Object.isFrozen(config)).toBe(true);
    expect(config.numThreads).toBeGreaterThan(0);
    expect(engineConfig({ maxModelLen: undefined }).maxModelLen).toBeUndefined();
  });

  it.each([
    ['blockSize', 12],
    ['maxNumSeqs', 0],
    ['maxModelLen', Number.NaN],
    ['maxModelLen', 1.5],
    ['kvCacheMemoryBytes', -1],
    ['numGpuBlocksOverride', 1],
    ['enablePrefixCaching', 'yes'],
    ['device', 'gpu'],
    ['isa', 'sse'],
    ['numThreads', Number.POSITIVE_INFINITY],
    ['model', ''],
    ['noSuchThing', 1],
  ])('%s = %s is refused by name', (name, value) => {
    const call = () => engineConfig({ [name]: value });
    expect(call).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', param: name }));
    expect(call).toThrow(name);
  });

  it('must be an object', () => {
    for (const value of [null, 5, 'x', []]) {
      expect(() => engineConfig(value as never)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_OPTION' }),
      );
    }
    expect(ENGINE_OPTION_NAMES).toContain('maxNumBatchedTokens');
  });
});

describe('sizes', () => {
  it('follow the options', () => {
    const config = engineConfig({ kvCacheMemoryBytes: 100 * 16 * KV, maxModelLen: 512 });
    expect(engineSizes(config, KV, 2048)).toEqual({
      numBlocks: 100,
      maxModelLen: 512,
      maxNumSeqs: 256,
      maxNumBatchedTokens: 256,
      blocksPerRow: 32,
      numHostBlocks: 99,
    });
  });

  it('give the swap space what was asked, by default no more than helps', () => {
    const block = 16 * KV;
    const host = (options: object, place = {}) =>
      engineSizes(engineConfig({ maxModelLen: 512, ...options }), KV, 2048, place).numHostBlocks;
    const pool = { kvCacheMemoryBytes: 100 * block };
    expect(host({ ...pool, swapSpace: (7 * block) / 2 ** 30 })).toBe(7);
    expect(host({ ...pool, swapSpace: 0 })).toBe(0);
    expect(host({ ...pool, preemptionPolicy: 'recompute', swapSpace: 1 })).toBe(0);
    expect(host({ ...pool, maxNumSeqs: 1 }, { onDevice: true })).toBe(32);
    expect(host({}, { onDevice: true })).toBeLessThanOrEqual((4 * 2 ** 30) / block);
    expect(() => engineConfig({ swapSpace: -1 })).toThrow(/swapSpace/);
    expect(() => engineConfig({ preemptionPolicy: 'drop' as never })).toThrow(/preemptionPolicy/);
    expect(() => engineConfig({ schedulingPolicy: 'lifo' as never })).toThrow(/schedulingPolicy/);
  });

  it('take no more than can be used, nor more than there is', () => {
    const config = engineConfig({ maxNumSeqs: 2, maxModelLen: 100 });
    expect(engineSizes(config, KV, 2048).numBlocks).toBe(2 * 7 + 1);
    const { numBlocks, maxModelLen } = engineSizes(engineConfig(), 2 ** 20, 2 ** 20);
    expect(numBlocks).toBeLessThanOrEqual((4 * 2 ** 30) / (16 * 2 ** 20));
    expect(maxModelLen).toBe((numBlocks - 1) * 16);
  });

  it('say how long a context would fit', () => {
    const config = engineConfig({ numGpuBlocksOverride: 5, maxModelLen: 65 });
    expect(() => engineSizes(config, KV, 2048)).toThrow(/at most 64/);
    expect(engineSizes(engineConfig({ numGpuBlocksOverride: 5 }), KV, 2048).maxModelLen).toBe(64);
    expect(() => engineSizes(engineConfig({ maxModelLen: 4096 }), KV, 2048)).toThrow(/2048/);
  });

  it('keep budget and sequences together', () => {
    const small = engineConfig({ maxNumBatchedTokens: 7 });
    expect(engineSizes(small, KV, 64)).toMatchObject({ maxNumSeqs: 7, maxNumBatchedTokens: 7 });
    const many = engineConfig({ maxNumSeqs: 1000 });
    expect(engineSizes(many, KV, 64)).toMatchObject({ maxNumBatchedTokens: 1000 });
    const whole = engineConfig({ enableChunkedPrefill: false });
    expect(engineSizes(whole, KV, 2048).maxNumBatchedTokens).toBe(2048);
    const never = engineConfig({ enableChunkedPrefill: false, maxNumBatchedTokens: 100 });
    expect(() => engineSizes(never, KV, 2048)).toThrow(/chunked prefill/);
  });
});
