import { describe, expect, test } from 'vitest';
import { completeBeamParams } from '../../lib/core/beam-params.js';
import { KvGroups, planGroups, tableOffsets } from '../../lib/core/kv-groups.js';
import { Scheduler } from '../../lib/core/scheduler.js';
import type { SchedulerOptions } from '../../lib/core/scheduler-config.js';
import { SequenceGroup } from '../../lib/core/sequence.js';
import { advance, group, range, VOCAB } from '../support/core.js';
import { randomFrom } from '../support/fake-executor.js';

/** Layers with scales beside every value, or none. */
const layers = (
  ...of: [count: number, window: number, valueBytes: number, scaleBytes?: number][]
) =>
  of.flatMap(([count, window, valueBytes, scaleBytes = 0]) =>
    Array.from({ length: count }, () => ({ window, valueBytes, scaleBytes })),
  );
const inChunks = (of: ReturnType<typeof layers>) => of.map((l) => ({ ...l, chunked: true }));
const groupsOf = (...of: [window: number, blockSize: number, chunked?: boolean][]) =>
  of.map(([window, blockSize, chunked = false]) => ({ window, blockSize, chunked }));

describe('planGroups', () => {
  const shapeOf = (plan: ReturnType<typeof planGroups>) =>
    plan.groups.map((g) => [g.window, g.blockSize, g.layers.length]);

  test('one window is one group, with blocks as before there were groups, whatever the bytes', () => {
    const plan = planGroups(layers([28, 0, 4096]), 16);
    expect(plan.groups).toEqual([{ window: 0, blockSize: 16, layers: range(28) }]);
    expect([plan.pageBytes, plan.waste]).toEqual([28 * 16 * 4096, 0]);
    const uneven = planGroups(layers([5, 64, 96], [1, 64, 1024], [2, 64, 8]), 8);
    expect(uneven.groups).toEqual([{ window: 64, blockSize: 8, layers: range(8) }]);
    const bytes = 8 * (5 * 96 + 1024 + 16);
    expect(uneven.pageBytes).toBe(Math.ceil(bytes / 256) * 256);
    expect(uneven.waste).toBeCloseTo(1 - bytes / uneven.pageBytes);
  });

  test('five windows to one: groups of equally many layers, the last one shorter', () => {
    // 26 layers, every sixth looks at all tokens.
    const mixed = range(26).flatMap((i) => layers([1, i % 6 === 5 ? 0 : 512, 1024]));
    const { groups, pageBytes, waste } = planGroups(mixed, 16);
    expect(groups.map((g) => [g.window, g.layers.length])).toEqual([
      ...range(5).map(() => [512, 4]),
      [512, 2],
      [0, 4],
    ]);
    expect(groups.at(-1)!.layers).toEqual([5, 11, 17, 23]);
    expect(groups.flatMap((g) => g.layers).sort((a, b) => a - b)).toEqual(range(26));
    expect(pageBytes).toBe(4 * 16 * 1024);
    expect(waste).toBeCloseTo(2 / 28);
    const large = planGroups(layers([52, 1024, 1], [10, 0, 1]), 16);
    expect(large.groups.map((g) => g.layers.length)).toEqual([10, 10, 10, 10, 10, 2, 10]);
  });

  test('kinds of nearly equally many layers are a group each', () => {
    const sizes = (...of: Parameters<typeof layers>) =>
      planGroups(layers(...of), 16).groups.map((g) => g.layers.length);
    expect(sizes([14, 128, 1], [10, 0, 1])).toEqual([14, 10]); // less than half as much again
    expect(sizes([15, 128, 1], [10, 0, 1])).toEqual([10, 5, 10]);
  });

  test('fewer bytes per token are more tokens per page, by a power of two, else padding', () => {
    const halves = planGroups(layers([5, 1024, 16_384], [1, 0, 8192]), 16);
    expect(halves.groups.map((g) => g.blockSize)).toEqual([...range(5).map(() => 16), 32]);
    expect([halves.pageBytes, halves.waste]).toEqual([16 * 16_384, 0]);
    const third = planGroups(layers([1, 0, 96], [1, 64, 32]), 8);
    expect(third.groups.map((g) => g.blockSize)).toEqual([8, 16]);
    expect(third.pageBytes).toBe(8 * 96);
    expect(third.waste).toBeCloseTo(1 / 6);
    // As far as attention reads a block; a block that is larger anyway stays.
    const latent = layers([1, 0, 2 ** 20], [1, 64, 1024]);
    expect(shapeOf(planGroups(latent, 16))).toEqual([
      [0, 16, 1],
      [64, 256, 1],
    ]);
    expect(planGroups(latent, 512).groups.map((g) => g.blockSize)).toEqual([512, 512]);
  });

  test('scales do not count there: they lie behind the values of the largest group', () => {
    // Heads of 256 and of 512, so many of them that values are 2 : 1.
    const int8 = planGroups(layers([5, 1024, 2 * 2 * 512, 2 * 2 * 4], [1, 0, 1024, 2 * 2 * 4]), 16);
    expect(int8.groups.map((g) => g.blockSize)).toEqual([...range(5).map(() => 16), 32]);
    expect(int8.pageBytes).toBe(16 * 2048 + 32 * 16);
    expect(int8.waste).toBeCloseTo((5 * 16 * 16) / (6 * int8.pageBytes));
    // They begin at a multiple of 16 bytes.
    expect(planGroups(layers([1, 0, 1, 31]), 8).pageBytes).toBe(16 + 8 * 31 + 248);
    expect(planGroups(layers([1, 0, 1, 30]), 8).pageBytes).toBe(256);
  });

  test('are no more than 32: larger groups, in the end one that keeps what anybody needs', () => {
    // Two in each would be 51; of a kind that has only two a page holds twice the tokens.
    const many = planGroups(layers([100, 64, 16], [2, 0, 16]), 16);
    expect(shapeOf(many)).toEqual([...range(25).map(() => [64, 16, 4]), [0, 32, 2]]);
    expect(many.waste).toBe(0);
    const each = (count: number) => range(count).flatMap((i) => layers([1, 9 + i, 16]));
    expect(planGroups(each(32), 16).groups).toHaveLength(32);
    expect(shapeOf(planGroups(each(33), 16))).toEqual([[9 + 32, 16, 33]]);
    expect(shapeOf(planGroups([...each(33), ...layers([2, 0, 48])], 16))).toEqual([[0, 16, 35]]);
    // One kind has the finest blocks, also where none fills what is largest in two ways at once.
    const halves = planGroups(layers([40, 64, 8], [1, 0, 16]), 16);
    expect(shapeOf(halves)).toEqual([...range(20).map(() => [64, 16, 2]), [0, 16, 1]]);
  });

  test('a chunk is another kind than a window of its size, and than all', () => {
    const three = [...inChunks(layers([2, 64, 16])), ...layers([2, 64, 16], [2, 0, 16])];
    const { groups } = planGroups(three, 16);
    expect(groups).toEqual([
      { window: 64, chunked: true, blockSize: 16, layers: [0, 1] },
      { window: 64, blockSize: 16, layers: [2, 3] },
      { window: 0, blockSize: 16, layers: [4, 5] },
    ]);
    const alike = planGroups(inChunks(layers([2, 64, 16])), 16).groups;
    expect(alike).toEqual([{ window: 64, chunked: true, blockSize: 16, layers: [0, 1] }]);
    // A window keeps what a chunk of the same size needs, not the other way round.
    const many = range(33).flatMap((i) => inChunks(layers([1, 9 + i, 16])));
    expect(planGroups(many, 16).groups).toEqual([
      { window: 9 + 32, blockSize: 16, layers: range(33) },
    ]);
  });
});

test('any layers are planned: each once, nothing longer than its page', () => {
  const random = randomFrom(11);
  const seen = { several: 0, doubled: 0, scales: 0 };
  for (let run = 0; run < 500; run++) {
    const blockSize = 2 ** random(10);
    const scaleBytes = random(2) * 4;
    const kinds = range(1 + random(4)).map(() => ({
      window: random(3) * 512,
      chunked: random(3) === 0,
      valueBytes: (1 + random(4)) * 2 ** random(10),
      scaleBytes: scaleBytes * (1 + random(3)),
    }));
    const model = range(1 + random(70)).map(() => kinds[random(kinds.length)]);
    const { groups, pageBytes, waste } = planGroups(model, blockSize);
    const say = JSON.stringify({ blockSize, kinds });
    expect(groups.length, say).toBeLessThanOrEqual(32);
    expect(groups.flatMap((g) => g.layers).sort((a, b) => a - b)).toEqual(range(model.length));
    expect(Math.min(...groups.map((g) => g.blockSize))).toBe(blockSize);
    let used = 0;
    const sums = { valueBytes: [0], scaleBytes: [0] };
    for (const { window, chunked = false, blockSize: size, layers: own } of groups) {
      expect(Number.isInteger(Math.log2(size / blockSize)), say).toBe(true);
      expect(size === blockSize || size <= 256, say).toBe(true);
      expect(own.every((l) => model[l].window === window)).toBe(true);
      expect(own.every((l) => (window > 0 && model[l].chunked) === chunked)).toBe(true);
      for (const part of ['valueBytes', 'scaleBytes'] as const) {
        const bytes = own.reduce((sum, l) => sum + model[l][part] * size, 0);
        sums[part].push(bytes);
        used += bytes;
      }
      seen.doubled += size > blockSize ? 1 : 0;
    }
    const [values, scales] = [Math.max(...sums.valueBytes), Math.max(...sums.scaleBytes)];
    const scalesAt = scales > 0 ? Math.ceil(values / 16) * 16 : values;
    expect(pageBytes, say).toBe(Math.ceil((scalesAt + scales) / 256) * 256);
    expect(waste).toBeCloseTo(1 - used / (groups.length * pageBytes));
    const reach = ({ window, chunked }: (typeof model)[number]) => window * (chunked ? -1 : 1) || 0;
    if (new Set(model.map(reach)).size > 1) seen.several++;
    else expect(groups).toHaveLength(1);
    seen.scales += scales > 0 ? 1 : 0;
  }
  expect(Math.min(...Object.values(seen))).toBeGreaterThan(100);
});

describe('KvGroups', () => {
  const sizes = {
    blockSize: 4,
    maxModelLen: 100,
    maxNumBatchedTokens: 16,
    longPrefillThreshold: 0,
  };
  const made = (of: [number, number, boolean?][], options: Partial<typeof sizes> = {}) =>
    new KvGroups({ ...sizes, ...options, groups: groupsOf(...of) });

  test('a window keeps what the next query looks at, itself included', () => {
    const groups = made([
      [6, 4],
      [0, 4],
      [1, 4],
      [6, 8],
      [100, 4],
    ]); // prettier-ignore
    const kept = (numComputed: number) => range(5).map((g) => groups.firstKept(g, numComputed));
    expect(kept(0)).toEqual([0, 0, 0, 0, 0]);
    expect(kept(8)).toEqual([0, 0, 2, 0, 0]); // 3 … 8 are looked at
    expect(kept(9)).toEqual([1, 0, 2, 0, 0]); // 4 … 9
    expect(kept(13)).toEqual([2, 0, 3, 1, 0]);
    // No sequence outgrows the last one.
    expect(groups.windows).toEqual([6, 0, 1, 6, 0]);
    expect([groups.finest, groups.coarsest, groups.slides]).toEqual([4, 8, true]);
  });

  test('a chunk keeps what the next query has before it in its own chunk', () => {
    const groups = made([
      [6, 4, true],
      [8, 4, true],
      [100, 4, true],
    ]); // prettier-ignore
    const kept = (numComputed: number) => range(3).map((g) => groups.firstKept(g, numComputed));
    expect(kept(5)).toEqual([0, 0, 0]);
    expect(kept(6)).toEqual([1, 0, 0]); // 6 is looked at, in the block of 4
    expect(kept(8)).toEqual([1, 2, 0]);
    expect(kept(12)).toEqual([3, 2, 0]);
    expect(kept(15)).toEqual([3, 2, 0]);
    expect(kept(16)).toEqual([3, 4, 0]);
    expect(groups.windows).toEqual([6, 8, 0]);
    expect(groups.peak(0, 0, 90)).toBe(Math.ceil(21 / 4) + 1);
    expect(groups.peak(1, 80, 90)).toBe(3); // 80 is a border
  });

  test('a table of a window holds at most its window and a query', () => {
    const groups = made([
      [6, 4],
      [0, 4],
    ]); // prettier-ignore
    expect([groups.peak(0, 0, 90), groups.peak(1, 0, 90)]).toEqual([Math.ceil(21 / 4) + 1, 23]);
    expect(groups.peak(0, 0, 9)).toBe(3); // never more than there is
    expect(groups.peak(0, 80, 90)).toBe(23 - 18);
    const short = made([[6, 4]], { longPrefillThreshold: 3 });
    expect(short.peak(0, 0, 90)).toBe(Math.ceil(8 / 4) + 1);
  });

  test('the worst case: a shared prompt once, the rest n times, but no more than n peaks', () => {
    const groups = made([
      [6, 4],
      [0, 4],
      [0, 8],
    ]); // prettier-ignore
    expect(groups.worstCase(10, 16, 1)).toBe(4 + 4 + 2);
    expect(groups.worstCase(10, 16, 3)).toBe(2 + 3 * 2 + 2 + 3 * 2 + 1 + 3);
    expect(groups.worstCase(10, 90, 3)).toBe(3 * 7 + 2 + 3 * 21 + 1 + 3 * 11);
    expect(groups.worstCase(84, 90, 2)).toBe(2 * 7 + 21 + 2 * 2 + 10 + 2 * 2);
    expect(groups.ownBlocks(10, 90)).toBe(7 + 21 + 11);
    expect(groups.ownBlocks(10, 12)).toBe(1 + 1 + 1);
  });

  test('tables of all groups are one row', () => {
    expect(tableOffsets(groupsOf([9, 4], [0, 8], [9, 16]), 4, 25)).toEqual({
      offsets: [0, 25, 38],
      rowLength: 38 + 7,
    });
  });
});

function make(options: Partial<SchedulerOptions> = {}): Scheduler {
  return new Scheduler({
    numBlocks: 200,
    blockSize: 4,
    maxModelLen: 160,
    maxNumBatchedTokens: 16,
    maxNumSeqs: 16,
    ...options,
  });
}

const used = ({ pool }: Scheduler) => pool.numUsable - pool.numFree;
const FIVE_TO_ONE = groupsOf(...range(5).map((): [number, number] => [8, 4]), [0, 4]);
const long = { ignoreEos: true };

describe('a window', () => {
  test('takes pages for its next query, and frees them when they slid out', () => {
    const scheduler = make({ groups: groupsOf([8, 4], [0, 4]) });
    const a = group('a', range(50), { ...long, maxTokens: 12 });
    scheduler.add(a);
    const [sequence] = a.sequences;
    const held = () => range(2).map((g) => scheduler.tableOf(sequence, g).filter((b) => b > 0));
    const step = scheduler.schedule()!;
    // Of 50 tokens 16 are planned.
    expect(held().map((blocks) => blocks.length)).toEqual([4, 13]);
    expect([...step.numBlocks.map((column) => column[0])]).toEqual([4, 13]);
    scheduler.putBack(step);
    advance(scheduler);
    expect(held().map((blocks) => blocks.length)).toEqual([2, 13]); // 9 … 15 stay
    advance(scheduler);
    expect(scheduler.tableOf(sequence, 0).slice(0, 6)).toEqual(range(6).map(() => 0));
    while (sequence.finishReason === null) {
      expect(held()[0].length).toBeLessThanOrEqual(3);
      expect(scheduler.numTableEntries).toBe(used(scheduler));
      advance(scheduler);
    }
    expect(used(scheduler)).toBe(0);
  });

  test('of one token holds the page that is written to', () => {
    const scheduler = make({ groups: groupsOf([1, 4], [0, 4]) });
    scheduler.add(group('a', range(10), { ...long, maxTokens: 12 }));
    for (let s = 0; s < 11; s++) {
      const before = used(scheduler);
      advance(scheduler);
      const numComputed = 10 + s;
      expect(used(scheduler)).toBe(Math.ceil(numComputed / 4) + (numComputed % 4 > 0 ? 1 : 0));
      expect(used(scheduler)).toBeGreaterThanOrEqual(before - 1);
    }
  });

  test('that no sequence outgrows plans what no window plans', () => {
    const plans = [0, 160, 1000].map((window) => {
      const scheduler = make({ groups: groupsOf([window, 4]), numBlocks: 60 });
      for (const i of range(6)) scheduler.add(group(`${i}`, range(60, i), { ...long, n: 2 }));
      const steps = [];
      while (scheduler.hasUnfinished) steps.push([advance(scheduler), used(scheduler)]);
      return steps;
    });
    expect(plans[1]).toEqual(plans[0]);
    expect(plans[2]).toEqual(plans[0]);
  });

  test('lets more sequences in than if all layers kept all tokens', () => {
    const running = (groups: SchedulerOptions['groups'], numUsable: number) => {
      const sizes = { maxNumBatchedTokens: 160, longPrefillThreshold: 16 };
      const numBlocks = numUsable + 1;
      const scheduler = make({ ...sizes, groups, numBlocks, enablePrefixCaching: false });
      for (const i of range(12)) {
        scheduler.add(group(`${i}`, range(100), { ...long, maxTokens: 20 }));
      }
      const first = Object.keys(advance(scheduler)).length;
      while (scheduler.hasUnfinished) advance(scheduler);
      expect(scheduler.stats.numPreemptions).toBe(0);
      return first;
    };
    // 25 pages for 100 tokens in each of six groups, and one of each in hand: 150 + 156 of 390.
    const all = range(6).map(() => ({ window: 0, blockSize: 4 }));
    expect(running(all, 390)).toBe(2);
    // 25 and, while 16 tokens at a time are computed, 5 · 7: 60 + 5 · 66.
    expect(running(FIVE_TO_ONE, 390)).toBe(6);
    expect(running(FIVE_TO_ONE, 389)).toBe(5);
  });

  test('keeps what it was promised, whoever comes meanwhile', () => {
    // 5 · 7 + 25 of 70 pages; while the prompt is computed its windows hold less, now and then.
    const scheduler = make({ groups: FIVE_TO_ONE, numBlocks: 71, longPrefillThreshold: 15 });
    scheduler.add(group('a', range(100), { ...long, maxTokens: 2 }));
    advance(scheduler);
    for (const i of range(4)) scheduler.add(group(`${i}`, [i], { ...long, maxTokens: 3 }));
    const plans = [];
    while (scheduler.hasUnfinished) plans.push(advance(scheduler));
    expect(scheduler.stats.numPreemptions).toBe(0);
    expect(plans.slice(0, 5).every((plan) => Object.keys(plan).join() === 'a')).toBe(true);
  });
});

test('whoever just fits into the pool alone is never preempted there', () => {
  const random = randomFrom(7);
  let numCopies = 0;
  for (let run = 0; run < 300; run++) {
    const groups = range(1 + random(3)).map(() => ({
      window: random(3) === 0 ? 0 : 1 + random(30),
      chunked: random(3) === 0,
      blockSize: 4 * 2 ** random(3),
    }));
    groups[0].blockSize = 4;
    const n = 1 + random(4);
    const maxTokens = 1 + random(40);
    const promptTokens = range(1 + random(60));
    const params =
      random(3) > 0
        ? group('x', [1], { ...long, n, maxTokens }).params
        : completeBeamParams(
            { beamWidth: n, maxTokens, ignoreEos: true },
            { vocabSize: VOCAB, eosTokenIds: [], seed: 1 },
          );
    const options = {
      groups,
      maxModelLen: 100,
      maxNumBatchedTokens: 16 + random(20),
      longPrefillThreshold: random(2) * (1 + random(9)),
      enablePrefixCaching: random(2) === 0,
    };
    const wide = make({ ...options, numBlocks: 2 });
    const extent = { numPromptTokens: promptTokens.length, params, priority: 0 };
    const reason = (() => {
      try {
        wide.checkFeasible(extent);
      } catch (error) {
        return (error as Error).message;
      }
    })();
    const worst = Number(/may need (\d+) blocks/.exec(reason ?? 'may need 1 blocks')![1]);
    const scheduler = make({ ...options, numBlocks: worst + 1 });
    scheduler.add(new SequenceGroup({ id: 'a', promptTokens, params }));
    while (scheduler.hasUnfinished) advance(scheduler, (s) => 5 + ((s.index + s.numTokens) % 7));
    expect(scheduler.stats.numPreemptions, JSON.stringify(options)).toBe(0);
    expect(used(scheduler)).toBe(0);
    numCopies += scheduler.stats.numBlockCopies;
  }
  expect(numCopies).toBeGreaterThan(200);
});

describe('a prefix hit', () => {
  /** Another request evicts what slid out of the first one's windows; then so many tokens are hit. */
  function hitAfterEviction(numShared: number, strangerLen: number): number {
    const scheduler = make({
      groups: groupsOf([9, 4], [0, 4]),
      numBlocks: 1 + 22,
      maxNumBatchedTokens: 200,
    });
    const run = (id: string, prompt: number[]) => {
      const made = group(id, prompt, { ...long, maxTokens: 1 });
      scheduler.add(made);
      while (scheduler.hasUnfinished) advance(scheduler);
      return made.numCachedTokens;
    };
    run('first', range(41));
    expect(scheduler.pool.prefixes.numPublished).toBe(2 * 10);
    if (strangerLen > 0) run('stranger', range(strangerLen, 500));
    return run('second', [...range(numShared), 900]);
  }

  test('finds what slid out as long as nobody takes it', () => {
    expect([40, 32, 20].map((shared) => hitAfterEviction(shared, 0))).toEqual([40, 32, 20]);
  });

  test('needs of a window only what the next query looks at, else it is shorter', () => {
    // The stranger takes two pages that hold nothing, and pages 7, 6, 5 and 4 of the window.
    expect([40, 32, 20].map((shared) => hitAfterEviction(shared, 10))).toEqual([40, 16, 16]);
    // Then 3 … 0, and now the last ones of both groups, tail first.
    expect(hitAfterEviction(40, 20)).toBe(40);
    expect(hitAfterEviction(40, 24)).toBe(0);
  });

  test('shares no page of a window of one, which looks at nothing before', () => {
    const scheduler = make({ groups: groupsOf([1, 4], [0, 4]) });
    scheduler.add(group('a', range(40), { ...long, maxTokens: 30 }));
    for (const _ of range(4)) advance(scheduler);
    const b = group('b', range(40), { ...long, maxTokens: 2 });
    scheduler.add(b);
    scheduler.schedule();
    expect(b.numCachedTokens).toBe(36);
    const [table, whole] = [0, 1].map((g) => scheduler.tableOf(b.sequences[0], g));
    expect(table.slice(0, 9)).toEqual(range(9).map(() => 0));
    expect(whole.filter((block) => scheduler.pool.refCounts[block] === 2)).toHaveLength(9);
  });
});
