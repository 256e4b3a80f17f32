import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { EventFeed } from '../../lib/engine/events.js';
import type { EngineEvent } from '../../lib/engine/outputs.js';

const event = (numSteps: number) => ({ numSteps }) as EngineEvent;

const value = async (result: Promise<IteratorResult<EngineEvent, void>>) => {
  const { done, value } = await result;
  return done ? 'done' : value.numSteps;
};

describe('a subscription', () => {
  it('gives the newest event that was not given yet, then waits', async () => {
    const feed = new EventFeed();
    const reader = feed.subscribe();
    expect(feed.isHeard).toBe(false);
    const first = reader.next();
    expect(feed.isHeard).toBe(true);
    feed.publish(event(1));
    expect(await value(first)).toBe(1);
    feed.publish(event(2));
    feed.publish(event(3));
    expect(await value(reader.next())).toBe(3);
    const [a, b] = [reader.next(), reader.next()];
    feed.publish(event(4));
    expect(await value(a)).toBe(4);
    await turn();
    feed.publish(event(5));
    expect(await value(b)).toBe(5);
  });

  it('ends with the feed, after the last event', async () => {
    const feed = new EventFeed();
    const [waits, slow, late] = [feed.subscribe(), feed.subscribe(), feed.subscribe()];
    const [first, second] = [waits.next(), slow.next()];
    feed.publish(event(1));
    expect([await value(first), await value(second)]).toEqual([1, 1]);
    const next = waits.next();
    feed.close();
    expect(await value(next)).toBe('done');
    expect(await value(late.next())).toBe(1);
    expect(await value(late.next())).toBe('done');
    expect(await value(slow.next())).toBe('done');
    expect(feed.isHeard).toBe(false);
  });

  it.each(['return', 'throw'] as const)(
    '%s() ends it at once, also while it waits',
    async (way) => {
      const feed = new EventFeed();
      const reader = feed.subscribe();
      const next = reader.next();
      await turn();
      const left = way === 'return' ? reader.return() : reader.throw(new Error('mine'));
      await left.catch((error) => expect(error.message).toBe('mine'));
      expect(await value(next)).toBe('done');
      expect(await value(reader.next())).toBe('done');
      expect(feed.isHeard).toBe(false);
    },
  );

  it('pauses for its interval, and still ends with the feed', async () => {
    vi.useFakeTimers();
    try {
      const feed = new EventFeed();
      const reader = feed.subscribe({ intervalMs: 1000 });
      const first = reader.next();
      feed.publish(event(1));
      expect(await value(first)).toBe(1);
      const second = reader.next();
      feed.publish(event(2));
      await vi.advanceTimersByTimeAsync(900);
      feed.publish(event(3));
      await vi.advanceTimersByTimeAsync(200);
      expect(await value(second)).toBe(3);
      const third = reader.next();
      feed.publish(event(4));
      feed.close();
      expect(await value(third)).toBe(4);
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it('nobody ends costs nothing after the next event', async () => {
    const feed = new EventFeed();
    const once = vi.spyOn(feed, 'once');
    const waits = Array.from({ length: 500 }, () => feed.subscribe().next());
    await turn();
    expect(once).toHaveBeenCalledTimes(500);
    feed.publish(event(1));
    await Promise.all(waits);
    for (let i = 2; i < 100; i++) feed.publish(event(i));
    await turn();
    expect(once).toHaveBeenCalledTimes(500);
  });

  it.each<[unknown, string]>([
    [{ intervalMs: -1 }, 'intervalMs'],
    [{ intervalMs: Number.NaN }, 'intervalMs'],
    [{ intervalMs: 2 ** 31 - 0.5 }, 'intervalMs'],
    [{ intervalMS: 5 }, 'intervalMS'],
    [{ intervalMs: '5' }, 'intervalMs'],
    [null, 'options'],
    [5, 'options'],
    [new Map(), 'options'],
    [Promise.resolve({}), 'options'],
  ])('%j is refused', async (options, param) => {
    const reader = new EventFeed().subscribe(options as never);
    await expect(reader.next()).rejects.toMatchObject({ code: 'ERR_INVALID_PARAM', param });
    expect(await value(reader.next())).toBe('done');
  });

  it('options that cannot be read are refused', async () => {
    const options = {
      get intervalMs(): number {
        throw new Error('boom');
      },
    };
    const refused = new EventFeed().subscribe(options).next();
    await expect(refused).rejects.toMatchObject({ code: 'ERR_INVALID_PARAM', param: 'options' });
  });
});
