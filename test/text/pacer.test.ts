import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Pacer } from '../../lib/text/pacer.js';

/** A clock that only the test moves, in ms. */
let now = 0;
beforeEach(() => {
  now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
});
afterEach(() => {
  vi.restoreAllMocks();
});

it('looks at the clock as often as it is told', () => {
  const [each, second] = [new Pacer(1), new Pacer(2)];
  now = 3.5;
  expect([each.due(), second.due(), second.due()]).toEqual([true, false, true]);
});

it('gives the event loop a turn every 3 ms, to within 256 rounds of work', async () => {
  const pacer = new Pacer();
  let turns = 0;
  let others = 0;
  for (let round = 0; round < 60_000; round++) {
    now += 0.001;
    if (!pacer.due()) continue;
    turns++;
    setImmediate(() => others++);
    await pacer.turn();
  }
  expect(turns).toBe(Math.floor(60 / (256 * 0.001 * Math.ceil(3 / 0.256))));
  expect(others).toBe(turns);
});

it('is not due before its time, and looks at the clock seldom', () => {
  const pacer = new Pacer();
  const looks = vi.mocked(performance.now).mock.calls.length;
  now = 3;
  for (let i = 0; i < 2560; i++) expect(pacer.due()).toBe(false);
  expect(vi.mocked(performance.now).mock.calls.length - looks).toBe(10);
});
