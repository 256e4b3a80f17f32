import { expect, it } from 'vitest';
import { STEP_LAYOUT } from '../../lib/wire/layout.js';

it('the words of a record do not overlap, and fit', () => {
  for (const record of ['header', 'seq', 'state', 'copy', 'sample', 'promptRow', 'extra']) {
    const words = Object.entries(STEP_LAYOUT).filter(
      ([name]) => new RegExp(`^${record}[A-Z]`).test(name) && name !== `${record}Words`,
    );
    const size = STEP_LAYOUT[`${record}Words` as keyof typeof STEP_LAYOUT];
    const places = words.map(([, value]) => value as number);
    expect(new Set(places).size).toBe(places.length);
    expect(Math.max(...places)).toBeLessThan(size);
    expect(places.length).toBeGreaterThan(1);
  }
});
