import { describe, expect, test } from 'vitest';
import { type KvGroup, KvGroups } from '../../lib/core/kv-groups.js';
import { PrefixIndex, UNSALTED_ROOT } from '../../lib/core/prefix-hash.js';
import { PrefixHits } from '../../lib/core/prefix-hits.js';
import { RecurrentStates } from '../../lib/core/recurrent-states.js';
import { range } from '../support/core.js';

/** Blocks 1 … 4 hold the tokens 0 … 7, two each; 7 and 8 hold the tokens of 2 and 3 as well. */
function make(most = 10) {
  const index = new PrefixIndex(10, 2);
  const tokens = Int32Array.from(range(20));
  const identities = [UNSALTED_ROOT];
  for (const i of range(4)) identities.push(index.publish(1 + i, identities[i], tokens, 2 * i));
  index.publish(7, identities[1], tokens, 2);
  index.publish(8, identities[2], tokens, 4);
  const groups = KvGroups.whole(2);
  const sizes = { root: UNSALTED_ROOT, mostTokens: 2 * most };
  const hits = new PrefixHits({ prefixes: index, groups, ...sizes });
  /** Blocks hashed by an update. */
  const update = () => {
    const before = index.numHashed;
    hits.update(tokens);
    return index.numHashed - before;
  };
  return { index, tokens, identities, hits, update };
}

describe('PrefixHits', () => {
  test('are the longest run of blocks, at most so many', () => {
    const { hits, update, identities } = make();
    expect([hits.blocksOf(0), hits.prefix]).toEqual([[], UNSALTED_ROOT]);
    expect(update()).toBe(5);
    expect([hits.blocksOf(0), hits.prefix]).toEqual([[1, 2, 3, 4], identities[4]]);
    const few = make(2);
    few.update();
    expect(few.hits.blocksOf(0)).toEqual([1, 2]);
    expect(few.hits.mayGrow(few.tokens)).toBe(false);
    const none = make(0);
    expect([none.update(), none.hits.blocksOf(0)]).toEqual([0, []]);
  });

  test('looked up again hash no block that stands', () => {
    const { hits, update, index, tokens, identities } = make();
    update();
    expect(update()).toBe(1);
    expect(hits.mayGrow(tokens)).toBe(false);
    index.publish(5, identities[4], tokens, 8);
    expect(hits.mayGrow(tokens)).toBe(true);
    expect(hits.blocksOf(0)).toHaveLength(4);
    expect(update()).toBe(2);
    expect(hits.blocksOf(0)).toEqual([1, 2, 3, 4, 5]);
  });

  test('end where a block was evicted, or go on over its twin', () => {
    const { hits, update, index } = make();
    update();
    index.evict(2);
    expect(update()).toBe(1); // a twin is the same prefix
    expect(hits.blocksOf(0)).toEqual([1, 7, 3, 4]);
    index.evict(7);
    update();
    expect(hits.blocksOf(0)).toEqual([1]);
    index.evict(1);
    update();
    expect([hits.blocksOf(0), hits.prefix]).toEqual([[], UNSALTED_ROOT]);
  });

  test('take no block that holds something else by now', () => {
    const { hits, update, index, identities } = make();
    update();
    for (const block of [2, 7]) index.evict(block);
    index.publish(2, identities[1], Int32Array.of(90, 91), 0);
    update();
    expect(hits.blocksOf(0)).toEqual([1]);
  });

  test('take nothing that stood behind a block that was evicted and computed again', () => {
    const { hits, update, index, tokens, identities } = make();
    update();
    for (const block of [2, 7]) index.evict(block);
    index.publish(7, identities[1], tokens, 2);
    update();
    expect(hits.blocksOf(0)).toEqual([1, 7]);
  });
});

describe('hits of several groups', () => {
  const TOKENS = Int32Array.from(range(80));
  const WINDOW_AND_ALL = [
    { window: 5, blockSize: 2 },
    { window: 0, blockSize: 2 },
  ];

  /** Blocks of group g are 20 · g + 1, + 2, … for the first tokens; some may be left out. */
  function setUp(of: readonly KvGroup[], numTokens: number, left: readonly number[] = []) {
    const many = { maxModelLen: 1000, maxNumBatchedTokens: 1000, longPrefillThreshold: 0 };
    const groups = new KvGroups({ groups: of, blockSize: 2, ...many });
    const index = new PrefixIndex(100, 2, 0, groups);
    let parent = UNSALTED_ROOT;
    for (let end = 2; end <= numTokens; end += 2) {
      let known = 0;
      of.forEach(({ blockSize }, g) => {
        const block = 20 * g + end / blockSize;
        if (end % blockSize !== 0 || left.includes(block)) return;
        if (known > 0) index.publishBeside(block, known, g);
        else index.publish(block, parent, TOKENS, end - 2, g);
        known = block;
      });
      parent = index.identityAt(index.find(parent, TOKENS, end - 2));
    }
    const hits = new PrefixHits({ prefixes: index, groups, root: UNSALTED_ROOT, mostTokens: 79 });
    const update = (limit?: number) => {
      hits.update(TOKENS, limit);
      return hits.numTokens;
    };
    return { index, hits, update };
  }

  test('name of a window the last blocks, of all tokens every block', () => {
    const { hits, update } = setUp(WINDOW_AND_ALL, 12);
    expect(update()).toBe(12);
    // The query at 12 looks at 8 … 12.
    expect(hits.blocksOf(0)).toEqual([0, 0, 0, 0, 5, 6]);
    expect(hits.blocksOf(1)).toEqual(range(6, 21));
    expect(update(9)).toBe(8);
    expect(hits.blocksOf(0)).toEqual([0, 0, 3, 4]);
  });

  test('end before a block that is missing, as early as all groups agree', () => {
    expect(setUp(WINDOW_AND_ALL, 16, [1, 2, 3, 4, 5]).update()).toBe(16);
    expect(setUp(WINDOW_AND_ALL, 16, [5, 8]).update()).toBe(14);
    expect(setUp(WINDOW_AND_ALL, 16, [5, 6, 8]).update()).toBe(8);
    expect(setUp(WINDOW_AND_ALL, 16, [1, 3, 5, 7]).update()).toBe(0);
    expect(setUp(WINDOW_AND_ALL, 16, [25]).update()).toBe(8);
    expect(setUp(WINDOW_AND_ALL, 16, [25, 4]).update()).toBe(6);
    const two = [{ window: 3, blockSize: 2 }, ...WINDOW_AND_ALL];
    // The first group lets it be 10, the second then 6, where the first misses a block again.
    expect(setUp(two, 16, [8, 7, 6, 24, 3]).update()).toBe(4);
  });

  test('name of a chunk the blocks of the chunk that goes on, none where one begins', () => {
    const of = [
      { window: 6, chunked: true, blockSize: 2 },
      { window: 0, blockSize: 2 },
    ];
    const { index, hits, update } = setUp(of, 16);
    expect(update()).toBe(16);
    expect(hits.blocksOf(0)).toEqual([0, 0, 0, 0, 0, 0, 7, 8]);
    // Of 12 … 17 something is missing: at 12 a chunk begins, which needs nothing before it.
    index.evict(7);
    expect(update()).toBe(12);
    expect(hits.blocksOf(0)).toEqual(range(6, 0).map(() => 0));
    expect(hits.blocksOf(1)).toEqual(range(6, 21));
    expect(update(11)).toBe(10);
    expect(hits.blocksOf(0)).toEqual([0, 0, 0, 4, 5]);
    index.evict(4);
    expect(update(11)).toBe(6);
    index.evict(26);
    expect(update()).toBe(6);
  });

  test('end where every group has a border', () => {
    const of = [
      { window: 5, blockSize: 2 },
      { window: 0, blockSize: 8 },
    ];
    const { hits, update } = setUp(of, 22);
    expect(update()).toBe(16);
    expect([hits.blocksOf(0), hits.blocksOf(1)]).toEqual([
      [0, 0, 0, 0, 0, 0, 7, 8],
      [21, 22],
    ]);
    // Blocks that slid out are evicted first: what comes after them is found all the same.
    const worn = setUp(of, 22);
    for (const block of range(6, 1)) worn.index.evict(block);
    expect(worn.update()).toBe(16);
    worn.index.evict(22);
    expect(worn.update()).toBe(0);
  });

  test('may grow where blocks were published since they were cut short', () => {
    const { index, hits, update } = setUp(WINDOW_AND_ALL, 16, [8]);
    expect(update()).toBe(14);
    expect(hits.mayGrow(TOKENS)).toBe(false);
    index.publishBeside(8, 28, 0);
    expect(hits.mayGrow(TOKENS)).toBe(true);
    expect(update()).toBe(16);
    expect(hits.mayGrow(TOKENS)).toBe(false);
  });
});

describe('with recurrent layers', () => {
  /** Blocks of a group from `missing` on are not there; states at these lengths are. */
  function setUp(statesAt: readonly number[], window = 0, missing: readonly number[] = []) {
    const of = [{ window, blockSize: 8 }];
    const many = { maxModelLen: 1000, maxNumBatchedTokens: 1000, longPrefillThreshold: 0 };
    const groups = new KvGroups({ groups: of, blockSize: 8, ...many });
    const index = new PrefixIndex(100, 8, 0, groups);
    const tokens = Int32Array.from(range(200));
    const states = new RecurrentStates({
      ...{ numSlots: 40, numRecords: 64, interval: 999, maxNumSeqs: 4, coarsest: 8 },
      ...{ enablePrefixCaching: true, enableChunkedPrefill: true },
    });
    let parent = UNSALTED_ROOT;
    const identityAt = new Map<number, number>();
    const publish = (end: number) => {
      parent = index.publish(end / 8, parent, tokens, end - 8);
      identityAt.set(end, parent);
    };
    for (let end = 8; end <= 96; end += 8) publish(end);
    for (const block of missing) index.evict(block);
    const keep = (at: number) => {
      const slot = states.slots.take();
      states.slots.publish(slot, identityAt.get(at)!);
      return slot;
    };
    for (const at of statesAt) keep(at);
    const sizes = { root: UNSALTED_ROOT, mostTokens: 150 };
    const hits = new PrefixHits({ prefixes: index, groups, states, ...sizes });
    const update = (limit?: number) => {
      hits.update(tokens, limit);
      return [hits.numTokens, hits.numWithoutState];
    };
    return { hits, update, keep, publish, states, tokens, identityAt };
  }

  test('end where there is a state, and say how far others went', () => {
    const { hits, update, identityAt } = setUp([16, 64]);
    expect(update()).toEqual([64, 96]);
    expect(hits.prefix).toBe(identityAt.get(64));
    expect(hits.blocksOf(0)).toEqual(range(8, 1));
    expect(update(63)).toEqual([16, 48]);
    expect(update(15)).toEqual([0, 0]);
    expect(setUp([]).update()).toEqual([0, 96]);
  });

  test('end at the border of a chunk: a state elsewhere is none', () => {
    expect(setUp([16, 56]).update()).toEqual([16, 96]);
  });

  test('grow with a state, not with blocks', () => {
    const { hits, update, keep, publish, tokens } = setUp([16]);
    update();
    expect(hits.mayGrow(tokens)).toBe(false);
    publish(104);
    expect(hits.mayGrow(tokens)).toBe(false);
    keep(80);
    expect(hits.mayGrow(tokens)).toBe(true);
    expect(update()).toEqual([80, 96]);
    expect(hits.mayGrow(tokens)).toBe(false);
  });

  test('need the blocks that windows look at from there, too', () => {
    // The query at 64 looks at 48 … 64.
    expect(setUp([32, 64], 17, [1, 2, 3, 4, 5, 6]).update()).toEqual([64, 96]);
    const { hits, update, tokens } = setUp([32, 64], 17, [7]);
    expect(update()).toEqual([32, 96]);
    expect(hits.mayGrow(tokens)).toBe(false);
  });
});
