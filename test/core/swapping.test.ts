import { describe, expect, it } from 'vitest';
import { Admission } from '../../lib/core/admission.js';
import { completeBeamParams } from '../../lib/core/beam-params.js';
import { preempt } from '../../lib/core/preemption.js';
import { Scheduler } from '../../lib/core/scheduler.js';
import { type SchedulerOptions, schedulerConfig } from '../../lib/core/scheduler-config.js';
import { SchedulerState } from '../../lib/core/scheduler-state.js';
import { SequenceGroup } from '../../lib/core/sequence.js';
import { Step } from '../../lib/core/step.js';
import { group, neverStop, planOf, range, resultFor } from '../support/core.js';

function make(options: Partial<SchedulerOptions> = {}) {
  const scheduler = new Scheduler({
    numBlocks: 9,
    maxModelLen: 32,
    blockSize: 4,
    maxNumSeqs: 8,
    numHostBlocks: 20,
    preemptionPolicy: 'swap',
    enablePrefixCaching: false,
    hashSeed: 1,
    ...options,
  });
  const pairs = (step: Step) => {
    const all = range(step.swaps.length / 2).map((i) => [
      step.swaps.at(2 * i),
      step.swaps.at(2 * i + 1),
    ]);
    return { outs: all.slice(0, step.numSwapOuts), ins: all.slice(step.numSwapOuts) };
  };
  const next = () => {
    const step = scheduler.schedule()!;
    const seen = { plan: planOf(scheduler, step), ...pairs(step), copies: step.numCopies };
    scheduler.commit(
      step,
      resultFor(scheduler, step, () => 5),
      neverStop,
    );
    scheduler.checkInvariants();
    return seen;
  };
  /** Runs until a step swaps; returns it. */
  const until = (what: 'outs' | 'ins') => {
    for (let i = 0; i < 60; i++) {
      const seen = next();
      if (seen[what].length > 0) return seen;
    }
    throw new Error(`nothing was swapped: ${what}`);
  };
  return { scheduler, next, until };
}

const long = { maxTokens: 20, ignoreEos: true };

describe('preemption by swap', () => {
  it('moves the computed blocks of the last group, and brings them back before anything waits', () => {
    const { scheduler, until } = make();
    const [a, b] = [group('a', range(7), long), group('b', range(7, 50), long)];
    for (const each of [a, b]) scheduler.add(each);
    const out = until('outs');
    expect(out.plan).toEqual({ a: 1 });
    expect(b.state).toBe('swapped');
    expect([scheduler.numSwapped, scheduler.numRunning, scheduler.numWaiting]).toEqual([1, 1, 0]);
    const computed = b.sequences[0].numComputed;
    expect(out.outs).toHaveLength(Math.ceil(computed / 4));
    expect(scheduler.numFreeHostBlocks).toBe(20 - out.outs.length);
    scheduler.add(group('c', range(3), { maxTokens: 2 }));
    const back = until('ins');
    expect(back.ins.map(([, host]) => host).sort()).toEqual(
      out.outs.map(([, host]) => host).sort(),
    );
    expect(back.plan.b).toBe(1); // nothing is computed again
    expect(scheduler.numFreeHostBlocks).toBe(20);
    expect(b.numSwaps).toBe(1);
    while (scheduler.hasUnfinished) {
      const step = scheduler.schedule()!;
      scheduler.commit(
        step,
        resultFor(scheduler, step, () => 5),
        neverStop,
      );
      scheduler.checkInvariants();
    }
    expect(b.sequences[0].numOutputTokens).toBe(20);
    expect(scheduler.pool.usage).toBe(0);
    expect(scheduler.stats).toMatchObject({
      numSwappedOut: out.outs.length,
      numSwappedIn: out.outs.length,
    });
  });

  it('moves a shared block once and brings it back shared', () => {
    const { scheduler, until } = make({ numBlocks: 15, preemptionPolicy: 'auto' });
    const a = group('a', range(6), { ...long, maxTokens: 26 });
    const b = group('b', range(9, 50), { ...long, n: 3, maxTokens: 14 });
    for (const each of [a, b]) scheduler.add(each);
    const out = until('outs');
    expect(b.state).toBe('swapped');
    const tables = b.sequences.map((s) => [...s.hostTable!]);
    expect(tables[1].slice(0, 2)).toEqual(tables[0].slice(0, 2));
    expect(out.outs).toHaveLength(new Set(tables.flat()).size);
    until('ins');
    const [first, second, third] = b.sequences.map((s) => scheduler.tableOf(s));
    expect(second.slice(0, 2)).toEqual(first.slice(0, 2));
    expect(third.slice(0, 2)).toEqual(first.slice(0, 2));
    expect(new Set([first[2], second[2], third[2]]).size).toBe(3);
  });

  it.each([
    ['auto recomputes one sequence', { preemptionPolicy: 'auto' }],
    ['recompute never swaps', { preemptionPolicy: 'recompute' }],
    ['a swap space that is full recomputes', { numHostBlocks: 1 }],
    ['no swap space recomputes', { numHostBlocks: 0 }],
  ] as const)('%s', (_, options) => {
    const { scheduler, next } = make(options);
    const [a, b] = [group('a', range(7), long), group('b', range(7, 50), long)];
    for (const each of [a, b]) scheduler.add(each);
    while (b.numPreemptions === 0) expect(next().outs).toEqual([]);
    expect(b.state).toBe('waiting');
    expect(b.sequences[0].numComputed).toBe(0);
    expect(scheduler.numFreeHostBlocks).toBe(scheduler.config.numHostBlocks);
  });

  it('makes those who arrive later wait for ever so many steps, first come, first served', () => {
    const { scheduler, next, until } = make();
    const [a, b] = [group('a', range(7), long), group('b', range(7, 50), long)];
    for (const each of [a, b]) scheduler.add(each);
    until('outs');
    for (let i = 0; b.state === 'swapped'; i++) {
      scheduler.add(group(`late ${i}`, range(3), { maxTokens: 2 }));
      const { plan } = next();
      if (b.state === 'swapped') expect(Object.keys(plan)).toEqual(['a']);
    }
    expect(scheduler.numWaiting).toBeGreaterThan(3);
  });

  it('gives host blocks back when a swapped group is aborted', () => {
    const { scheduler, until } = make();
    for (const id of ['a', 'b']) scheduler.add(group(id, range(7), long));
    until('outs');
    expect(scheduler.abort('b')).toBe(true);
    scheduler.checkInvariants();
    expect(scheduler.numFreeHostBlocks).toBe(20);
    expect(scheduler.numSwapped).toBe(0);
  });

  it('computes again what a failed step should have swapped out', () => {
    const { scheduler } = make();
    const [a, b] = [group('a', range(7), long), group('b', range(7, 50), long)];
    for (const each of [a, b]) scheduler.add(each);
    for (;;) {
      const step = scheduler.schedule()!;
      if (step.numSwapOuts === 0) {
        scheduler.commit(
          step,
          resultFor(scheduler, step, () => 5),
          neverStop,
        );
        continue;
      }
      expect(scheduler.discard(step)).toEqual([a]);
      break;
    }
    scheduler.checkInvariants();
    expect(b.state).toBe('waiting');
    expect(b.sequences[0].numComputed).toBe(0);
    expect(scheduler.numFreeHostBlocks).toBe(20);
  });

  it.each(['outs', 'ins'] as const)(
    'computes again what a refused step did not move: %s',
    (what) => {
      const { scheduler } = make();
      const [a, b] = [group('a', range(7), long), group('b', range(7, 50), long)];
      for (const each of [a, b]) scheduler.add(each);
      let putBack = 0;
      while (scheduler.hasUnfinished) {
        const step = scheduler.schedule()!;
        const moves = what === 'outs' ? step.numSwapOuts : step.numSwapIns;
        if (moves > 0 && putBack++ < 2) {
          scheduler.putBack(step);
          expect([b.state, b.sequences[0].numComputed]).toEqual(['waiting', 0]);
          expect(scheduler.numFreeHostBlocks).toBe(20);
        } else {
          const result = resultFor(scheduler, step, () => 5);
          scheduler.commit(step, result, neverStop);
        }
        scheduler.checkInvariants();
      }
      expect(putBack).toBeGreaterThan(0);
      for (const each of [a, b]) expect(each.sequences[0].numOutputTokens).toBe(20);
    },
  );

  it('takes back the copies of a group that is preempted while it is planned', () => {
    // b's samples share a begun block; the copies for them are made, the new block of the last is not
    // there any more: b leaves the step, and what it swaps out is what was computed.
    const { scheduler, next } = make({ numBlocks: 12, preemptionPolicy: 'auto' });
    scheduler.add(group('a', range(14), { ...long, maxTokens: 18 }));
    const b = group('b', range(6, 50), { ...long, n: 3, maxTokens: 6 });
    scheduler.add(b);
    let swapped = 0;
    for (let i = 0; i < 100 && scheduler.hasUnfinished; i++) swapped += next().outs.length;
    expect(swapped).toBeGreaterThan(0);
    expect(scheduler.pool.usage).toBe(0);
    expect(b.sequences.every((s) => s.numOutputTokens === 6)).toBe(true);
  });
});

const copiesFit =
  'a group comes back only where the copies of its shared, begun blocks fit as well';
it.each([1, 2])(`${copiesFit}, in each of %i tables`, (numGroups) => {
  const config = {
    numBlocks: 1 + 9 * numGroups,
    maxModelLen: 32,
    blockSize: 4,
    maxNumSeqs: 6,
    numHostBlocks: 9,
    groups: range(numGroups).map(() => ({ window: 0, blockSize: 4 })),
  };
  const state = new SchedulerState(schedulerConfig({ ...config, preemptionPolicy: 'swap' }));
  const b = group('b', range(6), { ...long, n: 3 });
  state.groups.set('b', b);
  const [first, ...rest] = b.sequences;
  for (const sequence of b.sequences) {
    sequence.endsAt = 26;
    sequence.enlarge();
  }
  state.giveRows(b);
  state.tables.grow(first, 6);
  for (const child of rest) state.tables.fork(first, child, 6);
  for (const sequence of b.sequences) {
    sequence.numComputed = 6;
    sequence.append(5 + sequence.index);
  }
  state.enterRunning(b, b.sequences);
  const out = new Step(6, 64, numGroups);
  preempt(state, out, b);
  expect(out.swaps).toHaveLength(2 * 2 * numGroups); // two blocks, shared by all three
  const other = { row: -1, numSlots: 0 };
  state.tables.takeRow(other);
  state.tables.grow(other, 4 * 6);
  // In each, two for the blocks, one for a copy: another is missing.
  expect(state.pool.numFree).toBe(3 * numGroups);
  const step = new Step(6, 64, numGroups);
  const admission = new Admission(state);
  admission.admit(step);
  expect([step.numSwapIns, step.numSeqs, b.state]).toEqual([0, 0, 'swapped']);
  state.tables.release(other);
  state.tables.grow(other, 4 * 5);
  admission.admit(step);
  expect([step.numSwapIns, step.numCopies]).toEqual([2 * numGroups, 2 * numGroups]);
  expect([step.numSeqs, b.state]).toEqual([3, 'running']);
  expect(state.pool.numFree).toBe(0);
  state.pool.checkInvariants();
});

describe('priorities', () => {
  const options = {
    schedulingPolicy: 'priority',
    numHostBlocks: 0,
    numBlocks: 30,
    maxNumSeqs: 2,
  } as const;
  const of = (id: string, priority: number) => {
    const { params } = group(id, range(5), { maxTokens: 6, ignoreEos: true });
    return new SequenceGroup({ id, promptTokens: range(5), params, priority });
  };

  it('admit the lower value first, ties by arrival', () => {
    const { scheduler, next } = make(options);
    for (const [id, priority] of [
      ['a', 2],
      ['b', 1],
      ['c', 1],
      ['d', -3],
    ] as const) {
      scheduler.add(of(id, priority));
    }
    expect(next().plan).toEqual({ d: 5, b: 5 });
    const order: string[] = [];
    while (scheduler.hasUnfinished) {
      for (const id of Object.keys(next().plan)) if (!order.includes(id)) order.push(id);
    }
    expect(order).toEqual(['d', 'b', 'c', 'a']);
  });

  it('preempt the worst, and nobody while there is room', () => {
    const { scheduler, next } = make({ ...options, numBlocks: 6, maxNumSeqs: 4 });
    const [a, b] = [of('a', 5), of('b', 1)];
    for (const each of [a, b]) scheduler.add(each);
    while (scheduler.hasUnfinished) next();
    expect([a.numPreemptions, b.numPreemptions]).toEqual([1, 0]);
    const roomy = make({ ...options, maxNumSeqs: 4 });
    for (const each of [of('a', 5), of('b', 1)]) roomy.scheduler.add(each);
    while (roomy.scheduler.hasUnfinished) roomy.next();
    expect(roomy.scheduler.stats.numPreemptions).toBe(0);
  });

  it('let the urgent in before whoever was swapped out, but nobody else', () => {
    const { scheduler, next } = make({
      ...options,
      numHostBlocks: 20,
      numBlocks: 9,
      maxNumSeqs: 8,
    });
    const sized = (id: string, priority: number, maxTokens: number) => {
      const { params } = group(id, range(7), { maxTokens, ignoreEos: true });
      return new SequenceGroup({ id, promptTokens: range(7), params, priority });
    };
    const [high, low] = [sized('high', 0, 24), sized('low', 9, 20)];
    for (const each of [high, low]) scheduler.add(each);
    while (low.state !== 'swapped') next();
    // Urgent, as urgent as the swapped one, less urgent.
    for (const [id, priority] of [
      ['urgent', -9],
      ['same', 9],
      ['later', 20],
    ] as const) {
      scheduler.add(sized(id, priority, 2));
    }
    expect(Object.keys(next().plan)).toEqual(['high', 'urgent']);
    expect(low.state).toBe('swapped');
    const order: string[] = [];
    while (scheduler.hasUnfinished) {
      for (const id of Object.keys(next().plan)) if (!order.includes(id)) order.push(id);
    }
    expect(order.slice(-3)).toEqual(['low', 'same', 'later']);
    expect(low.numSwaps).toBe(1);
  });

  it('are refused where the engine serves first come, first served', () => {
    const { scheduler } = make();
    expect(() => scheduler.add(of('a', 1))).toThrow(/schedulingPolicy 'priority'/);
    scheduler.add(of('b', 0));
  });
});

describe('a sliding window', () => {
  it('frees blocks that no query will look at, while the sequence runs', () => {
    const { scheduler, next } = make({ groups: [{ window: 6, blockSize: 4 }], numBlocks: 20 });
    const a = group('a', range(7), { ...long, maxTokens: 25 });
    scheduler.add(a);
    const [sequence] = a.sequences;
    let most = 0;
    while (scheduler.hasUnfinished) {
      next();
      const used = scheduler.pool.numUsable - scheduler.pool.numFree;
      most = Math.max(most, used);
      if (sequence.finishReason !== null) break;
      const reach = Math.max(0, Math.floor((sequence.numComputed - 6 + 1) / 4));
      const table = scheduler.tableOf(sequence);
      expect(table.slice(0, reach).every((block) => block === 0)).toBe(true);
      expect(table.slice(reach).every((block) => block > 0)).toBe(true);
    }
    expect(most).toBeLessThanOrEqual(3);
    expect(scheduler.pool.usage).toBe(0);
  });

  it('shares and frees as the samples of a group advance', () => {
    const { scheduler, next } = make({
      groups: [{ window: 6, blockSize: 4 }],
      numBlocks: 30,
      enablePrefixCaching: true,
    });
    const a = group('a', range(13), { ...long, n: 3, maxTokens: 12 });
    scheduler.add(a);
    next();
    const used = () => scheduler.pool.numUsable - scheduler.pool.numFree;
    expect(used()).toBe(2); // of four blocks, two are slid; the rest is shared by three
    expect(scheduler.numTableEntries).toBe(3 * 2);
    while (scheduler.hasUnfinished) next();
    expect(scheduler.pool.usage).toBe(0);
  });

  it('swaps what its window still holds, and what other groups hold', () => {
    const groups = [6, 0].map((window) => ({ window, blockSize: 4 }));
    const { scheduler, next } = make({
      groups,
      numBlocks: 20,
      numHostBlocks: 15,
      maxModelLen: 40,
      maxNumBatchedTokens: 18,
    });
    const a = group('a', range(9), { ...long, maxTokens: 20 });
    const b = group('b', range(17), { ...long, maxTokens: 20 });
    scheduler.add(a);
    scheduler.add(b);
    let seen = next();
    while (seen.outs.length === 0) seen = next();
    const [sequence] = b.sequences;
    const { numComputed } = sequence;
    const whole = Math.ceil(numComputed / 4);
    const slid = Math.floor((numComputed - 6 + 1) / 4);
    expect(seen.outs).toHaveLength(2 * whole - slid);
    expect(b.numHostBlocks).toBe(2 * whole - slid);
    const none = range(slid).map(() => -1);
    const [first, ...rest] = [...sequence.hostTable!].filter((host) => host >= 0);
    expect([...sequence.hostTable!]).toEqual([...none, first, ...rest]);
    while (seen.ins.length === 0) seen = next();
    expect(seen.ins.map(([, host]) => host).sort()).toEqual([first, ...rest].sort());
    expect(scheduler.tableOf(sequence, 1)).not.toContain(0);
    while (scheduler.hasUnfinished) next();
    expect([scheduler.pool.usage, scheduler.numFreeHostBlocks]).toEqual([0, 15]);
    expect(b.sequences[0].numOutputTokens).toBe(20);
  });

  it('frees the beams of a search too', () => {
    const { scheduler } = make({ groups: [{ window: 5, blockSize: 4 }], numBlocks: 40 });
    const params = completeBeamParams(
      { beamWidth: 3, maxTokens: 15 },
      { vocabSize: 1000, eosTokenIds: [], seed: 1 },
    );
    const a = new SequenceGroup({ id: 'a', promptTokens: range(9), params });
    scheduler.add(a);
    while (scheduler.hasUnfinished) {
      const step = scheduler.schedule()!;
      const result = resultFor(scheduler, step, () => 5);
      result.topLogprobs.forEach((_, i) => {
        result.topLogprobs[i] = -1 - ((i * 7) % 5);
      });
      scheduler.commit(step, result, neverStop);
      scheduler.checkInvariants();
      expect(scheduler.pool.numUsable - scheduler.pool.numFree).toBeLessThanOrEqual(3 * 3);
    }
    expect(a.beams!.finished).toHaveLength(3);
  });
});
