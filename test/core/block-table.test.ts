import { describe, expect, test } from 'vitest';
import { BlockPool } from '../../lib/core/block-pool.js';
import { BlockTables, type CopySink, type TableOwner } from '../../lib/core/block-table.js';
import { IntList } from '../../lib/core/int-list.js';
import { KvGroups } from '../../lib/core/kv-groups.js';
import { range } from '../support/core.js';

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
    const made = { row: -1, numSlots: 0 };
    tables.takeRow(made);
    return made;
  };
  return { pool, tables, owner, copies: new Copies() };
}

/** A slab of the same shape that knows only what steps carried. */
function follow(tables: BlockTables) {
  const slab = new Int32Array(tables.slab.length);
  let changes = new IntList();
  return () => {
    changes.cut(0);
    changes = tables.takeChanges(changes);
    for (let i = 0; i < changes.length; i += 2) slab[changes.at(i)] = changes.at(i + 1);
    return { slab, count: changes.length / 2 };
  };
}

describe('BlockTables', () => {
  test('whoever follows the changes has the same tables, whatever made them', () => {
    const { tables, owner, copies } = setUp(20);
    const next = follow(tables);
    const [a, b] = [owner(), owner()];
    tables.grow(a, 10);
    expect(next().count).toBe(3);
    tables.fork(a, b, 10);
    tables.prepareWrite(a, 10, 13, copies);
    expect(next().slab).toEqual(tables.slab);
    tables.dropHead(b, 0, 1);
    tables.undoCopy(a, 2, copies.list[0][0]);
    expect(next()).toEqual({ slab: tables.slab, count: 2 });
    const c = owner();
    tables.adopt(c, [7, 9]);
    expect(next().slab).toEqual(tables.slab);
    expect(next().count).toBe(0);
  });

  test('grows by whole blocks: 3 + 2 tokens at block 4 are 2 blocks', () => {
    const { tables, owner } = setUp(10);
    const a = owner();
    expect(tables.grow(a, 3 + 2)).toBe(true);
    expect(tables.blocksOf(a)).toEqual([1, 2]);
    expect(a.numSlots).toBe(8);
    tables.grow(a, 8);
    expect(tables.numBlocksOf(a)).toBe(2);
    tables.grow(a, 9);
    expect(tables.blocksOf(a)).toEqual([1, 2, 3]);
  });

  test('the paper’s figure 6: 7 tokens, the 8th fills the second block, the 9th takes a third', () => {
    const { tables, owner } = setUp(10);
    const a = owner();
    const sizes = [7, 8, 9].map((tokens) => {
      tables.grow(a, tokens);
      return tables.numBlocksOf(a);
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
    tables.adopt(b, [1, 2]);
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
    expect(() => owner()).toThrow(/none is free/);
    tables.grow(a, 4);
    expect(() => tables.giveRow(a)).toThrow(/with blocks/);
    tables.release(a);
    tables.giveRow(a);
    expect(a.row).toBe(-1);
    expect(owner().row).toBe(0);
    expect(() => tables.grow(b, 33)).toThrow(/outgrew/);
  });
});

describe('tables of several groups', () => {
  /** A window of six tokens and blocks of 4, all tokens in blocks of 4, all tokens in blocks of 8. */
  function setUpGroups(numBlocks: number) {
    const groups = new KvGroups({
      groups: [
        { window: 6, blockSize: 4 },
        { window: 0, blockSize: 4 },
        { window: 0, blockSize: 8 },
      ],
      blockSize: 4,
      maxModelLen: 40,
      maxNumBatchedTokens: 8,
      longPrefillThreshold: 0,
    });
    const pool = new BlockPool({ numBlocks, blockSize: 4, groups });
    const tables = new BlockTables(pool, 4, 9, groups);
    const owner = (): TableOwner => {
      const made = { row: -1, numSlots: 0 };
      tables.takeRow(made);
      return made;
    };
    const all = (of: TableOwner) => [0, 1, 2].map((g) => tables.blocksOf(of, g));
    return { pool, tables, owner, all, copies: new Copies() };
  }

  test('grow as far as each group needs, and lie in one row', () => {
    const { tables, owner, all } = setUpGroups(40);
    const next = follow(tables);
    const [a, b] = [owner(), owner()];
    expect(tables.rowLength).toBe(9 + 9 + 5);
    expect(tables.grow(a, 18, 7)).toBe(true);
    expect(all(a)).toEqual([
      [1, 2],
      [3, 4, 5, 6, 7],
      [8, 9, 10],
    ]);
    expect(a.numSlots).toBe(8);
    tables.grow(b, 4);
    expect(tables.slab.subarray(9, 14)).toEqual(Int32Array.of(3, 4, 5, 6, 7));
    expect(tables.slab[23]).toBe(11);
    expect(next().slab).toEqual(tables.slab);
    const columns = [0, 1, 2].map(() => new Int32Array(2));
    tables.measure(Int32Array.of(b.row, a.row), 2, columns);
    expect(columns.map((column) => [...column])).toEqual([
      [1, 2],
      [1, 5],
      [1, 3],
    ]);
    expect(() => tables.grow(a, 37)).toThrow(/outgrew/);
  });

  test('a growth that fails in the last group changes none', () => {
    const { pool, tables, owner, all } = setUpGroups(8);
    const a = owner();
    tables.grow(a, 4);
    expect(pool.numFree).toBe(4);
    // One for the window, two and one for the others: it is just enough, one more is not.
    expect(tables.grow(a, 16, 8)).toBe(false);
    expect([all(a), a.numSlots, pool.numFree]).toEqual([[[1], [2], [3]], 4, 4]);
    expect(tables.grow(a, 12, 8)).toBe(true);
    expect(pool.numFree).toBe(0);
  });

  test('a fork shares all groups, and copies where it writes into a begun block', () => {
    const { pool, tables, owner, all, copies } = setUpGroups(40);
    const [a, b] = [owner(), owner()];
    tables.grow(a, 12);
    tables.dropHead(a, 0, 1);
    const before = pool.numFree;
    tables.fork(a, b, 12);
    expect(all(b)).toEqual(all(a));
    expect(all(b)).toEqual([
      [0, 2, 3],
      [4, 5, 6],
      [7, 8],
    ]);
    expect(pool.numFree).toBe(before);
    // At 12 only the block of eight is begun.
    expect(tables.prepareWrite(b, 12, 13, copies)).toBe(true);
    expect(copies.list).toEqual([[8, 1]]); // 1 came back
    expect(all(b)).toEqual([
      [0, 2, 3, 9],
      [4, 5, 6, 10],
      [7, 1],
    ]);
    tables.undoCopy(b, 1, 8, 2);
    expect([tables.blocksOf(b, 2), pool.refCounts[8], pool.refCounts[1]]).toEqual([[7, 8], 2, 0]);
  });

  test('copies of several groups and growth are all or nothing', () => {
    const { pool, tables, owner, all, copies } = setUpGroups(12);
    const [a, b] = [owner(), owner()];
    tables.grow(a, 10);
    tables.fork(a, b, 10);
    expect(pool.numFree).toBe(3);
    const shared = all(a);
    // Three copies and two blocks.
    expect(tables.prepareWrite(b, 10, 13, copies)).toBe(false);
    expect([all(b), copies.list, pool.numFree]).toEqual([shared, [], 3]);
    expect(tables.prepareWrite(b, 10, 12, copies)).toBe(true);
    expect(copies.list).toHaveLength(3);
    expect(all(a)).toEqual(shared);
    tables.release(a);
    tables.release(b);
    expect(pool.numFree).toBe(11);
    pool.checkInvariants();
  });

  test('are freed from the end of all, so that heads are evicted last', () => {
    const { pool, tables, owner } = setUpGroups(12);
    const a = owner();
    tables.grow(a, 12);
    // [1, 2, 3], [4, 5, 6], [7, 8]; published, so that they go to the tail of the free list.
    const tokens = new Int32Array(16);
    for (const block of range(8, 1)) pool.prefixes.publish(block, -1, tokens.fill(block), 0);
    tables.release(a);
    expect(pool.freeBlocks()).toEqual([9, 10, 11, 3, 6, 8, 2, 5, 1, 4, 7]);
    expect(tables.isEmpty(a)).toBe(true);
  });
});
