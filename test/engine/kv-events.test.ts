/** Events beside a prefix index whose content is known: whoever follows them has the same set. */
import { describe, expect, it } from 'vitest';
import { type KvGroup, KvGroups } from '../../lib/core/kv-groups.js';
import { PrefixIndex } from '../../lib/core/prefix-hash.js';
import type { KvEvent } from '../../lib/engine/kv-encoding.js';
import { KvEvents } from '../../lib/engine/kv-events.js';
import { type Random, random as randomOf } from '../support/random.js';
import { SEED } from '../support/seed.js';

/** What follows events: of each group, hash → the text of the whole prefix. */
class Follower {
  readonly blocks = new Map<string, string>();
  numEvents = 0;

  publish(events: readonly KvEvent[]): void {
    for (const event of events) {
      this.numEvents++;
      if (event.type === 'cleared') this.blocks.clear();
      else if (event.type === 'removed') {
        const g = event.group?.index ?? 0;
        for (const hash of event.hashes) expect(this.blocks.delete(`${g} ${hash}`)).toBe(true);
      } else this.#store(event);
    }
  }

  #store(event: KvEvent & { type: 'stored' }): void {
    const { hashes, tokens, blockSize, salt, parent } = event;
    const g = event.group?.index ?? 0;
    expect(tokens.length).toBe(hashes.length * blockSize);
    let before = parent === null ? `${salt}:` : this.#known.get(parent);
    expect(before).toBeDefined();
    hashes.forEach((hash, i) => {
      const own = tokens.slice(i * blockSize, (i + 1) * blockSize);
      before += own.map((token) => `${token},`).join('');
      expect(this.blocks.has(`${g} ${hash}`)).toBe(false);
      // A hash has one content, and a content one hash, for ever.
      expect(this.#known.get(hash) ?? before).toBe(before);
      this.#known.set(hash, before as string);
      this.blocks.set(`${g} ${hash}`, before as string);
    });
  }

  readonly #known = new Map<bigint, string>();

  get content(): string[] {
    return [...this.blocks].map(([key, text]) => `${key.split(' ')[0]} ${text}`).toSorted();
  }
}

const SIZES = { maxModelLen: 1000, maxNumBatchedTokens: 100, longPrefillThreshold: 0 };

function randomRun(seed: number, of: readonly KvGroup[], blockSize: number): void {
  const random = randomOf(seed);
  const groups = new KvGroups({ groups: of, blockSize, ...SIZES });
  const index = new PrefixIndex(60, blockSize, 0, groups);
  const follower = new Follower();
  const events = new KvEvents(index, groups, follower);
  /** Of each block in the cache, its group and prefix. */
  const held = new Map<number, string>();
  const salts = [undefined, 'a', 'b'];
  for (let round = 0; round < 150; round++) {
    const salt = salts[random.integer(3)];
    const root = index.acquireRoot(salt);
    const length = 8 * blockSize;
    const tokens = Int32Array.from({ length }, () => random.integer(2));
    /** Blocks of this sequence: they are in use. */
    const own = new Set<number>();
    let parent = root;
    for (let end = blockSize; end <= length; end += blockSize) {
      const text = `${salt ?? null}:${[...tokens.subarray(0, end)].map((t) => `${t},`).join('')}`;
      let known = 0;
      for (let g = 0; g < groups.length; g++) {
        if (end % groups.blockSizes[g] !== 0) continue;
        const block = freeOne(index, held, random, own);
        if (known > 0) index.publishBeside(block, known, g);
        else index.publish(block, parent, tokens, end - blockSize, g);
        known = block;
        own.add(block);
        held.set(block, `${g} ${text}`);
      }
      parent = index.identityOf(known);
    }
    index.releaseRoot(root);
    if (random.integer(10) === 0) {
      index.evictAll();
      held.clear();
    }
    if (random.integer(3) > 0) continue;
    events.flush();
    expect(follower.content).toEqual([...new Set(held.values())].toSorted());
  }
  expect(follower.numEvents).toBeGreaterThan(100);
}

/** A block that holds nothing: one of those that do, most of the time, after it was evicted. */
function freeOne(
  index: PrefixIndex,
  held: Map<number, string>,
  random: Random,
  own: ReadonlySet<number>,
): number {
  const blocks = Array.from({ length: 59 }, (_, i) => i + 1);
  const free = blocks.filter((block) => !held.has(block));
  if (free.length > 0 && (held.size < 20 || random.integer(2) === 0)) {
    return free[random.integer(free.length)];
  }
  const idle = [...held.keys()].filter((block) => !own.has(block));
  const block = idle[random.integer(idle.length)];
  index.evict(block);
  held.delete(block);
  return block;
}

describe('events of random publications and evictions', () => {
  it('twins, orphans and salts: one group', () => {
    randomRun(SEED, [{ window: 0, blockSize: 2 }], 2);
  });

  it('a group with a window beside one that keeps all, in larger blocks', () => {
    const window = { window: 8, blockSize: 4 };
    randomRun(SEED, [{ window: 0, blockSize: 2 }, window], 2);
  });
});

it('says which kind of group it is, where there are several', () => {
  const groups = new KvGroups({
    groups: [
      { window: 0, blockSize: 2 },
      { window: 8, blockSize: 2 },
      { window: 4, chunked: true, blockSize: 4 },
    ],
    blockSize: 2,
    ...SIZES,
  });
  const index = new PrefixIndex(20, 2, 0, groups);
  const told: KvEvent[] = [];
  const events = new KvEvents(index, groups, { publish: (all) => told.push(...all) });
  const tokens = Int32Array.of(1, 2, 3, 4);
  const first = index.publish(1, -1, tokens, 0);
  index.publishBeside(2, 1, 1);
  index.publish(3, first, tokens, 2);
  index.publishBeside(4, 3, 2);
  events.flush();
  events.flush();
  expect(told.map((event) => (event.type === 'stored' ? [event.group, event.tokens] : []))).toEqual(
    [
      [{ index: 0, kind: 'full_attention', window: null }, [1, 2]],
      [{ index: 1, kind: 'sliding_window', window: 8 }, [1, 2]],
      [{ index: 0, kind: 'full_attention', window: null }, [3, 4]],
      [{ index: 2, kind: 'chunked_local_attention', window: 4 }, [1, 2, 3, 4]],
    ],
  );
  const [one, , two, four] = told.map((event) => (event.type === 'stored' ? event : null)!);
  expect([one.parent, two.parent, four.parent]).toEqual([null, one.hashes[0], null]);
  expect(four.hashes).toEqual(two.hashes);
});

it('has the same hashes in every process', () => {
  const groups = KvGroups.whole(2);
  const hashesOf = (seed: number) => {
    const index = new PrefixIndex(20, 2, seed, groups);
    const told: KvEvent[] = [];
    const events = new KvEvents(index, groups, { publish: (all) => told.push(...all) });
    index.publish(seed, index.acquireRoot('s'), Int32Array.of(5, 6), 0);
    index.publish(seed + 1, index.acquireRoot(undefined), Int32Array.of(5, 6), 0);
    events.flush();
    return told.flatMap((event) => (event.type === 'stored' ? event.hashes : []));
  };
  expect(hashesOf(3)).toEqual(hashesOf(9));
  expect(new Set(hashesOf(3)).size).toBe(2);
});
