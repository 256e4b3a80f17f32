import { afterEach, describe, expect, test, vi } from 'vitest';
import { AdmissionPlan } from '../../lib/core/admission-plan.js';
import { Scheduler } from '../../lib/core/scheduler.js';
import { schedulerConfig } from '../../lib/core/scheduler-config.js';
import { SchedulerState } from '../../lib/core/scheduler-state.js';
import { SequenceGroup } from '../../lib/core/sequence.js';
import { advance, group, range } from '../support/core.js';
import { Simulation, TINY_WORLD } from '../support/simulate.js';

afterEach(() => {
  vi.restoreAllMocks();
});

describe('a blocked head of the line', () => {
  /**
   * Of each step that it waits: the blocks hashed. Its prompt is cached, and somebody who has the
   * same prompt generates beside it.
   */
  function hashedPerStep(promptLen: number, n = 1): number[] {
    const scheduler = new Scheduler({
      numBlocks: promptLen / 4 + 44,
      blockSize: 4,
      maxModelLen: promptLen + 200,
      maxNumBatchedTokens: promptLen + 200,
    });
    scheduler.add(group('a', range(promptLen), { maxTokens: 90, ignoreEos: true }));
    for (let i = 0; i < 24; i++) advance(scheduler);
    const b = group('b', [...range(promptLen), ...range(150, 7000)], { n, maxTokens: 4 });
    scheduler.add(b);
    const counts: number[] = [];
    while (b.state === 'waiting') {
      const before = scheduler.pool.prefixes.numHashed;
      advance(scheduler);
      if (b.state === 'waiting') counts.push(scheduler.pool.prefixes.numHashed - before);
    }
    expect(b.numCachedTokens).toBe(promptLen);
    while (scheduler.hasUnfinished) advance(scheduler);
    return counts;
  }

  test('costs a step the same, however long its prompt is', () => {
    for (const n of [1, 3]) {
      const [first, ...rest] = hashedPerStep(8000, n);
      expect(first).toBeGreaterThan(2000); // its first look
      expect(rest.length).toBeGreaterThan(50);
      expect(rest).toEqual(hashedPerStep(80, n).slice(1));
      // The block that may lengthen its hits, and what the other one publishes every four steps.
      expect(Math.max(...rest)).toBeLessThanOrEqual(2);
    }
  });

  test('is not blocked any more once others compute what it hits, or free what it needs', () => {
    const scheduler = new Scheduler({
      numBlocks: 41,
      blockSize: 4,
      maxModelLen: 160,
      longPrefillThreshold: 16,
    });
    scheduler.add(group('a', range(100), { maxTokens: 20, ignoreEos: true }));
    const b = group('b', range(98), { maxTokens: 2 });
    scheduler.add(b);
    expect(advance(scheduler)).toEqual({ a: 16 });
    // b is let in as soon as so much of the prompt is computed that the rest fits beside a.
    const admitted = range(5).map(() => Object.keys(advance(scheduler)).includes('b'));
    expect(admitted).toEqual([false, false, true, true, true]);
    expect(b.numCachedTokens).toBe(48);
  });
});

describe('a plan', () => {
  test('counts a free hit that others take into use as one block less', () => {
    const scheduler = new Scheduler({
      numBlocks: 31,
      blockSize: 4,
      maxModelLen: 160,
      schedulingPolicy: 'priority',
    });
    const add = (id: string, prompt: number[], maxTokens: number, priority = 0) => {
      const { params } = group(id, prompt, { maxTokens, ignoreEos: true });
      scheduler.add(new SequenceGroup({ id, promptTokens: prompt, params, priority }));
    };
    add('cached', range(40), 1);
    advance(scheduler);
    add('short', range(48, 500), 5);
    advance(scheduler);
    // 13 of 30 blocks are in use, 10 of the others hold the prompt of b, which needs 20.
    add('b', [...range(40), ...range(39, 700)], 1);
    expect(advance(scheduler)).toEqual({ short: 1 });
    add('urgent', [...range(40), 9], 30, -1);
    expect(advance(scheduler)).toEqual({ short: 1, urgent: 1 });
    for (const _ of range(2)) expect(advance(scheduler)).toEqual({ short: 1, urgent: 1 });
    // short has ended; of b's blocks 10 are urgent's, and there is room for the rest beside it.
    expect(advance(scheduler)).toEqual({ urgent: 1, b: 39 });
  });

  test('is made anew where eviction leaves fewer sequences to start at once', () => {
    const config = { numBlocks: 20, blockSize: 4, maxModelLen: 40, maxNumSeqs: 4 };
    const state = new SchedulerState(schedulerConfig(config));
    const a = group('a', range(4), { n: 2 });
    for (const [i, sequence] of a.sequences.entries()) {
      sequence.endsAt = 40;
      for (const token of range(5 - i)) sequence.append(token);
    }
    // Two blocks of the cache hold the first eight tokens, which are all that the second has.
    const { prefixes } = state.pool;
    const { tokens } = a.sequences[0];
    prefixes.publish(2, prefixes.publish(1, a.root, tokens, 0), tokens, 4);
    const plan = new AdmissionPlan(state, a);
    expect(plan.isBlocked(3, 100)).toBe(false);
    plan.make();
    expect([plan.active.length, plan.numBlocks]).toEqual([2, 4]);
    expect(plan.isBlocked(3, 100)).toBe(true);
    prefixes.evict(2);
    expect(plan.isBlocked(3, 100)).toBe(false);
    plan.make();
    expect([plan.active.length, plan.numBlocks]).toEqual([1, 3]);
    expect([plan.isBlocked(2, 100), plan.isBlocked(3, 0), plan.isBlocked(3, 1)]).toEqual([
      true,
      true,
      false,
    ]);
  });

  /** Blocks of the full group are 1, 2, …, of the window 21, 22, …, where they are cached. */
  function cachedIn(state: SchedulerState, root: number, tokens: Int32Array, windows: number[]) {
    const { prefixes } = state.pool;
    let parent = root;
    for (const i of range(4)) {
      parent = prefixes.publish(1 + i, parent, tokens, 4 * i, 0);
      if (windows.includes(21 + i)) prefixes.publishBeside(21 + i, 1 + i, 1);
    }
  }
  const groups = [
    { window: 0, blockSize: 4 },
    { window: 5, blockSize: 4 },
  ];
  const sizes = { numBlocks: 40, blockSize: 4, maxModelLen: 60, longPrefillThreshold: 4, groups };

  test('lets no parent start past a fork that its child cannot serve from hits', () => {
    const state = new SchedulerState(schedulerConfig(sizes));
    const a = group('a', range(8), { n: 2 });
    for (const [i, sequence] of a.sequences.entries()) {
      sequence.endsAt = 60;
      for (const token of range(12 - 8 * i, 100 * (i + 1))) sequence.append(token);
    }
    const [first, second] = a.sequences;
    // Before 16 the window looks at the fourth block only, before the fork at 8 at the second.
    cachedIn(state, a.root, first.tokens, [24]);
    const plan = new AdmissionPlan(state, a);
    plan.make();
    expect([second.forkParent, second.forkAt]).toEqual([first, 8]);
    expect([plan.active, plan.hitsOf(first).numTokens]).toEqual([[first], 0]);
    state.pool.prefixes.publishBeside(22, 2, 1);
    plan.make();
    expect(plan.active).toEqual([first, second]);
    expect([first, second].map((s) => plan.hitsOf(s).numTokens)).toEqual([16, 8]);
  });

  test('may need less where a shorter hit ends with blocks that are in use', () => {
    const state = new SchedulerState(schedulerConfig(sizes));
    const a = group('a', range(40));
    const { pool } = state;
    for (const block of range(23, 1)) expect(pool.allocateOne()).toBe(block);
    cachedIn(state, a.root, a.sequences[0].tokens, [23, 24]);
    for (const block of range(22, 1)) pool.free(block);
    const plan = new AdmissionPlan(state, a);
    plan.make();
    // Ten of the full group; three at the peak of a window of 5 and a query of 4, none in use.
    expect([plan.hitsOf(a.sequences[0]).numTokens, plan.numBlocks]).toEqual([16, 10 + 3]);
    expect(plan.isBlocked(12, 100)).toBe(true);
    pool.prefixes.evict(24);
    expect(plan.isBlocked(12, 100)).toBe(false);
    plan.make();
    expect([plan.hitsOf(a.sequences[0]).numTokens, plan.numBlocks]).toEqual([12, 10 + 2]);
  });
});

test('whoever counts as blocked would not fit', () => {
  const worlds = [
    {},
    { numBlocks: 30, maxNumSeqs: 20 },
    { maxN: 8, blockSize: 3, numBlocks: 55 },
    { enableChunkedPrefill: false, maxNumBatchedTokens: 90, maxN: 6 },
    { beamTenths: 6, maxN: 5, numBlocks: 60, maxNumSeqs: 24 },
    {
      groups: [
        { window: 9, blockSize: 4 },
        { window: 0, blockSize: 8 },
        { window: 18, blockSize: 4 },
      ],
      maxN: 5,
      numBlocks: 80,
      maxNumSeqs: 20,
      numHostBlocks: 30,
    },
    {
      groups: [{ window: 9, blockSize: 4 }],
      beamTenths: 2,
      maxN: 5,
      numHostBlocks: 30,
      maxNumSeqs: 24,
    },
  ];
  let numBlocked = 0;
  let numSeveral = 0;
  const { isBlocked, make } = AdmissionPlan.prototype;
  vi.spyOn(AdmissionPlan.prototype, 'isBlocked').mockImplementation(function (
    this: AdmissionPlan,
    room,
    budget,
  ) {
    if (!isBlocked.call(this, room, budget)) return false;
    // Now and then what a look would find, which makes the plan new.
    if (++numBlocked % 4 > 0) return true;
    make.call(this);
    expect(this.numBlocks > room || this.numQueryTokens > budget).toBe(true);
    if (this.active.length > 1) numSeveral++;
    return true;
  });
  for (const world of worlds) {
    for (const seed of [1, 2]) {
      new Simulation(seed, { ...TINY_WORLD, numRequests: 60, abortPercent: 3, ...world }).run();
    }
  }
  expect(numBlocked).toBeGreaterThan(200);
  expect(numSeveral).toBeGreaterThan(0);
});
