import { expect, it } from 'vitest';
import { DURATION_BOUNDS_MS, Durations, quantileMs } from '../../lib/engine/durations.js';

it('counts a duration under the first bound that it does not pass', () => {
  for (const [i, bound] of DURATION_BOUNDS_MS.entries()) {
    const durations = new Durations();
    durations.add(bound);
    durations.add(bound * 1.001);
    const counts = durations.counts.flatMap((count, at) => (count > 0 ? [[at, count]] : []));
    expect(counts).toEqual([
      [i, 1],
      [i + 1, 1],
    ]);
  }
  const ends = new Durations();
  for (const ms of [0, 1e-9, 1e12]) ends.add(ms);
  expect([ends.counts[0], ends.counts.at(-1)]).toEqual([2, 1]);
});

it('tells quantiles to within a half octave', () => {
  const durations = new Durations();
  expect(quantileMs(durations.counts, 0.5)).toBeNull();
  for (let ms = 1; ms <= 1000; ms++) durations.add(ms);
  for (const part of [0.01, 0.5, 0.95, 0.99, 1]) {
    const told = quantileMs(durations.counts, part)!;
    expect(told / (1000 * part)).toBeGreaterThan(Math.SQRT1_2);
    expect(told / (1000 * part)).toBeLessThan(Math.SQRT2 + 1e-9);
  }
});
