import { expect, it } from 'vitest';
import { BlockPool } from '../../lib/core/block-pool.js';
import { blocksPerCell, cellsOf, numCells } from '../../lib/engine/block-cells.js';

it('tells free, hittable and used blocks apart, and how many use one', () => {
  const pool = new BlockPool({ numBlocks: 9, blockSize: 2 });
  const blocks = new Int32Array(4);
  pool.allocate(4, blocks, 0);
  expect([...blocks]).toEqual([1, 2, 3, 4]);
  pool.touch(2);
  for (let i = 0; i < 40; i++) pool.touch(3);
  pool.prefixes.publish(4, -1, Int32Array.of(5, 6), 0);
  pool.free(4);
  expect([...cellsOf(pool)]).toEqual([2, 3, 15, 1, 0, 0, 0, 0]);
});

it('shows the busiest of several blocks where there are more than anybody can tell apart', () => {
  const numBlocks = 300_001;
  const pool = new BlockPool({ numBlocks, blockSize: 1 });
  expect([blocksPerCell(numBlocks), numCells(numBlocks)]).toEqual([3, 100_000]);
  const blocks = new Int32Array(8);
  pool.allocate(8, blocks, 0);
  pool.touch(5);
  const cells = cellsOf(pool);
  expect(cells.length).toBe(100_000);
  expect([...cells.subarray(0, 4)]).toEqual([2, 3, 2, 0]);
});
