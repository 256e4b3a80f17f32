import { describe, expect, test } from 'vitest';
import { BlockPool } from '../../lib/core/block-pool.js';
import { BlockTables, type CopySink, type TableOwner } from '../../lib/core/block-table.js';

class Copies implements CopySink {
  readonly list: [number, number][] = [];
  addCopy(source: number, target: number): void {
    this.list.push([source, target]);
  }
}

function setUp(numBlocks: number, blockSize = 4, rows = 4) {
  const pool = new BlockPool({ numBlocks, blockSize });
  const tables = new BlockTables(pool, rows, 8);
  const owner = (): TableOwner => {
    const made = { row: -1, numBlocks: 0, numSlots: 0 };
    tables.takeRow(made);
    return made;
  };
  return { pool, tables, owner, copies: new Copies() };
}

describe('BlockTables', () => {
  test('grows by whole blocks: 3 + 2 tokens at block 4 are 2 blocks', () => {
    const { tables, owner } = setUp(10);
    const a = owner();
    expect(tables.grow(a, 3 + 2)).toBe(true);
    expect(tables.blocksOf(a)).toEqual([1, 2]);
    expect(a.numSlots).toBe(8);
    tables.grow(a, 8);
    expect(a.numBlocks).toBe(2);
    tables.grow(a, 9);
    expect(tables.blocksOf(a)).toEqual([1, 2, 3]);
  });

  test('the paper’s figure 6: 7 tokens, the 8th fills the second block, the 9th takes a third', () => {
    const { tables, owner } = setUp(10);
    const a = owner();
    const sizes = [7, 8, 9].map((tokens) => {
      tables.grow(a, tokens);
      return a.numBlocks;
    });
    expect(sizes).toEqual([2, 2, 3]);
  });

  test('a growth that fails changes nothing', () => {
    const { pool, tables, owner } = setUp(4);
    const a = owner();
    tables.grow(a, 8);
    expect(tables.grow(a, 20)).toBe(false);
    expect(tables.blocksOf(a)).toEqual([1, 2]);
    expect(a.numSlots).toBe(8);
    expect(pool.freeBlocks()).toEqual([3]);
  });

  test('a fork equals its parent, allocates nothing, and differs in the last block after a write', () => {
    const { pool, tables, owner, copies } = setUp(12);
    const parent = owner();
    const child = owner();
    tables.grow(parent, 10);
    tables.fork(parent, child, 10);
    expect(tables.blocksOf(child)).toEqual(tables.blocksOf(parent));
    expect(pool.numFree).toBe(8);
    expect([1, 2, 3].map((b) => pool.refCounts[b])).toEqual([2, 2, 2]);

    expect(tables.prepareWrite(parent, 10, 11, copies)).toBe(true);
    expect(copies.list).toEqual([[3, 4]]);
    expect(tables.blocksOf(parent)).toEqual([1, 2, 4]);
    expect(tables.blocksOf(child)).toEqual([1, 2, 3]);
    // The last one writes in place.
    expect(tables.prepareWrite(child, 10, 11, copies)).toBe(true);
    expect(copies.list).toHaveLength(1);
    expect(tables.blocksOf(child)).toEqual([1, 2, 3]);

    tables.release(parent);
    expect(pool.numFree).toBe(8);
    tables.release(child);
    expect(pool.numFree).toBe(11);
    pool.checkInvariants();
  });

  test.each([
    [10, 1],
    [10, 2],
    [10, 3],
    [9, 12],
    [11, 6],
  ])(
    'a fork of %i tokens that appends %i takes ceil((len+append)/4) − floor(len/4)',
    (len, more) => {
      const { pool, tables, owner, copies } = setUp(30);
      const parent = owner();
      const child = owner();
      tables.grow(parent, len);
      tables.fork(parent, child, len);
      const before = pool.numFree;
      tables.prepareWrite(child, len, len + more, copies);
      expect(before - pool.numFree).toBe(Math.ceil((len + more) / 4) - Math.floor(len / 4));
      expect(copies.list).toHaveLength(1);
    },
  );

  test('full shared blocks are never copied', () => {
    const { pool, tables, owner, copies } = setUp(10);
    const parent = owner();
    const child = owner();
    tables.grow(parent, 8);
    tables.fork(parent, child, 8);
    tables.prepareWrite(child, 8, 9, copies);
    tables.prepareWrite(parent, 8, 9, copies);
    expect(copies.list).toEqual([]);
    expect(tables.blocksOf(child)).toEqual([1, 2, 3]);
    expect(tables.blocksOf(parent)).toEqual([1, 2, 4]);
    expect(pool.refCounts[2]).toBe(2);
  });

  test('a fork in the middle shares only the blocks up to there', () => {
    const { tables, owner } = setUp(10);
    const parent = owner();
    const child = owner();
    tables.grow(parent, 16);
    tables.fork(parent, child, 6);
    expect(tables.blocksOf(child)).toEqual([1, 2]);
  });

  test('copy and growth together are all or nothing', () => {
    const { pool, tables, owner, copies } = setUp(5);
    const parent = owner();
    const child = owner();
    tables.grow(parent, 10);
    tables.fork(parent, child, 10);
    // A copy and one more block are needed; one is free.
    expect(tables.prepareWrite(child, 10, 13, copies)).toBe(false);
    expect(copies.list).toEqual([]);
    expect(tables.blocksOf(child)).toEqual([1, 2, 3]);
    expect(pool.refCounts[3]).toBe(2);
    expect(pool.numFree).toBe(1);
    expect(tables.prepareWrite(child, 10, 12, copies)).toBe(true);
    expect(copies.list).toEqual([[3, 4]]);
  });

  test('three forks of one partial block make two copies', () => {
    const { tables, owner, copies } = setUp(12);
    const a = owner();
    tables.grow(a, 6);
    const b = owner();
    const c = owner();
    tables.fork(a, b, 6);
    tables.fork(a, c, 6);
    for (const each of [a, b, c]) tables.prepareWrite(each, 6, 7, copies);
    expect(copies.list).toEqual([
      [2, 3],
      [2, 4],
    ]);
    expect(tables.blocksOf(c)).toEqual([1, 2]);
  });

  test('adopts hits with one count more each and frees the tail first', () => {
    const { pool, tables, owner } = setUp(8);
    const a = owner();
    const b = owner();
    tables.grow(a, 12);
    tables.adopt(b, [9, 1, 2], 1, 2);
    expect(tables.blocksOf(b)).toEqual([1, 2]);
    expect([1, 2, 3].map((block) => pool.refCounts[block])).toEqual([2, 2, 1]);
    tables.release(b);
    tables.release(a);
    expect(pool.freeBlocks()).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  test('rows are handed out once and come back empty', () => {
    const { tables, owner } = setUp(8, 4, 2);
    const a = owner();
    const b = owner();
    expect([a.row, b.row]).toEqual([0, 1]);
    expect(() => owner()).toThrow(/no row/);
    tables.grow(a, 4);
    expect(() => tables.giveRow(a)).toThrow(/with blocks/);
    tables.release(a);
    tables.giveRow(a);
    expect(a.row).toBe(-1);
    expect(owner().row).toBe(0);
    expect(() => tables.grow(b, 33)).toThrow(/outgrew/);
  });
});
