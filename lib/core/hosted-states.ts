/** What groups that are swapped out keep of recurrent layers, in the host's memory. */
import { assert } from '../errors.js';
import type { CountedIds } from './counted-ids.js';
import { FreeIds } from './free-ids.js';
import type { SwapList } from './swap-list.js';

/** In place of a slot: there is none, as where a query crosses no border and writes no state. */
export const NO_STATE = -1;

/** Takes what a step moves to the host's memory, or back. */
export interface SwapSink {
  readonly stateSwaps: SwapList;
  readonly recordSwaps: SwapList;
}

/** What a sequence keeps in the host's memory while its group is swapped out. */
export interface HostedState {
  /** {@link NO_STATE}: it has computed less than a chunk. */
  readonly state: number;
  readonly records: Int32Array;
  /** Where the prompts parted that it came from, as the states here were told. */
  readonly partsAt: number;
}

type Ids = Pick<CountedIds, 'take' | 'share'>;

/** What is used has one user: a group, whose sequences may share it. */
export class HostedStates {
  readonly slots: FreeIds;
  readonly records: FreeIds;

  constructor(numSlots: number, numRecords: number) {
    this.slots = new FreeIds(numSlots);
    this.records = new FreeIds(numRecords);
  }

  /**
   * Gives each of some states and records a place here; the maps then have it.
   * @returns false: there is no room, and nothing is moved
   */
  sendOut(
    stateAt: Map<number, number>,
    recordAt: Map<number, number>,
    { stateSwaps, recordSwaps }: SwapSink,
  ): boolean {
    if (stateAt.size > this.slots.numFree || recordAt.size > this.records.numFree) return false;
    give(stateAt, this.slots, stateSwaps);
    give(recordAt, this.records, recordSwaps);
    return true;
  }

  /** What lies at a place gets a new id the first time, and is shared from then on. */
  bringer(slots: Ids, records: Ids, { stateSwaps, recordSwaps }: SwapSink) {
    const slotOf = new Map<number, number>();
    const recordOf = new Map<number, number>();
    return {
      state: (place: number) => bringIn(place, slotOf, slots, this.slots, stateSwaps),
      record: (place: number) => bringIn(place, recordOf, records, this.records, recordSwaps),
    };
  }

  /** All that a group has here is not wanted any more. */
  drop(kept: readonly HostedState[]): void {
    const [states, records] = distinctOf(kept);
    for (const state of states) this.slots.give(state);
    for (const record of records) this.records.give(record);
  }

  /** @param groups what the sequences of each group have here */
  check(groups: readonly (readonly HostedState[])[]): void {
    const [states, records] = distinctOf(groups.flat());
    let [numStates, numRecords] = [0, 0];
    for (const kept of groups) {
      const [ofGroup, itsRecords] = distinctOf(kept);
      numStates += ofGroup.size;
      numRecords += itsRecords.size;
    }
    const isOwn = states.size === numStates && records.size === numRecords;
    assert(isOwn, 'swapped states or records are shared between groups');
    for (const [used, room] of [
      [numStates, this.slots],
      [numRecords, this.records],
    ] as const) {
      assert(used + room.numFree === room.length, 'swap space for states leaks');
    }
  }
}

function give(placeOf: Map<number, number>, room: FreeIds, swaps: SwapList): void {
  for (const id of placeOf.keys()) {
    const place = room.take();
    placeOf.set(id, place);
    swaps.addOut(id, place);
  }
}

function bringIn(
  place: number,
  known: Map<number, number>,
  ids: Ids,
  room: FreeIds,
  swaps: SwapList,
): number {
  const before = known.get(place);
  if (before !== undefined) {
    ids.share(before);
    return before;
  }
  const id = ids.take();
  known.set(place, id);
  room.give(place);
  swaps.addIn(id, place);
  return id;
}

function distinctOf(kept: readonly HostedState[]): readonly [Set<number>, Set<number>] {
  const states = new Set(kept.map(({ state }) => state));
  states.delete(NO_STATE);
  return [states, new Set(kept.flatMap(({ records }) => [...records]))];
}
