import { describe, expect, it } from 'vitest';
import {
  attentionFactor,
  inverseFrequencies,
  longRopeFrom,
  type Rope,
  ropeTable,
  scaledLength,
  yarnMscale,
} from '../../lib/model/rope.js';

const at = (i: number, size: number, theta: number) => 1 / theta ** ((2 * i) / size);
const close = (ours: Float32Array, theirs: number[]) => {
  expect(ours).toHaveLength(theirs.length);
  theirs.forEach((x, i) => {
    expect(Math.abs(ours[i] - x) / x).toBeLessThan(1e-6);
  });
};
const dims = (size: number) => Array.from({ length: size / 2 }, (_, i) => i);

describe('inverse frequencies', () => {
  it('are powers of theta', () => {
    const rope: Rope = { size: 64, theta: 10_000, scaling: { type: 'default' } };
    close(
      inverseFrequencies(rope),
      dims(64).map((i) => at(i, 64, 10_000)),
    );
    expect(attentionFactor(rope)).toBe(1);
  });

  it('linear: positions are divided', () => {
    const rope: Rope = { size: 32, theta: 500, scaling: { type: 'linear', factor: 4 } };
    close(
      inverseFrequencies(rope),
      dims(32).map((i) => at(i, 32, 500) / 4),
    );
  });

  it('proportional: some pairs turn as they would among all, the others stand still', () => {
    const scaling = { type: 'proportional', factor: 2, numPairs: 3 } as const;
    expect([...inverseFrequencies({ size: 32, theta: 500, scaling })]).toEqual(
      dims(32).map((i) => (i < 3 ? Math.fround(at(i, 32, 500) / 2) : 0)),
    );
  });

  it('llama3: by wavelength (numbers of Llama 3.1 worked out by hand)', () => {
    const scaling = {
      type: 'llama3',
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxLen: 8192,
    } as const;
    const ours = inverseFrequencies({ size: 128, theta: 500_000, scaling });
    const expected = dims(128).map((i) => {
      const f = at(i, 128, 500_000);
      const turns = (8192 * f) / (2 * Math.PI); // rotations within the old context
      if (turns > 4) return f;
      if (turns < 1) return f / 8;
      const blend = (turns - 1) / 3;
      return f * blend + (f / 8) * (1 - blend);
    });
    close(ours, expected);
    expect(ours[0]).toBe(1);
    expect(ours[63]).toBeCloseTo(at(63, 128, 500_000) / 8, 12);
  });

  // As Llama 4 Scout has it; the border itself, hit exactly, is kept.
  it('llama3: where both factors are one, nothing lies between', () => {
    const scaling = { type: 'llama3', factor: 16, lowFreqFactor: 1, highFreqFactor: 1 } as const;
    const angles = (originalMaxLen: number) => [
      ...inverseFrequencies({ size: 8, theta: 1e4, scaling: { ...scaling, originalMaxLen } }),
    ];
    const plain = [...inverseFrequencies({ size: 8, theta: 1e4, scaling: { type: 'default' } })];
    expect(angles(100)).toEqual(
      [plain[0], plain[1], plain[2] / 16, plain[3] / 16].map(Math.fround),
    );
    const exact = (2 * Math.PI) / 1e4 ** (-2 / 8);
    expect(angles(exact).slice(0, 2)).toEqual(plain.slice(0, 2));
  });

  it('yarn: a ramp between kept and stretched dimensions', () => {
    const scaling = {
      type: 'yarn',
      factor: 4,
      originalMaxLen: 4096,
      betaFast: 32,
      betaSlow: 1,
      attentionFactor: 1.25,
      truncate: true,
    } as const;
    const rope: Rope = { size: 128, theta: 10_000, scaling };
    const ours = inverseFrequencies(rope);
    // 32 rotations end at dimension 20.9…, one at 45.0…: the ramp runs from 20 to 46.
    const expected = dims(128).map((i) => {
      const f = at(i, 128, 10_000);
      const ramp = Math.min(1, Math.max(0, (i - 20) / 26));
      return f * (1 - ramp) + (f / 4) * ramp;
    });
    close(ours, expected);
    expect(attentionFactor(rope)).toBe(1.25);
    const smooth = inverseFrequencies({ ...rope, scaling: { ...scaling, truncate: false } });
    expect(smooth[21]).not.toBe(ours[21]);
  });

  it('factors of a GGUF file divide', () => {
    const factors = Float32Array.from(dims(16), (i) => 1 + i);
    const ours = inverseFrequencies({
      size: 16,
      theta: 100,
      scaling: { type: 'factors', factors },
    });
    close(
      ours,
      dims(16).map((i) => at(i, 16, 100) / (1 + i)),
    );
  });

  it('longrope: one table up to the old context, another beyond it', () => {
    const scaling = {
      type: 'longrope',
      shortFactors: Float32Array.from(dims(16), (i) => 1 + i / 4),
      longFactors: Float32Array.from(dims(16), (i) => 2 + i),
      originalMaxLen: 256,
      attentionFactor: 1.5,
    } as const;
    const rope: Rope = { size: 16, theta: 100, scaling };
    const table = ropeTable(rope, true);
    expect(table).toMatchObject({ interleaved: true, attentionFactor: 1.5 });
    const base = dims(16).map((i) => at(i, 16, 100));
    close(
      table.inverseFrequencies,
      base.map((f, i) => f / (1 + i / 4)),
    );
    close(
      table.longInverseFrequencies!,
      base.map((f, i) => f / (2 + i)),
    );
    expect(longRopeFrom(rope)).toBe(256);
    expect(scaledLength(rope, 1024)).toBe(1024);
    const plain: Rope = { size: 16, theta: 100, scaling: { type: 'default' } };
    expect(ropeTable(plain, false)).toEqual({
      inverseFrequencies: inverseFrequencies(plain),
      interleaved: false,
      attentionFactor: 1,
    });
    expect(longRopeFrom(plain)).toBeUndefined();
  });

  it('mscale is 1 up to factor 1', () => {
    expect(yarnMscale(1)).toBe(1);
    expect(yarnMscale(0.5)).toBe(1);
    expect(yarnMscale(4)).toBeCloseTo(1.1386294361, 9);
    expect(yarnMscale(40, 0.7)).toBeCloseTo(1 + 0.07 * Math.log(40), 12);
  });
});
