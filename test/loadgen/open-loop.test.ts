import { describe, expect, it } from 'vitest';
import { type Loop, runOpenLoop } from '../../lib/loadgen/open-loop.js';

/** A clock that a test moves, its timers, and requests that end when told to. */
function world(arrivals: number[], maxConcurrency = Infinity, signal?: AbortSignal) {
  let now = 10;
  let timer: { at: number; callback: () => void } | null = null;
  const sent: [index: number, at: number][] = [];
  const ends = new Map<number, () => void>();
  const loop: Loop = {
    arrivals: Float64Array.from(arrivals),
    maxConcurrency,
    signal,
    clock: () => now,
    send: (index) => {
      sent.push([index, now - 10]);
      return new Promise((resolve) => ends.set(index, resolve));
    },
    setTimer: (callback, ms) => {
      const own = { at: now + ms / 1000, callback };
      timer = own;
      return () => {
        if (timer === own) timer = null;
      };
    },
  };
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return {
    result: runOpenLoop(loop),
    sent,
    hasTimer: () => timer !== null,
    async advance(to: number) {
      while (timer && timer.at <= 10 + to + 1e-9) {
        const { at, callback } = timer;
        timer = null;
        now = Math.max(now, at + 1e-9);
        callback();
      }
      now = Math.max(now, 10 + to);
      await settle();
    },
    async end(index: number) {
      ends.get(index)!();
      await settle();
    },
  };
}

const rounded = (sent: [number, number][]) => sent.map(([i, at]) => [i, Number(at.toFixed(6))]);

describe('the open loop', () => {
  it('sends at the times of arrival, whatever runs', async () => {
    const w = world([0, 0.5, 0.5, 2]);
    expect(rounded(w.sent)).toEqual([[0, 0]]);
    await w.advance(1);
    expect(rounded(w.sent)).toEqual([
      [0, 0],
      [1, 0.5],
      [2, 0.5],
    ]);
    await w.advance(3);
    expect(rounded(w.sent).at(-1)).toEqual([3, 2]);
    for (const index of [2, 0, 3, 1]) await w.end(index);
    const { start, end } = await w.result;
    expect([start, end]).toEqual([10, 13]);
  });

  it('holds back what is too much, in order of arrival', async () => {
    const w = world([0, 0, 0, 1], 2);
    expect(w.sent.map(([i]) => i)).toEqual([0, 1]);
    await w.advance(1.5);
    expect(w.sent).toHaveLength(2);
    await w.end(1);
    expect(rounded(w.sent).at(-1)).toEqual([2, 1.5]);
    await w.end(0);
    expect(w.sent.at(-1)![0]).toBe(3);
    await w.end(2);
    await w.end(3);
    expect(await w.result).toBeDefined();
  });

  it('sends nothing after it is aborted, and ends when what runs has', async () => {
    const abort = new AbortController();
    const w = world([0, 0, 5], 1, abort.signal);
    expect(w.hasTimer()).toBe(true);
    abort.abort();
    expect(w.hasTimer()).toBe(false);
    await w.advance(9);
    await w.end(0);
    expect(w.sent.map(([i]) => i)).toEqual([0]);
    expect((await w.result).end).toBe(19);
  });
});
