import { describe, expect, it } from 'vitest';
import { callOptions } from '../../lib/engine/call-options.js';

const { signal } = new AbortController();
const boom = () => {
  throw new Error('boom');
};

describe('options of a call', () => {
  it('have defaults, and take any signal that is one', () => {
    expect(callOptions({})).toEqual({ priority: 0, useModelDefaults: false });
    const whole = {
      signal,
      requestId: 'x',
      priority: -3,
      timeoutMs: 0.5 + 1,
      useModelDefaults: true,
    };
    expect(callOptions(whole)).toEqual(whole);
    const own = { aborted: false, addEventListener() {}, removeEventListener() {} };
    expect(callOptions({ signal: own }).signal).toBe(own);
    const onOutput = () => {};
    expect(callOptions({ onOutput }, 'batch').onOutput).toBe(onOutput);
    expect(callOptions({ timeoutMs: 2 ** 31 - 1 }).timeoutMs).toBe(2 ** 31 - 1);
    expect(callOptions({ signal: undefined, timeoutMs: undefined })).toMatchObject({ priority: 0 });
  });

  it.each<[unknown, string]>([
    [null, 'options'],
    [[], 'options'],
    ['x', 'options'],
    [new Map(), 'options'],
    [{ timeoutMS: 5 }, 'timeoutMS'],
    [{ abortSignal: signal }, 'abortSignal'],
    [{ unknown: undefined }, 'unknown'],
    [{ onOutput: () => {} }, 'onOutput'],
    [{ signal: null }, 'signal'],
    [{ signal: 5 }, 'signal'],
    [{ signal: {} }, 'signal'],
    [{ signal: new AbortController() }, 'signal'],
    [{ requestId: '' }, 'requestId'],
    [{ requestId: {} }, 'requestId'],
    [{ priority: 0.5 }, 'priority'],
    [{ priority: 2 ** 31 }, 'priority'],
    [{ timeoutMs: 0 }, 'timeoutMs'],
    [{ timeoutMs: Number.NaN }, 'timeoutMs'],
    [{ timeoutMs: 2 ** 31 - 0.5 }, 'timeoutMs'],
    [{ timeoutMs: '5' }, 'timeoutMs'],
    [{ useModelDefaults: 1 }, 'useModelDefaults'],
  ])('%o is refused by name', (options, param) => {
    expect(() => callOptions(options)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_PARAM', param }),
    );
  });

  it('a signal that cannot be looked at is none', () => {
    expect(() => callOptions({ signal: new Proxy({}, { get: boom }) })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_PARAM', param: 'signal' }),
    );
  });

  it('of a batch: onOutput must be a function', () => {
    expect(() => callOptions({ onOutput: true }, 'batch')).toThrow(/onOutput must be a function/);
  });
});
