import { describe, expect, it } from 'vitest';
import { CountedIds } from '../../lib/core/counted-ids.js';

describe('ids with users', () => {
  it('come free with their last user', () => {
    const ids = new CountedIds(2);
    const [a, b] = [ids.take(), ids.take()];
    expect(a).not.toBe(b);
    expect(() => ids.take()).toThrow(/none is free/);
    ids.share(a);
    expect(ids.drop(a)).toBe(false);
    expect(ids.numFree).toBe(0);
    expect(ids.drop(a)).toBe(true);
    expect(ids.numFree).toBe(1);
    expect(ids.take()).toBe(a);
    ids.checkInvariants(Int32Array.from([1, 1]));
  });

  it('notice what is dropped or shared too often, and counts that are wrong', () => {
    const ids = new CountedIds(3);
    const a = ids.take();
    ids.checkInvariants(Int32Array.from([1, 0, 0]));
    expect(() => ids.checkInvariants(Int32Array.from([2, 0, 0]))).toThrow(/not the number/);
    ids.drop(a);
    expect(() => ids.drop(a)).toThrow(/too often/);
    expect(() => ids.share(a)).toThrow(/nobody uses/);
    ids.checkInvariants(new Int32Array(3));
  });
});
