import { describe, expect, it } from 'vitest';
import { Random } from '../../lib/loadgen/random.js';

const DRAWS = 100_000;

/** Mean and variance of many draws. */
function moments(draw: () => number): { mean: number; variance: number } {
  const values = Array.from({ length: DRAWS }, draw);
  const mean = values.reduce((a, b) => a + b, 0) / DRAWS;
  return { mean, variance: values.reduce((a, b) => a + (b - mean) ** 2, 0) / DRAWS };
}

describe('the generator', () => {
  it('gives the same for the same seed, other things for another', () => {
    const draws = (seed: number) => {
      const random = new Random(seed);
      return Array.from({ length: 50 }, () => random.uniform());
    };
    expect(draws(3)).toEqual(draws(3));
    expect(draws(3)).not.toEqual(draws(4));
    expect(new Set([0, 1, 2, 3].map((seed) => new Random(seed).uniform())).size).toBe(4);
  });

  it('is uniform in (0, 1), and normal', () => {
    const random = new Random(1);
    const uniform = moments(() => random.uniform());
    expect(uniform.mean).toBeCloseTo(0.5, 2);
    expect(uniform.variance).toBeCloseTo(1 / 12, 2);
    const normal = moments(() => random.normal());
    expect(Math.abs(normal.mean)).toBeLessThan(0.02);
    expect(Math.abs(normal.variance - 1)).toBeLessThan(0.03);
  });

  it('draws integers of both ends, equally often', () => {
    const random = new Random(2);
    const counts = [0, 0, 0, 0, 0];
    for (let i = 0; i < DRAWS; i++) counts[random.integer(3, 7) - 3]++;
    for (const count of counts) expect(Math.abs(count / DRAWS - 0.2)).toBeLessThan(0.01);
    expect(random.integer(9, 9)).toBe(9);
  });

  it.each([0.2, 0.5, 1, 2.5, 40])(
    'gamma of shape %s has mean 1 and variance 1 / shape',
    (shape) => {
      const random = new Random(5);
      const { mean, variance } = moments(() => random.gamma(shape));
      expect(Math.abs(mean - 1)).toBeLessThan(0.03);
      expect(Math.abs(variance * shape - 1)).toBeLessThan(0.08);
    },
  );

  it('gamma of shape 1 is exponential: quantiles', () => {
    const random = new Random(6);
    const sorted = Float64Array.from({ length: DRAWS }, () => random.gamma(1)).sort();
    for (const p of [0.1, 0.5, 0.9, 0.99]) {
      expect(sorted[Math.floor(p * DRAWS)] / -Math.log(1 - p)).toBeCloseTo(1, 1);
    }
  });

  it('shuffles: a permutation, and any item may come first', () => {
    const random = new Random(8);
    const firsts = new Set<number>();
    for (let i = 0; i < 200; i++) {
      const list = random.shuffle([0, 1, 2, 3, 4]);
      expect(list.toSorted()).toEqual([0, 1, 2, 3, 4]);
      firsts.add(list[0]);
    }
    expect(firsts.size).toBe(5);
  });
});
