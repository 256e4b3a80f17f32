/**
 * The state of the pool's blocks, a byte each: 0 free, 1 free and still hittable, n + 1 named by n
 * tables; 15 stands for 14 and more. Of a large pool a cell is several blocks, the busiest of which
 * it shows. The null block is none of them.
 */
import type { BlockPool } from '../core/block-pool.js';

export const CELL_FREE = 0;
export const CELL_CACHED = 1;
export const CELL_MOST = 15;

/** More cells than that nobody can tell apart, nor be told several times a second. */
const MOST_CELLS = 2 ** 17;

/** Blocks in a cell. */
export function blocksPerCell(numBlocks: number): number {
  return Math.max(1, Math.ceil((numBlocks - 1) / MOST_CELLS));
}

/** @param numBlocks of the pool, the null block among them */
export function numCells(numBlocks: number): number {
  return Math.ceil((numBlocks - 1) / blocksPerCell(numBlocks));
}

/** As it is now; a new array. Cell c holds the blocks from 1 + c · blocksPerCell on. */
export function cellsOf({ numBlocks, refCounts, prefixes }: BlockPool): Uint8Array {
  const per = blocksPerCell(numBlocks);
  const cells = new Uint8Array(numCells(numBlocks));
  for (let block = 1, cell = 0, left = per; block < numBlocks; block++) {
    const count = refCounts[block];
    let state = CELL_FREE;
    if (count > 0) state = count < CELL_MOST ? count + 1 : CELL_MOST;
    else if (prefixes.isPublished(block)) state = CELL_CACHED;
    if (state > cells[cell]) cells[cell] = state;
    if (--left > 0) continue;
    left = per;
    cell++;
  }
  return cells;
}
