import { describe, expect, it } from 'vitest';
import { ENGINE_OPTION_NAMES, engineConfig } from '../../lib/config/options.js';

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
    const boom = () => {
      throw new Error('boom');
    };
    const hostile = new Proxy({}, { get: boom, ownKeys: boom, getPrototypeOf: boom });
    const model = Object.defineProperty({}, 'model', { get: boom, enumerable: true });
    const others = [new Map([['model', 'x']]), Promise.resolve({ model: 'x' }), new Date()];
    for (const value of [null, 5, 'x', [], hostile, model, { maxNumSeqs: hostile }, ...others]) {
      expect(() => engineConfig(value as never)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_OPTION' }),
      );
    }
    expect(ENGINE_OPTION_NAMES).toContain('maxNumBatchedTokens');
  });
});
