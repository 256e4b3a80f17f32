/**
 * Preemption by swap: the computed blocks of a group go to the host pool, shared ones once, and
 * come back, as shared as before, when there is room and their turn (see admission). What recurrent
 * layers keep of it goes and comes with them. Nothing is computed again.
 *
 * A step never has both directions: who is swapped in comes after the running were planned without
 * preempting anybody. So what a step reads in the host's memory it never writes.
 */
import { assert } from '../errors.js';
import { NULL_BLOCK } from './block-pool.js';
import type { KvGroups } from './kv-groups.js';
import type { SchedulerState } from './scheduler-state.js';
import type { Sequence, SequenceGroup } from './sequence.js';
import type { Step } from './step.js';

/** An entry of a host table whose block slid out of the window before. */
const NO_BLOCK = -1;

/** Moves a group that is not planned in this step out of the pool; false: there is no room. */
export function swapOut(state: SchedulerState, step: Step, group: SequenceGroup): boolean {
  const { tables, hostBlocks, states } = state;
  const hostOf = new Map<number, number>();
  const holders = group.sequences.filter((s) => s.finishReason === null && !tables.isEmpty(s));
  for (const sequence of holders) {
    for (const block of computedBlocks(state, sequence)) hostOf.set(block, NO_BLOCK);
  }
  hostOf.delete(NULL_BLOCK);
  const isComputed = holders.some((sequence) => sequence.numComputed > 0);
  if (!isComputed || hostOf.size > hostBlocks.numFree) return false;
  const numStatesBefore = step.stateSwaps.numOuts;
  const rows = holders.map((sequence) => sequence.row);
  const kept = states === null ? [] : states.swapOut(rows, step);
  if (kept === null) return false;
  for (const block of hostOf.keys()) {
    const host = hostBlocks.take();
    hostOf.set(block, host);
    step.swaps.addOut(block, host);
  }
  for (const [i, sequence] of holders.entries()) {
    const hosts = computedBlocks(state, sequence).map((block) => hostOf.get(block) ?? NO_BLOCK);
    sequence.moveTo(Int32Array.from(hosts), kept[i]);
  }
  group.holdOnHost(hostOf.size);
  state.stats.numSwappedOut += hostOf.size;
  state.stats.numStatesSwappedOut += step.stateSwaps.numOuts - numStatesBefore;
  step.swappedOut.push(group.arrival);
  return true;
}

/** Of all tables, one after the other, the blocks with computed tokens, null ones among them. */
function computedBlocks({ tables, kvGroups }: SchedulerState, sequence: Sequence): number[] {
  const blocks: number[] = [];
  for (let g = 0; g < kvGroups.length; g++) {
    const count = kvGroups.blocksFor(g, sequence.numComputed);
    for (let i = 0; i < count; i++) blocks.push(tables.blockAt(sequence, i, g));
  }
  return blocks;
}

/** The part of a list of {@link computedBlocks} that is of one table. */
function partOf(kvGroups: KvGroups, list: Int32Array, numComputed: number, g: number): Int32Array {
  let start = 0;
  for (let other = 0; other < g; other++) start += kvGroups.blocksFor(other, numComputed);
  return list.subarray(start, start + kvGroups.blocksFor(g, numComputed));
}

/**
 * Brings a group back into this step, if it fits now and the budget has a token for each of its
 * sequences; returns who is to be planned, or null, which changes nothing.
 */
export function swapIn(
  state: SchedulerState,
  step: Step,
  group: SequenceGroup,
  budget: number,
): readonly Sequence[] | null {
  const active = group.sequences.filter((sequence) => sequence.hostTable !== null);
  if (!fits(state, group, active, budget)) return null;
  assert(state.swapped[0] === group, 'a swapped group came back out of turn');
  state.swapped.shift();
  restore(state, step, group, active);
  return active;
}

function fits(
  state: SchedulerState,
  group: SequenceGroup,
  active: readonly Sequence[],
  budget: number,
): boolean {
  const { tables, kvGroups } = state;
  if (tables.numFreeRows < group.numUnfinished || budget < active.length) return false;
  let needed = group.numHostBlocks;
  for (let g = 0; g < kvGroups.length; g++) {
    needed += copiesToCome(kvGroups, active, g);
    for (const { numComputed, numTokens } of active) {
      const held = kvGroups.blocksFor(g, numComputed) - kvGroups.firstKept(g, numComputed);
      needed += kvGroups.peak(g, numComputed, numTokens) - held;
    }
  }
  for (const sequence of group.sequences) needed += state.blocksOfFork(sequence);
  return needed <= state.numSpareBlocks;
}

/** Blocks of a table that shared, begun blocks will be copied to before the next writes. */
function copiesToCome(kvGroups: KvGroups, active: readonly Sequence[], g: number): number {
  const users = new Map<number, { all: number; writers: number }>();
  for (const { numComputed, hostTable, candidates } of active) {
    if (numComputed % kvGroups.blockSizes[g] === 0) continue;
    const last = partOf(kvGroups, hostTable!, numComputed, g).at(-1)!;
    const count = users.get(last) ?? { all: 0, writers: 0 };
    count.all++;
    if (candidates === null) count.writers++;
    users.set(last, count);
  }
  let copies = 0;
  for (const { all, writers } of users.values()) copies += all > writers ? writers : writers - 1;
  return copies;
}

function restore(
  state: SchedulerState,
  step: Step,
  group: SequenceGroup,
  active: readonly Sequence[],
): void {
  const { pool, tables, hostBlocks, config, kvGroups } = state;
  state.giveRows(group);
  restoreStates(state, step, active);
  const blockOf = new Map<number, number>([[NO_BLOCK, NULL_BLOCK]]);
  for (const sequence of active) {
    const fresh: number[] = [];
    const blocks = Array.from(sequence.hostTable!, (host) => {
      let block = blockOf.get(host);
      if (block === undefined) {
        block = pool.allocateOne();
        blockOf.set(host, block);
        fresh.push(block);
        hostBlocks.give(host);
        step.swaps.addIn(block, host);
      }
      return block;
    });
    const table = Int32Array.from(blocks);
    for (let g = 0; g < kvGroups.length; g++) {
      tables.adopt(sequence, partOf(kvGroups, table, sequence.numComputed, g), g);
    }
    for (const block of fresh) pool.free(block); // adopting counted it once more
    sequence.moveTo(null);
    // The copies are not in the prefix cache, but can be again.
    if (config.enablePrefixCaching) sequence.publishAnew(config.blockSize);
  }
  step.swappedIn.push(group.arrival);
  state.stats.numSwappedIn += group.numHostBlocks;
  group.holdOnHost(0);
  for (const sequence of active) {
    const { numTokens, numComputed } = sequence;
    assert(tables.grow(sequence, numTokens, numComputed), 'a swapped group did not fit');
  }
  state.promiseBlocks(group);
  state.enterRunning(group, active);
}

/** They never lack room here: there are slots and records for all that have a row. */
function restoreStates(state: SchedulerState, step: Step, active: readonly Sequence[]): void {
  if (state.states === null) return;
  const before = step.stateSwaps.numIns;
  const rows = active.map(({ row }) => row);
  const kept = active.map(({ hostState }) => hostState!);
  state.states.swapIn(rows, kept, step);
  state.stats.numStatesSwappedIn += step.stateSwaps.numIns - before;
}
