/**
 * Groups of a model with recurrent layers, swapped out and in. The executor is fake, but its states
 * and records are the content of the tokens before them, so whoever finds another's throws, and
 * draws other tokens.
 */
import { describe, expect, it } from 'vitest';
import { Admission } from '../../lib/core/admission.js';
import { preempt } from '../../lib/core/preemption.js';
import { CHUNK, leastSizes } from '../../lib/core/recurrent-states.js';
import { Scheduler } from '../../lib/core/scheduler.js';
import { type SchedulerOptions, schedulerConfig } from '../../lib/core/scheduler-config.js';
import { SchedulerState } from '../../lib/core/scheduler-state.js';
import type { SequenceGroup } from '../../lib/core/sequence.js';
import { Step } from '../../lib/core/step.js';
import { decodeResult } from '../../lib/wire/decode.js';
import { StepEncoder } from '../../lib/wire/encode.js';
import { group, neverStop, planOf, range } from '../support/core.js';
import { FakeExecutor } from '../support/fake-executor.js';

const recurrent = (numHostSlots: number, maxNumSeqs = 8) => {
  const { numSlots, numRecords } = leastSizes(maxNumSeqs);
  return { numSlots: numSlots + 4, numRecords, interval: 64, numHostSlots };
};

function make(options: Partial<SchedulerOptions> = {}) {
  const scheduler = new Scheduler({
    ...{ numBlocks: 19, blockSize: 4, maxModelLen: 64, maxNumSeqs: 8, numHostBlocks: 60 },
    ...{ preemptionPolicy: 'swap', enablePrefixCaching: false, hashSeed: 1 },
    recurrent: recurrent(8),
    ...options,
  });
  const encoder = new StepEncoder(scheduler.config, 16);
  const executor = new FakeExecutor(scheduler.config);
  const states = scheduler.states!;
  const verify = (groups: readonly SequenceGroup[]) => {
    for (const { sequences, state } of groups) {
      for (const sequence of state === 'running' ? sequences : []) {
        if (!sequence.isActive) continue;
        executor.verify(sequence, scheduler.tableOf(sequence));
        executor.verifyStates(sequence, states);
      }
    }
  };
  const encode = (step: Step) => encoder.encode(step);
  const run = (step: Step) => {
    const { tableSlab, samplerSlab } = encoder;
    const result = executor.submit(encode(step), tableSlab, samplerSlab);
    scheduler.commit(step, decodeResult(step, result()), neverStop);
    scheduler.checkInvariants();
  };
  const next = (...groups: SequenceGroup[]) => {
    const step = scheduler.schedule()!;
    scheduler.checkInvariants();
    const { stateSwaps, recordSwaps, numSwapOuts, numSwapIns } = step;
    const seen = {
      plan: planOf(scheduler, step),
      ...{ numSwapOuts, numSwapIns },
      states: [stateSwaps.numOuts, stateSwaps.numIns],
      records: [recordSwaps.numOuts, recordSwaps.numIns],
      isOut: step.swappedOut.length > 0,
      isIn: step.swappedIn.length > 0,
    };
    run(step);
    verify(groups);
    return seen;
  };
  /** Runs until a step swaps in this direction; returns it. */
  const until = (what: 'isOut' | 'isIn', ...groups: SequenceGroup[]) => {
    for (let i = 0; i < 100; i++) {
      const seen = next(...groups);
      if (seen[what]) return seen;
    }
    throw new Error(`nothing was swapped: ${what}`);
  };
  const finish = (...groups: SequenceGroup[]) => {
    while (scheduler.hasUnfinished) next(...groups);
    expect([states.host.slots, states.host.records].map(({ numFree }) => numFree)).toEqual([
      states.host.slots.length,
      states.host.records.length,
    ]);
    expect([scheduler.pool.usage, states.slots.numUsed]).toEqual([0, 0]);
    return groups.map(({ sequences }) => sequences.map((s) => [...s.outputTokens]));
  };
  return { scheduler, states, encode, run, next, until, finish };
}

const long = { maxTokens: 26, ignoreEos: true, temperature: 1, seed: 5 };
const VOCAB = 60;
const text = (length: number, from: number) => range(length).map((i) => (from + 7 * i) % VOCAB);
/** Two groups that do not fit beside each other to their ends; the second shares a prompt. */
const two = (n = 3) => [
  group('a', text(19, 1), { ...long, maxTokens: 40 }),
  group('b', text(21, 2), { ...long, n, maxTokens: n === 1 ? 24 : 12 }),
];

/** The same requests with room for all. */
function inRoom(groups: readonly SequenceGroup[]): number[][][] {
  const { scheduler, finish } = make({ numBlocks: 200 });
  for (const each of groups) scheduler.add(each);
  return finish(...groups);
}

describe('what recurrent layers keep', () => {
  it.each([1, 3])('goes and comes with the blocks of %i samples, once what they share', (n) => {
    const { scheduler, states, until, finish } = make();
    const groups = two(n);
    const [, b] = groups;
    for (const each of groups) scheduler.add(each);
    const out = until('isOut', ...groups);
    expect(b.state).toBe('swapped');
    const kept = b.sequences.map(({ hostState }) => hostState!);
    const { numComputed } = b.sequences[0];
    const own = b.sequences.length * (numComputed % CHUNK);
    if (numComputed < 2 * CHUNK) {
      // All read the state at the prompt's last border, and the records of its last tokens.
      expect(out.states).toEqual([1, 0]);
      expect(new Set(kept.map(({ state }) => state)).size).toBe(1);
      const shared = 21 - CHUNK;
      expect(kept[n - 1].records.subarray(0, shared)).toEqual(kept[0].records.subarray(0, shared));
      expect(out.records[0]).toBe(own - (n - 1) * shared);
    }
    expect(states.host.slots.length - states.host.slots.numFree).toBe(out.states[0]);
    expect(states.host.records.length - states.host.records.numFree).toBe(out.records[0]);
    const back = until('isIn', ...groups);
    expect([back.states[1], back.records[1]]).toEqual([out.states[0], out.records[0]]);
    // Nothing is computed again, and what was shared is.
    expect(Object.values(back.plan).reduce((sum, length) => sum + length)).toBe(
      n + ('a' in back.plan ? 1 : 0),
    );
    if (numComputed < 2 * CHUNK - 1) {
      expect(new Set(b.sequences.map(({ row }) => states.stateOf(row))).size).toBe(1);
    }
    expect(b.sequences[0].hostState).toBeNull();
    const outputs = finish(...groups);
    expect(outputs).toEqual(inRoom(two(n)));
    const { numStatesSwappedOut, numStatesSwappedIn } = scheduler.stats;
    expect(numStatesSwappedOut).toBeGreaterThan(0);
    expect(numStatesSwappedIn).toBe(numStatesSwappedOut);
    expect(b.numSwaps).toBe(b.numPreemptions);
  });

  /** Samples that have a state each when they have to make room. */
  const parted = () => [two()[0], group('b', text(30, 2), { ...long, n: 2, maxTokens: 10 })];

  it.each([
    ['no place for a state', { recurrent: recurrent(0) }, () => two(1)],
    ['no block for the KV', { numHostBlocks: 2 }, () => two(1)],
    ['a place for one state of two', { recurrent: recurrent(1) }, parted],
  ] as const)('is computed again: there is %s', (_, options, made) => {
    const { scheduler, states, next, finish } = make(options);
    const groups = made();
    const [, b] = groups;
    for (const each of groups) scheduler.add(each);
    while (b.numPreemptions === 0) expect(next(...groups).isOut).toBe(false);
    expect([b.state, b.sequences[0].numComputed]).toEqual(['waiting', 0]);
    expect(states.host.slots.numFree).toBe(states.host.slots.length);
    expect(scheduler.numFreeHostBlocks).toBe(scheduler.config.numHostBlocks);
    expect(finish(...groups)).toEqual(inRoom(made()));
    expect(scheduler.stats.numStatesSwappedOut).toBe(0);
  });

  it('leaves the host with a group that is aborted there', () => {
    const { scheduler, states, until, finish } = make();
    const groups = two();
    for (const each of groups) scheduler.add(each);
    until('isOut', ...groups);
    expect(states.host.slots.numFree).toBeLessThan(states.host.slots.length);
    expect(scheduler.abort('b')).toBe(true);
    scheduler.checkInvariants();
    expect(states.host.slots.numFree).toBe(states.host.slots.length);
    expect(states.host.records.numFree).toBe(states.host.records.length);
    expect(groups[1].sequences.every(({ hostState }) => hostState === null)).toBe(true);
    finish(groups[0]);
  });

  it('goes a second time', () => {
    // c makes room, comes back once a has ended, and makes room again for b.
    const three = () => [
      group('a', text(17, 1), { ...long, maxTokens: 14 }),
      group('b', text(17, 2), { ...long, maxTokens: 44 }),
      group('c', text(17, 3), { ...long, maxTokens: 40 }),
    ];
    const { scheduler, finish } = make();
    const groups = three();
    for (const each of groups) scheduler.add(each);
    const outputs = finish(...groups);
    expect(groups.map(({ numSwaps }) => numSwaps)).toEqual([0, 0, 2]);
    expect(outputs).toEqual(inRoom(three()));
  });

  it('is there for forks that waited while their parent was away', () => {
    // The prompt of b is computed in small chunks: it goes when its samples wait for it yet.
    const { scheduler, next, until, finish } = make({ longPrefillThreshold: 3, numBlocks: 21 });
    const pair = () => [
      group('a', text(19, 1), { ...long, maxTokens: 40 }),
      group('b', text(40, 2), { ...long, n: 2, maxTokens: 6 }),
    ];
    const groups = pair();
    scheduler.add(groups[0]);
    for (let i = 0; i < 20; i++) next(groups[0]);
    scheduler.add(groups[1]);
    until('isOut', ...groups);
    const [parent, child] = groups[1].sequences;
    expect([child.forkParent, child.hostState]).toEqual([parent, null]);
    expect(parent.hostState).not.toBeNull();
    expect(finish(...groups)).toEqual(inRoom(pair()));
  });

  it.each(['swappedOut', 'swappedIn'] as const)('is computed again, %s was refused', (what) => {
    const { scheduler, states, encode, run, finish } = make();
    const groups = two();
    for (const each of groups) scheduler.add(each);
    let step = scheduler.schedule()!;
    for (; step[what].length === 0; step = scheduler.schedule()!) run(step);
    encode(step); // it has told what changed in the tables
    scheduler.putBack(step);
    scheduler.checkInvariants();
    expect(groups[1].state).toBe('waiting');
    expect(states.host.slots.numFree).toBe(states.host.slots.length);
    expect(states.host.records.numFree).toBe(states.host.records.length);
    expect(finish(...groups)).toEqual(inRoom(two()));
  });

  it('can be hit again once it is back', () => {
    const { scheduler, states, until, finish } = make({ enablePrefixCaching: true });
    const groups = two(1);
    const [a, b] = groups;
    for (const each of groups) scheduler.add(each);
    until('isOut', ...groups);
    until('isIn', ...groups);
    finish(a, b);
    const before = states.numHits;
    // Who goes on from b's answer begins from the state that b left at its end.
    const [sequence] = b.sequences;
    const answered = [...sequence.tokens.subarray(0, sequence.numTokens)];
    const c = group('c', [...answered, 1, 2, 3], { ...long, maxTokens: 4 });
    scheduler.add(c);
    finish(c);
    expect(states.numHits).toBe(before + 1);
    expect(c.numCachedTokens).toBe(2 * CHUNK);
  });
});

it('without KV, states and records are all that goes and comes', () => {
  const config = schedulerConfig({
    ...{ numBlocks: 20, maxModelLen: 64, blockSize: 16, maxNumSeqs: 6, numHostBlocks: 6 },
    groups: [{ window: 1, blockSize: 16 }],
    preemptionPolicy: 'swap',
    recurrent: recurrent(6, 6),
  });
  const state = new SchedulerState(config);
  const { states } = state;
  const b = group('b', range(32), { ...long, n: 3 });
  state.groups.set('b', b);
  const [first, ...rest] = b.sequences;
  for (const sequence of b.sequences) {
    sequence.endsAt = 58;
    sequence.enlarge();
  }
  state.giveRows(b);
  const begun = new Step(6, 64, 1, true);
  state.tables.grow(first, 32, 32);
  states!.startStep();
  states!.plan(first, 32, begun);
  states!.commit(first.row);
  first.numComputed = 32;
  state.tables.dropHead(first, 0, 2);
  for (const child of rest) {
    state.tables.fork(first, child, 32);
    states!.fork(first.row, child.row);
    child.numComputed = 32;
  }
  for (const sequence of b.sequences) sequence.append(5 + sequence.index);
  state.enterRunning(b, b.sequences);
  // At a border nobody has a record, nor a block.
  const out = new Step(6, 64, 1, true);
  preempt(state, out, b);
  expect([b.state, out.numSwapOuts, out.stateSwaps.numOuts, out.recordSwaps.numOuts]).toEqual([
    'swapped',
    0,
    1,
    0,
  ]);
  state.checkInvariants();
  const step = new Step(6, 64, 1, true);
  states!.startStep();
  new Admission(state).admit(step);
  expect([b.state, step.numSwapIns, step.stateSwaps.numIns, step.numSeqs]).toEqual([
    'running',
    0,
    1,
    3,
  ]);
  const slots = b.sequences.map(({ row }) => states!.stateOf(row));
  expect(new Set(slots).size).toBe(1);
  expect([...step.stateIns.subarray(0, 3)]).toEqual(slots);
  state.checkInvariants();
});
