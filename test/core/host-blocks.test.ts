import { describe, expect, it } from 'vitest';
import { HostBlocks } from '../../lib/core/host-blocks.js';

describe('HostBlocks', () => {
  it('hands out every block once and takes it back', () => {
    const pool = new HostBlocks(3);
    const taken = [pool.take(), pool.take(), pool.take()];
    expect([...taken].sort()).toEqual([0, 1, 2]);
    expect(pool.numFree).toBe(0);
    expect(() => pool.take()).toThrow(/full/);
    pool.give(taken[1]);
    expect(pool.take()).toBe(taken[1]);
    for (const block of taken) pool.give(block);
    expect(pool.numFree).toBe(3);
    expect(() => pool.give(0)).toThrow(/twice/);
  });

  it('may have no block at all', () => {
    expect(new HostBlocks(0).numFree).toBe(0);
  });
});
