import { describe, expect, test } from 'vitest';
import { KvGroups } from '../../lib/core/kv-groups.js';
import { NO_PREFIX, PrefixIndex, UNSALTED_ROOT } from '../../lib/core/prefix-hash.js';
import { range } from '../support/core.js';

const ROOT = UNSALTED_ROOT;

function find(index: PrefixIndex, parent: number, tokens: Int32Array, at: number): number {
  return index.blockOf(index.find(parent, tokens, at));
}

describe('PrefixIndex', () => {
  test('a block is found only after the very prefix it was computed with', () => {
    const index = new PrefixIndex(10, 2);
    const tokens = Int32Array.of(1, 2, 3, 4, 9, 2, 3, 4);
    const first = index.publish(1, ROOT, tokens, 0);
    const second = index.publish(2, first, tokens, 2);
    expect(find(index, ROOT, tokens, 0)).toBe(1);
    expect(find(index, first, tokens, 2)).toBe(2);
    // The same tokens at another depth, or after another block.
    expect(find(index, ROOT, tokens, 2)).toBe(0);
    expect(find(index, second, tokens, 2)).toBe(0);
    const other = index.publish(3, ROOT, tokens, 4);
    expect(find(index, other, tokens, 6)).toBe(0);
    expect(index.publish(4, other, tokens, 6)).not.toBe(second);
    expect(index.identityOf(2)).toBe(second);
  });

  test('twins share an identity; the eldest is hit; evicting either keeps the other hittable', () => {
    for (const evicted of [1, 2, 3]) {
      const index = new PrefixIndex(10, 2);
      const tokens = Int32Array.of(1, 2);
      const identities = [1, 2, 3].map((block) => index.publish(block, ROOT, tokens, 0));
      expect(new Set(identities).size).toBe(1);
      expect(find(index, ROOT, tokens, 0)).toBe(1);
      index.evict(evicted);
      expect(find(index, ROOT, tokens, 0)).not.toBe(evicted);
      if (evicted !== 1) expect(find(index, ROOT, tokens, 0)).toBe(1);
      expect(index.numPublished).toBe(2);
      index.evict(1);
      index.evict(2);
      index.evict(3);
      expect(find(index, ROOT, tokens, 0)).toBe(0);
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
    expect(find(index, again, tokens, 2)).toBe(0);
  });

  test('a salt keeps first blocks apart, and is forgotten with its last user', () => {
    const index = new PrefixIndex(10, 2);
    const tokens = Int32Array.of(1, 2, 3, 4);
    const a = index.acquireRoot('a');
    const b = index.acquireRoot('b');
    expect(new Set([a, b, index.acquireRoot(undefined)]).size).toBe(3);
    expect(index.acquireRoot('a')).toBe(a);
    const identity = index.publish(1, a, tokens, 0);
    expect(find(index, a, tokens, 0)).toBe(1);
    expect(find(index, b, tokens, 0)).toBe(0);
    expect(find(index, ROOT, tokens, 0)).toBe(0);
    // The salt acts on the first block only; the chain carries it further.
    index.publish(2, identity, tokens, 2);
    expect(find(index, identity, tokens, 2)).toBe(2);
    index.releaseRoot(a);
    index.releaseRoot(a);
    index.releaseRoot(b);
    expect(index.numRoots).toBe(1);
    index.evict(1);
    index.evict(2);
    expect(index.numRoots).toBe(0);
    expect(() => index.releaseRoot(a)).toThrow(/too often/);
  });

  test('the two tables of angles have roots of their own, under every salt', () => {
    const index = new PrefixIndex(10, 2);
    const salts = [undefined, '', 'a', '[true,"a"]'];
    const roots = salts.flatMap((salt) => [index.acquireRoot(salt), index.acquireRoot(salt, true)]);
    expect(new Set(roots).size).toBe(8);
    expect(roots[0]).toBe(ROOT);
    expect(index.acquireRoot(undefined, true)).toBe(roots[1]);
  });

  test('collisions cost a comparison, never a wrong hit', () => {
    // 400 prefixes in 1,024 buckets: dozens of them must share one.
    const index = new PrefixIndex(401, 1);
    const identities = range(400, 1).map((i) =>
      index.publish(i, ROOT, Int32Array.of((i * 2654435761) | 0), 0),
    );
    expect(new Set(identities).size).toBe(400);
    for (let i = 400; i >= 1; i--) {
      const tokens = Int32Array.of((i * 2654435761) | 0);
      expect(find(index, ROOT, tokens, 0)).toBe(i);
      index.evict(i);
      expect(find(index, ROOT, tokens, 0)).toBe(0);
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

describe('nodes without blocks', () => {
  const many = { maxModelLen: 1000, maxNumBatchedTokens: 1000, longPrefillThreshold: 0 };
  const make = (whole: number | null, numBlocks = 40) => {
    const groups = [{ window: 8, blockSize: 2 }];
    if (whole !== null) groups.push({ window: 0, blockSize: whole });
    return new PrefixIndex(numBlocks, 2, 0, new KvGroups({ groups, blockSize: 2, ...many }));
  };
  const tokens = Int32Array.from(range(40));

  /** Blocks 1, 2, … of the window end each of `count` prefixes; returns the identities. */
  function chain(index: PrefixIndex, count: number): number[] {
    const identities = [ROOT];
    for (const i of range(count)) {
      identities.push(index.publish(1 + i, identities[i], tokens, 2 * i));
    }
    return identities;
  }

  test('stay while others continue them, and go with the last of these', () => {
    for (const whole of [null, 8]) {
      const index = make(whole);
      const ids = chain(index, 3);
      for (const block of [1, 2]) index.evict(block);
      const first = index.find(ROOT, tokens, 0);
      expect(index.identityAt(first)).toBe(ids[1]);
      expect([index.blockOf(first), index.numPublished]).toEqual([0, 1]);
      expect(index.blockOf(index.find(ids[2], tokens, 4))).toBe(3);
      // Computed again it is the same prefix.
      expect(index.publish(9, ROOT, tokens, 0)).toBe(ids[1]);
      index.evict(9);
      index.evict(3);
      expect(range(3).map((i) => index.find(ids[i], tokens, 2 * i))).toEqual([0, 0, 0]);
    }
  });

  test('go at once where no hit could get past them', () => {
    const index = make(4);
    const ids = chain(index, 3);
    index.publishBeside(20, 2, 1);
    for (const block of [1, 2, 20]) index.evict(block);
    expect(index.find(ids[1], tokens, 2)).toBe(0);
    expect(index.find(ROOT, tokens, 0)).toBe(0); // nobody continues it
    expect(index.blockOf(index.find(ids[2], tokens, 4))).toBe(3); // but only for who knows its name
    index.evict(3);
    expect(chain(index, 3)[3]).toBeGreaterThan(ids[3]);
  });

  test('leave the salt to others when they go', () => {
    const index = make(null);
    const root = index.acquireRoot('a');
    const first = index.publish(1, root, tokens, 0);
    index.publish(2, first, tokens, 2);
    index.releaseRoot(root);
    index.evict(1);
    expect(index.numRoots).toBe(1);
    index.evict(2);
    expect(index.numRoots).toBe(0);
  });

  test('are not without end: then nothing more is published', () => {
    const index = make(null, 4);
    const ids = chain(index, 3);
    let last = ids[3];
    let published = 0;
    for (let i = 3; i < 20 && last !== NO_PREFIX; i++) {
      // The window goes on with the same three blocks.
      const block = 1 + (i % 3);
      index.evict(block);
      last = index.publish(block, last, tokens, 2 * i);
      if (last !== NO_PREFIX) published++;
    }
    expect([last, published]).toEqual([NO_PREFIX, 2 * 4 - 1 - 3]);
    for (const block of [1, 2, 3]) index.evict(block);
    expect(index.numPublished).toBe(0);
    expect(chain(index, 3)).not.toContain(NO_PREFIX);
  });
});
