import { describe, expect, it } from 'vitest';
import { arrivalTimes } from '../../lib/loadgen/arrivals.js';
import { Random } from '../../lib/loadgen/random.js';

const COUNT = 50_000;

function intervals(requestRate: number, burstiness: number, seed = 1): number[] {
  const times = arrivalTimes(COUNT, { requestRate, burstiness }, new Random(seed));
  return Array.from(times, (time, i) => time - (i === 0 ? 0 : times[i - 1]));
}

describe('arrivals', () => {
  it.each([
    [4, 1],
    [0.5, 0.3],
    [100, 5],
  ])('at rate %s and burstiness %s have their mean and variance', (rate, burstiness) => {
    const gaps = intervals(rate, burstiness);
    const mean = gaps.reduce((a, b) => a + b, 0) / COUNT;
    const variance = gaps.reduce((a, b) => a + (b - mean) ** 2, 0) / COUNT;
    expect(mean * rate).toBeCloseTo(1, 9); // The last one falls on count / rate.
    expect(Math.abs(variance * rate * rate * burstiness - 1)).toBeLessThan(0.1);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0);
  });

  it('neighbouring intervals of a Poisson process know nothing of each other', () => {
    const gaps = intervals(1, 1, 9);
    let product = 0;
    for (let i = 1; i < COUNT; i++) product += (gaps[i] - 1) * (gaps[i - 1] - 1);
    expect(Math.abs(product / COUNT)).toBeLessThan(0.03);
  });

  it('of infinite rate come at once, of infinite burstiness evenly', () => {
    const at = (requestRate: number, burstiness: number) =>
      Array.from(arrivalTimes(4, { requestRate, burstiness }, new Random(1)));
    expect(at(Infinity, 1)).toEqual([0, 0, 0, 0]);
    expect(at(2, Infinity)).toEqual([0.5, 1, 1.5, 2]);
  });

  it('of bursts too extreme for a double come in two, and the last in time', () => {
    const gaps = new Set<number>();
    for (const burstiness of [1e-5, 1e-9, 1e-300, 5e-324]) {
      for (let seed = 0; seed < 20; seed++) {
        const traffic = { requestRate: 10, burstiness };
        const times = Array.from(arrivalTimes(5, traffic, new Random(seed)));
        const [first] = times.filter((time) => time > 0);
        for (const time of times) expect([0, 0.5]).toContain(+time.toFixed(9));
        expect(times.at(-1)).toBeCloseTo(0.5, 9);
        expect(times).toEqual(times.toSorted((a, b) => a - b));
        gaps.add(times.indexOf(first));
      }
    }
    expect(gaps).toEqual(new Set([0, 1, 2, 3, 4]));
    expect(Array.from(arrivalTimes(0, { requestRate: 1, burstiness: 1 }, new Random(1)))).toEqual(
      [],
    );
  });

  it.each(['linear', 'exponential'] as const)('of a rate that grows: %s', (strategy) => {
    const rampUp = { strategy, startRps: 2, endRps: 32 };
    const traffic = { requestRate: Infinity, burstiness: Infinity, rampUp };
    const times = Array.from(arrivalTimes(5, traffic, new Random(1)));
    const gaps = times.map((time, i) => time - (times[i - 1] ?? 0));
    const rates = strategy === 'linear' ? [2, 9.5, 17, 24.5, 32] : [2, 4, 8, 16, 32];
    for (const [i, rate] of rates.entries()) expect(gaps[i] * rate).toBeCloseTo(1, 9);
    // Random ones have the same mean at each rate, and only one request has no way to go.
    const poisson = { ...traffic, burstiness: 1 };
    const many = arrivalTimes(COUNT, poisson, new Random(2));
    const even = arrivalTimes(COUNT, traffic, new Random(2));
    for (const at of [0.25, 0.5, 1]) {
      const i = Math.ceil(COUNT * at) - 1;
      expect(Math.abs(many[i] / even[i] - 1)).toBeLessThan(0.05);
    }
    expect(Array.from(arrivalTimes(1, traffic, new Random(1)))).toEqual([0.5]);
  });

  it('the seed decides', () => {
    expect(intervals(1, 1, 2)).toEqual(intervals(1, 1, 2));
    expect(intervals(1, 1, 2)).not.toEqual(intervals(1, 1, 3));
  });
});
