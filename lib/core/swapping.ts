/**
 * Preemption by swap: the computed blocks of a group go to the host pool, shared ones once, and
 * come back, as shared as before, when there is room. Nothing is computed again. Swapped groups
 * have precedence over waiting ones: nothing is admitted while something is swapped.
 *
 * A step never has both directions: who is swapped in comes after the running were planned without
 * preempting anybody. So host blocks read by a step are never written by the same step.
 */
import { assert } from '../errors.js';
import { NULL_BLOCK } from './block-pool.js';
import { planGroup } from './planning.js';
import type { SchedulerState } from './scheduler-state.js';
import type { Sequence, SequenceGroup } from './sequence.js';
import type { Step } from './step-record.js';

/** An entry of a host table whose block slid out of the window before. */
const NO_BLOCK = -1;

/** Moves a group that is not planned in this step out of the pool; false: there is no room. */
export function swapOut(state: SchedulerState, step: Step, group: SequenceGroup): boolean {
  const { tables, hostBlocks, config } = state;
  const hostOf = new Map<number, number>();
  const holders = group.sequences.filter((s) => s.finishReason === null && s.numBlocks > 0);
  const kept = (sequence: Sequence) => Math.ceil(sequence.numComputed / config.blockSize);
  for (const sequence of holders) {
    for (let i = 0; i < kept(sequence); i++) hostOf.set(tables.blockAt(sequence, i), NO_BLOCK);
  }
  hostOf.delete(NULL_BLOCK);
  if (hostOf.size === 0 || hostOf.size > hostBlocks.numFree) return false;
  for (const block of hostOf.keys()) {
    const host = hostBlocks.take();
    hostOf.set(block, host);
    step.addSwapOut(block, host);
  }
  for (const sequence of holders) {
    sequence.hostTable = Int32Array.from(
      { length: kept(sequence) },
      (_, i) => hostOf.get(tables.blockAt(sequence, i)) ?? NO_BLOCK,
    );
  }
  group.numHostBlocks = hostOf.size;
  state.stats.numSwappedOut += hostOf.size;
  step.swappedOut.push(group);
  return true;
}

/** Brings groups back into this step, first come, as long as they fit. */
export function admitSwapped(state: SchedulerState, step: Step): void {
  const { swapped, config } = state;
  while (swapped.length > 0 && step.numTokens < config.maxNumBatchedTokens) {
    const group = swapped[0];
    const active = group.sequences.filter((sequence) => sequence.hostTable !== null);
    if (!fits(state, group, active, config.maxNumBatchedTokens - step.numTokens)) return;
    swapped.shift();
    swapIn(state, step, group, active);
    const planned = planGroup(state, step, active, 0, active.length);
    assert(planned, 'a swapped group did not fit');
  }
}

function fits(
  state: SchedulerState,
  group: SequenceGroup,
  active: readonly Sequence[],
  budget: number,
): boolean {
  const { pool, tables, running, numPromised, config } = state;
  if (tables.numFreeRows < group.numUnfinished || budget < active.length) return false;
  let needed = group.numHostBlocks + copiesToCome(active, config.blockSize);
  for (const sequence of active) {
    needed += Math.ceil(sequence.numTokens / config.blockSize) - sequence.hostTable!.length;
  }
  for (const sequence of group.sequences) needed += state.blocksOfFork(sequence);
  return needed <= pool.numFree - numPromised - running.length;
}

/** Blocks that shared, begun blocks will be copied to before the next writes. */
function copiesToCome(active: readonly Sequence[], blockSize: number): number {
  const users = new Map<number, { all: number; writers: number }>();
  for (const { numComputed, hostTable, candidates } of active) {
    if (numComputed % blockSize === 0) continue;
    const last = hostTable![hostTable!.length - 1];
    const count = users.get(last) ?? { all: 0, writers: 0 };
    count.all++;
    if (candidates === null) count.writers++;
    users.set(last, count);
  }
  let copies = 0;
  for (const { all, writers } of users.values()) copies += all > writers ? writers : writers - 1;
  return copies;
}

function swapIn(
  state: SchedulerState,
  step: Step,
  group: SequenceGroup,
  active: readonly Sequence[],
): void {
  const { pool, tables, hostBlocks, config } = state;
  state.giveRows(group);
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
        step.addSwapIn(block, host);
      }
      return block;
    });
    tables.adopt(sequence, blocks, 0, blocks.length);
    for (const block of fresh) pool.free(block); // adopting counted it once more
    sequence.hostTable = null;
    // The copies are not in the prefix cache; where the whole prefix is there, they can be again.
    if (config.enablePrefixCaching && !blocks.includes(NULL_BLOCK)) {
      sequence.prefix = group.root;
      sequence.numPublished = 0;
      sequence.publishAt = config.blockSize;
    }
  }
  state.stats.numSwappedIn += group.numHostBlocks;
  group.numHostBlocks = 0;
  for (const sequence of active) tables.grow(sequence, sequence.numTokens);
  state.promiseForks(group);
  state.enterRunning(group, active);
}
