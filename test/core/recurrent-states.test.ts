import { describe, expect, it } from 'vitest';
import { NO_STATE } from '../../lib/core/hosted-states.js';
import {
  borderOf,
  CHUNK,
  leastSizes,
  RecurrentStates,
  type StateOptions,
  type StateOwner,
  type StateSink,
} from '../../lib/core/recurrent-states.js';
import { SwapList } from '../../lib/core/swap-list.js';

/** Takes one sequence's part of a step. */
class Taken implements StateSink {
  states: [number, number] = [-2, -2];
  records: number[] = [];

  addStates(stateIn: number, stateOut: number): void {
    this.states = [stateIn, stateOut];
  }

  addRecords(ids: Int32Array, from: number, to: number): void {
    this.records = [...ids.subarray(from, to)];
  }
}

interface Owner extends StateOwner {
  numComputed: number;
}

const make = (options: Partial<StateOptions> = {}) =>
  new RecurrentStates({
    ...leastSizes(options.maxNumSeqs ?? 4),
    ...{ maxNumSeqs: 4, coarsest: 16, interval: 64 },
    ...{ enablePrefixCaching: true, enableChunkedPrefill: true },
    ...options,
  });

const owner = (row: number, numPromptTokens = 1000): Owner => ({
  ...{ row, numComputed: 0, numPromptTokens },
});

function plan(states: RecurrentStates, who: Owner, length: number): Taken {
  const taken = new Taken();
  states.plan(who, who.numComputed + length, taken);
  return taken;
}

/** Plans and commits, in a step of its own. True: it has another state. */
function run(states: RecurrentStates, who: Owner, length: number): boolean {
  states.startStep();
  plan(states, who, length);
  who.numComputed += length;
  const isNew = states.commit(who.row);
  return isNew;
}

/** Who computes `to` tokens under identities of its own: 1000 · row + tokens. */
function runTo(states: RecurrentStates, who: Owner, to: number): void {
  while (who.numComputed < to) {
    const end = states.endOf(who, to);
    const isNew = run(states, who, end - who.numComputed);
    const border = borderOf(who.numComputed);
    if (border > 0) states.identify(who, border, 1000 * (who.row + 1) + border);
    if (isNew) states.publishAtBorder(who);
  }
}

const cachedOf = (states: RecurrentStates, row: number, upTo = 500) =>
  Array.from({ length: upTo }, (_, n) => n).filter(
    (n) => n > 0 && states.slots.find(1000 * (row + 1) + n) > 0,
  );

describe('a sequence alone', () => {
  it('has a record for each token since the border, and the state there', () => {
    const states = make();
    const who = owner(0);
    expect(plan(states, who, 5)).toMatchObject({ states: [0, NO_STATE], records: { length: 5 } });
    states.commit(0);
    who.numComputed = 5;
    const held = states.recordsOf(0);
    expect(held.length).toBe(5);
    states.checkInvariants([who]);
    // Over the border: the old ones are read, of the new ones those behind the border are kept.
    states.startStep();
    const taken = plan(states, who, 14);
    expect(taken.states).toEqual([0, 1]);
    expect(taken.records.slice(0, 5)).toEqual(held);
    expect(taken.records.length).toBe(5 + 3);
    expect(new Set(taken.records).size).toBe(8);
    expect(states.commit(0)).toBe(true);
    who.numComputed = 19;
    expect(states.recordsOf(0)).toEqual(taken.records.slice(5));
    expect(states.stateOf(0)).toBe(1);
    states.checkInvariants([who]);
  });

  it('keeps no record where a query ends at a border, nor states between', () => {
    const states = make();
    const who = owner(0);
    expect(plan(states, who, 64)).toMatchObject({ states: [0, 1], records: [] });
    expect([states.slots.numUsed, states.records.numFree]).toEqual([1, 64]);
    states.commit(0);
    who.numComputed = 64;
    states.checkInvariants([who]);
    expect(plan(states, who, 1)).toMatchObject({ states: [1, NO_STATE], records: { length: 1 } });
  });

  it('writes its next state over the last, unless the cache knows that', () => {
    const states = make({ ...leastSizes(4), numSlots: leastSizes(4).numSlots + 1 });
    const who = owner(0);
    run(states, who, 16);
    expect(plan(states, who, 16).states).toEqual([1, 1]);
    states.commit(0);
    who.numComputed = 32;
    states.identify(who, 32, 7);
    states.publish(who);
    expect(states.slots.find(7)).toBe(1);
    states.startStep();
    expect(plan(states, who, 16).states).toEqual([1, 2]);
    states.commit(0);
    who.numComputed = 48;
    expect([states.slots.find(7), states.slots.isShared(1), states.slots.numUsed]).toEqual([
      1,
      false,
      1,
    ]);
    // As many as the pool has to spare in a step; then over what the cache knows, which forgets it.
    const others = [owner(1), owner(2)];
    for (const [i, other] of others.entries()) {
      run(states, other, 16);
      states.identify(other, 16, 10 + i);
      states.publish(other);
    }
    states.startStep();
    const [first, second] = others.map((other) => plan(states, other, 16).states);
    expect(first[0]).not.toBe(first[1]);
    expect(second[0]).toBe(second[1]);
    expect([states.slots.find(10), states.slots.find(11)]).toEqual([first[0], 0]);
  });

  it('gives back what it was to write, or all', () => {
    const states = make();
    const who = owner(0);
    run(states, who, 20);
    const before = [states.stateOf(0), ...states.recordsOf(0)];
    const free = states.records.numFree;
    states.startStep();
    plan(states, who, 30);
    states.undo(0);
    expect([states.stateOf(0), ...states.recordsOf(0)]).toEqual(before);
    expect(states.records.numFree).toBe(free);
    states.checkInvariants([who]);
    plan(states, who, 30);
    states.release(0);
    states.checkInvariants([]);
    expect([states.slots.numUsed, states.records.numFree]).toEqual([0, 64]);
  });

  it('asserts that records, rows and tokens agree', () => {
    const states = make();
    const who = owner(0);
    run(states, who, 20);
    expect(() => states.checkInvariants([])).toThrow(/belongs to nobody/);
    expect(() => plan(states, { ...who, numComputed: 21 }, 1)).toThrow(/disagree/);
    plan(states, who, 1);
    expect(() => plan(states, who, 1)).toThrow(/disagree/);
    expect(() => states.fork(0, 1)).toThrow(/written/);
    expect(() => states.adopt(0, 0, 0)).toThrow(/of another/);
  });
});

describe('forks', () => {
  it('share state and records; each writes the next beside them', () => {
    const states = make();
    const owners = [owner(0), owner(1), owner(2)];
    run(states, owners[0], 20);
    for (const row of [1, 2]) {
      states.fork(0, row);
      owners[row].numComputed = 20;
    }
    states.checkInvariants(owners);
    expect([states.slots.numUsed, states.records.numFree]).toEqual([1, 60]);
    states.startStep();
    const taken = owners.map((who) => plan(states, who, 13));
    expect(taken.map(({ states: [from] }) => from)).toEqual([1, 1, 1]);
    expect(new Set(taken.map(({ states: [, to] }) => to)).size).toBe(3);
    expect(states.slots.numUsed).toBe(4);
    const written = taken.flatMap(({ records }) => records.slice(4));
    expect(new Set(written).size).toBe(3);
    for (const who of owners) {
      states.commit(who.row);
      who.numComputed = 33;
    }
    states.checkInvariants(owners);
    expect([states.slots.numUsed, states.records.numFree]).toEqual([3, 61]);
  });

  it('never run short of slots, in whatever pairs they are', () => {
    const states = make({ maxNumSeqs: 6, ...leastSizes(6) });
    const owners = Array.from({ length: 6 }, (_, row) => owner(row));
    for (const row of [0, 2, 4]) run(states, owners[row], 16);
    for (const row of [0, 2, 4]) states.fork(row, row + 1);
    states.startStep();
    for (const who of owners) {
      who.numComputed = 16;
      plan(states, who, 16);
    }
    expect(states.slots.numAvailable).toBe(0);
    for (const { row } of owners) states.commit(row);
    expect(states.slots.numUsed).toBe(6);
  });
});

describe('records', () => {
  it('are enough: a query ends early that would hold more than a chunk', () => {
    const states = make({ enablePrefixCaching: false });
    const who = owner(0);
    run(states, who, 10);
    expect(states.endOf(who, 15)).toBe(15);
    expect(states.endOf(who, 16)).toBe(16);
    expect(states.endOf(who, 32 + 6)).toBe(32 + 6);
    expect(states.endOf(who, 32 + 7)).toBe(32 + 6);
    expect(states.endOf(who, 31)).toBe(16 + 6);
  });

  it('beyond that spare as many of a step as they are', () => {
    const { numRecords } = leastSizes(4);
    const states = make({ enablePrefixCaching: false, numRecords: numRecords + 5 });
    const owners = [owner(0), owner(1)];
    for (const who of owners) run(states, who, 10);
    states.startStep();
    expect(states.endOf(owners[0], 32 + 11)).toBe(32 + 11);
    expect(states.endOf(owners[0], 32 + 12)).toBe(32 + 6);
    plan(states, owners[0], 22 + 10);
    expect(states.endOf(owners[1], 32 + 7)).toBe(32 + 7);
    expect(states.endOf(owners[1], 32 + 8)).toBe(32 + 6);
  });
});

describe('swaps', () => {
  const sink = () => ({ stateSwaps: new SwapList(), recordSwaps: new SwapList() });
  const free = ({ host }: RecurrentStates) => [host.slots.numFree, host.records.numFree];

  it('move what is shared once, and bring it back shared', () => {
    const states = make({ numHostSlots: 2 });
    const owners = [owner(0), owner(1), owner(2)];
    run(states, owners[0], 20);
    states.fork(0, 1);
    owners[1].numComputed = 20;
    run(states, owners[1], 1);
    run(states, owners[2], 3);
    const out = sink();
    const kept = states.swapOut([0, 1, 2], out)!;
    expect([out.stateSwaps.numOuts, out.recordSwaps.numOuts]).toEqual([1, 4 + 1 + 3]);
    expect(kept.map(({ state }) => state)).toEqual([kept[0].state, kept[0].state, NO_STATE]);
    expect(kept[1].records.subarray(0, 4)).toEqual(kept[0].records);
    expect(free(states)).toEqual([1, 32 - 8]);
    states.host.check([kept]);
    for (const row of [0, 1, 2]) states.release(row);
    expect([states.slots.numUsed, states.records.numFree]).toEqual([0, 64]);
    const back = sink();
    states.swapIn([3, 0, 1], kept, back);
    expect([back.stateSwaps.numIns, back.recordSwaps.numIns]).toEqual([1, 8]);
    expect([states.stateOf(3) === states.stateOf(0), states.stateOf(1)]).toEqual([true, 0]);
    expect(states.recordsOf(0).slice(0, 4)).toEqual(states.recordsOf(3));
    expect(free(states)).toEqual([2, 32]);
    states.host.check([]);
    states.checkInvariants([3, 0, 1].map((row, i) => ({ ...owners[i], row })));
  });

  it('change nothing where there is no room for all of it', () => {
    const states = make({ numHostSlots: 1 });
    const owners = [owner(0), owner(1)];
    for (const who of owners) run(states, who, 16);
    const out = sink();
    expect(states.swapOut([0, 1], out)).toBeNull();
    run(states, owners[0], 9);
    states.fork(0, 2);
    const copy = { ...owners[0], row: 2 };
    run(states, copy, 4);
    run(states, owners[0], 4);
    // One state, and 9 + 4 + 4 records, of which there is room for 16.
    expect(states.swapOut([0, 2], out)).toBeNull();
    expect([free(states), out.stateSwaps.length, out.recordSwaps.length]).toEqual([[1, 16], 0, 0]);
    states.host.drop(states.swapOut([0], out)!);
    expect(free(states)).toEqual([1, 16]);
  });

  it('keep what was known of where prompts part', () => {
    const states = make({ numSlots: 40, interval: 512, numHostSlots: 1 });
    const who = owner(0, 200);
    states.adopt(0, 0, 48);
    run(states, who, 20);
    const kept = states.swapOut([0], sink())!;
    states.release(0);
    states.swapIn([0], kept, sink());
    expect(states.endOf(who, 120)).toBe(48);
  });

  it('assert that host memory has one user', () => {
    const states = make({ numHostSlots: 4 });
    run(states, owner(0), 20);
    const kept = states.swapOut([0], sink())!;
    expect(() => states.host.check([])).toThrow(/leaks/);
    expect(() => states.host.check([kept, kept])).toThrow(/between groups/);
    plan(states, { ...owner(0), numComputed: 20 }, 1);
    expect(() => states.swapOut([0], sink())).toThrow(/that is written/);
  });
});

describe('what the cache keeps', () => {
  it('is the last border of a prompt that a longer one may hit, and one every so often', () => {
    const states = make({ numSlots: 40 });
    const who = owner(0, 90);
    runTo(states, who, 200);
    expect(cachedOf(states, 0)).toEqual([64, 80, 128, 192]);
    const exact = owner(1, 32);
    runTo(states, exact, 40);
    // The whole prompt as well: one that goes on may hit it.
    expect(cachedOf(states, 1)).toEqual([16, 32]);
  });

  it('lies where blocks end', () => {
    const states = make({ numSlots: 40, coarsest: 32, interval: 50 });
    expect(states.unit).toBe(32);
    const who = owner(0, 90);
    runTo(states, who, 150);
    expect(cachedOf(states, 0)).toEqual([64, 128]);
    const odd = make({ numSlots: 40, coarsest: 6, interval: 50 });
    expect(odd.unit).toBe(48);
    runTo(odd, owner(0, 70), 70);
    expect(cachedOf(odd, 0)).toEqual([48]);
  });

  it('is a border as well where prompts were seen to part', () => {
    const states = make({ numSlots: 40, interval: 512 });
    const who = owner(0, 200);
    states.adopt(0, 0, 48);
    expect(states.endOf(who, 120)).toBe(48);
    // No need to stop where the step would end behind it anyway, before the next border.
    expect(states.endOf(who, 50)).toBe(50);
    runTo(states, who, 200);
    expect(cachedOf(states, 0)).toEqual([48, 192]);
  });

  it('is only what there is anyway where prompts are not computed in chunks, or not cached', () => {
    const whole = make({ numSlots: 40, enableChunkedPrefill: false });
    runTo(whole, owner(0, 100), 100);
    expect(cachedOf(whole, 0)).toEqual([96]);
    const none = make({ numSlots: 40, enablePrefixCaching: false });
    runTo(none, owner(0, 100), 100);
    expect(cachedOf(none, 0)).toEqual([]);
  });

  it('can be begun from, by several at once', () => {
    const states = make({ numSlots: 40 });
    const who = owner(0, 40);
    runTo(states, who, 40);
    states.release(0);
    for (const row of [1, 2]) states.adopt(row, 1000 + 32, 0);
    const owners = [1, 2].map((row) => ({ ...owner(row), numComputed: 32 }));
    states.checkInvariants(owners);
    expect(states.numHits).toBe(2);
    const taken = owners.map((other) => plan(states, other, 16).states);
    expect(new Set(taken.flat()).size).toBe(3);
    expect(() => states.adopt(3, 999, 0)).toThrow(/whose state is gone/);
  });

  it('knows a state only under the prefix at its border', () => {
    const states = make({ numSlots: 40 });
    const who = owner(0);
    run(states, who, 20);
    states.identify(who, 8, 5);
    states.publish(who);
    expect(states.slots.numCached).toBe(0);
    states.identify(who, 16, 6);
    states.publish(who);
    expect(states.slots.find(6)).toBe(states.stateOf(0));
    // At the next border the cache does not know it.
    run(states, who, 12);
    states.slots.forgetAll();
    states.publish(who);
    expect(states.slots.numCached).toBe(0);
  });
});

it('a chunk begins where its border is', () => {
  expect([0, 1, 15, 16, 31, 32].map(borderOf)).toEqual([0, 0, 0, 16, 16, 32]);
  expect(CHUNK).toBe(16);
});
