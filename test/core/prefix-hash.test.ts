import { describe, expect, test } from 'vitest';
import { NO_PREFIX, PrefixIndex, UNSALTED_ROOT } from '../../lib/core/prefix-hash.js';
import { range } from '../support/core.js';

const ROOT = UNSALTED_ROOT;

describe('PrefixIndex', () => {
  test('a block is found only after the very prefix it was computed with', () => {
    const index = new PrefixIndex(10, 2);
    const tokens = Int32Array.of(1, 2, 3, 4, 9, 2, 3, 4);
    const first = index.publish(1, ROOT, tokens, 0);
    const second = index.publish(2, first, tokens, 2);
    expect(index.find(ROOT, tokens, 0)).toBe(1);
    expect(index.find(first, tokens, 2)).toBe(2);
    // The same tokens at another depth, or after another block.
    expect(index.find(ROOT, tokens, 2)).toBe(-1);
    expect(index.find(second, tokens, 2)).toBe(-1);
    const other = index.publish(3, ROOT, tokens, 4);
    expect(index.find(other, tokens, 6)).toBe(-1);
    expect(index.publish(4, other, tokens, 6)).not.toBe(second);
    expect(index.identityOf(2)).toBe(second);
  });

  test('twins share an identity; the eldest is hit; evicting either keeps the other hittable', () => {
    for (const evicted of [1, 2, 3]) {
      const index = new PrefixIndex(10, 2);
      const tokens = Int32Array.of(1, 2);
      const identities = [1, 2, 3].map((block) => index.publish(block, ROOT, tokens, 0));
      expect(new Set(identities).size).toBe(1);
      expect(index.find(ROOT, tokens, 0)).toBe(1);
      index.evict(evicted);
      expect(index.find(ROOT, tokens, 0)).not.toBe(evicted);
      if (evicted !== 1) expect(index.find(ROOT, tokens, 0)).toBe(1);
      expect(index.numPublished).toBe(2);
      index.evict(1);
      index.evict(2);
      index.evict(3);
      expect(index.find(ROOT, tokens, 0)).toBe(-1);
      expect(index.numPublished).toBe(0);
    }
  });

  test('a prefix that was lost gets another identity: its old continuation is not hit', () => {
    const index = new PrefixIndex(10, 2);
    const tokens = Int32Array.of(1, 2, 3, 4);
    const first = index.publish(1, ROOT, tokens, 0);
    index.publish(2, first, tokens, 2);
    index.evict(1);
    const again = index.publish(3, ROOT, tokens, 0);
    expect(again).not.toBe(first);
    expect(index.find(again, tokens, 2)).toBe(-1);
  });

  test('a salt keeps first blocks apart, and is forgotten with its last user', () => {
    const index = new PrefixIndex(10, 2);
    const tokens = Int32Array.of(1, 2, 3, 4);
    const a = index.acquireRoot('a');
    const b = index.acquireRoot('b');
    expect(new Set([a, b, index.acquireRoot(undefined)]).size).toBe(3);
    expect(index.acquireRoot('a')).toBe(a);
    const identity = index.publish(1, a, tokens, 0);
    expect(index.find(a, tokens, 0)).toBe(1);
    expect(index.find(b, tokens, 0)).toBe(-1);
    expect(index.find(ROOT, tokens, 0)).toBe(-1);
    // The salt acts on the first block only; the chain carries it further.
    index.publish(2, identity, tokens, 2);
    expect(index.find(identity, tokens, 2)).toBe(2);
    index.releaseRoot(a);
    index.releaseRoot(a);
    index.releaseRoot(b);
    expect(index.numSalts).toBe(1);
    index.evict(1);
    index.evict(2);
    expect(index.numSalts).toBe(0);
    expect(() => index.releaseRoot(a)).toThrow(/too often/);
  });

  test('collisions cost a comparison, never a wrong hit', () => {
    // 400 prefixes in 1,024 buckets: dozens of them must share one.
    const index = new PrefixIndex(400, 1);
    const identities = range(400).map((i) =>
      index.publish(i, ROOT, Int32Array.of((i * 2654435761) | 0), 0),
    );
    expect(new Set(identities).size).toBe(400);
    for (let i = 399; i >= 0; i--) {
      const tokens = Int32Array.of((i * 2654435761) | 0);
      expect(index.find(ROOT, tokens, 0)).toBe(i);
      index.evict(i);
      expect(index.find(ROOT, tokens, 0)).toBe(-1);
    }
  });

  test('publishing twice is an error; evicting nothing is none', () => {
    const index = new PrefixIndex(4, 1);
    index.publish(1, ROOT, Int32Array.of(5), 0);
    expect(() => index.publish(1, ROOT, Int32Array.of(6), 0)).toThrow(/twice/);
    index.evict(2);
    expect(index.identityOf(2)).toBe(NO_PREFIX);
    expect(index.isPublished(1)).toBe(true);
  });
});
