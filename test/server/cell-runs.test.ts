import { expect, it } from 'vitest';
import { decodeCells, encodeCells } from '../../lib/server/cell-runs.js';
import { random } from '../support/random.js';

it('gives back any cells, from nothing and from what was there before', () => {
  const { integer } = random(7);
  let known = new Uint8Array(0);
  for (let round = 0; round < 300; round++) {
    const length = round % 3 === 0 ? integer(2000) : known.length;
    const cells = Uint8Array.from({ length }, (_, i) =>
      integer(4) === 0 || i >= known.length ? integer(16) : known[i],
    );
    const before = length === known.length && round % 3 !== 0 ? known : null;
    const shown = before === null ? new Uint8Array(length) : Uint8Array.from(known);
    decodeCells(encodeCells(cells, before), shown);
    expect(Buffer.compare(shown, cells)).toBe(0);
    known = cells;
  }
});

it('takes a few bytes for a large pool in which little happens', () => {
  const cells = new Uint8Array(100_000);
  cells.fill(2, 0, 40_000);
  expect(encodeCells(cells, null).length).toBeLessThan(8);
  const next = Uint8Array.from(cells);
  next.fill(3, 500, 516);
  expect(encodeCells(next, cells).length).toBeLessThan(10);
  const shown = Uint8Array.from(cells);
  decodeCells(encodeCells(next, cells), shown);
  expect(Buffer.compare(shown, next)).toBe(0);
  expect(encodeCells(next, next).length).toBeLessThan(5);
  // And at most a byte for each.
  const wild = Uint8Array.from({ length: 1000 }, (_, i) => i % 2);
  expect(encodeCells(wild, null).length).toBe(1000);
});
