import { describe, expect, it } from 'vitest';
import { FreeIds } from '../../lib/core/free-ids.js';

describe('FreeIds', () => {
  it('hands out every id once and takes it back', () => {
    const ids = new FreeIds(3);
    const taken = [ids.take(), ids.take(), ids.take()];
    expect([...taken].sort()).toEqual([0, 1, 2]);
    expect(ids.numFree).toBe(0);
    expect(() => ids.take()).toThrow(/none is free/);
    ids.give(taken[1]);
    expect(ids.take()).toBe(taken[1]);
    for (const id of taken) ids.give(id);
    expect([ids.numFree, ids.length]).toEqual([3, 3]);
    expect(() => ids.give(0)).toThrow(/twice/);
  });

  it('may begin anywhere, or have no id at all', () => {
    const ids = new FreeIds(2, 5);
    expect([ids.take(), ids.take(), ids.numFree]).toEqual([5, 6, 0]);
    expect(() => new FreeIds(2, 5).give(5)).toThrow(/twice/);
    expect(new FreeIds(0).numFree).toBe(0);
  });
});
