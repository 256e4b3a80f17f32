import { describe, expect, test } from 'vitest';
import { BlockPool, NULL_BLOCK } from '../../lib/core/block-pool.js';
import { UNSALTED_ROOT } from '../../lib/core/prefix-hash.js';
import { range } from '../support/core.js';

function take(pool: BlockPool, count: number): number[] {
  const out = new Int32Array(count);
  expect(pool.allocate(count, out, 0)).toBe(true);
  return [...out];
}

/** Publishes a block as the first of a prompt of equal tokens. */
function publish(pool: BlockPool, block: number, token: number): number {
  return pool.prefixes.publish(block, UNSALTED_ROOT, new Int32Array(pool.blockSize).fill(token), 0);
}

function hit(pool: BlockPool, token: number): number {
  const { prefixes } = pool;
  return prefixes.blockOf(
    prefixes.find(UNSALTED_ROOT, new Int32Array(pool.blockSize).fill(token), 0),
  );
}

describe('BlockPool', () => {
  test.each([1, 2, 3, 10])('a queue of %i blocks, from full to empty and back', (usable) => {
    const pool = new BlockPool({ numBlocks: usable + 1, blockSize: 4 });
    expect(pool.freeBlocks()).toEqual(range(usable, 1));
    expect(pool.usage).toBe(0);
    const taken = range(usable).map(() => pool.allocateOne());
    expect(taken).toEqual(range(usable, 1));
    expect(pool.freeBlocks()).toEqual([]);
    expect(pool.usage).toBe(1);
    pool.checkInvariants();
    expect(pool.allocateOne()).toBe(-1);
    for (const block of taken.reverse()) pool.free(block);
    expect(pool.freeBlocks()).toEqual(range(usable, 1));
    pool.checkInvariants();
  });

  test('a failed allocation changes nothing', () => {
    const pool = new BlockPool({ numBlocks: 6, blockSize: 4 });
    take(pool, 3);
    const out = new Int32Array(3).fill(-7);
    expect(pool.allocate(3, out, 0)).toBe(false);
    expect([...out]).toEqual([-7, -7, -7]);
    expect(pool.freeBlocks()).toEqual([4, 5]);
    expect([...pool.refCounts]).toEqual([1, 1, 1, 1, 0, 0]);
    expect(pool.usage).toBeCloseTo(3 / 5);
  });

  test('unpublished blocks come back to the head, published ones to the tail', () => {
    const pool = new BlockPool({ numBlocks: 7, blockSize: 4 });
    take(pool, 4);
    publish(pool, 2, 20);
    for (const block of [1, 2, 3]) pool.free(block);
    expect(pool.freeBlocks()).toEqual([3, 1, 5, 6, 2]);
    pool.checkInvariants();
  });

  test('touch takes a free block out of head, middle and tail', () => {
    for (const block of [1, 3, 5]) {
      const pool = new BlockPool({ numBlocks: 6, blockSize: 4 });
      pool.touch(block);
      expect(pool.freeBlocks()).toEqual(range(5, 1).filter((b) => b !== block));
      expect(pool.refCounts[block]).toBe(1);
      pool.touch(block);
      expect(pool.refCounts[block]).toBe(2);
      expect(pool.numFree).toBe(4);
      pool.checkInvariants();
    }
  });

  test('a double free is an error', () => {
    const pool = new BlockPool({ numBlocks: 4, blockSize: 4 });
    const [block] = take(pool, 1);
    pool.free(block);
    expect(() => pool.free(block)).toThrow(/freed twice/);
    pool.checkInvariants();
  });

  test('the null block is never handed out, counted or freed', () => {
    const pool = new BlockPool({ numBlocks: 3, blockSize: 4 });
    pool.touch(NULL_BLOCK);
    pool.free(NULL_BLOCK);
    pool.free(NULL_BLOCK);
    expect(take(pool, 2)).not.toContain(NULL_BLOCK);
    pool.checkInvariants();
  });

  test('a free block can be hit until it is handed out', () => {
    const pool = new BlockPool({ numBlocks: 3, blockSize: 4 });
    const [block] = take(pool, 1);
    publish(pool, block, 9);
    pool.free(block);
    expect(hit(pool, 9)).toBe(block);
    expect(take(pool, 1)).toEqual([2]);
    expect(hit(pool, 9)).toBe(block);
    expect(take(pool, 1)).toEqual([block]);
    expect(hit(pool, 9)).toBe(0);
  });

  test('a touched hit is not chosen as a victim', () => {
    const pool = new BlockPool({ numBlocks: 4, blockSize: 4 });
    const [block] = take(pool, 1);
    publish(pool, block, 9);
    pool.free(block);
    pool.touch(block);
    expect(take(pool, 2)).toEqual([2, 3]);
    expect(pool.allocateOne()).toBe(-1);
    expect(hit(pool, 9)).toBe(block);
  });

  test('the cache is reset only when nothing is in use', () => {
    const pool = new BlockPool({ numBlocks: 4, blockSize: 4 });
    const [block] = take(pool, 1);
    publish(pool, block, 9);
    expect(pool.resetPrefixes()).toBe(false);
    expect(hit(pool, 9)).toBe(block);
    pool.free(block);
    expect(pool.resetPrefixes()).toBe(true);
    expect(hit(pool, 9)).toBe(0);
    expect(pool.prefixes.numPublished).toBe(0);
  });

  test('marks count distinct blocks', () => {
    const pool = new BlockPool({ numBlocks: 4, blockSize: 4 });
    pool.startMarks();
    expect([1, 2, 1].map((block) => pool.mark(block))).toEqual([true, true, false]);
    pool.startMarks();
    expect(pool.mark(1)).toBe(true);
  });
});
