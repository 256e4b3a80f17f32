import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Deadline } from '../../lib/engine/deadline.js';

const numListeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('a signal', () => {
  it('has one listener, however many calls share it, and none when they have ended', () => {
    const controller = new AbortController();
    const { signal } = controller;
    const deadlines = Array.from({ length: 40 }, () => new Deadline({ signal }));
    expect(numListeners(signal)).toBe(1);
    deadlines[0].clear();
    deadlines[0].clear();
    expect(numListeners(signal)).toBe(1);
    const ended: number[] = [];
    for (const [i, deadline] of deadlines.entries()) deadline.onEnd(() => ended.push(i));
    controller.abort();
    expect(ended).toHaveLength(39);
    expect(numListeners(signal)).toBe(0);
  });

  it('is listened to anew after all have ended', () => {
    const controller = new AbortController();
    const { signal } = controller;
    new Deadline({ signal }).clear();
    expect(numListeners(signal)).toBe(0);
    const deadline = new Deadline({ signal });
    controller.abort('why');
    expect(() => deadline.check()).toThrow(
      expect.objectContaining({ code: 'ERR_ABORTED', name: 'AbortError', cause: 'why' }),
    );
  });

  it('that has aborted already counts', async () => {
    const deadline = new Deadline({ signal: AbortSignal.abort(), timeoutMs: 5 });
    expect(() => deadline.check()).toThrow(/was aborted/);
    await expect(deadline.race(new Promise(() => {}))).rejects.toThrow(/was aborted/);
    const ends: Error[] = [];
    deadline.onEnd((error) => ends.push(error));
    expect(ends).toEqual([expect.objectContaining({ code: 'ERR_ABORTED' })]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("a signal that is not the platform's", () => {
  const never = () => {};
  const fails = () => {
    throw new Error('own');
  };

  it('and takes no listener is refused', () => {
    const signal = { aborted: false, addEventListener: fails, removeEventListener: never };
    expect(() => new Deadline({ signal: signal as unknown as AbortSignal })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_PARAM', param: 'signal' }),
    );
  });

  it('and gives none back harms nobody', () => {
    const signal = { aborted: false, addEventListener: never, removeEventListener: fails };
    new Deadline({ signal: signal as unknown as AbortSignal }).clear();
  });
});

describe('a timeout', () => {
  it('ends the call, once', () => {
    const deadline = new Deadline({ timeoutMs: 100 });
    const ends: unknown[] = [];
    deadline.onEnd((error) => ends.push(error));
    deadline.onEnd(() => ends.push('off'))();
    vi.advanceTimersByTime(99);
    deadline.check();
    vi.advanceTimersByTime(1);
    deadline.end(new Error('too late'));
    expect(ends).toEqual([expect.objectContaining({ code: 'ERR_TIMEOUT' })]);
    expect(() => deadline.check()).toThrow(/within 100 ms/);
  });

  it('is taken off when the call has ended', () => {
    const deadline = new Deadline({ timeoutMs: 100 });
    expect(vi.getTimerCount()).toBe(1);
    deadline.clear();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('race', () => {
  it('gives what comes first, and keeps no listener', async () => {
    const deadline = new Deadline({ timeoutMs: 100 });
    expect(await deadline.race(Promise.resolve(5))).toBe(5);
    await expect(deadline.race(Promise.reject(new Error('own')))).rejects.toThrow('own');
    const late = expect(deadline.race(new Promise(() => {}))).rejects.toThrow(/within 100 ms/);
    vi.advanceTimersByTime(100);
    await late;
  });
});
